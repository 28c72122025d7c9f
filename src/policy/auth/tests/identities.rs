//! Who a client is that shows a token, a certificate, both or neither.

use std::{sync::Arc, time::Duration};

use serde_json::json;

use super::support::{HMAC, auth, claims, header, now};
use crate::policy::{
    auth::{
        Auth, AuthError, AuthTable, Credential, MISSING, REVOKED,
        revoked::{Revocation, Whom, unix_seconds},
        shared_revoked::SharedRevoked,
    },
    identity::CertifiedUser,
    token_source::Token,
};

fn optional() -> Auth {
    auth(&AuthTable { required: false, revoke: true, ..HMAC.table() })
}

fn user(auth: &Auth, credential: Credential<'_>, certified: Option<&str>) -> Result<Option<String>, AuthError> {
    let certified = certified.map(CertifiedUser::named);
    auth.identify(credential, certified.as_ref(), now()).map(|identity| identity.user().map(str::to_owned))
}

#[test]
fn a_token_says_who_a_client_is_and_where_none_does_its_certificate() {
    let of_ada = Token::read(&HMAC.mint(&header("HS256"), &claims(&json!({})))).unwrap();
    let nameless = Token::read(&HMAC.mint(&header("HS256"), &claims(&json!({ "sub": null })))).unwrap();
    let (ada, machine) = (Ok(Some("ada".to_owned())), Ok(Some("machine-7".to_owned())));
    for (credential, certified, expected) in [
        (Credential::Token(of_ada.as_ref()), None, &ada),
        (Credential::Token(of_ada.as_ref()), Some("machine-7"), &ada),
        (Credential::Token(nameless.as_ref()), Some("machine-7"), &machine),
        (Credential::Token(None), Some("machine-7"), &machine),
        (Credential::NoneFor("/"), Some("machine-7"), &machine),
        (Credential::Token(None), None, &Ok(None)),
        (Credential::NoneFor("/"), None, &Ok(None)),
    ] {
        assert_eq!(user(&optional(), credential, certified), *expected, "{certified:?}");
    }
    let required = auth(&HMAC.table());
    for credential in [Credential::Token(None), Credential::NoneFor("/")] {
        assert_eq!(user(&required, credential, Some("machine-7")), Err(AuthError::Refused(MISSING)));
    }
}

#[test]
fn whoever_is_revoked_is_refused_by_token_and_certificate_alike() {
    let revoked = Arc::new(SharedRevoked::default());
    let whom = |name: &str| Whom::User { name: name.into(), at: unix_seconds(now()) };
    let revocations = ["ada", "machine-7"].map(|name| Revocation::lasting(whom(name), Duration::from_secs(60), now()));
    revoked.add(&revocations, now());
    let auth = optional().refusing(revoked);
    let of_ada = Token::read(&HMAC.mint(&header("HS256"), &claims(&json!({})))).unwrap();
    let of_bob = Token::read(&HMAC.mint(&header("HS256"), &claims(&json!({ "sub": "bob" })))).unwrap();
    let refused = Err(AuthError::Refused(REVOKED));
    for (credential, certified, expected) in [
        (Credential::Token(of_ada.as_ref()), None, &refused),
        (Credential::Token(None), Some("machine-7"), &refused),
        (Credential::NoneFor("/"), Some("machine-7"), &refused),
        (Credential::Token(of_bob.as_ref()), Some("machine-7"), &Ok(Some("bob".to_owned()))),
        (Credential::Token(None), Some("machine-8"), &Ok(Some("machine-8".to_owned()))),
        (Credential::NoneFor("/"), Some("machine-8"), &Ok(Some("machine-8".to_owned()))),
    ] {
        assert_eq!(user(&auth, credential, certified), *expected, "{certified:?}");
    }
}
