//! The open packet, as the gate sends it to a client and as the service sends it to the gate.

use std::io::Write as _;

use serde::Deserialize;
use thiserror::Error;

use super::id::Sid;

/// The longest sid of a service, in bytes. Those of engine.io have 20; other servers may need more.
const SERVICE_SID_BYTES_MAX: usize = 128;

/// The packet that opens a client's session, but for its sid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Open {
    /// Whether the client may upgrade to WebSocket.
    pub upgrades: bool,
    /// From one ping to the next, in milliseconds.
    pub ping_interval_ms: u64,
    /// How long a pong may take, in milliseconds.
    pub ping_timeout_ms: u64,
    /// The longest accepted message, in bytes.
    pub max_payload: u64,
}

impl Open {
    /// Appends the whole packet, its digit included, with the fields in engine.io's order.
    pub fn encode(&self, sid: Sid, out: &mut Vec<u8>) {
        let Self { upgrades, ping_interval_ms, ping_timeout_ms, max_payload } = self;
        let (sid, upgrades) = (sid.as_str(), if *upgrades { r#"["websocket"]"# } else { "[]" });
        write!(
            out,
            "0{{\"sid\":\"{sid}\",\"upgrades\":{upgrades},\"pingInterval\":{ping_interval_ms},\
             \"pingTimeout\":{ping_timeout_ms},\"maxPayload\":{max_payload}}}"
        )
        .expect("writing to a Vec cannot fail");
    }
}

/// The packet that opens the leg to the service.
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
    /// The longest message that the service accepts, in bytes. `None` from servers before Engine.IO 6.
    #[serde(rename = "maxPayload")]
    pub max_payload: Option<u64>,
}

impl ServiceOpen {
    /// Reads the first text message of the service, with its digit. Unknown fields are ignored.
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
    /// It is not an open packet.
    #[error(
        "the service's first message is not an Engine.IO open packet; is there an Engine.IO 4 server on this path?"
    )]
    NotOpen,
    /// Its JSON is broken or lacks a field.
    #[error("the service's open packet lacks sid, pingInterval or pingTimeout")]
    Fields,
    /// Its sid is empty or too long.
    #[error("the service's sid is empty or longer than {SERVICE_SID_BYTES_MAX} bytes")]
    Sid,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::engineio::id::{Home, NodeId};

    #[test]
    fn the_open_packet_is_engine_ios_byte_for_byte() {
        let home = Home { node: NodeId::new([0xff; 6]), worker: u16::MAX };
        let sid = Sid::new(home, [0xff; 13]);
        let open = Open { upgrades: false, ping_interval_ms: 25_000, ping_timeout_ms: 20_000, max_payload: 1_000_000 };
        let mut text = Vec::new();
        Open { upgrades: true, ..open }.encode(sid, &mut text);
        assert!(String::from_utf8_lossy(&text).contains(r#","upgrades":["websocket"],"#));
        text.clear();
        open.encode(sid, &mut text);
        // engine.io-protocol v4, "Handshake": over WebSocket there are no upgrades.
        let expected = r#"0{"sid":"____________________________","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#;
        assert_eq!(String::from_utf8_lossy(&text), expected);
        let read = ServiceOpen::parse(&text).unwrap();
        assert_eq!((read.sid.as_str(), read.max_payload), (sid.as_str(), Some(1_000_000)));
        assert_eq!((read.ping_interval_ms, read.ping_timeout_ms), (25_000, 20_000));
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
