//! Keys, and tokens signed with them, including tokens that no correct library would make.

use std::{
    path::PathBuf,
    sync::{Arc, LazyLock},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, crypto, jwk::Jwk};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256, RsaKeySize};
use serde_json::{Value, json};

use crate::{
    policy::{
        auth::{Auth, AuthError, AuthTable, Credential, shared_keys::SharedKeys},
        identity::Identity,
        token_source::Token,
    },
    units::SecretSource,
};

pub(crate) const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
/// 2027-01-15, as every test has it.
pub(crate) const NOW_SECS: u64 = 1_800_000_000;

pub(crate) fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW_SECS)
}

/// A key pair, or a shared secret, with the first algorithm it is for.
pub(crate) struct Signer {
    pub(crate) algorithm: Algorithm,
    pub(crate) private: EncodingKey,
    /// PEM, or the secret itself.
    pub(crate) public: Vec<u8>,
}

pub(crate) static HMAC: LazyLock<Signer> = LazyLock::new(|| Signer {
    algorithm: Algorithm::HS256,
    private: EncodingKey::from_secret(SECRET),
    public: SECRET.to_vec(),
});
pub(crate) static RSA: LazyLock<Signer> = LazyLock::new(|| {
    let pair = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let private = EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes()).unwrap();
    Signer { algorithm: Algorithm::RS256, private, public: pair.public_key_pem().into() }
});
pub(crate) static P256: LazyLock<Signer> = LazyLock::new(|| {
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let private = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap();
    Signer { algorithm: Algorithm::ES256, private, public: pair.public_key_pem().into() }
});
pub(crate) static P384: LazyLock<Signer> = LazyLock::new(|| {
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    let private = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap();
    Signer { algorithm: Algorithm::ES384, private, public: pair.public_key_pem().into() }
});
pub(crate) static ED25519: LazyLock<Signer> = LazyLock::new(|| {
    let pair = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let private = EncodingKey::from_ed_pem(pair.serialize_pem().as_bytes()).unwrap();
    Signer { algorithm: Algorithm::EdDSA, private, public: pair.public_key_pem().into() }
});

impl Signer {
    /// The table that accepts its tokens.
    pub(crate) fn table(&self) -> AuthTable {
        let file = file(&self.public);
        let hmac = self.algorithm == Algorithm::HS256;
        AuthTable {
            secret: hmac.then(|| SecretSource::File(file.clone())),
            public_key: (!hmac).then_some(file),
            algorithms: vec![format!("{:?}", self.algorithm)],
            ..AuthTable::default()
        }
    }

    /// A token with this header and these claims, signed.
    pub(crate) fn mint(&self, header: &str, claims: &str) -> String {
        self.mint_as(self.algorithm, header, claims)
    }

    pub(crate) fn mint_as(&self, algorithm: Algorithm, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = crypto::sign(signed.as_bytes(), &self.private, algorithm).unwrap();
        format!("{signed}.{signature}")
    }

    /// The public key as an issuer publishes it.
    pub(crate) fn jwk(&self, kid: &str) -> Value {
        let decoding = match self.algorithm {
            Algorithm::RS256 => DecodingKey::from_rsa_pem(&self.public),
            Algorithm::EdDSA => DecodingKey::from_ed_pem(&self.public),
            Algorithm::HS256 => Ok(DecodingKey::from_secret(&self.public)),
            _ => DecodingKey::from_ec_pem(&self.public),
        };
        let mut jwk = serde_json::to_value(Jwk::from_decoding_key(&decoding.unwrap(), None).unwrap()).unwrap();
        jwk["kid"] = json!(kid);
        jwk
    }
}

/// A file that stays until the process ends.
pub(crate) fn file(content: &[u8]) -> PathBuf {
    let path = tempfile::NamedTempFile::new().unwrap().keep().unwrap().1;
    std::fs::write(&path, content).unwrap();
    path
}

pub(crate) fn header(algorithm: &str) -> String {
    json!({ "alg": algorithm, "typ": "JWT" }).to_string()
}

/// Claims that are valid for an hour, with `more` added.
pub(crate) fn claims(more: &Value) -> String {
    let mut claims = json!({ "exp": NOW_SECS + 3600, "sub": "ada" });
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    claims.to_string()
}

pub(crate) fn auth(table: &AuthTable) -> Auth {
    Auth::compile(table, &Arc::new(SharedKeys::default())).unwrap()
}

/// The result of verifying this token now.
pub(crate) fn verify(auth: &Auth, token: &str) -> Result<Identity, AuthError> {
    auth.identify(Credential::Token(Token::read(token).unwrap().as_ref()), None, now())
}
