//! What the log says of each token that is refused.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use super::support::*;
use crate::policy::{
    auth::{AuthError, AuthTable, EXPIRED, INVALID, key_set::KeySet, shared_keys::SharedKeys},
    verdict::Refusal,
};

/// Claims that hold, but for one.
fn but(claim: &str, value: &Value) -> String {
    let mut claims: Value = serde_json::from_str(&claims(&json!({ "iss": "https://id/", "aud": "tutor" }))).unwrap();
    match value {
        Value::Null => drop(claims.as_object_mut().unwrap().remove(claim)),
        value => claims[claim] = value.clone(),
    }
    claims.to_string()
}

fn refused(table: &AuthTable, token: &str) -> Refusal {
    match verify(&auth(table), token) {
        Err(AuthError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

/// The issuer and the audience are asked for.
fn table() -> AuthTable {
    AuthTable { issuer: Some("https://id/".to_owned()), audience: Some("tutor".to_owned()), ..HMAC.table() }
}

/// The client hears the same of each; the log has this sentence, and this key.
fn assert_told(token: &str, sentence: &str, setting: Option<&str>) {
    let refusal = refused(&table(), token);
    assert_eq!(refusal, INVALID, "{sentence}");
    let fault = refusal.fault.expect(sentence);
    assert_eq!((&*fault.to_string(), fault.setting()), (sentence, setting));
}

#[test]
fn what_is_wrong_with_a_token_that_nobody_believes_has_a_sentence() {
    let other = Signer { algorithm: Algorithm::HS256, private: EncodingKey::from_secret(&[7; 32]), public: vec![] };
    let (good, hs256) = (but("x", &json!(1)), header("HS256"));
    let head = |more: Value| {
        let mut head = json!({ "alg": "HS256" });
        head.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        HMAC.mint(&head.to_string(), &good)
    };
    let unsigned = |alg: &str| {
        let token = HMAC.mint(&header(alg), &good);
        token.rsplit_once('.').map(|(signed, _)| format!("{signed}.")).unwrap()
    };
    for (token, sentence, setting) in [
        ("x".to_owned(), "it is no JWT: a JWT is three parts of base64url with dots between them", None),
        ("a.b.c.d".to_owned(), "it is no JWT: a JWT is three parts of base64url with dots between them", None),
        (
            "a.b.c.d.e".to_owned(),
            "it has five parts: it is encrypted, as NextAuth's own session tokens are; sign a token for the gate instead",
            None,
        ),
        ("a.b.c".to_owned(), "its header is no JSON object in base64url, or has a member twice", None),
        (head(json!({ "crit": [] })), "its header has crit, which is not supported", None),
        (head(json!({ "kid": 7 })), "its kid is no text, or longer than 256 bytes", None),
        (HMAC.mint("{}", &good), "its alg is missing, or none that is known", None),
        (HMAC.mint(&header("HS257"), &good), "its alg is missing, or none that is known", None),
        (HMAC.mint(&header("none"), &good), "its alg is none: nobody has signed it", None),
        (unsigned("none"), "its alg is none: nobody has signed it", None),
        (unsigned("HS256"), "it is no JWT: a JWT is three parts of base64url with dots between them", None),
        (
            HMAC.mint_as(Algorithm::HS512, &header("HS512"), &good),
            "its alg is HS512, which auth.algorithms does not list",
            Some("auth.algorithms"),
        ),
        (
            other.mint(&hs256, &good),
            "its signature is not of the configured key: another secret has signed it",
            Some("auth.secret, auth.public_key, auth.jwks_url"),
        ),
        (HMAC.mint(&hs256, "[]"), "its claims are no JSON object in base64url, or have a member twice", None),
    ] {
        assert_told(&token, sentence, setting);
    }
}

#[test]
fn each_claim_that_is_not_as_it_must_be_has_a_sentence() {
    let minute = 60;
    let with = |claim: &str, value: Value| HMAC.mint(&header("HS256"), &but(claim, &value));
    for (token, sentence, setting) in [
        (with("exp", Value::Null), "it has no exp, so it would never expire", None),
        (with("exp", json!("soon")), "its exp is not a number of seconds between 1970 and 2100", None),
        (with("exp", json!(NOW_SECS * 1000)), "its exp is not a number of seconds between 1970 and 2100", None),
        (
            with("nbf", json!(NOW_SECS + 30 + 90)),
            "its nbf is 90 s ahead of the clock of this machine",
            Some("auth.leeway"),
        ),
        (
            with("iat", json!(NOW_SECS + 30 + 5 * minute)),
            "its iat is 5 minutes ahead of the clock of this machine",
            Some("auth.leeway"),
        ),
        (with("iss", Value::Null), "it has no iss, and auth.issuer wants one", Some("auth.issuer")),
        (with("iss", json!("https://id")), "its iss and auth.issuer differ in a slash at the end", Some("auth.issuer")),
        (with("iss", json!("https://é")), "its iss is another one than auth.issuer", Some("auth.issuer")),
        (with("aud", Value::Null), "it has no aud, and auth.audience wants one", Some("auth.audience")),
        (with("aud", json!("tutors")), "its aud does not name auth.audience", Some("auth.audience")),
        (with("aud", json!(["a", "b"])), "its aud does not name auth.audience", Some("auth.audience")),
        (with("aud", json!([])), "its aud does not name auth.audience", Some("auth.audience")),
        (
            with("sub", Value::Null),
            "it has none of the claims in auth.user_claim, so it names no user",
            Some("auth.user_claim"),
        ),
        (
            with("sub", json!("")),
            "its claim of auth.user_claim is no text of 1 to 256 bytes and no whole number",
            Some("auth.user_claim"),
        ),
    ] {
        assert_told(&token, sentence, setting);
    }
    assert!(verify(&auth(&table()), &with("aud", json!(["a", "tutor"]))).is_ok());
}

#[test]
fn an_expired_token_says_since_when() {
    let minute = 60;
    for (ago, sentence) in [
        (31, "it expired 1 s ago"),
        (30 + 5 * minute, "it expired 5 minutes ago"),
        (30 + 3 * 3600, "it expired 3 hours ago"),
        (30 + 365 * 86_400, "it expired 365 days ago"),
    ] {
        let refusal = refused(&HMAC.table(), &HMAC.mint(&header("HS256"), &but("exp", &json!(NOW_SECS - ago))));
        assert_eq!(refusal, EXPIRED);
        assert_eq!(refusal.fault.unwrap().to_string(), sentence);
    }
}

#[test]
fn a_key_that_is_not_there_is_told_by_the_algorithm_of_the_token() {
    let keys = SharedKeys::default();
    keys.loaded(KeySet::from_jwks(json!({ "keys": [P256.jwk("a")] }).to_string().as_bytes()).unwrap());
    let Err(AuthError::Refused(refusal)) = keys.find(Some("a"), Algorithm::ES384) else { panic!("it fits no key") };
    assert_eq!(refusal, INVALID);
    assert_eq!(refusal.fault.unwrap().to_string(), "no key is for ES384 and has its kid");
    assert_eq!(refusal.fault.unwrap().setting(), Some("auth.jwks_url, auth.public_key, auth.secret"));
}

#[test]
fn a_token_is_in_no_sentence() {
    let token = format!("{}.{}.{}", URL_SAFE_NO_PAD.encode(header("s3cr3t")), "s3cr3t", "s3cr3t");
    let refusal = refused(&HMAC.table(), &token);
    assert!(!format!("{refusal:?}{}", refusal.fault.unwrap()).contains("s3cr3t"));
}
