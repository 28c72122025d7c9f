//! `tidegate token`: makes a token that the configured gate accepts, for tests.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, AlgorithmFamily, EncodingKey, Header};
use serde_json::{Map, Value};

use super::{
    configuration::{FileArgs, load},
    failure::{Failure, TokenError},
    output::print,
};
use crate::{
    config::load::{Loaded, Sources},
    policy::auth::{AuthTable, USER_MAX_BYTES, compile::shared_secret},
    units::Period,
};

/// A revocation is known for a bounded time, so every token expires.
const TTL_MAX: Duration = Duration::from_hours(10 * 365 * 24);

const EXAMPLES: &str = "\
Examples:
  tidegate token tidegate.toml --sub ada
  tidegate token --sub ada --ttl 5m --claim role=teacher --claim admin=true
  curl -H \"Authorization: Bearer $(tidegate token --sub ada)\" http://127.0.0.1:8443/

iss and aud are filled from auth.issuer and auth.audience, and sub, iat and exp from the command
line; a --claim of the same name counts over them, so that --claim exp=1 makes an expired token.";

/// Make a token that this configuration accepts, signed with auth.secret
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The user: the claim sub
    #[arg(long, value_name = "WHO", value_parser = user)]
    sub: String,
    /// How long it is valid
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = time_to_live)]
    ttl: Duration,
    /// A further claim: JSON, otherwise text. May be repeated
    #[arg(long = "claim", value_name = "KEY=VALUE", value_parser = claim)]
    claims: Vec<(String, Value)>,
    #[command(flatten)]
    file: FileArgs,
}

pub(super) fn token(args: Args) -> Result<(), Failure> {
    let (loaded, sources) = load(args.file.clone(), Sources::default())?;
    let token = mint(&loaded.config.auth, args, SystemTime::now());
    let token = token.map_err(|error| failure(error, &loaded, &sources))?;
    Ok(print(&format!("{token}\n"))?)
}

/// With the place of what is at fault, or that no file was read.
fn failure(error: TokenError, loaded: &Loaded, sources: &Sources) -> Failure {
    match error {
        TokenError::Secret(fault) => Failure::of_config(loaded.place(fault.into()), sources),
        TokenError::NoSecret if sources.file.is_none() => TokenError::NoSecretWithoutFile.into(),
        error => error.into(),
    }
}

fn mint(auth: &AuthTable, args: Args, now: SystemTime) -> Result<String, TokenError> {
    let source = auth.secret.as_ref().ok_or(TokenError::NoSecret)?;
    let secret = shared_secret(source, auth.allow_weak_secret)?;
    let claims = claims(auth, args, now)?;
    let key = EncodingKey::from_secret(secret.expose());
    Ok(jsonwebtoken::encode(&Header::new(algorithm(auth)?), &claims, &key)?)
}

fn algorithm(auth: &AuthTable) -> Result<Algorithm, TokenError> {
    let known = auth.algorithms.iter().filter_map(|name| name.parse::<Algorithm>().ok());
    let mut shared = known.filter(|algorithm| AlgorithmFamily::Hmac.algorithms().contains(algorithm));
    shared.next().ok_or(TokenError::NoAlgorithm)
}

fn claims(auth: &AuthTable, args: Args, now: SystemTime) -> Result<Map<String, Value>, TokenError> {
    let issued = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut claims = Map::from_iter([
        ("sub".to_owned(), Value::from(args.sub.as_str())),
        ("iat".to_owned(), Value::from(issued.as_secs())),
        ("exp".to_owned(), Value::from((issued + args.ttl).as_secs())),
    ]);
    let configured = [("iss", &auth.issuer), ("aud", &auth.audience)];
    claims.extend(configured.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value.clone()?.into()))));
    claims.extend(args.claims);
    let names_user = |name: &String| claims.contains_key(name);
    if !auth.user_claim.is_empty() && !auth.user_claim.iter().any(names_user) {
        return Err(TokenError::NoUser { names: auth.user_claim.clone(), sub: args.sub });
    }
    Ok(claims)
}

fn user(text: &str) -> Result<String, String> {
    match text.len() {
        1..=USER_MAX_BYTES => Ok(text.to_owned()),
        bytes => Err(format!("a user has a name of 1 to {USER_MAX_BYTES} bytes, and this has {bytes}")),
    }
}

fn time_to_live(text: &str) -> Result<Duration, String> {
    let period: Period = text.parse().map_err(|_| "a time needs a unit, for example 90s, 15m, 1h or 7d")?;
    match period.0 {
        ttl if ttl < Duration::from_secs(1) => Err("a token is good for 1s at least".to_owned()),
        ttl if ttl > TTL_MAX => Err(format!("a token is good for {} at most", Period(TTL_MAX))),
        ttl => Ok(ttl),
    }
}

/// A value is read as JSON, and otherwise as text without quotes.
fn claim(text: &str) -> Result<(String, Value), &'static str> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => {
            Ok((key.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| Value::from(value))))
        }
        _ => Err("a claim is KEY=VALUE, for example role=teacher"),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::Arc};

    use clap::Parser as _;
    use http::{Request, header::AUTHORIZATION};
    use tempfile::NamedTempFile;

    use super::*;
    use crate::{
        cli::{Cli, Command},
        config::Config,
        policy::{
            auth::{Auth, AuthError, Credential, EXPIRED, INVALID},
            identity::Identity,
            token_source::TokenSources,
        },
        units::SecretSource,
    };

    fn table(secret: &str) -> (AuthTable, NamedTempFile) {
        let file = NamedTempFile::new().unwrap();
        fs::write(file.path(), secret).unwrap();
        let secret = Some(SecretSource::File(file.path().to_owned()));
        (AuthTable { secret, ..AuthTable::default() }, file)
    }

    fn minted(auth: &AuthTable, options: &str) -> Result<String, String> {
        let line = ["tidegate", "token", "--sub", "ada"].into_iter().chain(options.split_whitespace());
        let Command::Token(args) = Cli::try_parse_from(line).map_err(|error| error.to_string())?.command else {
            unreachable!("the command line says token");
        };
        mint(auth, args, SystemTime::now()).map_err(|error| error.to_string())
    }

    fn judged(auth: &AuthTable, token: &str) -> Result<Identity, AuthError> {
        let request = Request::builder().header(AUTHORIZATION, format!("Bearer {token}")).body(()).unwrap();
        let sources = TokenSources::compile(&auth.token_from).unwrap();
        let token = sources.from_request(&request.into_parts().0).unwrap();
        let auth = Auth::compile(auth, &Arc::default()).unwrap();
        auth.identify(Credential::Token(token.as_ref()), None, SystemTime::now())
    }

    #[test]
    fn the_gate_lets_it_in() {
        for algorithm in ["HS256", "HS512"] {
            let (mut auth, _file) = table(&"s".repeat(64));
            auth.algorithms = vec![algorithm.to_owned()];
            auth.issuer = Some("https://id.example.com".to_owned());
            auth.audience = Some("tutor".to_owned());
            auth.forward_claims.insert("x-role".to_owned(), "role".to_owned());
            let token = minted(&auth, "--claim role=teacher --ttl 1m30s").unwrap();
            let identity = judged(&auth, &token).unwrap();
            assert_eq!(identity.user(), Some("ada"));
            assert_eq!(identity.forward_headers()[0].1, "teacher");
        }
    }

    #[test]
    fn a_claim_given_counts_over_what_would_be_filled_in() {
        let (mut auth, _file) = table(&"s".repeat(32));
        auth.issuer = Some("https://id.example.com".to_owned());
        let refused = |options: &str| judged(&auth, &minted(&auth, options).unwrap()).unwrap_err();
        assert_eq!(refused("--claim exp=1"), EXPIRED.into());
        assert_eq!(refused("--claim iss=https://elsewhere.example.com"), INVALID.into());
    }

    #[test]
    fn claims_are_json_or_text() {
        for (text, value) in [
            ("a=b", Value::from("b")),
            ("a=true", Value::from(true)),
            ("a=7", Value::from(7)),
            ("a=\"7\"", Value::from("7")),
            ("a=[1]", Value::from(vec![1])),
            ("a=", Value::from("")),
            ("a=b=c", Value::from("b=c")),
        ] {
            assert_eq!(claim(text), Ok(("a".to_owned(), value)), "{text}");
        }
        assert!(claim("a").is_err() && claim("=b").is_err());
    }

    #[test]
    fn there_is_no_token_that_would_not_be_let_in() {
        let (mut auth, file) = table(&"s".repeat(31));
        let refusal = |auth: &AuthTable| minted(auth, "").unwrap_err();
        assert!(refusal(&auth).starts_with("auth.secret has 31 bytes; make one of at least 32"));
        auth.allow_weak_secret = true;
        assert!(minted(&auth, "").is_ok());
        auth.user_claim = vec!["uid".to_owned(), "login".to_owned()];
        assert_eq!(refusal(&auth), "auth.user_claim looks for the user in uid, login; add --claim uid=ada");
        assert!(minted(&auth, "--claim login=ada").is_ok());
        auth.algorithms = vec!["RS256".to_owned()];
        assert!(minted(&auth, "--claim uid=ada").unwrap_err().starts_with("auth.algorithms has none of HS256"));
        drop(file);
        assert!(refusal(&auth).contains("cannot be read"));
        auth.secret = None;
        assert!(refusal(&auth).starts_with("auth.secret is not set"));
    }

    #[test]
    fn where_no_file_was_read_that_is_told() {
        let told = |file: Option<&str>| {
            let sources = Sources { file: file.map(Into::into), ..Sources::default() };
            failure(TokenError::NoSecret, &Loaded::from(Config::default()), &sources).to_string()
        };
        assert!(told(None).starts_with("auth.secret is not set; ") && told(None).contains("\nno file was read: "));
        assert!(!told(Some("tidegate.toml")).contains("no file was read"));
    }

    #[test]
    fn a_user_has_a_name_that_the_gate_takes() {
        for (name, is_taken) in [(String::new(), false), ("a".repeat(256), true), ("a".repeat(257), false)] {
            let taken = Cli::try_parse_from(["tidegate", "token", "--sub", &name]);
            assert_eq!(taken.is_ok(), is_taken, "{}", name.len());
        }
    }

    #[test]
    fn a_token_lives_for_a_second_to_ten_years() {
        let (auth, _file) = table(&"s".repeat(32));
        for (ttl, fix) in [("60", "a time needs a unit"), ("0s", "1s at least"), ("3651d", "3650d at most")] {
            assert!(minted(&auth, &format!("--ttl {ttl}")).unwrap_err().contains(fix), "{ttl}");
        }
        assert!(minted(&auth, "--ttl 1s").is_ok() && minted(&auth, "--ttl 3650d").is_ok());
    }
}
