//! The head of a client's packet: any beginning of the message gives the same head, and a head has one spelling.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tidegate::wire::socketio::peek::{PEEK_BYTES, PacketHead, PeekError, peek_client};

fuzz_target!(|text: &[u8]| {
    let whole = peek_client(text, true);
    for len in 0..text.len().min(PEEK_BYTES + 2) {
        let beginning = peek_client(&text[..len], false);
        if beginning == Err(PeekError::CutShort) {
            assert!(len < PEEK_BYTES, "{PEEK_BYTES} bytes are enough for every head");
        } else if whole != Err(PeekError::PayloadEnd) {
            // Only the whole message shows how it ends.
            assert_eq!(beginning, whole, "after {len} bytes");
        }
    }
    if let Ok(head) = whole {
        assert_canonical(&head, text);
        assert_named_as_json_says(&head, &text[head.data_at..]);
    }
});

/// A head that is read and written again is unchanged.
fn assert_canonical(head: &PacketHead<'_>, text: &[u8]) {
    let mut written = format!("4{}", char::from(head.kind.digit()));
    if head.kind.has_attachments() {
        written += &format!("{}-", head.attachments);
    }
    if head.namespace != "/" {
        written += &format!("{},", head.namespace);
    }
    if let Some(id) = head.ack_id {
        written += &id.to_string();
    }
    let read = &text[..head.data_at];
    // The C++ client leaves the comma out where nothing follows.
    let without_comma = head.data_at == text.len() && written.strip_suffix(',').map(str::as_bytes) == Some(read);
    assert!(read == written.as_bytes() || without_comma, "{written}");
}

/// If the payload is JSON, its first element is the name that was read.
fn assert_named_as_json_says(head: &PacketHead<'_>, payload: &[u8]) {
    let Some(event) = &head.event else { return };
    if let Ok(payload) = serde_json::from_slice::<Value>(payload) {
        assert_eq!(payload[0], event.as_str());
    }
}
