//! Which configurations are refused, and with what words.

use std::sync::Arc;

use super::support::*;
use crate::{
    policy::{
        auth::{Auth, AuthTable, key_server, shared_keys::SharedKeys},
        compile_error::CompileError,
    },
    units::{Period, SecretSource},
};

fn refused(table: &AuthTable) -> CompileError {
    Auth::compile(table, &Arc::new(SharedKeys::default())).unwrap_err()
}

fn with_secret(secret: &[u8]) -> AuthTable {
    AuthTable { secret: Some(SecretSource::File(file(secret))), ..AuthTable::default() }
}

#[test]
fn without_a_key_nothing_starts_that_requires_one() {
    assert!(matches!(refused(&AuthTable::default()), CompileError::NoKey));
    let optional = AuthTable { required: false, ..AuthTable::default() };
    assert!(Auth::compile(&optional, &Arc::default()).is_ok());
}

#[test]
fn a_secret_that_can_be_guessed_is_refused() {
    assert!(matches!(refused(&with_secret(&[b'x'; 31])), CompileError::WeakSecret(31)));
    assert!(matches!(refused(&with_secret(b"")), CompileError::Secret(_)));
    let of_jwt_io = b"a-string-secret-at-least-256-bits-long";
    assert!(matches!(refused(&with_secret(of_jwt_io)), CompileError::ExampleSecret));
    let weak = |secret| AuthTable { allow_weak_secret: true, ..with_secret(secret) };
    assert!(Auth::compile(&weak(b"dev"), &Arc::default()).is_ok());
    assert!(Auth::compile(&weak(of_jwt_io), &Arc::default()).is_ok());
    assert!(matches!(refused(&weak(b"")), CompileError::Secret(_)), "an empty one is no secret at all");
    let missing = AuthTable { secret: Some(SecretSource::Env("TIDEGATE_NO_SUCH".to_owned())), ..AuthTable::default() };
    assert!(matches!(refused(&missing), CompileError::Secret(_)));
}

#[test]
fn a_key_is_used_for_its_own_algorithms_only() {
    let algorithms = |table: AuthTable, names: &[&str]| AuthTable {
        algorithms: names.iter().map(|&name| name.to_owned()).collect(),
        ..table
    };
    for (signer, names) in [
        (&*HMAC, &["RS256"][..]),
        (&*HMAC, &["HS256", "ES256"]),
        (&*RSA, &["HS256"]),
        (&*RSA, &["RS256", "HS256"]),
        (&*P256, &["ES384"]),
        (&*P384, &["ES256"]),
        (&*ED25519, &["ES256"]),
    ] {
        let error = refused(&algorithms(signer.table(), names));
        assert!(matches!(error, CompileError::WrongAlgorithm { .. }), "{names:?}");
    }
    let published = AuthTable { jwks_url: Some("https://issuer.test/jwks".to_owned()), ..AuthTable::default() };
    assert!(matches!(refused(&published), CompileError::WrongAlgorithm { .. }), "HS256 is the default");
    assert!(Auth::compile(&algorithms(published, &["RS256", "EdDSA"]), &Arc::default()).is_ok());
    assert!(matches!(refused(&algorithms(HMAC.table(), &[])), CompileError::NoAlgorithm));
    assert!(matches!(refused(&algorithms(HMAC.table(), &["none"])), CompileError::UnknownAlgorithm(_)));
}

#[test]
fn a_file_without_a_public_key_is_refused() {
    let private = rcgen::KeyPair::generate().unwrap().serialize_pem();
    let two = [&RSA.public[..], &P256.public[..]].concat();
    for content in [b"".as_slice(), b"x", private.as_bytes(), &two, SECRET] {
        let table = AuthTable { public_key: Some(file(content)), ..AuthTable::default() };
        assert!(matches!(refused(&table), CompileError::PublicKeyUnknown { .. }));
    }
    let missing = AuthTable { public_key: Some("/nowhere/key.pem".into()), ..AuthTable::default() };
    assert!(matches!(refused(&missing), CompileError::PublicKeyUnreadable { .. }));
}

#[test]
fn values_out_of_bounds_are_refused() {
    let leeway = AuthTable { leeway: Period::from_secs(61), ..HMAC.table() };
    assert!(matches!(refused(&leeway), CompileError::Leeway(61)));
    assert!(matches!(refused(&AuthTable { user_claim: vec![], ..HMAC.table() }), CompileError::NoUserClaim));
    let two_keys = AuthTable { public_key: Some(file(&RSA.public)), ..HMAC.table() };
    assert!(matches!(refused(&two_keys), CompileError::ManyKeys));
    for name in ["host", "Cookie", "sec-websocket-key", "x user", ""] {
        let forward_claims = [(name.to_owned(), "sub".to_owned())].into();
        assert!(
            matches!(refused(&AuthTable { forward_claims, ..HMAC.table() }), CompileError::ForwardHeader(_)),
            "{name}"
        );
    }
    let twice = [("x-user", "sub"), ("X-User", "sub")].map(|(name, claim)| (name.to_owned(), claim.to_owned()));
    let twice = AuthTable { forward_claims: twice.into(), ..HMAC.table() };
    assert!(matches!(refused(&twice), CompileError::ForwardHeader(_)));
}

#[test]
fn keys_are_fetched_only_where_nobody_can_change_them_on_the_way() {
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
fn an_error_says_how_to_mend_it_and_not_what_the_secret_is() {
    let error = refused(&with_secret(b"canary")).to_string();
    assert!(error.contains("auth.secret") && error.contains("openssl rand") && !error.contains("canary"), "{error}");
}
