//! Key sets as issuers publish them, and as they should not.

use serde_json::{Value, json};

use super::*;
use crate::policy::auth::tests::support::{ED25519, HMAC, P256, P384, RSA, Signer};

fn set(keys: &[Value]) -> Result<KeySet, KeySetError> {
    KeySet::from_jwks(json!({ "keys": keys }).to_string().as_bytes())
}

fn with(mut jwk: Value, member: &str, value: Value) -> Value {
    jwk[member] = value;
    jwk
}

#[test]
fn every_kind_of_public_key_is_found_by_its_name() {
    let signers: [&Signer; 4] = [&RSA, &P256, &P384, &ED25519];
    let set = set(&signers.map(|signer| signer.jwk(&format!("{:?}", signer.algorithm)))).unwrap();
    assert_eq!((set.len(), set.ignored()), (4, &[][..]));
    for signer in signers {
        let kid = format!("{:?}", signer.algorithm);
        assert!(matches!(set.find(Some(&kid), signer.algorithm), Lookup::Found(_)), "{kid}");
        assert!(matches!(set.find(Some(&kid), Algorithm::HS256), Lookup::Unfit), "{kid}");
    }
    assert!(matches!(set.find(Some("RS256"), Algorithm::ES256), Lookup::Unfit));
    assert!(matches!(set.find(Some("rs256"), Algorithm::RS256), Lookup::Unknown));
    assert!(matches!(set.find(None, Algorithm::RS256), Lookup::Unfit), "which of the four?");
}

#[test]
fn a_token_may_leave_out_the_name_of_an_only_key() {
    let mut nameless = RSA.jwk("x");
    nameless.as_object_mut().unwrap().remove("kid");
    let set = set(&[nameless]).unwrap();
    assert!(matches!(set.find(None, Algorithm::RS256), Lookup::Found(_)));
    assert!(matches!(set.find(Some("x"), Algorithm::RS256), Lookup::Unknown));
}

#[test]
fn two_keys_of_one_name_are_told_apart_by_algorithm() {
    let set = set(&[RSA.jwk("k"), P256.jwk("k")]).unwrap();
    for algorithm in [Algorithm::RS256, Algorithm::ES256] {
        assert!(matches!(set.find(Some("k"), algorithm), Lookup::Found(_)), "{algorithm:?}");
    }
}

#[test]
fn a_key_that_cannot_be_used_does_not_spoil_the_others() {
    use IgnoredReason::{Curve, OtherUse, PrivatePart, RsaSize, UnknownType};
    let modulus = |bytes: usize| json!(URL_SAFE_NO_PAD.encode(vec![0xff; bytes]));
    for (odd, reason) in [
        (HMAC.jwk("odd"), UnknownType),
        (json!({ "kty": "LMS", "kid": "odd" }), UnknownType),
        (json!({ "kty": "RSA", "kid": "odd" }), UnknownType),
        (json!({ "kid": "odd" }), UnknownType),
        (with(RSA.jwk("odd"), "n", modulus(128)), RsaSize),
        (with(RSA.jwk("odd"), "n", modulus(1025)), RsaSize),
        (with(RSA.jwk("odd"), "n", json!("***")), RsaSize),
        (with(P256.jwk("odd"), "crv", json!("P-384")), Curve),
        (with(P256.jwk("odd"), "crv", json!("P-521")), Curve),
        (with(P256.jwk("odd"), "x", json!("AA")), Curve),
        (with(ED25519.jwk("odd"), "x", json!("AA")), Curve),
        (with(RSA.jwk("odd"), "use", json!("enc")), OtherUse),
        (with(RSA.jwk("odd"), "key_ops", json!(["encrypt"])), OtherUse),
        (with(RSA.jwk("odd"), "alg", json!("RSA-OAEP")), OtherUse),
        (with(RSA.jwk("odd"), "alg", json!("HS256")), OtherUse),
        (with(RSA.jwk("odd"), "d", json!("AA")), PrivatePart),
    ] {
        let set = set(&[odd.clone(), P384.jwk("good")]).unwrap();
        assert_eq!(set.len(), 1, "{odd}");
        assert_eq!(set.ignored(), [IgnoredKey { kid: Some("odd".to_owned()), reason }], "{odd}");
        assert!(matches!(set.find(Some("odd"), Algorithm::RS256), Lookup::Unknown), "{odd}");
    }
}

#[test]
fn a_published_algorithm_is_the_only_one() {
    let only = with(with(RSA.jwk("k"), "alg", json!("PS256")), "use", json!("sig"));
    let set = set(&[with(only, "key_ops", json!(["verify"]))]).unwrap();
    assert!(matches!(set.find(Some("k"), Algorithm::PS256), Lookup::Found(_)));
    assert!(matches!(set.find(Some("k"), Algorithm::RS256), Lookup::Unfit));
}

#[test]
fn a_document_without_a_key_is_an_error() {
    for document in ["", "x", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":null}"#] {
        assert!(matches!(KeySet::from_jwks(document.as_bytes()), Err(KeySetError::Malformed(_))), "{document}");
    }
    assert!(matches!(set(&[]), Err(KeySetError::NoUsableKey(_))));
    assert!(matches!(set(&[json!(1)]), Err(KeySetError::NoUsableKey(ignored)) if ignored.len() == 1));
    assert!(matches!(set(&vec![P256.jwk("k"); 101]), Err(KeySetError::TooMany(101))));
    assert_eq!(set(&vec![P256.jwk("k"); 100]).unwrap().len(), 100);
}
