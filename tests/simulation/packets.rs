//! Packets of Socket.IO as both ends write and read them, without the code of the gate.

use serde_json::Value;
use tidegate::wire::websocket::frame::OpCode;

/// A WebSocket message, or a control frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Msg {
    pub opcode: OpCode,
    pub bytes: Vec<u8>,
}

impl Msg {
    pub fn text(text: impl Into<String>) -> Self {
        Self { opcode: OpCode::Text, bytes: text.into().into_bytes() }
    }

    pub const fn binary(bytes: Vec<u8>) -> Self {
        Self { opcode: OpCode::Binary, bytes }
    }

    /// Writes a packet as devices do: the namespace `/` written out, zeros before an ack id.
    pub fn respell(&mut self) {
        let Some(digits) = self.bytes.strip_prefix(b"4").filter(|_| self.opcode == OpCode::Text) else { return };
        let at = match digits {
            [b'0' | b'1' | b'2' | b'3', ..] => 2,
            [b'5' | b'6', ..] => self.bytes.iter().position(|&byte| byte == b'-').map_or(0, |at| at + 1),
            _ => 0,
        };
        let mut id_at = at;
        if at > 0 && self.bytes.get(at) != Some(&b'/') {
            self.bytes.splice(at..at, *b"/,");
            id_at += 2;
        } else if at > 0 {
            id_at = self.bytes.iter().position(|&byte| byte == b',').map_or(0, |at| at + 1);
        }
        if id_at > 0 && self.bytes.get(id_at).is_some_and(u8::is_ascii_digit) {
            self.bytes.splice(id_at..id_at, *b"00");
        }
    }

    pub const fn is_control(&self) -> bool {
        !matches!(self.opcode, OpCode::Text | OpCode::Binary)
    }

    /// What the trace shows of it: no pads.
    pub fn shown(&self) -> String {
        let text = String::from_utf8_lossy(&self.bytes);
        let end = text.char_indices().nth(90).map_or(text.len(), |(at, _)| at);
        match self.opcode {
            OpCode::Text if end < text.len() => format!("{}… {} bytes", &text[..end], text.len()),
            OpCode::Text => text.into_owned(),
            opcode => format!("{opcode:?} {text:.20}"),
        }
    }
}

/// The digit of a Socket.IO packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Connect,
    Disconnect,
    Event,
    Ack,
    Refusal,
}

/// A packet that was read.
#[derive(Debug, Clone)]
pub struct Packet {
    pub kind: Kind,
    pub attachments: usize,
    pub namespace: String,
    pub id: Option<u64>,
    pub json: Value,
}

impl Packet {
    /// Reads `4…`. `None`: it is no Socket.IO packet.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let rest = std::str::from_utf8(bytes).ok()?.strip_prefix('4')?;
        let digit = rest.chars().next()?;
        let mut rest = &rest[1..];
        let kind = match digit {
            '0' => Kind::Connect,
            '1' => Kind::Disconnect,
            '2' | '5' => Kind::Event,
            '3' | '6' => Kind::Ack,
            '4' => Kind::Refusal,
            _ => return None,
        };
        let mut attachments = 0;
        if matches!(digit, '5' | '6') {
            let (count, behind) = rest.split_once('-')?;
            (attachments, rest) = (count.parse().ok()?, behind);
        }
        let mut namespace = "/".to_owned();
        if rest.starts_with('/') {
            let (name, behind) = rest.split_once(',').unwrap_or((rest, ""));
            (namespace, rest) = (name.to_owned(), behind);
        }
        let digits = rest.find(|char: char| !char.is_ascii_digit()).unwrap_or(rest.len());
        let id = rest[..digits].parse().ok();
        let json = if rest[digits..].is_empty() { Value::Null } else { serde_json::from_str(&rest[digits..]).ok()? };
        Some(Self { kind, attachments, namespace, id, json })
    }

    /// The number at this place of the array.
    pub fn number(&self, at: usize) -> u64 {
        self.json[at].as_u64().unwrap_or(u64::MAX)
    }

    /// The text in this field of the object.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.json[name].as_str()
    }

    /// The last argument, if it is a text: the number of the event.
    pub fn offset(&self) -> Option<&str> {
        let arguments = self.json.as_array()?;
        arguments.last().filter(|_| arguments.len() > 1)?.as_str()
    }
}

/// `4<digits>[/namespace,]<id><json>`
pub fn write(digits: &str, namespace: &str, id: Option<u64>, json: &str) -> String {
    let namespace = if namespace == "/" { String::new() } else { format!("{namespace},") };
    let id = id.map_or_else(String::new, |id| id.to_string());
    format!("4{digits}{namespace}{id}{json}")
}

/// An event with a number, and with attachments if there are any.
pub fn event(namespace: &str, id: Option<u64>, name: &str, numbers: &str, attachments: usize, pad: usize) -> String {
    let digits = if attachments == 0 { "2".to_owned() } else { format!("5{attachments}-") };
    let places: String = (0..attachments).map(|at| format!(r#",{{"_placeholder":true,"num":{at}}}"#)).collect();
    // The pad is no text at the end, which would be the offset of a service that numbers its events.
    let pad = if pad == 0 { String::new() } else { format!(r#",{{"pad":"{}"}}"#, "x".repeat(pad)) };
    write(&digits, namespace, id, &format!(r#"["{name}",{numbers}{places}{pad}]"#))
}
