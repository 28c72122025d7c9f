//! Payloads of long-polling: a payload that is read is written back unchanged, and the reverse.
#![no_main]

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tidegate::wire::engineio::payload::{
    PayloadError, PayloadPacket, PayloadReader, PayloadWriter, SEPARATOR, decode, decoded_len,
};
use tidegate_fuzz::Input;

fuzz_target!(|data: &[u8]| {
    let Some(input) = Input::new(data) else { return };
    let packets: Vec<_> = PayloadReader::new(Bytes::copy_from_slice(input.bytes)).collect();
    let separators = input.bytes.iter().filter(|&&byte| byte == SEPARATOR).count();
    assert_eq!(packets.len(), separators + 1);

    let decoded: Option<Vec<_>> = packets.iter().map(|packet| decoded(packet, &input)).collect();
    // An empty packet has no type, and is never passed to the writer.
    let Some(decoded) = decoded.filter(|_| !packets.contains(&PayloadPacket::Text(Bytes::new()))) else { return };

    let payloads = written(&decoded, &input);
    let read_back: Vec<_> = payloads.iter().cloned().flat_map(PayloadReader::new).collect();
    assert_eq!(read_back, packets);
    if let [payload] = &payloads[..] {
        assert_eq!(payload, input.bytes, "there is one way to write packets, and only that is admitted");
    }
});

/// Whether it is binary, and its bytes. `None`: it is refused.
fn decoded(packet: &PayloadPacket, input: &Input<'_>) -> Option<(bool, Vec<u8>)> {
    let base64 = match packet {
        PayloadPacket::Text(text) => return Some((false, text.to_vec())),
        PayloadPacket::Binary(base64) => base64,
    };
    let bytes = decoded_in_rooms(base64, input.sizes().map(|size| size + 2)).ok();
    assert_eq!(bytes, STANDARD.decode(base64).ok(), "in pieces as at once");
    if let Some(bytes) = &bytes {
        assert_eq!(decoded_len(base64), Ok(bytes.len()));
    }
    Some((true, bytes?))
}

/// Decodes into one small buffer after another, each with room for at least one group.
fn decoded_in_rooms(mut base64: &[u8], mut rooms: impl Iterator<Item = usize>) -> Result<Vec<u8>, PayloadError> {
    decoded_len(base64)?;
    let mut bytes = Vec::new();
    while !base64.is_empty() {
        let mut into = vec![0; rooms.next().unwrap_or_default()];
        let (used, made) = decode(base64, &mut into)?;
        assert!(used > 0, "there was room for a group");
        base64 = &base64[used..];
        bytes.extend_from_slice(&into[..made]);
    }
    Ok(bytes)
}

/// The packets as payloads, taken each time after this number of pieces. 0: only at the end.
fn written(packets: &[(bool, Vec<u8>)], input: &Input<'_>) -> Vec<Bytes> {
    let mut writer = PayloadWriter::default();
    let mut payloads = Vec::new();
    let mut pieces = 0_usize;
    for (binary, bytes) in packets {
        writer.begin(*binary);
        for piece in input.pieces(bytes) {
            writer.push(piece);
            pieces += 1;
            if input.options > 0 && pieces.is_multiple_of(input.options.into()) {
                let waiting = writer.waiting();
                let taken = writer.take();
                assert_eq!(taken.as_ref().map_or(0, Vec::len), waiting);
                payloads.extend(taken);
            }
        }
        writer.end();
    }
    payloads.extend(writer.take());
    assert_eq!(writer.take(), None);
    payloads.into_iter().map(Bytes::from).collect()
}
