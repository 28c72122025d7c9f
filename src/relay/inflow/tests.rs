//! Frames cut anywhere, and what is found in them.

use super::*;

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
                Found::Control { opcode, len } => {
                    seen.push(format!("{opcode:?} {}", String::from_utf8_lossy(&peek[..len])));
                }
                Found::Head { header, len, .. } => {
                    seen.push(format!("{:?} {}", header.opcode, String::from_utf8_lossy(&peek[..len])));
                    inflow.decide(&header, &mut batch, Fate::Keep).unwrap();
                }
                Found::Message { opcode, payload } => {
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
fn what_was_put_back_comes_again_before_anything_else() {
    let mut inflow = Inflow::new(Sender::Client, 1000, false);
    let mut bytes = [frame(0x81, b"one"), frame(0x81, b"two")].concat();
    inflow.put_back(&mut Batch::new(&mut bytes));
    assert!(inflow.has_put_back());
    let mut buffer = [0; 12];
    assert_eq!(inflow.take_carry(&mut buffer), 12, "as much as there is room for");
    assert!(inflow.has_put_back(), "and the rest later");
    let mut batch = Batch::new(&mut buffer);
    let Ok(Some(Found::Head { header, len, .. })) = inflow.next(&mut batch, &mut [0; PEEK_BYTES]) else { panic!() };
    assert_eq!(len, 3);
    inflow.decide(&header, &mut batch, Fate::Cut).unwrap();
    assert!(inflow.next(&mut batch, &mut [0; PEEK_BYTES]).unwrap().is_none());
    let mut buffer = [0; 64];
    assert_eq!(inflow.take_carry(&mut buffer), 9, "the beginning of the second and its rest");
    assert!(!inflow.has_put_back());
}
