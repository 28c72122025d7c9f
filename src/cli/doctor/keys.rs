//! What tokens are verified with.

use super::finding::{Checked, Finding, Sighting};
use crate::{
    jwks::probe::{self, Probed},
    policy::auth::{
        AuthTable,
        compile::{public_key_algorithms, shared_secret},
        key_set::KeySet,
    },
};

const CHECK: &str = "keys";

/// RFC 7518 §3.2, for HS256.
const SECRET_BYTES: usize = 32;

pub(super) async fn check(auth: &AuthTable) -> Checked {
    if let Some(url) = &auth.jwks_url {
        return published(url, &auth.algorithms).await;
    }
    if let Some(source) = &auth.secret {
        let read = shared_secret(source, auth.allow_weak_secret);
        return judge_secret(read.map(|secret| secret.expose().len()).map_err(|fault| fault.to_string())).into();
    }
    if let Some(path) = &auth.public_key {
        return match public_key_algorithms(path) {
            Ok(usable) => Finding::ok(CHECK, format!("auth.public_key is for {}", usable.join(", "))),
            Err(fault) => Finding::fail(CHECK, fault.to_string()),
        }
        .into();
    }
    Finding::skip(CHECK, "no key is configured: the gate verifies no token").into()
}

fn judge_secret(length: Result<usize, String>) -> Finding {
    match length {
        Err(why) => Finding::fail(CHECK, why),
        Ok(length) if length < SECRET_BYTES => {
            Finding::warn(CHECK, format!("auth.secret has {length} bytes, and can be guessed from a token"))
                .fix("make one with \"openssl rand -base64 48\", and remove auth.allow_weak_secret")
        }
        Ok(length) => Finding::ok(CHECK, format!("auth.secret has {length} bytes")),
    }
}

async fn published(url: &str, algorithms: &[String]) -> Checked {
    let before = std::time::SystemTime::now();
    let probed = match probe::probe(url).await {
        Ok(probed) => probed,
        Err(fault) => return Finding::fail(CHECK, fault.to_string()).into(),
    };
    let after = std::time::SystemTime::now();
    let whose = || "the server of auth.jwks_url".to_owned();
    let sighting = probed.date.map(|said| Sighting { whose: whose(), before, said, after, to_the_second: true });
    Checked { findings: vec![judge_published(&probed, algorithms)], sighting }
}

fn judge_published(probed: &Probed, algorithms: &[String]) -> Finding {
    let Probed { address, took, keys, .. } = probed;
    let keys = match keys {
        Ok(keys) => keys,
        Err(why) => {
            return Finding::fail(CHECK, format!("the key set of {address} was not fetched: {why}"))
                .fix("is auth.jwks_url right, and can it be reached from here?");
        }
    };
    let without: Vec<_> = algorithms.iter().filter(|name| keys.usable_for(name) == 0).map(String::as_str).collect();
    let found = format!("{address} has {} after {} ms", counted(keys), took.as_millis());
    if without.len() == algorithms.len() {
        return Finding::fail(CHECK, format!("{found}, and none of them is for {}", without.join(", ")))
            .fix("set auth.algorithms to those with which the issuer signs");
    }
    match without.is_empty() {
        true => Finding::ok(CHECK, found),
        false => Finding::warn(CHECK, format!("{found}, none of them for {}", without.join(", ")))
            .fix("leave out of auth.algorithms what the issuer does not use"),
    }
}

fn counted(keys: &KeySet) -> String {
    let plural = if keys.len() == 1 { "" } else { "s" };
    match keys.ignored().len() {
        0 => format!("{} key{plural}", keys.len()),
        ignored => format!("{} usable key{plural} and {ignored} that cannot be used", keys.len()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cli::doctor::finding::Status;

    #[test]
    fn a_secret_is_judged_by_its_length_and_never_shown() {
        for (length, status) in
            [(Ok(31), Status::Warn), (Ok(32), Status::Ok), (Err("auth.secret cannot be read".to_owned()), Status::Fail)]
        {
            assert_eq!(judge_secret(length.clone()).status, status, "{length:?}");
        }
    }

    #[test]
    fn published_keys_have_to_fit_the_algorithms() {
        let jwks = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"a"},{"kty":"oct","k":"AA"}]}"#;
        let probed = |keys| Probed { address: "https://id/jwks".to_owned(), took: Duration::ZERO, keys, date: None };
        let some = || probed(Ok(KeySet::from_jwks(jwks.as_bytes()).unwrap()));
        for (probed, algorithms, status, part) in [
            (some(), &["EdDSA"][..], Status::Ok, "1 usable key and 1 that cannot be used"),
            (some(), &["EdDSA", "RS256"], Status::Warn, "none of them for RS256"),
            (some(), &["RS256"], Status::Fail, "none of them is for RS256"),
            (probed(Err("404".to_owned())), &["RS256"], Status::Fail, "was not fetched: 404"),
        ] {
            let algorithms: Vec<_> = algorithms.iter().map(|&name| name.to_owned()).collect();
            let finding = judge_published(&probed, &algorithms);
            assert_eq!(finding.status, status, "{finding:?}");
            assert!(finding.found.contains(part), "{finding:?}");
        }
    }
}
