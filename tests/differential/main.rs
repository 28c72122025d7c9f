//! Our reading of Socket.IO packets and Engine.IO payloads beside that of the official parsers, on the same strings.
//!
//! Three promises: what we admit from a client, Node reads as we do, and reads the same in the spelling in which it goes on; what
//! official encoders write is admitted and goes on as it is; and what Node reads and we refuse has a second reading. Of its
//! JSON, read in full, we admit what Node parses, and of its structure no less. And what the Redis adapter publishes we read as
//! its nodes do, and they what we publish.
#![allow(clippy::unwrap_used, reason = "what is not there fails the test")]

mod bridge;
mod broadcasts;
mod json;
mod oracle;
mod packets;
mod payloads;

use oracle::{Oracle, Reading};
use proptest::{strategy::Strategy, test_runner::TestRunner};
use serde_json::Value;
use tidegate::wire::socketio::{
    canonical::CanonicalHead,
    encode,
    packet::PacketType,
    peek::{PeekError, peek_client},
};

/// Strings per run, five times as many with `scripts/test --long`; the oracle reads some 50,000 a second.
fn strings() -> usize {
    if is_long() { 100_000 } else { 20_000 }
}

/// Run by `scripts/test --long`.
fn is_long() -> bool {
    std::env::var_os("TIDEGATE_LONG").is_some()
}

/// A client's text message as we read it.
struct Admitted {
    /// In the oracle's words.
    reading: Reading,
    /// As it goes on.
    canonical: String,
}

/// How we read a client's text message. None: we refuse it.
fn our_reading(text: &str) -> Option<Reading> {
    admitted(text).map(|admitted| admitted.reading)
}

fn admitted(text: &str) -> Option<Admitted> {
    let head = peek_client(text.as_bytes(), true).ok()?;
    let json = text[head.data_at..].trim_ascii_end();
    // A CONNECT and a DISCONNECT in another spelling are written anew, everything else gets another head.
    let mut canonical = Vec::new();
    match head.kind {
        _ if head.is_canonical => canonical.extend(text.bytes()),
        PacketType::Connect => encode::connect(head.namespace, json.as_bytes(), None, &mut canonical),
        PacketType::Disconnect => encode::disconnect(head.namespace, &mut canonical),
        _ => canonical.extend(CanonicalHead::of(&head).put_into(&mut text.as_bytes().to_vec())),
    }
    let reading = Reading {
        kind: head.kind.digit() - b'0',
        namespace: head.namespace.to_owned(),
        ack_id: head.ack_id.map(Value::from),
        event: head.event.map(|name| name.as_str().to_owned()),
        attachments: head.attachments.into(),
    };
    Some(Admitted { reading, canonical: String::from_utf8(canonical).unwrap() })
}

fn generated<S: Strategy>(strategy: &S, count: usize) -> Vec<S::Value> {
    drawn(strategy, count, &mut TestRunner::default())
}

fn drawn<S: Strategy>(strategy: &S, count: usize, runner: &mut TestRunner) -> Vec<S::Value> {
    use proptest::strategy::ValueTree;
    (0..count).map(|_| strategy.new_tree(runner).unwrap().current()).collect()
}

/// Node reads what we admit as we do, in its own spelling and in the one in which it goes on, or refuses both for their
/// payload, which we do not parse. How many were admitted, and how many of those in another spelling.
fn assert_same_reading(texts: &[String]) -> (usize, usize) {
    let ours: Vec<_> = texts.iter().map(|text| admitted(text)).collect();
    let as_they_go_on = |(text, ours): (&String, &Option<Admitted>)| {
        ours.as_ref().map_or_else(|| text.clone(), |ours| ours.canonical.clone())
    };
    let canonical: Vec<_> = texts.iter().zip(&ours).map(as_they_go_on).collect();
    let (mut all, mut others) = (0, 0);
    let nodes = Oracle::decode(texts).into_iter().zip(Oracle::decode(&canonical));
    for (((text, canonical), ours), (said, goes_on)) in texts.iter().zip(&canonical).zip(ours).zip(nodes) {
        let Some(ours) = ours else { continue };
        all += 1;
        others += usize::from(text != canonical);
        let Some(said) = said else {
            assert_eq!(goes_on, None, "Node refuses {text:?} and not {canonical:?}");
            continue;
        };
        assert_eq!(ours.reading, meant(said), "we and Node read {text:?} differently");
        assert_eq!(Some(ours.reading), goes_on, "Node reads {text:?} and {canonical:?} differently");
        let again = admitted(canonical).unwrap_or_else(|| panic!("{canonical:?} is refused"));
        assert_eq!(again.canonical, *canonical, "{text:?} has no one spelling");
    }
    (all, others)
}

/// What Node does with what it reads: nothing answers a CONNECT or a DISCONNECT by the id that it finds there.
fn meant(read: Reading) -> Reading {
    let ack_id = read.ack_id.filter(|_| !matches!(read.kind, 0 | 1));
    Reading { ack_id, ..read }
}

#[test]
fn what_is_admitted_is_read_by_node_as_by_us() {
    let texts = generated(&packets::nearly_packets(), strings());
    let (admitted, others) = assert_same_reading(&texts);
    // The test would prove nothing if all or none of them were packets.
    let most = texts.len() * 9 / 10;
    assert!((texts.len() / 100..most).contains(&admitted), "{admitted} of {} admitted", texts.len());
    assert!(others > admitted / 10, "{others} of {admitted} are spelled otherwise");
}

#[test]
fn mutations_of_official_packets_are_read_by_node_as_by_us() {
    let packets = generated(&packets::official_packets(), 2_000);
    let encoded: Vec<_> = Oracle::encode(&packets).into_iter().map(|encoded| encoded.text).collect();
    let texts = generated(&packets::mutations(encoded), strings());
    assert_same_reading(&texts);
}

#[test]
fn every_spelling_of_one_packet_that_we_admit_goes_on_as_one() {
    let texts = generated(&packets::spellings(), strings());
    let (admitted, others) = assert_same_reading(&texts);
    assert!(
        admitted > texts.len() / 4 && others > admitted / 4,
        "{admitted} admitted, {others} of them spelled otherwise"
    );
}

#[test]
fn what_official_encoders_write_is_admitted() {
    let packets = generated(&packets::official_packets(), 10_000);
    for (packet, encoded) in packets.iter().zip(Oracle::encode(&packets)) {
        let text = encoded.text;
        let ours = our_reading(&text)
            .unwrap_or_else(|| panic!("{text:?}: {}", peek_client(text.as_bytes(), true).unwrap_err()));
        assert_eq!(ours.namespace, packet["nsp"], "{text:?}");
        assert_eq!(ours.ack_id.as_ref(), packet.get("id"), "{text:?}");
        assert_eq!(ours.attachments, encoded.attachments, "{text:?}");
        if packet["type"] == 2 {
            let name = &packet["data"][0];
            let name = name.as_str().map_or_else(|| name.to_string(), str::to_owned);
            assert_eq!(ours.event, Some(name), "{text:?}");
        }
        assert_eq!(admitted(&text).unwrap().canonical, text, "it goes on as it is");
    }
}

#[test]
fn what_node_takes_and_we_refuse_is_listed_with_its_second_reading() {
    let page = include_str!("../../docs/compatibility.md");
    // (what a client may send, how Node reads it; docs/compatibility.md has the other reading)
    let table = [
        (r#"42 ["q"]"#, "an event with ack id 0"),
        ("42\u{feff}[\"q\"]", "the same"),
        ("42\u{a0}7[\"q\"]", "ack id 7"),
        (r#"421 2["q"]"#, "ack id NaN"),
        (r#"429007199254740993["q"]"#, "ack id 9007199254740992"),
        (r#"451e0-["q",{"_placeholder":true,"num":0}]"#, "one attachment"),
        (r#"450x1-["q",{"_placeholder":true,"num":0}]"#, "one attachment"),
        (r#"45 1-["q",{"_placeholder":true,"num":0}]"#, "one attachment"),
        (r#"45+1-["q",{"_placeholder":true,"num":0}]"#, "one attachment"),
        (r#"451.0-["q",{"_placeholder":true,"num":0}]"#, "one attachment"),
        ("4 {}", "a CONNECT"),
        ("401 2{}", "a CONNECT with ack id NaN"),
        ("42", "an event without a name"),
        ("427", "an event without a name, whose listener is the ack"),
        ("42/", "an event of / without a name"),
        ("42/chat", "an event of /chat without a name"),
        ("437", "an ack without its arguments"),
        ("40/chat?x=1,", "the namespace /chat?x=1"),
        ("40/a\u{0}b,", "a namespace with a NUL in it"),
        (r#"42[1.5,"x"]"#, "an event named 1.5"),
        (r#"42[1e3,"x"]"#, "an event named 1000"),
        (r#"42[-0,"x"]"#, "an event named 0"),
        (r#"42[9007199254740993,"x"]"#, "an event named 9007199254740992"),
        (r#"42["\ud800"]"#, "half a character"),
        (r#"44{"message":"x"}"#, "a CONNECT_ERROR, which ends the session"),
    ];
    let texts: Vec<_> = table.iter().map(|(text, _)| (*text).to_owned()).collect();
    for (read, (text, node)) in Oracle::decode(&texts).iter().zip(table) {
        assert_eq!(our_reading(text), None, "Node reads {text:?} as {node}");
        assert!(read.is_some(), "Node refuses {text:?}, which is to be read as {node}");
        let shown = text.replace('\u{feff}', "\\ufeff").replace('\u{a0}', "\\xa0").replace('\u{0}', "\\0");
        assert!(page.contains(&format!("`{shown}`")), "docs/compatibility.md does not list `{shown}`");
    }
    // What no Socket.IO packet is.
    for text in ["2", "4", "7", "", "42[]", "42{}", "42[null]", "41{}", "40[]", "45-[1]"] {
        assert_eq!((our_reading(text), Oracle::decode(&[text.to_owned()]).remove(0)), (None, None), "{text:?}");
    }
    // And their twins, as official clients write them.
    for text in ["42[\"q\"]", "420[\"q\"]", "427[\"q\"]", "42/chat,[\"q\"]", "430[1]", "42[7]"] {
        assert_eq!(our_reading(text), Oracle::decode(&[text.to_owned()]).remove(0), "{text:?}");
        assert!(our_reading(text).is_some(), "{text:?}");
    }
}

/// Whatever Node reads and we refuse, is refused for one of the reasons in that table, or for a limit.
#[test]
fn nothing_else_that_node_reads_is_refused() {
    let count = strings();
    // A string that is new to the table is found with --long, not by whoever runs the tests next.
    let mut runner = if is_long() { TestRunner::default() } else { TestRunner::deterministic() };
    let nearly = drawn(&packets::nearly_packets(), count, &mut runner);
    let texts = [nearly, drawn(&packets::spellings(), count, &mut runner)].concat();
    for (text, read) in texts.iter().zip(Oracle::decode(&texts)) {
        let (Err(error), Some(read)) = (peek_client(text.as_bytes(), true), read) else { continue };
        let has_a_second_reading = match error {
            // A blank for an id or a type, an id that is no number or too great, a name that is no whole number.
            PeekError::PayloadBegin => text.contains(is_blank) || read.event.is_none(),
            PeekError::PayloadEnd
            | PeekError::DisconnectPayload
            | PeekError::EventNameNotString
            | PeekError::EventNameEnd => text.contains(is_blank),
            PeekError::AckId => {
                let ends_in_id = text.ends_with(|char: char| char.is_ascii_digit());
                ends_in_id || text.contains(is_blank) || text.bytes().filter(u8::is_ascii_digit).count() > 15
            }
            PeekError::UnknownType => text.strip_prefix('4').is_some_and(|packet| packet.starts_with(is_blank)),
            PeekError::AttachmentCount => true,
            PeekError::EventNumber => true,
            PeekError::NotUtf8 => text.contains("\\u"),
            PeekError::NamespaceUnended => read.event.is_none(),
            PeekError::NamespaceCharacter | PeekError::ConnectErrorFromClient => true,
            _ => false,
        };
        assert!(has_a_second_reading, "{error:?} refuses {text:?}, which Node reads as {read:?}");
    }
}

/// What JavaScript takes for a blank.
fn is_blank(char: char) -> bool {
    char.is_whitespace() || char == '\u{feff}'
}
