//! The open packet: what the gate says to a client, and what the service says to the gate.

use std::{fmt, io::Write as _};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use thiserror::Error;

/// Random bytes of a sid: as many as engine.io takes, so that 20 characters hold them without padding.
pub const SID_RANDOM_BYTES: usize = 15;

/// The longest sid of a service, in bytes. engine.io's have 20; the rest is room for servers that write theirs otherwise.
const SERVICE_SID_BYTES_MAX: usize = 128;

/// The id of an Engine.IO session at the gate: 20 characters of base64url. Whoever knows it can speak for the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sid([u8; 20]);

impl Sid {
    /// The sid made of these bytes, which must come from a source that nobody can predict.
    #[must_use]
    pub fn new(random: [u8; SID_RANDOM_BYTES]) -> Self {
        let mut sid = [0; 20];
        URL_SAFE_NO_PAD.encode_slice(random, &mut sid).expect("15 bytes are 20 characters of base64");
        Self(sid)
    }

    /// The sid that a client gives; none where it cannot be one of ours.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let sid: [u8; 20] = text.as_bytes().try_into().ok()?;
        sid.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte)).then_some(Self(sid))
    }

    /// Which of so many owners it belongs to. Every sid has one, so that a request finds its session wherever it comes
    /// in, without a table that all share: see [`owned_by`](Self::owned_by).
    #[must_use]
    pub fn owner(&self, owners: usize) -> usize {
        let digit = |byte| match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'-' => 62,
            _ => 63,
        };
        let number = self.0[..4].iter().fold(0, |number, &byte| number << 6 | usize::from(digit(byte)));
        number % owners.max(1)
    }

    /// Draws sids from `random` until one belongs to this owner, after as many tries as there are owners on average.
    pub fn owned_by(owner: usize, owners: usize, mut random: impl FnMut() -> [u8; SID_RANDOM_BYTES]) -> Self {
        loop {
            let sid = Self::new(random());
            if sid.owner(owners) == owner {
                return sid;
            }
        }
    }

    /// The sid as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("base64 is ASCII")
    }
}

impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the gate opens a client's session with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Open {
    /// The session.
    pub sid: Sid,
    /// May the client go on over WebSocket?
    pub upgrades: bool,
    /// From one ping to the next, in milliseconds.
    pub ping_interval_ms: u64,
    /// How long a pong may take, in milliseconds.
    pub ping_timeout_ms: u64,
    /// The longest message that is taken, in bytes.
    pub max_payload: u64,
}

impl Open {
    /// Appends the whole packet, its digit included, with the fields in engine.io's order.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let Self { sid, upgrades, ping_interval_ms, ping_timeout_ms, max_payload } = self;
        let upgrades = if *upgrades { r#"["websocket"]"# } else { "[]" };
        write!(
            out,
            "0{{\"sid\":\"{sid}\",\"upgrades\":{upgrades},\"pingInterval\":{ping_interval_ms},\
             \"pingTimeout\":{ping_timeout_ms},\"maxPayload\":{max_payload}}}"
        )
        .expect("writing to a Vec cannot fail");
    }
}

/// What the service opens its leg with.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ServiceOpen {
    /// The service's name for the leg. Clients never see it.
    pub sid: String,
    /// From one ping of the service to the next, in milliseconds.
    #[serde(rename = "pingInterval")]
    pub ping_interval_ms: u64,
    /// How long the service waits for a pong, in milliseconds.
    #[serde(rename = "pingTimeout")]
    pub ping_timeout_ms: u64,
    /// The longest message that the service takes, in bytes. Servers before Engine.IO 6 do not say.
    #[serde(rename = "maxPayload")]
    pub max_payload: Option<u64>,
}

impl ServiceOpen {
    /// Reads the first text message of the service, its digit included. Fields it does not know are passed over.
    ///
    /// # Errors
    /// Another packet, or one without its fields.
    pub fn parse(text: &[u8]) -> Result<Self, OpenError> {
        let json = text.strip_prefix(b"0").ok_or(OpenError::NotOpen)?;
        let open: Self = serde_json::from_slice(json).map_err(|_| OpenError::Fields)?;
        if open.sid.is_empty() || open.sid.len() > SERVICE_SID_BYTES_MAX {
            return Err(OpenError::Sid);
        }
        Ok(open)
    }
}

/// Why the first message of the service does not open an Engine.IO session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum OpenError {
    /// It is no open packet.
    #[error(
        "the service's first message is not an Engine.IO open packet; is there an Engine.IO 4 server on this path?"
    )]
    NotOpen,
    /// Its JSON is broken or lacks a field.
    #[error("the service's open packet lacks sid, pingInterval or pingTimeout")]
    Fields,
    /// Its sid is empty or beyond its bound.
    #[error("the service's sid is empty or longer than {SERVICE_SID_BYTES_MAX} bytes")]
    Sid,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_open_packet_is_engine_ios_byte_for_byte() {
        let sid = Sid::new([0xff; SID_RANDOM_BYTES]);
        let open =
            Open { sid, upgrades: false, ping_interval_ms: 25_000, ping_timeout_ms: 20_000, max_payload: 1_000_000 };
        let mut text = Vec::new();
        Open { upgrades: true, ..open }.encode(&mut text);
        assert!(String::from_utf8_lossy(&text).contains(r#","upgrades":["websocket"],"#));
        text.clear();
        open.encode(&mut text);
        // wire-formats.md §2.1: the order of fields, and no upgrades over WebSocket.
        let expected = r#"0{"sid":"____________________","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#;
        assert_eq!(String::from_utf8_lossy(&text), expected);
        let read = ServiceOpen::parse(&text).unwrap();
        assert_eq!((read.sid.as_str(), read.max_payload), (sid.as_str(), Some(1_000_000)));
        assert_eq!((read.ping_interval_ms, read.ping_timeout_ms), (25_000, 20_000));
    }

    #[test]
    fn sids_are_url_safe_and_differ_where_their_bytes_do() {
        let sid = Sid::new(*b"\x00\x01\x02\xfb\xff\xfe\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e");
        assert_eq!(sid.to_string(), "AAEC-__-BgcICQoLDA0O");
        assert_ne!(sid, Sid::new([0; SID_RANDOM_BYTES]));
    }

    #[test]
    fn every_owner_finds_sids_and_every_sid_its_owner() {
        let mut random = std::iter::successors(Some(1_u64), |seed| Some(seed.wrapping_mul(6_364_136_223_846_793_005)));
        for owners in [1, 2, 3, 64] {
            for owner in 0..owners {
                let sid = Sid::owned_by(owner, owners, || {
                    let bytes = random.next().unwrap().to_be_bytes();
                    std::array::from_fn(|at| bytes[at % 8])
                });
                assert_eq!(Sid::parse(sid.as_str()).unwrap().owner(owners), owner);
            }
        }
        for text in ["", "short", "AAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAA=", "AAAAAAAAAAAAAAAAAAé"] {
            assert_eq!(Sid::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_service_that_says_less_or_more_is_understood() {
        // Engine.IO 4 and 5 send no maxPayload.
        let text = br#"0{"sid":"a","upgrades":["websocket"],"pingInterval":300,"pingTimeout":200,"new":{}}"#;
        let open = ServiceOpen { sid: "a".into(), ping_interval_ms: 300, ping_timeout_ms: 200, max_payload: None };
        assert_eq!(ServiceOpen::parse(text), Ok(open));
    }

    #[test]
    fn what_does_not_open_a_session() {
        let long = format!(r#"0{{"sid":"{}","pingInterval":1,"pingTimeout":1}}"#, "s".repeat(129));
        let rows: &[(&[u8], OpenError)] = &[
            (b"", OpenError::NotOpen),
            (b"40", OpenError::NotOpen),
            (b"hello", OpenError::NotOpen),
            (b"0", OpenError::Fields),
            (br#"0{"sid":"a"}"#, OpenError::Fields),
            (br#"0{"sid":"a","pingInterval":-1,"pingTimeout":1}"#, OpenError::Fields),
            (br#"0{"sid":"","pingInterval":1,"pingTimeout":1}"#, OpenError::Sid),
            (long.as_bytes(), OpenError::Sid),
        ];
        for (text, error) in rows {
            assert_eq!(ServiceOpen::parse(text), Err(*error), "{}", String::from_utf8_lossy(text));
        }
    }
}
