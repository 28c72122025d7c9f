//! `redis.url_from`: a URL with user and password in it, which is a secret as a whole.

use std::fmt;

use percent_encoding::percent_decode_str;
use redis::RedisConnectionInfo;

use super::address::Address;
use crate::{fault::Fault, units::SecretSource};

const KEY: &str = "redis.url_from";

/// What such a URL says. Its text is forgotten.
pub(super) struct SecretUrl {
    /// Where Redis is.
    pub(super) address: Address,
    /// Who signs in there.
    pub(super) login: RedisConnectionInfo,
}

impl SecretUrl {
    /// Reads it from its source.
    ///
    /// # Errors
    /// It is not there, or is no URL of Redis. No error shows a part of it: what stands there may be the bare password.
    pub(super) fn read(source: &SecretSource) -> Result<Self, Fault> {
        let secret = source.read().map_err(|error| Fault::unread(KEY, error.to_string()))?;
        let url = std::str::from_utf8(secret.expose()).unwrap_or_default();
        if has_a_login_for_each_host(url) {
            let message = format!(
                "names {source}, whose URL has a user and password for each host; write them once, before the first host: \
                 redis+cluster://USER:PASSWORD@HOST:PORT,HOST:PORT, with %40 for an @ in the password"
            );
            return Err(Fault::new(KEY, message));
        }
        parse(url).ok_or_else(|| {
            let message = format!(
                "names {source}, which holds no URL of Redis that can be used; let it hold redis://USER:PASSWORD@HOST:PORT, or the same \
                 that begins as redis.url may, with %40 for @ and %25 for % in user and password, and without options"
            );
            Fault::new(KEY, message)
        })
    }
}

/// Whether what stands before the last `@` has hosts in it: the login of the next host is no password of the first.
fn has_a_login_for_each_host(url: &str) -> bool {
    let login = url.split_once("://").and_then(|(_, rest)| rest.rsplit_once('@')).map(|(login, _)| login);
    login.and_then(|login| login.split_once('@')).is_some_and(|(_, behind)| behind.contains(','))
}

fn parse(url: &str) -> Option<SecretUrl> {
    let url = url.trim_end();
    let (scheme, rest) = url.split_once("://")?;
    // The last one: many write passwords as they are.
    let (login, place) = rest.rsplit_once('@').map_or((None, rest), |(login, place)| (Some(login), place));
    let address = Address::parse(&format!("{scheme}://{place}")).ok()?;
    let mut settings = RedisConnectionInfo::default();
    if let Some(login) = login {
        let (user, password) = login.split_once(':')?;
        let (user, password) = (decoded(user)?, decoded(password)?);
        if password.is_empty() {
            return None;
        }
        if !user.is_empty() {
            settings = settings.set_username(user);
        }
        settings = settings.set_password(password);
    }
    Some(SecretUrl { address, login: settings })
}

fn decoded(text: &str) -> Option<String> {
    Some(percent_decode_str(text).decode_utf8().ok()?.into_owned())
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read(text: &str) -> Result<SecretUrl, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        SecretUrl::read(&SecretSource::File(file.path().to_owned())).map_err(|fault| fault.to_string())
    }

    #[test]
    fn user_password_and_place_are_read() {
        for (text, user, password, place) in [
            ("redis://redis:6379\n", None, None, "redis:6379"),
            ("redis://:secret@redis/2", None, Some("secret"), "redis:6379"),
            ("redis://ada:a%40b%2Fc%25@redis:7", Some("ada"), Some("a@b/c%"), "redis:7"),
            ("rediss://ada:a@b/c:d@redis:7\r\n", Some("ada"), Some("a@b/c:d"), "redis:7"),
            ("redis://ada:a,b,c@redis:7", Some("ada"), Some("a,b,c"), "redis:7"),
            ("redis+sentinel://ada:pass@a,b/m", Some("ada"), Some("pass"), "master m of Sentinel a:26379, b:26379"),
        ] {
            let SecretUrl { address, login } = read(text).unwrap();
            let said = (login.username(), login.password(), address.to_string());
            assert_eq!(said, (user, password, place.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_is_no_url_is_refused_and_not_shown() {
        for text in [
            "hunter2",
            "hunter2@redis",
            "redis://hunter2@redis",
            "redis://hunter2:@redis",
            "http://a:hunter2@redis",
            "redis://a:hunter2@redis/hunter2",
            "redis://a:hunter2@redis?hunter2",
            "redis://a:hunter2%ff@redis",
        ] {
            let said = read(text).unwrap_err();
            assert!(said.starts_with("redis.url_from names the file "), "{said}");
            assert!(said.contains("redis://USER:PASSWORD@HOST:PORT") && !said.contains("hunter2"), "{said}");
        }
        for text in [
            "redis+cluster://u:hunter2@a:1,v:hunter2@b:2",
            "redis://u:hunter2@a:1,v:hunter2@b:2",
            "redis+sentinel://:hunter2@a,:hunter2@b,:hunter2@c/m",
        ] {
            let said = read(text).unwrap_err();
            assert!(said.contains("for each host; write them once, before the first host"), "{said}");
            assert!(said.starts_with("redis.url_from names the file ") && !said.contains("hunter2"), "{said}");
        }
        assert!(read("").unwrap_err().contains("redis.url_from"));
        assert_eq!(format!("{:?}", read("redis://a:hunter2@redis").unwrap()), "[redacted]");
    }
}
