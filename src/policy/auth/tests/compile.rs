//! Which configurations are refused, and with which message.

use std::sync::Arc;

use super::support::*;
use crate::{
    policy::auth::{
        Auth, AuthTable,
        compile::{key_server, shared_secret},
        shared_keys::SharedKeys,
    },
    units::{Period, SecretSource},
};

/// The message for a table that has one fault.
fn refused(table: &AuthTable) -> String {
    let faults = Auth::compile(table, &Arc::new(SharedKeys::default())).unwrap_err();
    assert_eq!(faults.len(), 1, "{faults:?}");
    faults[0].to_string()
}

#[track_caller]
fn refuses(table: &AuthTable, message: &str) {
    let refused = refused(table);
    assert!(refused.starts_with(message), "{refused}");
}

fn with_secret(secret: &[u8]) -> AuthTable {
    AuthTable { secret: Some(SecretSource::File(file(secret))), ..AuthTable::default() }
}

#[test]
fn required_tokens_need_a_key() {
    refuses(
        &AuthTable::default(),
        "auth.required is true, but there is no key that verifies tokens; below [auth] write",
    );
    let optional = AuthTable { required: false, ..AuthTable::default() };
    assert!(Auth::compile(&optional, &Arc::default()).is_ok());
}

#[test]
fn a_secret_that_can_be_guessed_is_refused() {
    refuses(&with_secret(&[b'x'; 31]), "auth.secret has 31 bytes; make one of at least 32");
    refuses(&with_secret(b""), "auth.secret: the secret in the file ");
    let of_jwt_io = b"a-string-secret-at-least-256-bits-long";
    refuses(&with_secret(of_jwt_io), "auth.secret is a secret from public examples; make one of your own");
    let weak = |secret| AuthTable { allow_weak_secret: true, ..with_secret(secret) };
    assert!(Auth::compile(&weak(b"dev"), &Arc::default()).is_ok());
    assert!(Auth::compile(&weak(of_jwt_io), &Arc::default()).is_ok());
    refuses(&weak(b""), "auth.secret: the secret in the file ");
    let missing = AuthTable { secret: Some(SecretSource::Env("TIDEGATE_NO_SUCH".to_owned())), ..AuthTable::default() };
    refuses(&missing, "auth.secret: the environment variable TIDEGATE_NO_SUCH is not set; set it to the secret");
}

#[test]
fn a_key_is_used_for_its_own_algorithms_only() {
    let algorithms = |table: AuthTable, names: &[&str]| AuthTable {
        algorithms: names.iter().map(|&name| name.to_owned()).collect(),
        ..table
    };
    for (signer, names, message) in [
        (&*HMAC, &["RS256"][..], "[0] is \"RS256\", but auth.secret can only be used for [HS256, HS384, HS512]"),
        (&*HMAC, &["HS256", "ES256"], "[1] is \"ES256\", but auth.secret can only be used for"),
        (&*RSA, &["HS256"], "[0] is \"HS256\", but auth.public_key can only be used for"),
        (&*RSA, &["RS256", "HS256"], "[1] is \"HS256\", but auth.public_key"),
        (&*P256, &["ES384"], "[0] is \"ES384\", but auth.public_key can only be used for [ES256]"),
        (&*P384, &["ES256"], "[0] is \"ES256\", but auth.public_key can only be used for [ES384]"),
        (&*ED25519, &["ES256"], "[0] is \"ES256\", but auth.public_key can only be used for [EdDSA]"),
    ] {
        refuses(&algorithms(signer.table(), names), &format!("auth.algorithms{message}"));
    }
    let published = AuthTable { jwks_url: Some("https://issuer.test/jwks".to_owned()), ..AuthTable::default() };
    refuses(&published, "auth.algorithms[0] is \"HS256\", but auth.jwks_url can only be used for [RS256,");
    assert!(Auth::compile(&algorithms(published, &["RS256", "EdDSA"]), &Arc::default()).is_ok());
    refuses(&algorithms(HMAC.table(), &[]), "auth.algorithms is empty; name one");
    refuses(&algorithms(HMAC.table(), &["HS256", "none"]), "auth.algorithms[1] is \"none\"; it must be one of HS256,");
}

#[test]
fn a_file_without_a_public_key_is_refused() {
    let private = rcgen::KeyPair::generate().unwrap().serialize_pem();
    let two = [&RSA.public[..], &P256.public[..]].concat();
    for content in [b"".as_slice(), b"x", private.as_bytes(), &two, SECRET] {
        let table = AuthTable { public_key: Some(file(content)), ..AuthTable::default() };
        let refused = refused(&table);
        assert!(refused.contains(" is not a public key in PEM form"), "{refused}");
    }
    let missing = AuthTable { public_key: Some("/nowhere/key.pem".into()), ..AuthTable::default() };
    let of_rsa = AuthTable { algorithms: vec!["RS256".to_owned()], ..missing.clone() };
    refuses(&of_rsa, "auth.public_key: /nowhere/key.pem cannot be read: ");
    // That no public key is for HS256 is known without the file.
    let faults = Auth::compile(&missing, &Arc::default()).err().unwrap();
    let told: Vec<_> = faults.iter().map(|fault| (&*fault.key, fault.is_unread)).collect();
    assert_eq!(told, [("auth.public_key", true), ("auth.algorithms[0]", false)]);
}

#[test]
fn values_out_of_bounds_are_refused() {
    let leeway = AuthTable { leeway: Period::from_secs(61), ..HMAC.table() };
    refuses(&leeway, "auth.leeway is \"61s\"; it must be at most 60s");
    refuses(&AuthTable { user_claim: vec![], ..HMAC.table() }, "auth.user_claim is empty");
    refuses(&AuthTable { token_from: vec![], ..HMAC.table() }, "auth.token_from is empty");
    let two_keys = AuthTable { public_key: Some(file(&RSA.public)), ..HMAC.table() };
    refuses(&two_keys, "auth.public_key is given together with auth.secret; give one of them");
    let forwarded = |names: &[&str]| AuthTable {
        forward_claims: names.iter().map(|&name| (name.to_owned(), "sub".to_owned())).collect(),
        ..HMAC.table()
    };
    for name in ["host", "Cookie", "sec-websocket-key"] {
        refuses(&forwarded(&[name]), &format!("auth.forward_claims.{name} is a header with a meaning of its own"));
    }
    for name in ["x user", "", "x_user"] {
        refuses(&forwarded(&[name]), &format!("auth.forward_claims.{name} is not a header name"));
    }
    refuses(&forwarded(&["x-user", "X-User"]), "auth.forward_claims.x-user is repeated");
}

#[test]
fn keys_are_fetched_over_https_or_loopback_only() {
    for (url, allowed) in [
        ("https://issuer.test/.well-known/jwks.json", true),
        ("http://localhost:8080/jwks", true),
        ("http://127.0.0.1:8080/jwks", true),
        ("http://[::1]:8080/jwks", true),
        ("http://issuer.test/jwks", false),
        ("http://127.0.0.1.evil.test/jwks", false),
        ("http://localhost.evil.test/jwks", false),
        ("https://user:password@issuer.test/jwks", false),
        ("file:///etc/passwd", false),
        ("ftp://localhost/jwks", false),
        ("/jwks", false),
        ("localhost:80", false),
        ("", false),
    ] {
        assert_eq!(key_server(url).is_ok(), allowed, "{url}");
    }
}

#[test]
fn an_error_names_the_fix_and_never_the_secret() {
    let error = shared_secret(&SecretSource::File(file(b"canary")), false).unwrap_err().to_string();
    assert!(error.contains("auth.secret") && error.contains("openssl rand") && !error.contains("canary"), "{error}");
}
