//! Tokens: whichever is let in, another reader finds in it what was found, and every reason to let it in.
#![no_main]

use std::{
    collections::BTreeMap,
    fs,
    sync::{Arc, LazyLock},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::HeaderValue;
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value, json};
use tidegate::{
    policy::{
        auth::{Auth, AuthError, AuthTable, Credential, EXPIRED, INVALID, shared_keys::SharedKeys},
        identity::Identity,
        token_source::{TOKEN_MAX_BYTES, Token, TokenSources},
    },
    units::{Period, SecretSource},
};
use tidegate_fuzz::json::unrepeated_object;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const NOW: Duration = Duration::from_secs(1_800_000_000);
const LEEWAY: Duration = Duration::from_secs(30);
const YEAR_2100_SECS: f64 = 4_102_444_800.0;
const USER_CLAIMS: [&str; 2] = ["userId", "sub"];
const FORWARDED: [(&str, &str); 2] = [("x-plan", "plan"), ("x-user", "sub")];
const NAMES: [&str; 3] = ["HS256", "HS384", "HS512"];
/// Those that the configuration allows.
const ALLOWED: [&str; 2] = ["HS256", "HS512"];

/// Both expect an issuer and an audience, or neither.
struct Gate {
    auth: Auth,
    strict: bool,
}

static GATES: LazyLock<[Gate; 2]> = LazyLock::new(|| {
    let file = std::env::temp_dir().join(format!("tidegate-fuzz-{}", std::process::id()));
    fs::write(&file, SECRET).expect("the folder for temporary files can be written to");
    let gates = [true, false].map(|strict| {
        let table = AuthTable {
            required: strict,
            secret: Some(SecretSource::File(file.clone())),
            algorithms: ALLOWED.map(str::to_owned).to_vec(),
            issuer: strict.then(|| "i".to_owned()),
            audience: strict.then(|| "a".to_owned()),
            leeway: Period(LEEWAY),
            user_claim: USER_CLAIMS.map(str::to_owned).to_vec(),
            forward_claims: BTreeMap::from(FORWARDED.map(|(name, claim)| (name.to_owned(), claim.to_owned()))),
            ..AuthTable::default()
        };
        Gate { auth: Auth::compile(&table, &Arc::new(SharedKeys::default())).expect("the table is good"), strict }
    });
    fs::remove_file(&file).expect("it was written");
    gates
});
static SOURCES: LazyLock<TokenSources> =
    LazyLock::new(|| TokenSources::compile(&["connect:token".to_owned()]).expect("it is a source"));

// The first byte is a digit: its last bit chooses the gate, the others the algorithm that the two lines behind it, header
// and claims, are signed with. With 6 and 7 all behind it is the token.
fuzz_target!(|data: &[u8]| {
    let Some((&options, text)) = data.split_first() else { return };
    let gate = &GATES[usize::from(options & 1)];
    let token = match NAMES.get(usize::from(options >> 1 & 3)) {
        Some(name) => {
            let mut lines = text.splitn(2, |&byte| byte == b'\n');
            let [header, claims] = [(); 2].map(|()| URL_SAFE_NO_PAD.encode(lines.next().unwrap_or_default()));
            let signed = format!("{header}.{claims}");
            let tag = hmac::sign(&key(name), signed.as_bytes());
            format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
        }
        None => match str::from_utf8(text) {
            Ok(text) => text.to_owned(),
            Err(_) => return,
        },
    };
    let found = SOURCES.from_connect(json!({ "token": token }).to_string().as_bytes());
    assert_eq!(found.is_err(), token.len() > TOKEN_MAX_BYTES);
    assert!(!matches!(found, Ok(None)) || token.is_empty());
    let Ok(Some(found)) = found else { return };
    let outcome = verified(gate, &found);
    assert_eq!(outcome, reference(gate, &token), "{token}");
});

/// What a verified token says: the user, when its session ends, and the headers for the service.
#[derive(Debug, PartialEq)]
struct Says {
    user: Option<String>,
    expires_at: Option<SystemTime>,
    headers: Vec<(String, HeaderValue)>,
}

fn verified(gate: &Gate, token: &Token) -> Result<Says, AuthError> {
    let identity: Identity = gate.auth.identify(Credential::Token(Some(token)), None, UNIX_EPOCH + NOW)?;
    let headers = identity.forward_headers().iter();
    Ok(Says {
        user: identity.user().map(str::to_owned),
        expires_at: identity.expires_at(),
        headers: headers.map(|(name, value)| (name.as_str().to_owned(), value.clone())).collect(),
    })
}

fn reference(gate: &Gate, token: &str) -> Result<Says, AuthError> {
    let claims = signed_claims(token).ok_or(INVALID)?;
    let ends = ends(gate, &claims).ok_or(INVALID)?;
    if UNIX_EPOCH + NOW >= ends {
        return Err(EXPIRED.into());
    }
    let user = user(&claims)?;
    if gate.strict && user.is_none() {
        return Err(INVALID.into());
    }
    let header = |(name, claim): (&str, &str)| {
        let text = match claims.get(claim)? {
            Value::String(text) => text.clone(),
            Value::Null | Value::Array(_) | Value::Object(_) => return None,
            scalar => scalar.to_string(),
        };
        // RFC 9110 §5.5: no control character but a tab.
        let is_value = text.bytes().all(|byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f));
        is_value.then(|| (name.to_owned(), HeaderValue::from_str(&text).expect("it has no control character")))
    };
    Ok(Says { user, expires_at: Some(ends), headers: FORWARDED.into_iter().filter_map(header).collect() })
}

/// The claims of a token of three parts whose header names an allowed algorithm and nothing that changes its meaning.
fn signed_claims(token: &str) -> Option<Map<String, Value>> {
    let parts: Vec<&str> = token.split('.').collect();
    let &[header, claims, signature] = &parts[..] else { return None };
    let object = |part: &str| unrepeated_object(&URL_SAFE_NO_PAD.decode(part).ok()?, 16);
    let said = object(header)?;
    let changes_meaning = ["crit", "b64", "zip"].iter().any(|name| said.contains_key(*name));
    let names_key = said.get("kid").is_none_or(|kid| kid.as_str().is_some_and(|kid| kid.len() <= 256));
    let algorithm = said.get("alg")?.as_str()?;
    if changes_meaning || !names_key || !ALLOWED.contains(&algorithm) {
        return None;
    }
    let signed = token.get(..token.len() - signature.len() - 1)?;
    let tag = URL_SAFE_NO_PAD.decode(signature).ok()?;
    hmac::verify(&key(algorithm), signed.as_bytes(), &tag).ok()?;
    object(claims)
}

/// When the session ends. `None`: a claim is missing, of another kind, or has another value.
fn ends(gate: &Gate, claims: &Map<String, Value>) -> Option<SystemTime> {
    let date = |value: &Value| {
        let secs = value.as_f64().filter(|secs| *secs >= 0.0 && *secs < YEAR_2100_SECS)?;
        Some(UNIX_EPOCH + Duration::from_secs_f64(secs))
    };
    let has_begun = |name| {
        claims.get(name).is_none_or(|value| date(value) <= Some(UNIX_EPOCH + NOW + LEEWAY) && date(value).is_some())
    };
    let audience = match claims.get("aud") {
        Some(Value::Array(several)) => several.iter().all(Value::is_string) && several.contains(&json!("a")),
        only => only == Some(&json!("a")),
    };
    let is_ours = !gate.strict || (audience && claims.get("iss") == Some(&json!("i")));
    let ends = date(claims.get("exp")?)? + LEEWAY;
    (has_begun("nbf") && has_begun("iat") && is_ours).then_some(ends)
}

fn user(claims: &Map<String, Value>) -> Result<Option<String>, AuthError> {
    let Some(name) = USER_CLAIMS.iter().filter_map(|name| claims.get(*name)).find(|value| !value.is_null()) else {
        return Ok(None);
    };
    let user = match name {
        Value::String(text) => text.clone(),
        Value::Number(number) if !number.is_f64() => number.to_string(),
        _ => return Err(INVALID.into()),
    };
    if user.is_empty() || user.len() > 256 { Err(INVALID.into()) } else { Ok(Some(user)) }
}

fn key(algorithm: &str) -> hmac::Key {
    let hash = match algorithm {
        "HS256" => hmac::HMAC_SHA256,
        "HS384" => hmac::HMAC_SHA384,
        _ => hmac::HMAC_SHA512,
    };
    hmac::Key::new(hash, SECRET)
}
