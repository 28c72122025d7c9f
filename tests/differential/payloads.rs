//! Payloads of long-polling, as we read and write them and as engine.io-parser does.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use proptest::{collection::vec, prelude::*, sample::select};
use tidegate::wire::engineio::{
    packet::EnginePacket,
    payload::{PayloadPacket, PayloadReader, PayloadWriter, decode, decoded_len},
};

use crate::{generated, oracle::Oracle, packets, strings};

/// A packet of a payload: text with its type, or a binary message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Packet {
    Text(String),
    Binary(Vec<u8>),
}

/// How we read a body. None: we refuse it.
fn our_reading(payload: &str) -> Option<Vec<Packet>> {
    PayloadReader::new(payload.to_owned().into()).map(|packet| our_packet(&packet)).collect()
}

fn our_packet(packet: &PayloadPacket) -> Option<Packet> {
    match packet {
        PayloadPacket::Text(text) => {
            EnginePacket::from_digit(*text.first()?)?;
            Some(Packet::Text(String::from_utf8(text.to_vec()).ok()?))
        }
        PayloadPacket::Binary(base64) => {
            let mut bytes = vec![0; decoded_len(base64).ok()? + 2];
            let (used, made) = decode(base64, &mut bytes).ok()?;
            assert_eq!(used, base64.len());
            bytes.truncate(made);
            Some(Packet::Binary(bytes))
        }
    }
}

fn our_writing(packets: &[Packet]) -> String {
    let mut writer = PayloadWriter::default();
    for packet in packets {
        let (binary, bytes) = match packet {
            Packet::Text(text) => (false, text.as_bytes()),
            Packet::Binary(bytes) => (true, &bytes[..]),
        };
        writer.begin(binary);
        bytes.chunks(5).for_each(|piece| writer.push(piece));
        writer.end();
    }
    String::from_utf8(writer.take().unwrap()).unwrap()
}

/// Packets as both sides send them. No JSON has a bare separator in it.
fn official() -> impl Strategy<Value = Vec<Packet>> {
    let text = "[0-6][^\u{1e}]{0,30}".prop_map(Packet::Text);
    vec(prop_oneof![text, vec(any::<u8>(), 0..30).prop_map(Packet::Binary)], 1..6)
}

/// Bodies of packets that are mostly right, base64 that is often almost so, and separators where there may be none.
fn nearly_payloads() -> impl Strategy<Value = String> {
    let group = "[A-Za-z0-9+/]{4}";
    let end = prop_oneof![4 => Just(""), 2 => Just("QQ=="), 2 => Just("QUI="), 3 => select(&[
        "QR==", "QUJ=", "QQ", "QUI", "Q", "QQ=", "=", "==", "====", "Q===", "Q-_A", "QQ==QQ==", "QQ==\n", " QQ==", "Q Q=", "é",
    ][..])];
    let binary = (vec(group, 0..3), end).prop_map(|(groups, end)| format!("b{}{end}", groups.concat()));
    let strange = select(&["", "b", "B", "7", "a", " 4", "\u{feff}4", "4\u{0}", "b4", "٤"][..]).prop_map(str::to_owned);
    let text = prop_oneof!["[0-6]", "4[ -~]{0,20}", packets::nearly_packets()];
    let packet = prop_oneof![8 => text, 8 => binary, 1 => strange];
    vec(packet, 1..5).prop_map(|packets| packets.join("\u{1e}"))
}

#[test]
fn payloads_that_are_admitted_are_read_by_node_as_by_us() {
    let payloads = generated(&nearly_payloads(), strings());
    let mut admitted = 0;
    for (payload, node) in payloads.iter().zip(Oracle::decode_payloads(&payloads)) {
        let Some(ours) = our_reading(payload) else { continue };
        admitted += 1;
        assert_eq!(Some(ours), node, "we and Node read {payload:?} differently");
    }
    let most = payloads.len() * 9 / 10;
    assert!((payloads.len() / 10..most).contains(&admitted), "{admitted} of {} admitted", payloads.len());
}

#[test]
fn payloads_are_written_as_node_writes_them_and_read_back() {
    let lists = generated(&official(), 10_000);
    let nodes = Oracle::encode_payloads(&lists);
    let read = Oracle::decode_payloads(&nodes);
    for ((packets, payload), node) in lists.into_iter().zip(nodes).zip(read) {
        assert_eq!(our_writing(&packets), payload);
        assert_eq!(our_reading(&payload).as_ref(), Some(&packets), "{payload:?}");
        assert_eq!(node, Some(packets), "{payload:?}");
    }
}

#[test]
fn base64_that_node_takes_and_we_do_not() {
    // (the rule of RFC 4648 that it breaks, what a client may send, how Node reads it)
    let table: &[(&str, &str, &[u8])] = &[
        ("§3.2: no padding", "bQQ", b"A"),
        ("§3.2: too little padding", "bQQ=", b"A"),
        ("§4: padding before the end", "bQQ==QQ==", b"A"),
        ("§4: padding and nothing else", "b====", b""),
        ("§4: too much padding", "bQUJD====", b"ABC"),
        ("§3.5: bits left over", "bQR==", b"A"),
        ("§3.5: bits left over", "bQUJ=", b"AB"),
        ("§4: a character that says nothing alone", "bQUJDQ", b"ABC"),
        ("§5: the URL alphabet", "b-_-_", b"\xfb\xff\xbf"),
        ("§3.3: a line end", "bQUJD\n", b"ABC"),
        ("§3.3: a blank", "bQU JD", b"ABC"),
        ("§3.3: other characters", "bQ?U!JD", b"ABC"),
    ];
    let payloads: Vec<_> = table.iter().map(|(_, payload, _)| (*payload).to_owned()).collect();
    for ((rule, payload, bytes), node) in table.iter().zip(Oracle::decode_payloads(&payloads)) {
        assert_eq!(node, Some(vec![Packet::Binary(bytes.to_vec())]), "{rule}: Node's reading of {payload:?}");
        assert_eq!(our_reading(payload), None, "{rule}: ours");
        // And its twin, as official clients write it.
        let canonical = format!("b{}", STANDARD.encode(bytes));
        assert_eq!(our_reading(&canonical), node, "{canonical:?}");
    }
}
