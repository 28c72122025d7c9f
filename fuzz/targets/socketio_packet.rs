//! The head of a client's packet: any beginning of the message gives the same head, and each spelling goes on as one, which
//! means the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tidegate::wire::socketio::{
    canonical::CanonicalHead,
    packet::PacketType,
    peek::{PEEK_BYTES, PacketHead, PeekError, peek_client},
};

fuzz_target!(|text: &[u8]| {
    let whole = peek_client(text, true);
    for len in 0..text.len().min(PEEK_BYTES + 2) {
        let beginning = peek_client(&text[..len], false);
        // Only the whole message shows how it ends.
        if beginning != Err(PeekError::CutShort) && whole != Err(PeekError::PayloadEnd) {
            assert_eq!(beginning, whole, "after {len} bytes");
        }
    }
    if let Ok(head) = whole {
        assert_one_spelling(&head, text);
        assert_named_as_json_says(&head, &text[head.data_at..]);
    }
});

/// The packet as it goes on means the same, is no longer, and goes on as it is.
fn assert_one_spelling(head: &PacketHead<'_>, text: &[u8]) {
    let written = CanonicalHead::of(head).written(text);
    assert_eq!(head.is_canonical, written.as_bytes() == &text[..head.data_at]);
    let canonical = [written.as_bytes(), &text[head.data_at..]].concat();
    // The C++ client leaves the comma out where nothing follows.
    let adds_comma = matches!(head.kind, PacketType::Connect | PacketType::Disconnect) && head.data_at == text.len();
    assert!(canonical.len() <= text.len() + usize::from(adds_comma));
    if !head.is_canonical && !adds_comma {
        assert_eq!(CanonicalHead::of(head).put_into(&mut text.to_vec()), canonical);
    }
    let again = peek_client(&canonical, true).expect("what goes on is a packet");
    assert!(again.is_canonical);
    assert_eq!(
        (again.kind, again.attachments, again.namespace, again.ack_id, &again.event),
        (head.kind, head.attachments, head.namespace, head.ack_id, &head.event)
    );
    assert_eq!(canonical[again.data_at..], text[head.data_at..]);
}

/// If the payload is JSON, its first element is the name that was read: a text, or a whole number.
fn assert_named_as_json_says(head: &PacketHead<'_>, payload: &[u8]) {
    let Some(event) = &head.event else { return };
    if let Ok(payload) = serde_json::from_slice::<Value>(payload) {
        match &payload[0] {
            Value::String(name) => assert_eq!(name, event.as_str()),
            number => assert_eq!(number.to_string(), event.as_str()),
        }
    }
}
