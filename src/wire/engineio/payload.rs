//! Payloads of long-polling: packets joined by one byte, binary ones as base64 (engine.io-protocol v4, "Payload"). A client that
//! asks for it gets and sends binary packets so on a WebSocket too.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use memchr::{memchr, memchr_iter};
use thiserror::Error;

/// The byte between two packets: the record separator of ASCII.
pub const SEPARATOR: u8 = 0x1e;

/// The first byte of a binary packet in base64, in place of a type.
pub const BINARY: u8 = b'b';

/// Characters of one group of base64, and the bytes they encode.
const GROUP_CHARS: usize = 4;
const GROUP_BYTES: usize = 3;

/// The packets of one body, in order. A body has at least one, which may be empty.
#[derive(Debug)]
pub struct PayloadReader {
    rest: Option<Bytes>,
}

/// One packet of a payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PayloadPacket {
    /// The packet as a text message carries it, its type included.
    Text(Bytes),
    /// A binary message, in base64: see [`decoded_len`] and [`decode`].
    Binary(Bytes),
}

/// A binary packet is not the canonical base64 of anything (RFC 4648 §3.5, §4): padded, no other characters, no bits
/// left over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a binary packet of the payload is not canonical base64")]
pub struct PayloadError;

impl PayloadReader {
    /// Of one POST.
    #[must_use]
    pub const fn new(body: Bytes) -> Self {
        Self { rest: Some(body) }
    }

    /// Whether every packet has been read.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        self.rest.is_none()
    }
}

impl Iterator for PayloadReader {
    type Item = PayloadPacket;

    fn next(&mut self) -> Option<PayloadPacket> {
        let mut packet = self.rest.take()?;
        if let Some(end) = memchr(SEPARATOR, &packet) {
            self.rest = Some(packet.slice(end + 1..));
            packet.truncate(end);
        }
        Some(match packet.first() {
            Some(&BINARY) => PayloadPacket::Binary(packet.slice(1..)),
            _ => PayloadPacket::Text(packet),
        })
    }
}

/// How many packets a body has.
#[must_use]
pub fn packets(body: &[u8]) -> usize {
    memchr_iter(SEPARATOR, body).count() + 1
}

/// How many bytes this base64 encodes.
///
/// # Errors
/// Its length is not that of canonical base64.
pub const fn decoded_len(base64: &[u8]) -> Result<usize, PayloadError> {
    let groups = base64.len() / GROUP_CHARS;
    if !base64.len().is_multiple_of(GROUP_CHARS) {
        return Err(PayloadError);
    }
    Ok(match base64 {
        [.., b'=', b'='] => groups * GROUP_BYTES - 2,
        [.., b'='] => groups * GROUP_BYTES - 1,
        _ => groups * GROUP_BYTES,
    })
}

/// Decodes as many whole groups from the front of `base64` as fit into `into`. Returns the characters read and the bytes
/// written; zero of each if no group fits.
///
/// # Errors
/// See [`PayloadError`].
pub fn decode(base64: &[u8], into: &mut [u8]) -> Result<(usize, usize), PayloadError> {
    let groups = (base64.len() / GROUP_CHARS).min(into.len() / GROUP_BYTES);
    let used = groups * GROUP_CHARS;
    let made = STANDARD.decode_slice(&base64[..used], into).map_err(|_| PayloadError)?;
    // Padding stands at the very end alone.
    if used < base64.len() && made < groups * GROUP_BYTES { Err(PayloadError) } else { Ok((used, made)) }
}

/// The bytes that this base64 encodes.
///
/// # Errors
/// See [`PayloadError`].
pub fn decoded(base64: &[u8]) -> Result<Vec<u8>, PayloadError> {
    let len = decoded_len(base64)?;
    let mut bytes = vec![0; len.next_multiple_of(GROUP_BYTES)];
    let (used, made) = decode(base64, &mut bytes)?;
    bytes.truncate(made);
    if used == base64.len() { Ok(bytes) } else { Err(PayloadError) }
}

/// How long a binary packet of so many bytes is in base64, with its first byte.
#[must_use]
pub const fn binary_len(bytes: usize) -> usize {
    1 + bytes.div_ceil(GROUP_BYTES) * GROUP_CHARS
}

/// Appends a binary packet in base64.
pub fn write_binary(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(BINARY);
    encode(bytes, out);
}

/// Packets for one poll, as they arrive. A packet may arrive in pieces; only whole ones are returned.
#[derive(Debug, Default)]
pub struct PayloadWriter {
    bytes: Vec<u8>,
    /// Where the whole packets end, and where the last of them begins.
    whole: usize,
    last: usize,
    begun: Option<Begun>,
}

/// A packet that has not fully arrived.
#[derive(Debug)]
struct Begun {
    binary: bool,
    /// Bytes that do not yet fill a group of base64.
    odd: [u8; GROUP_BYTES],
    odd_len: usize,
}

impl PayloadWriter {
    /// A packet begins: a text message, which contains its type, or a binary one.
    pub fn begin(&mut self, binary: bool) {
        self.last = self.whole;
        if self.whole > 0 {
            self.bytes.push(SEPARATOR);
        }
        if binary {
            self.bytes.push(BINARY);
        }
        self.begun = Some(Begun { binary, odd: [0; GROUP_BYTES], odd_len: 0 });
    }

    /// The next piece of the packet that was begun.
    pub fn push(&mut self, mut piece: &[u8]) {
        let Some(begun) = self.begun.as_mut().filter(|begun| begun.binary) else {
            return self.bytes.extend_from_slice(piece);
        };
        if begun.odd_len > 0 {
            let taken = piece.len().min(GROUP_BYTES - begun.odd_len);
            begun.odd[begun.odd_len..begun.odd_len + taken].copy_from_slice(&piece[..taken]);
            begun.odd_len += taken;
            piece = &piece[taken..];
            if begun.odd_len < GROUP_BYTES {
                return;
            }
            encode(&begun.odd, &mut self.bytes);
        }
        let (groups, odd) = piece.split_at(piece.len() - piece.len() % GROUP_BYTES);
        begun.odd[..odd.len()].copy_from_slice(odd);
        begun.odd_len = odd.len();
        encode(groups, &mut self.bytes);
    }

    /// The packet that was begun is whole.
    pub fn end(&mut self) {
        if let Some(begun) = self.begun.take() {
            encode(&begun.odd[..begun.odd_len], &mut self.bytes);
            self.whole = self.bytes.len();
        }
    }

    /// The packet that was begun is incomplete and is removed.
    pub fn abandon(&mut self) {
        self.begun = None;
        self.bytes.truncate(self.whole);
    }

    /// Whether a packet is begun and not whole.
    #[must_use]
    pub const fn in_packet(&self) -> bool {
        self.begun.is_some()
    }

    /// Bytes of the whole packets that were not returned yet.
    #[must_use]
    pub const fn waiting(&self) -> usize {
        self.whole
    }

    /// What all packets take, in bytes of memory.
    #[must_use]
    pub const fn memory(&self) -> usize {
        self.bytes.capacity()
    }

    /// The same without the last packet.
    #[must_use]
    pub const fn waiting_before_last(&self) -> usize {
        self.last
    }

    /// All whole packets as one payload. `None` if there is no packet.
    pub fn take(&mut self) -> Option<Vec<u8>> {
        if self.whole == 0 {
            return None;
        }
        // Of a packet that is not whole the separator goes too: it will be the first of the next payload.
        let rest = self.bytes.get(self.whole + 1..).unwrap_or_default().to_vec();
        let mut payload = std::mem::replace(&mut self.bytes, rest);
        payload.truncate(self.whole);
        (self.whole, self.last) = (0, 0);
        Some(payload)
    }
}

fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    let at = out.len();
    out.resize(at + bytes.len().div_ceil(GROUP_BYTES) * GROUP_CHARS, 0);
    STANDARD.encode_slice(bytes, &mut out[at..]).expect("the room was made for it");
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn read(body: &'static [u8]) -> Vec<PayloadPacket> {
        PayloadReader::new(Bytes::from_static(body)).collect()
    }

    fn text(packet: &'static str) -> PayloadPacket {
        PayloadPacket::Text(Bytes::from_static(packet.as_bytes()))
    }

    fn binary(base64: &'static str) -> PayloadPacket {
        PayloadPacket::Binary(Bytes::from_static(base64.as_bytes()))
    }

    #[test]
    fn a_payload_is_read_packet_by_packet() {
        // Captured from socket.io-client 4.8.4.
        let body = b"420[\"q\",\"a\"]\x1e451-[\"bin\",{\"_placeholder\":true,\"num\":0}]\x1ebAQIDBA==";
        let event = r#"451-["bin",{"_placeholder":true,"num":0}]"#;
        assert_eq!(read(body), [text(r#"420["q","a"]"#), text(event), binary("AQIDBA==")]);
        // engine.io-parser 5.2.3: `decodePayload` splits, so there is always one more packet than separators.
        assert_eq!(read(b""), [text("")]);
        assert_eq!(read(b"3\x1e"), [text("3"), text("")]);
        assert_eq!(read(b"\x1eb"), [text(""), binary("")]);
        for body in [&body[..], b"", b"3\x1e", b"\x1eb"] {
            assert_eq!(packets(body), read(body).len());
        }
    }

    /// What this base64 stands for, decoded into rooms of these sizes in turn.
    fn decoded(base64: &[u8], rooms: &[usize]) -> Result<Vec<u8>, PayloadError> {
        let len = decoded_len(base64)?;
        let (mut at, mut decoded) = (0, Vec::new());
        let mut rooms = rooms.iter().cycle();
        while at < base64.len() {
            let mut into = vec![0; *rooms.next().unwrap()];
            let (used, made) = decode(&base64[at..], &mut into)?;
            decoded.extend_from_slice(&into[..made]);
            at += used;
        }
        assert_eq!(decoded.len(), len);
        Ok(decoded)
    }

    #[test]
    fn a_binary_packet_is_written_and_read_at_once() {
        for bytes in [&b""[..], b"a", b"ab", b"abc", b"abcd", &[0xff; 1000]] {
            let mut packet = Vec::new();
            write_binary(bytes, &mut packet);
            assert_eq!((packet[0], packet.len()), (BINARY, binary_len(bytes.len())));
            assert_eq!(super::decoded(&packet[1..]).unwrap(), bytes);
        }
        for base64 in ["A", "AB=", "QQ==QQ==", "AB==", "A-_A"] {
            assert_eq!(super::decoded(base64.as_bytes()), Err(PayloadError), "{base64}");
        }
    }

    #[test]
    fn base64_is_decoded_in_groups_into_whatever_room_there_is() {
        for bytes in [&b""[..], b"a", b"ab", b"abc", b"abcd", b"a longer one, of several groups"] {
            let base64 = STANDARD.encode(bytes).into_bytes();
            for room in 3..bytes.len().max(3) + 3 {
                assert_eq!(decoded(&base64, &[room]).unwrap(), bytes, "room for {room}");
            }
        }
        assert_eq!(decode(b"QUJD", &mut [0; 2]), Ok((0, 0)), "no room for a group");
    }

    #[test]
    fn what_is_not_canonical_is_refused() {
        // RFC 4648 §3.5: bits left over; §4: padding; and the URL alphabet, which Node would take.
        for base64 in ["A", "AB", "ABC", "AB=", "A===", "AB==\n", "AB==", "AAC=", "AB= =", "A-_A", "AA A", "===="] {
            assert_eq!(decoded(base64.as_bytes(), &[64]), Err(PayloadError), "{base64}");
        }
        for room in [3, 64] {
            assert_eq!(decoded(b"QQ==QQ==", &[room]), Err(PayloadError), "padding before the end, room for {room}");
        }
    }

    #[test]
    fn packets_are_written_as_engine_io_does_however_they_come() {
        let packets = [(false, &b"430[\"r\",1]"[..]), (true, b"\x01\x02\x03\x04"), (true, b""), (false, b"2")];
        let expected = b"430[\"r\",1]\x1ebAQIDBA==\x1eb\x1e2";
        for size in 1..12 {
            let mut writer = PayloadWriter::default();
            for (binary, bytes) in packets {
                writer.begin(binary);
                bytes.chunks(size).for_each(|piece| writer.push(piece));
                writer.end();
            }
            assert_eq!(writer.waiting(), expected.len());
            assert_eq!(writer.waiting_before_last(), expected.len() - 2);
            assert_eq!(writer.take().unwrap(), expected, "pieces of {size}");
            assert_eq!(writer.take(), None);
        }
    }

    #[test]
    fn a_packet_that_is_not_whole_waits_for_the_next_poll() {
        let mut writer = PayloadWriter::default();
        writer.begin(true);
        writer.push(b"ab");
        assert_eq!((writer.take(), writer.in_packet()), (None, true));
        writer.push(b"c");
        writer.end();
        writer.begin(false);
        writer.push(b"4hel");
        assert_eq!(writer.take().unwrap(), b"bYWJj");
        assert_eq!(writer.take(), None);
        writer.push(b"lo");
        writer.end();
        writer.begin(true);
        writer.push(b"never whole");
        writer.abandon();
        assert_eq!((writer.take().unwrap(), writer.in_packet()), (b"4hello".to_vec(), false));
    }

    /// As the service sends them: text brings its type, and no JSON has a bare separator.
    fn packet() -> impl Strategy<Value = (bool, Vec<u8>)> {
        let text = "[0-6][^\u{1e}]{0,40}".prop_map(|text| (false, text.into_bytes()));
        prop_oneof![text, any::<Vec<u8>>().prop_map(|bytes| (true, bytes))]
    }

    fn plain(packet: &PayloadPacket) -> (bool, Vec<u8>) {
        match packet {
            PayloadPacket::Text(text) => (false, text.to_vec()),
            PayloadPacket::Binary(base64) => (true, decoded(base64, &[3, 8, 100]).unwrap()),
        }
    }

    proptest! {
        #[test]
        fn packets_come_back_in_whichever_pieces_they_were_written_and_fetched(
            packets in vec((packet(), prop::bool::weighted(0.9)), 0..8),
            sizes in vec(1..50_usize, 1..5),
            takes in vec(any::<bool>(), 1..8),
        ) {
            let (mut writer, mut payloads) = (PayloadWriter::default(), Vec::new());
            let (mut sizes, mut takes) = (sizes.iter().cycle(), takes.iter().cycle());
            for ((binary, bytes), ends) in &packets {
                writer.begin(*binary);
                let mut rest = &bytes[..];
                while !rest.is_empty() {
                    let piece = rest.split_off(..rest.len().min(*sizes.next().unwrap())).unwrap();
                    writer.push(piece);
                    if *takes.next().unwrap() {
                        payloads.extend(writer.take());
                    }
                }
                if *ends { writer.end() } else { writer.abandon() }
            }
            payloads.extend(writer.take());
            let read: Vec<_> = payloads.into_iter().flat_map(|payload| PayloadReader::new(payload.into())).collect();
            let whole: Vec<_> = packets.into_iter().filter(|(_, ends)| *ends).map(|(packet, _)| packet).collect();
            prop_assert_eq!(read.iter().map(plain).collect::<Vec<_>>(), whole);
        }

        #[test]
        fn base64_means_in_rooms_of_any_size_what_it_means_at_once(
            base64 in "([A-Za-z0-9+/]{4}){0,8}[A-Zgw048+/=_ ]{0,4}={0,2}", rooms in vec(3..20_usize, 1..4),
        ) {
            prop_assert_eq!(decoded(base64.as_bytes(), &rooms).ok(), STANDARD.decode(&base64).ok());
        }
    }
}
