//! Which tokens are valid, and which only look valid.

use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use super::support::*;
use crate::{
    policy::auth::{AuthError, AuthTable, EXPIRED, INVALID, MISSING},
    units::Period,
};

const REFUSED: AuthError = AuthError::Refused(INVALID);
const ALGORITHMS: [&str; 12] =
    ["HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];

#[test]
fn a_token_of_every_kind_of_key_is_valid() {
    for signer in [&*HMAC, &*RSA, &*P256, &*P384, &*ED25519] {
        let token = signer.mint(&header(&format!("{:?}", signer.algorithm)), &claims(&json!({})));
        let identity = verify(&auth(&signer.table()), &token).unwrap();
        assert_eq!(identity.user(), Some("ada"));
        assert_eq!(identity.expires_at(), Some(now() + Duration::from_secs(3600 + 30)));
    }
}

#[test]
fn the_key_and_not_the_token_decides_on_the_algorithm() {
    for signer in [&*HMAC, &*RSA, &*P256, &*P384, &*ED25519] {
        let auth = auth(&signer.table());
        let with_public_key_as_secret = EncodingKey::from_secret(&signer.public);
        for name in ALGORITHMS {
            if name == format!("{:?}", signer.algorithm) {
                continue;
            }
            let own = signer.mint(&header(name), &claims(&json!({})));
            assert_eq!(verify(&auth, &own), Err(REFUSED), "{:?} signed, {name} said", signer.algorithm);
            if name.starts_with("HS") && signer.algorithm != Algorithm::HS256 {
                let forger = Signer {
                    algorithm: name.parse().unwrap(),
                    private: with_public_key_as_secret.clone(),
                    public: vec![],
                };
                let forged = forger.mint(&header(name), &claims(&json!({})));
                assert_eq!(
                    verify(&auth, &forged),
                    Err(REFUSED),
                    "{name} with the public key of {:?}",
                    signer.algorithm
                );
            }
        }
        // The family would fit, and the signature is valid; the algorithm is not configured.
        if signer.algorithm == Algorithm::RS256 {
            for other in [Algorithm::RS384, Algorithm::PS256] {
                let token = signer.mint_as(other, &header(&format!("{other:?}")), &claims(&json!({})));
                assert_eq!(verify(&auth, &token), Err(REFUSED), "{other:?}");
            }
        }
    }
}

#[test]
fn a_token_without_a_signature_is_refused() {
    let auth = auth(&HMAC.table());
    let signed = HMAC.mint(&header("HS256"), &claims(&json!({})));
    let (unsigned, signature) = signed.rsplit_once('.').unwrap();
    for alg in ["none", "None", "NONE", "nOnE", "", "hs256"] {
        let token = HMAC.mint(&header(alg), &claims(&json!({})));
        assert_eq!(verify(&auth, &token), Err(REFUSED), "{alg}");
        let bare = token.rsplit_once('.').unwrap().0;
        assert_eq!(verify(&auth, &format!("{bare}.")), Err(REFUSED), "{alg} without signature");
    }
    // The last two bits of the last of 43 characters carry no data, so that a lenient decoder reads the same bytes.
    let (but_last, last) = signature.split_at(signature.len() - 1);
    let same_bytes = format!("{but_last}{}", char::from(last.as_bytes()[0] + 1));
    for token in [
        format!("{unsigned}."),
        unsigned.to_owned(),
        format!("{signed}.x"),
        format!("{signed}."),
        format!(".{signed}"),
        format!("{signed}="),
        format!(" {signed}"),
        format!("{unsigned}.{same_bytes}"),
        format!("a.b.c.d.{signature}"),
        "..".to_owned(),
        ".".to_owned(),
        "x".to_owned(),
        "a.".repeat(4000),
    ] {
        assert_eq!(verify(&auth, &token), Err(REFUSED), "{token}");
    }
    assert!(verify(&auth, &signed).is_ok());
}

#[test]
fn a_header_that_asks_for_more_than_a_signature_is_refused() {
    let auth = auth(&HMAC.table());
    let long = format!(r#","kid":"{}""#, "k".repeat(257));
    for (more, holds) in [
        ("", true),
        (r#","kid":"any""#, true),
        (r#","jku":"http://evil.test/","x5u":"http://evil.test/","jwk":{"kty":"oct","k":"AA"}"#, true),
        (r#","crit":["exp"]"#, false),
        (r#","crit":[]"#, false),
        (r#","b64":true"#, false),
        (r#","zip":"DEF""#, false),
        (r#","kid":1"#, false),
        (r#","kid":null"#, false),
        (&long, false),
        (r#","alg":"HS256""#, false),
        (r#","\u0061lg":"none""#, false),
        (r#","x":1,"x":1"#, false),
    ] {
        let token = HMAC.mint(&format!(r#"{{"alg":"HS256"{more}}}"#), &claims(&json!({})));
        assert_eq!(verify(&auth, &token).is_ok(), holds, "{more}");
    }
    for header in ["{}", r#"{"alg":null}"#, r#"{"alg":["HS256"]}"#, r#""HS256""#, "", "["] {
        assert_eq!(verify(&auth, &HMAC.mint(header, &claims(&json!({})))), Err(REFUSED), "{header}");
    }
}

/// What jsonwebtoken 10.4 accepts although `aud`, `iss` and `nbf` are configured (Keats/jsonwebtoken#493), as measured.
#[test]
fn what_the_library_lets_through_is_refused() {
    let table =
        AuthTable { issuer: Some("i".to_owned()), audience: Some("a".to_owned()), leeway: Period::OFF, ..HMAC.table() };
    let auth = auth(&table);
    let good = json!({ "iss": "i", "aud": ["x", "a"] });
    assert!(verify(&auth, &HMAC.mint(&header("HS256"), &claims(&good))).is_ok());
    for (more, refusal) in [
        (json!({ "iss": null, "aud": null }), INVALID),
        (json!({ "aud": 123, "iss": {} }), INVALID),
        (json!({ "iss": ["i"] }), INVALID),
        (json!({ "aud": "b" }), INVALID),
        (json!({ "aud": [] }), INVALID),
        (json!({ "aud": ["a", 1] }), INVALID),
        (json!({ "aud": { "a": "a" } }), INVALID),
        (json!({ "exp": 1e18 }), INVALID),
        (json!({ "iat": NOW_SECS + 1_000_000 }), INVALID),
        (json!({ "nbf": NOW_SECS + 1 }), INVALID),
        (json!({ "exp": NOW_SECS - 30 }), EXPIRED),
        (json!({ "exp": NOW_SECS }), EXPIRED),
        (json!({ "exp": NOW_SECS - 30, "aud": "b" }), INVALID),
    ] {
        let mut merged = good.clone();
        merged.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let token = HMAC.mint(&header("HS256"), &claims(&merged));
        assert_eq!(verify(&auth, &token), Err(AuthError::Refused(refusal)), "{more}");
    }
    for missing in ["iss", "aud", "exp"] {
        let mut left: Value = serde_json::from_str(&claims(&good)).unwrap();
        left.as_object_mut().unwrap().remove(missing);
        assert_eq!(verify(&auth, &HMAC.mint(&header("HS256"), &left.to_string())), Err(REFUSED), "without {missing}");
    }
}

/// 6 claims with 13 values each that they cannot have, less the two that `sub` can.
#[test]
fn claims_of_the_wrong_kind_are_refused() {
    let table = AuthTable { issuer: Some("i".to_owned()), audience: Some("a".to_owned()), ..HMAC.table() };
    let auth = auth(&table);
    let good =
        [("exp", "1800003600"), ("nbf", "1"), ("iat", "1"), ("iss", r#""i""#), ("aud", r#""a""#), ("sub", r#""u""#)];
    let odd = [
        "null",
        "true",
        "[]",
        "{}",
        "[1800003600]",
        r#""""#,
        "-1",
        "-1.5",
        "1e18",
        "4102444800",
        "18446744073709551615",
        r#""1800003600""#,
        r#"{"exp":1800003600}"#,
    ];
    let mut tried = 0;
    for (claim, _) in good {
        for value in odd {
            let is_a_name = claim == "sub" && (value.parse::<i64>().is_ok() || value.parse::<u64>().is_ok());
            if is_a_name || (claim == "sub" && value == r#""1800003600""#) {
                continue;
            }
            let member =
                |(name, usual): &(&str, &str)| format!(r#""{name}":{}"#, if *name == claim { value } else { usual });
            let body = format!("{{{}}}", good.iter().map(member).collect::<Vec<_>>().join(","));
            assert_eq!(verify(&auth, &HMAC.mint(&header("HS256"), &body)), Err(REFUSED), "{body}");
            tried += 1;
        }
    }
    assert!(tried >= 60, "{tried}");
    for body in ["", "[]", "null", "1", r#"{"exp":1e999}"#, r#"{"exp":NaN}"#, "{", "\u{feff}{}"] {
        assert_eq!(verify(&auth, &HMAC.mint(&header("HS256"), body)), Err(REFUSED), "{body}");
    }
    let repeated = r#"{"exp":1800003600,"iss":"i","aud":"a","sub":"u","sub":"root"}"#;
    assert_eq!(verify(&auth, &HMAC.mint(&header("HS256"), repeated)), Err(REFUSED));
    let whole = r#"{"exp":1800003600.5,"nbf":1.5,"iss":"i","aud":"a","sub":"u"}"#;
    assert!(verify(&auth, &HMAC.mint(&header("HS256"), whole)).is_ok());
}

#[test]
fn leeway_holds_to_the_second_on_both_sides() {
    for leeway in [0, 30, 60] {
        let auth = auth(&AuthTable { leeway: Period::from_secs(leeway), ..HMAC.table() });
        for (claim, secs, holds) in [
            ("exp", NOW_SECS - leeway + 1, true),
            ("exp", NOW_SECS - leeway, false),
            ("nbf", NOW_SECS + leeway, true),
            ("nbf", NOW_SECS + leeway + 1, false),
            ("iat", NOW_SECS + leeway, true),
            ("iat", NOW_SECS + leeway + 1, false),
        ] {
            let token = HMAC.mint(&header("HS256"), &claims(&json!({ claim: secs })));
            assert_eq!(verify(&auth, &token).is_ok(), holds, "{claim} {secs} with {leeway} s");
        }
    }
}

#[test]
fn the_first_claim_that_is_there_names_the_user() {
    let auth = auth(&HMAC.table());
    for (more, user) in [
        (json!({ "userId": "u", "sub": "s" }), Some("u")),
        (json!({ "userId": 7 }), Some("7")),
        (json!({ "userId": null }), Some("ada")),
        (json!({}), Some("ada")),
        (json!({ "userId": "" }), None),
        (json!({ "userId": 1.5 }), None),
        (json!({ "userId": {} }), None),
        (json!({ "sub": null }), None),
        (json!({ "sub": "u".repeat(257) }), None),
    ] {
        let identity = verify(&auth, &HMAC.mint(&header("HS256"), &claims(&more)));
        assert_eq!(identity.as_ref().ok().and_then(|identity| identity.user()), user, "{more}");
        assert_eq!(identity.is_ok(), user.is_some(), "{more}");
    }
}

#[test]
fn claims_become_headers_where_they_can() {
    let wanted = [("x-user", "sub"), ("X-Plan", "plan"), ("x-admin", "admin"), ("x-bad", "bad"), ("x-none", "none")];
    let forward_claims = wanted.iter().map(|&(name, claim)| (name.to_owned(), claim.to_owned())).collect();
    let auth = auth(&AuthTable { forward_claims, ..HMAC.table() });
    let token =
        HMAC.mint(&header("HS256"), &claims(&json!({ "plan": 3, "admin": false, "bad": "a\r\nx-admin: true" })));
    let identity = verify(&auth, &token).unwrap();
    let mut headers: Vec<_> =
        identity.forward_headers().iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    headers.sort_unstable();
    assert_eq!(headers, [("x-admin", "false"), ("x-plan", "3"), ("x-user", "ada")]);
    assert_eq!(auth.forward_header_names().count(), 5);
}

#[test]
fn no_token_is_refused_only_where_one_is_required() {
    assert_eq!(auth(&HMAC.table()).authenticate(None, now()), Err(AuthError::Refused(MISSING)));
    let optional = auth(&AuthTable { required: false, ..HMAC.table() });
    let anonymous = optional.authenticate(None, now()).unwrap();
    assert_eq!((anonymous.user(), anonymous.expires_at()), (None, None));
    assert_eq!(verify(&optional, "x"), Err(REFUSED), "an invalid token is refused even where none is required");
    let nameless = HMAC.mint(&header("HS256"), &claims(&json!({ "sub": null })));
    assert_eq!(verify(&optional, &nameless).unwrap().user(), None);
    let off = auth(&AuthTable { required: false, ..AuthTable::default() });
    assert_eq!(verify(&off, "x").unwrap().user(), None, "without a key tokens are not looked at");
}

#[test]
fn of_the_other_claims_those_are_kept_that_rules_name() {
    let named = ["tid", "age", "admin", "long", "list", "half", "empty", "none"].map(Into::into);
    let auth = auth(&AuthTable { revoke: true, ..HMAC.table() }).keeping(named.into_iter());
    let more = json!({
        "tid": "t-1", "age": 7, "admin": true, "long": "x".repeat(257), "list": ["a"], "half": 0.5, "empty": "",
        "secret": "unnamed", "jti": "id-1", "iat": NOW_SECS - 5,
    });
    let identity = verify(&auth, &HMAC.mint(&header("HS256"), &claims(&more))).unwrap();
    assert_eq!(identity.claims().collect::<Vec<_>>(), [("tid", "t-1"), ("age", "7"), ("admin", "true")]);
    assert_eq!((identity.claim("tid"), identity.claim("secret")), (Some("t-1"), None));
    assert_eq!((identity.jti(), identity.issued_at()), (Some("id-1"), Some(now() - Duration::from_secs(5))));
    for jti in [json!(7), json!(""), json!("x".repeat(257))] {
        let identity = verify(&auth, &HMAC.mint(&header("HS256"), &claims(&json!({ "jti": jti })))).unwrap();
        assert_eq!((identity.jti(), identity.issued_at()), (None, None), "{jti}");
    }
}
