//! Frames cut anywhere, and what is found in them.

use super::*;
use crate::{
    session::message::JsonBegin,
    wire::json::check::{JsonBounds, JsonFault, JsonReading},
};

const KEY: [u8; 4] = [7, 6, 5, 4];

fn frame(fin_and_opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![fin_and_opcode, 0x80 | u8::try_from(payload.len()).unwrap()];
    frame.extend(KEY);
    let at = frame.len();
    frame.extend(payload);
    mask::apply(&mut frame[at..], KEY, 0);
    frame
}

/// All that is found when `bytes` come in pieces of `size`; every message is kept. What is kept comes back too.
fn found(bytes: &[u8], size: usize) -> (Vec<String>, Vec<u8>) {
    let mut inflow = Inflow::new(Sender::Client, 1000, false);
    let (mut seen, mut kept) = (Vec::new(), Vec::new());
    let mut peek = [0; PEEK_BYTES];
    for piece in bytes.chunks(size) {
        let mut buffer = [0; 4096];
        let carried = inflow.take_carry(&mut buffer);
        buffer[carried..carried + piece.len()].copy_from_slice(piece);
        let mut batch = Batch::new(&mut buffer[..carried + piece.len()]);
        while let Some(found) = inflow.next(&mut batch, &mut peek).unwrap() {
            match found {
                Ahead::Control { opcode, len } => {
                    seen.push(format!("{opcode:?} {}", String::from_utf8_lossy(&peek[..len])));
                }
                Ahead::Head { header, len, .. } => {
                    seen.push(format!(
                        "{:?} {}",
                        header.opcode,
                        String::from_utf8_lossy(shown(&header, len, &batch, &peek))
                    ));
                    inflow.decide(&header, &mut batch, Fate::Pass).unwrap();
                }
                Ahead::Message { opcode, payload } => {
                    seen.push(format!("gathered {opcode:?} {}", String::from_utf8_lossy(&payload)));
                }
            }
        }
        kept.extend_from_slice(batch.kept());
    }
    (seen, kept)
}

#[test]
fn however_the_bytes_are_cut_the_same_is_found_and_kept() {
    let first = frame(0x81, b"42[\"a\"]");
    let last = frame(0x82, b"attachment");
    let fragments = [frame(0x01, b"42[\"fr"), frame(0x89, b"ping"), frame(0x80, b"agments\"]")].concat();
    let bytes = [&first[..], &fragments, &last].concat();
    let expected = ["Text 42[\"a\"]", "Ping ping", "gathered Text 42[\"fragments\"]", "Binary attachment"];
    for size in 1..=bytes.len() {
        let (seen, kept) = found(&bytes, size);
        assert_eq!(seen, expected, "pieces of {size}");
        assert_eq!(kept, [&first[..], &last].concat(), "pieces of {size}");
    }
}

#[test]
fn a_message_in_fragments_keeps_its_bytes_alone_and_all_of_them_are_counted() {
    let mut inflow = Inflow::new(Sender::Client, 1 << 20, false);
    let mut len = 0;
    for at in 0..2_000 {
        let mut bytes = frame(if at == 0 { 0x01 } else { 0x00 }, &[b'x'; 64]);
        let mut batch = Batch::new(&mut bytes);
        assert!(inflow.next(&mut batch, &mut [0; PEEK_BYTES]).unwrap().is_none());
        len += 64;
        assert!((len..=2 * len).contains(&inflow.memory()), "{} bytes for {len}", inflow.memory());
    }
    inflow.forget();
    assert_eq!(inflow.memory(), 0);
}

#[test]
fn what_was_put_back_comes_again_before_anything_else() {
    let mut inflow = Inflow::new(Sender::Client, 1000, false);
    let mut bytes = [frame(0x81, b"one"), frame(0x81, b"two")].concat();
    inflow.put_back(&mut Batch::new(&mut bytes));
    assert!(inflow.has_put_back());
    let mut buffer = [0; 12];
    assert_eq!(inflow.take_carry(&mut buffer), 12, "as much as there is room for");
    assert!(inflow.has_put_back(), "and the rest later");
    let mut batch = Batch::new(&mut buffer);
    let Ok(Some(Ahead::Head { header, len, .. })) = inflow.next(&mut batch, &mut [0; PEEK_BYTES]) else { panic!() };
    assert_eq!(len, 3);
    inflow.decide(&header, &mut batch, Fate::Drop).unwrap();
    assert!(inflow.next(&mut batch, &mut [0; PEEK_BYTES]).unwrap().is_none());
    let mut buffer = [0; 64];
    assert_eq!(inflow.take_carry(&mut buffer), 9, "the beginning of the second and its rest");
    assert!(!inflow.has_put_back());
}

/// A frame of the service.
fn unmasked(fin_and_opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    FrameHeader::encode(OpCode::Text, payload.len() as u64, None, &mut frame);
    frame[0] = fin_and_opcode;
    frame.extend(payload);
    frame
}

/// Takes `bytes` in pieces of `size` and keeps every message; the first refusal.
fn refusal(mut inflow: Inflow, bytes: &[u8], size: usize) -> Option<BrokenRule> {
    let mut peek = [0; PEEK_BYTES];
    for piece in bytes.chunks(size) {
        let mut buffer = [0; 4096];
        let carried = inflow.take_carry(&mut buffer);
        buffer[carried..carried + piece.len()].copy_from_slice(piece);
        let mut batch = Batch::new(&mut buffer[..carried + piece.len()]);
        loop {
            match inflow.next(&mut batch, &mut peek) {
                Ok(Some(Ahead::Head { header, .. })) => {
                    if let Err(rule) = inflow.decide(&header, &mut batch, Fate::Pass) {
                        return Some(rule);
                    }
                }
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(rule) => return Some(rule),
            }
        }
    }
    None
}

#[test]
fn text_is_utf8_and_whose_it_is_decides_whether_that_is_checked() {
    let service = || Inflow::new(Sender::Service, 5000, false);
    let long = |end: &[u8]| unmasked(0x81, &["é∴🌊".repeat(200).as_bytes(), end].concat());
    let rows: &[(&str, Vec<u8>, bool)] = &[
        ("text", unmasked(0x81, "é∴🌊".as_bytes()), true),
        ("a surrogate", unmasked(0x81, b"\xed\xa0\x80"), false),
        ("half a character", unmasked(0x81, b"ab\xce"), false),
        ("long text", long(b"end"), true),
        ("a wrong byte far behind what is shown", long(b"\xff"), false),
        ("half a character far behind what is shown", long(b"\xf0\x90"), false),
        ("a character in two fragments", [unmasked(0x01, b"\xc3"), unmasked(0x80, b"\xa9")].concat(), true),
        ("half a character in two fragments", [unmasked(0x01, b"a"), unmasked(0x80, b"\xc3")].concat(), false),
        ("binary may be anything", unmasked(0x82, b"\xff\xfe"), true),
    ];
    for (what, bytes, utf8) in rows {
        for size in [1, 2, 7, 100, 4000] {
            let expected = (!utf8).then_some(FrameError::NotUtf8.into());
            assert_eq!(refusal(service().checking_text(), bytes, size), expected, "{what}, pieces of {size}");
            assert_eq!(refusal(service(), bytes, size), None, "{what}, unchecked");
        }
    }
    let client = Inflow::new(Sender::Client, 1000, false);
    assert_eq!(refusal(client, &frame(0x81, b"\xff"), 100), Some(FrameError::NotUtf8.into()), "the client's always is");
}

#[test]
fn a_wrong_byte_is_refused_before_the_rest_of_its_frame_is_there() {
    // Autobahn 6.4.3 and 6.4.4: F4 90 begins no character.
    let whole = frame(0x81, "κόσμε\u{10ffff}edited".as_bytes());
    let wrong = frame(0x81, b"\xce\xba\xf4\x90\x80\x80edited");
    let client = || Inflow::new(Sender::Client, 1000, false);
    assert_eq!(refusal(client(), &wrong[..9], 9), None, "six bytes of header, a character and F4");
    assert_eq!(refusal(client(), &wrong[..10], 10), Some(FrameError::NotUtf8.into()));
    assert_eq!(refusal(client(), &whole[..whole.len() - 1], 3), None);
}

#[test]
fn a_message_passes_for_as_long_as_it_is_json() {
    let begin = |at| JsonBegin { at, bounds: JsonBounds::new(JsonReading::Structure, 3).unwrap() };
    let padding = "x".repeat(2000);
    let rows = [
        (format!(r#"42["{padding}",[{{}}]]"#), Ok(())),
        (format!(r#"42["{padding}é"]"#), Ok(())),
        (format!(r#"42["{padding}"]]"#), Err(JsonFault::Structure.into())),
        (format!(r#"42["{padding}"#), Err(JsonFault::Structure.into())),
        (format!(r#"42["{padding}",[[[1]]]]"#), Err(JsonFault::TooDeep.into())),
    ];
    for (text, expected) in &rows {
        let mut bytes = vec![0x81, 0x80 | 126];
        bytes.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
        bytes.extend(KEY);
        let at = bytes.len();
        bytes.extend(text.as_bytes());
        mask::apply(&mut bytes[at..], KEY, 0);
        for size in [1, 7, 1000, 4000] {
            let mut inflow = Inflow::new(Sender::Client, 5000, false);
            assert_eq!(passes_json(&mut inflow, &bytes, size, begin(2)), *expected, "{text} in pieces of {size}");
        }
    }
}

/// Takes `bytes` in pieces of `size` and keeps every message as JSON that begins there.
fn passes_json(inflow: &mut Inflow, bytes: &[u8], size: usize, begin: JsonBegin) -> Result<(), BrokenRule> {
    let mut peek = [0; PEEK_BYTES];
    for piece in bytes.chunks(size) {
        let mut buffer = [0; 8192];
        let carried = inflow.take_carry(&mut buffer);
        buffer[carried..carried + piece.len()].copy_from_slice(piece);
        let mut batch = Batch::new(&mut buffer[..carried + piece.len()]);
        while let Some(found) = inflow.next(&mut batch, &mut peek)? {
            let Ahead::Head { header, complete, .. } = found else { panic!("{found:?}") };
            assert!(!complete);
            inflow.decide(&header, &mut batch, Fate::PassJson(begin))?;
        }
    }
    Ok(())
}
