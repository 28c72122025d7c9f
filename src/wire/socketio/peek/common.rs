//! The head that nearly every packet has, read in one pass. The grammar is in the file above; this one knows when
//! it does not need all of it.

use crate::wire::{
    socketio::packet::{ACK_ID_DIGITS_MAX, EventName, NAMESPACE_BYTES_MAX, PacketHead, PacketType, is_reserved},
    websocket::frame::Sender,
};

/// A longer name is not read here.
const NAME_BYTES_MAX: usize = 128;

/// The head of nearly every packet: an event or ack without attachments, its namespace and name of plain ASCII. `None`
/// for every other text, right or wrong: the full reader decides.
#[inline]
pub(super) fn common_head(text: &[u8], complete: bool, sender: Sender) -> Option<PacketHead<'_>> {
    let (kind, rest) = match text {
        [b'4', b'2', rest @ ..] => (PacketType::Event, rest),
        [b'4', b'3', rest @ ..] => (PacketType::Ack, rest),
        _ => return None,
    };
    let (namespace, rest) = if rest.first() == Some(&b'/') { plain_namespace(rest)? } else { ("/", rest) };
    let (ack_id, array) = if rest.first() == Some(&b'[') { (None, rest) } else { short_ack_id(rest)? };
    if array.first() != Some(&b'[') || (complete && array.last() != Some(&b']')) {
        return None;
    }
    let event = match kind {
        PacketType::Event => Some(plain_name(&array[1..], sender)?),
        _ => None,
    };
    if event.is_none() && ack_id.is_none() {
        return None;
    }
    let data_at = text.len() - array.len();
    Some(PacketHead { kind, attachments: 0, namespace, ack_id, event, data_at, is_canonical: true })
}

/// The namespace at the start of `text`, if it is of plain ASCII, and the text behind its comma.
fn plain_namespace(text: &[u8]) -> Option<(&str, &[u8])> {
    let is_plain = |byte: &u8| matches!(byte, b'!'..=b'~') && !matches!(byte, b',' | b'?');
    let len = text.iter().take(NAMESPACE_BYTES_MAX + 1).position(|byte| !is_plain(byte))?;
    let (namespace, rest) = text.split_at(len);
    let rest = rest.strip_prefix(b",")?;
    (namespace != b"/").then_some((std::str::from_utf8(namespace).ok()?, rest))
}

/// The ack id at the start of `text`, if any, and the text after it. An id of the most digits is not read here.
#[inline]
fn short_ack_id(text: &[u8]) -> Option<(Option<u64>, &[u8])> {
    let mut id = 0;
    let mut digits = 0;
    while let Some(digit @ b'0'..=b'9') = text.get(digits) {
        id = 10 * id + u64::from(digit - b'0');
        digits += 1;
        if digits == ACK_ID_DIGITS_MAX {
            return None;
        }
    }
    let leading_zero = digits > 1 && text[0] == b'0';
    (!leading_zero).then(|| ((digits > 0).then_some(id), &text[digits..]))
}

/// The event name at the start of `text`, where it is of plain ASCII without escapes and nothing forbids it.
#[inline]
fn plain_name(text: &[u8], sender: Sender) -> Option<EventName<'_>> {
    let (b'"', text) = text.split_first()? else { return None };
    let len = plain_ascii_len(text);
    let (name, [b'"', rest @ ..]) = text.split_at_checked(len)? else { return None };
    if name.len() > NAME_BYTES_MAX {
        return None;
    }
    let takes_it = match sender {
        Sender::Client => matches!(rest, [b',' | b']', ..]) && !is_reserved(name),
        Sender::Service => true,
    };
    takes_it.then(|| EventName::from_ascii(name))
}

/// The length of the run of ASCII bytes at the start of `text` that stand for themselves in a JSON string. The count
/// ends a few bytes behind [`NAME_BYTES_MAX`].
#[inline]
fn plain_ascii_len(text: &[u8]) -> usize {
    let (words, tail) = text[..text.len().min(NAME_BYTES_MAX + 8)].as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        let special = special_bytes(u64::from_le_bytes(*word));
        if special != 0 {
            return 8 * at + special.trailing_zeros() as usize / 8;
        }
    }
    let is_plain = |byte: &&u8| special_bytes(u64::from(**byte)) & 0x80 == 0;
    8 * words.len() + tail.iter().take_while(is_plain).count()
}

/// The top bit of each byte that is a quote, a backslash, a control character or no ASCII. Bits above the lowest one
/// may be wrong, because a subtraction borrows from the byte above.
const fn special_bytes(word: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const TOPS: u64 = u64::from_le_bytes([0x80; 8]);
    let quote = (word ^ (ONES * b'"' as u64)).wrapping_sub(ONES);
    let backslash = (word ^ (ONES * b'\\' as u64)).wrapping_sub(ONES);
    let control = word.wrapping_sub(ONES * b' ' as u64);
    (quote | backslash | control | word) & TOPS
}
