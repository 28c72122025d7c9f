//! The kinds of Engine.IO packets. Over WebSocket one text message is one packet, and a binary one is a message.

/// What an Engine.IO packet is (engine.io-protocol v4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EnginePacket {
    /// The first packet of the server: sid and heartbeat.
    Open,
    /// The session ends.
    Close,
    /// The server checks that the client is connected.
    Ping,
    /// The answer of the client.
    Pong,
    /// A packet of the layer above.
    Message,
    /// The client has moved to another transport.
    Upgrade,
    /// Nothing: releases a pending poll.
    Noop,
}

impl EnginePacket {
    /// The packet that an ASCII digit stands for.
    #[must_use]
    pub const fn from_digit(digit: u8) -> Option<Self> {
        Some(match digit {
            b'0' => Self::Open,
            b'1' => Self::Close,
            b'2' => Self::Ping,
            b'3' => Self::Pong,
            b'4' => Self::Message,
            b'5' => Self::Upgrade,
            b'6' => Self::Noop,
            _ => return None,
        })
    }

    /// The ASCII digit that stands for it.
    #[must_use]
    pub const fn digit(self) -> u8 {
        match self {
            Self::Open => b'0',
            Self::Close => b'1',
            Self::Ping => b'2',
            Self::Pong => b'3',
            Self::Message => b'4',
            Self::Upgrade => b'5',
            Self::Noop => b'6',
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seven_digits_are_packets_and_no_other_byte_is() {
        let known: Vec<u8> = (0..=u8::MAX).filter(|digit| EnginePacket::from_digit(*digit).is_some()).collect();
        assert_eq!(known, b"0123456");
        assert!(known.iter().all(|digit| EnginePacket::from_digit(*digit).map(EnginePacket::digit) == Some(*digit)));
        // engine.io-protocol v4, the table of packet types.
        assert_eq!(EnginePacket::from_digit(b'4'), Some(EnginePacket::Message));
    }
}
