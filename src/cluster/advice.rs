//! What the log says of an error of Redis: its cause, and what to do. Never a password.

use std::{
    error::Error,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use redis::{ErrorKind, RedisError, ServerErrorKind};
use rustls::{AlertDescription, CertificateError};

use crate::cluster::{address::Place, open::OpenError, rules::RedisRules};

/// How often the same is said while nothing changes.
const SAID_EVERY: Duration = Duration::from_secs(60);

/// An error as it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Advice {
    /// The kind, by which repetitions are recognised.
    pub(super) kind: &'static str,
    /// Cause and fix.
    pub(super) sentence: String,
}

impl Advice {
    pub(super) fn new(kind: &'static str, sentence: impl Into<String>) -> Self {
        Self { kind, sentence: sentence.into() }
    }

    /// Why there is no connection.
    pub(super) fn of_open(error: &OpenError, rules: &RedisRules) -> Self {
        match error {
            OpenError::Settings(fault) => Self::new("settings", fault.to_string()),
            OpenError::TimedOut => Self::new("timeout", timeout(rules)).by_keys(rules),
            OpenError::Redis(error) => Self::of(error, rules),
        }
    }

    /// An error of a connection or a command.
    pub(super) fn of(error: &RedisError, rules: &RedisRules) -> Self {
        Self::of_keys_apart(error, rules).by_keys(rules)
    }

    /// The same in the words of the keys that are set.
    fn by_keys(self, rules: &RedisRules) -> Self {
        if !rules.is_url_secret() {
            return self;
        }
        let (sentence, key) = (self.sentence.replace("redis.url", rules.url_key()), rules.url_key());
        let sentence = sentence.replace("redis.username and redis.password", &format!("user and password of {key}"));
        Self { sentence: sentence.replace("redis.username", key), ..self }
    }

    fn of_keys_apart(error: &RedisError, rules: &RedisRules) -> Self {
        if let Some(told) = of_tls(error).or_else(|| of_io(error, rules)) {
            return told;
        }
        let is_cluster = matches!(rules.address.place, Place::Cluster(_));
        let detail = detail(error);
        let (kind, advice) = match error.kind() {
            ErrorKind::AuthenticationFailed => ("auth", LOGIN),
            _ if matches!(error.code(), Some("WRONGPASS" | "NOAUTH")) => ("auth", LOGIN),
            ErrorKind::Server(ServerErrorKind::NoPerm) => (
                "noperm",
                "the user of redis.username lacks a right; give it the ACL rules that docs/redis.md lists (commands, keys and channels)",
            ),
            ErrorKind::Server(ServerErrorKind::ReadOnly) => {
                ("readonly", "it is a replica; set redis.url to the master, or to Sentinel, which knows it")
            }
            ErrorKind::Server(ServerErrorKind::BusyLoading) => {
                ("loading", "it still loads its data; it will be tried again")
            }
            ErrorKind::Server(ServerErrorKind::MasterDown) => ("master_down", "the replica has lost its master"),
            ErrorKind::Server(ServerErrorKind::Moved | ServerErrorKind::Ask) if !is_cluster => {
                ("moved", "it is part of a cluster; let redis.url begin with redis+cluster://")
            }
            ErrorKind::Server(ServerErrorKind::ClusterDown) | ErrorKind::ClusterConnectionNotFound => (
                "cluster_down",
                "the cluster lacks servers for some keys, or none of those in redis.url can be reached",
            ),
            ErrorKind::MasterNameNotFoundBySentinel => (
                "sentinel",
                "no Sentinel in redis.url answers with a master of this name; are hosts, name and redis.sentinel.password right?",
            ),
            ErrorKind::RESP3NotSupported => ("version", "it is too old; Tidegate needs Redis 6 or newer"),
            _ if detail.contains("unknown command") => {
                ("version", "it does not know a command; is it Redis 6 or newer, 7 for redis.backend = \"sharded\"?")
            }
            _ if detail.contains("cluster support disabled") => {
                ("no_cluster", "it is no cluster; let redis.url begin with redis://")
            }
            _ => ("other", "see the log of Redis"),
        };
        Self::new(kind, format!("{advice} ({detail})"))
    }
}

const LOGIN: &str = "it does not accept redis.username and redis.password; a password file may be replaced at any time, it is read \
                     at each attempt";

/// A server without TLS does not answer the first words of a handshake: it waits for the end of the line.
const fn timeout(rules: &RedisRules) -> &'static str {
    if rules.address.tls {
        "it does not answer in time; does it speak TLS there, or is redis.url meant to begin with redis://?"
    } else {
        "it does not answer in time; is it overloaded, or is a firewall in between?"
    }
}

/// What Redis said. A server that knows no HELLO repeats its arguments, the password among them.
fn detail(error: &RedisError) -> String {
    let said = match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        _ => error.to_string(),
    };
    let said = said.split(", with args").next().unwrap_or_default();
    said.trim().replace(char::is_control, " ").chars().take(200).collect()
}

fn of_tls(error: &RedisError) -> Option<Advice> {
    // The library keeps its causes in an `Arc`, and tokio-rustls its own in an I/O error.
    let shared = error.source()?.downcast_ref::<Arc<dyn Error + Send + Sync>>()?;
    let cause: &rustls::Error = shared.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref()?;
    let advice = match cause {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            "its certificate comes from an authority that is not trusted here; set redis.tls.ca to that authority"
        }
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "its certificate is not for the host in redis.url; use a name that is in it",
        rustls::Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "its certificate has expired; renew it"
        }
        rustls::Error::InvalidCertificate(_) => "its certificate is not valid",
        rustls::Error::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::HandshakeFailure
            | AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied,
        ) => "it does not accept us without another client certificate; see redis.tls.certificate",
        rustls::Error::InvalidMessage(_) => "it does not speak TLS there; is redis.url meant to begin with redis://?",
        _ => "the TLS handshake failed",
    };
    Some(Advice::new("tls", format!("{advice} ({cause})")))
}

fn of_io(error: &RedisError, rules: &RedisRules) -> Option<Advice> {
    if !error.is_io_error() {
        return None;
    }
    let detail = detail(error);
    let (kind, advice) = if error.is_connection_refusal() {
        ("refused", "nothing listens there; does Redis run, and is redis.url right?")
    } else if error.is_timeout() || detail.contains("timed out") {
        ("timeout", timeout(rules))
    } else if detail.contains("lookup") {
        ("name", "the host in redis.url has no address; is the name right?")
    } else if error.is_connection_dropped() && !rules.address.tls {
        (
            "closed",
            "it closed the connection; does it expect TLS (rediss://), has it restarted, or was this client killed?",
        )
    } else if error.is_connection_dropped() {
        (
            "closed",
            "it closed the connection; has it restarted, or does it want a client certificate (redis.tls.certificate)?",
        )
    } else {
        ("io", "the connection failed")
    };
    Some(Advice::new(kind, format!("{advice} ({detail})")))
}

/// What was said last, so that it is not said all the time.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    last: Option<(&'static str, Instant)>,
}

impl Complaints {
    /// Whether to write a line: where it is another error than before, or a minute has passed.
    pub(super) fn admit(&mut self, told: &Advice, now: Instant) -> bool {
        let due =
            self.last.is_none_or(|(kind, at)| kind != told.kind || now.saturating_duration_since(at) >= SAID_EVERY);
        if due {
            self.last = Some((told.kind, now));
        }
        due
    }

    /// All is well: the next error is told at once.
    pub(super) fn forget(&mut self) {
        self.last = None;
    }
}

#[cfg(test)]
mod tests {
    use redis::make_extension_error;

    use super::*;
    use crate::cluster::table::{ClusterTable, RedisTable};

    fn rules(url: &str) -> RedisRules {
        let table = RedisTable { url: url.to_owned(), ..RedisTable::default() };
        RedisRules::compile(&table, &ClusterTable::default(), "service").unwrap()
    }

    fn io(kind: io::ErrorKind) -> RedisError {
        io::Error::from(kind).into()
    }

    #[test]
    fn errors_are_told_with_their_cause_and_what_to_do() {
        let server = rules("redis://a");
        for (error, kind, part) in [
            (io(io::ErrorKind::ConnectionRefused), "refused", "does Redis run"),
            (io(io::ErrorKind::TimedOut), "timeout", "in time"),
            (io(io::ErrorKind::BrokenPipe), "closed", "rediss://"),
            (make_extension_error("WRONGPASS".to_owned(), Some("invalid".to_owned())), "auth", "redis.password"),
            ((ErrorKind::Server(ServerErrorKind::NoPerm), "NOPERM", "publish".to_owned()).into(), "noperm", "ACL"),
            ((ErrorKind::Server(ServerErrorKind::ReadOnly), "READONLY").into(), "readonly", "replica"),
            ((ErrorKind::Server(ServerErrorKind::Moved), "MOVED").into(), "moved", "redis+cluster://"),
            ((ErrorKind::Server(ServerErrorKind::BusyLoading), "LOADING").into(), "loading", "loads"),
            (
                io::Error::other(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)).into(),
                "tls",
                "redis.tls.ca",
            ),
        ] {
            let told = Advice::of(&error, &server);
            assert_eq!(told.kind, kind, "{told:?}");
            assert!(told.sentence.contains(part), "{told:?}");
        }
    }

    #[test]
    fn a_secret_url_is_named_by_its_key() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "rediss://:secret@a").unwrap();
        let table = RedisTable {
            url_from: Some(crate::units::SecretSource::File(file.path().to_owned())),
            ..RedisTable::default()
        };
        let secret = RedisRules::compile(&table, &ClusterTable::default(), "service").unwrap();
        let wrong_name = || -> RedisError {
            io::Error::other(rustls::Error::InvalidCertificate(CertificateError::NotValidForName)).into()
        };
        for (error, part) in [
            (wrong_name(), "not for the host in KEY;"),
            (io(io::ErrorKind::ConnectionRefused), "is KEY right"),
            ((ErrorKind::Server(ServerErrorKind::ReadOnly), "READONLY").into(), "set KEY to the master"),
            ((ErrorKind::MasterNameNotFoundBySentinel, "no").into(), "no Sentinel in KEY answers"),
        ] {
            for (rules, key) in [(&secret, "redis.url_from"), (&rules("rediss://a"), "redis.url")] {
                let told = Advice::of(&error, rules);
                assert!(told.sentence.contains(&part.replace("KEY", key)), "{told:?}");
            }
        }
        let login = make_extension_error("WRONGPASS".to_owned(), Some("invalid".to_owned()));
        let told = Advice::of(&login, &secret);
        assert!(told.sentence.contains("does not accept user and password of redis.url_from;"), "{told:?}");
    }

    #[test]
    fn an_old_server_repeats_the_password_and_the_log_does_not() {
        let said = "unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `default`, `hunter2`";
        let told = Advice::of(&make_extension_error("ERR".to_owned(), Some(said.to_owned())), &rules("redis://a"));
        assert!(told.sentence.contains("Redis 6") && !told.sentence.contains("hunter2"), "{told:?}");
    }

    #[test]
    fn the_same_is_said_once_a_minute() {
        let (mut complaints, start) = (Complaints::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let (refused, auth) = (Advice::new("refused", ""), Advice::new("auth", ""));
        let due = [(&refused, 0), (&refused, 1), (&auth, 2), (&refused, 3), (&refused, 62), (&refused, 63)];
        let due = due.map(|(told, seconds)| complaints.admit(told, at(seconds)));
        assert_eq!(due, [true, false, true, true, false, true]);
        complaints.forget();
        assert!(complaints.admit(&refused, at(64)));
    }
}
