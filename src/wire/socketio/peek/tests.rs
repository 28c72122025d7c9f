//! Packets and what they mean; packets and the rule they break; what holds for any bytes at all.

use proptest::prelude::*;

use super::{super::encode, *};

/// Kind, attachments, namespace, ack id, event, and the payload.
type Meaning<'a> = (PacketType, u8, &'a str, Option<u64>, Option<&'a str>, &'a str);

fn assert_means(text: &str, head: &PacketHead<'_>, meaning: Meaning<'_>) {
    let event = head.event.as_ref().map(EventName::as_str);
    let read = (head.kind, head.attachments, head.namespace, head.ack_id, event, &text[head.data_at..]);
    assert_eq!(read, meaning, "{text}");
}

#[test]
fn what_official_clients_send_is_read() {
    use PacketType::{Ack, BinaryAck, BinaryEvent, Connect, Disconnect, Event};
    let rows: &[(&str, Meaning<'_>)] = &[
        // Captured from socket.io-client 4.8.4.
        ("40", (Connect, 0, "/", None, None, "")),
        (r#"40/chat,{"token":"ok"}"#, (Connect, 0, "/chat", None, None, r#"{"token":"ok"}"#)),
        ("40/nope,", (Connect, 0, "/nope", None, None, "")),
        (r#"4212["q","x",{"y":[1]}]"#, (Event, 0, "/", Some(12), Some("q"), r#"["q","x",{"y":[1]}]"#)),
        (r#"420["askback",1]"#, (Event, 0, "/", Some(0), Some("askback"), r#"["askback",1]"#)),
        (r#"430["answer"]"#, (Ack, 0, "/", Some(0), None, r#"["answer"]"#)),
        ("41/chat,", (Disconnect, 0, "/chat", None, None, "")),
        ("41", (Disconnect, 0, "/", None, None, "")),
        (
            r#"452-7["bin",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#,
            (
                BinaryEvent,
                2,
                "/",
                Some(7),
                Some("bin"),
                r#"["bin",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#,
            ),
        ),
        (
            r#"461-/a/b,7[{"_placeholder":true,"num":0}]"#,
            (BinaryAck, 1, "/a/b", Some(7), None, r#"[{"_placeholder":true,"num":0}]"#),
        ),
        // Whole numbers are names since Socket.IO 3.1, as JSON.stringify writes them.
        (r#"42[7,"x"]"#, (Event, 0, "/", None, Some("7"), r#"[7,"x"]"#)),
        (r#"42/a,0[0]"#, (Event, 0, "/a", Some(0), Some("0"), "[0]")),
        ("42[-12]", (Event, 0, "/", None, Some("-12"), "[-12]")),
        ("42[9007199254740991]", (Event, 0, "/", None, Some("9007199254740991"), "[9007199254740991]")),
        // The bounds.
        (r#"4510-["f"]"#, (BinaryEvent, 10, "/", None, Some("f"), r#"["f"]"#)),
        (r#"429007199254740991["q"]"#, (Event, 0, "/", Some(ACK_ID_MAX), Some("q"), r#"["q"]"#)),
        (r#"42[""]"#, (Event, 0, "/", None, Some(""), r#"[""]"#)),
        (r#"42/ä ö,["ü"]"#, (Event, 0, "/ä ö", None, Some("ü"), r#"["ü"]"#)),
        // Escapes are undone before a name is compared.
        (r#"42["\u006a\u006fin"]"#, (Event, 0, "/", None, Some("join"), r#"["\u006a\u006fin"]"#)),
        (r#"42["a\"b\\",1]"#, (Event, 0, "/", None, Some("a\"b\\"), r#"["a\"b\\",1]"#)),
    ];
    for (text, meaning) in rows {
        assert_means(text, &peek_client(text.as_bytes(), true).unwrap(), *meaning);
        assert_means(text, &peek_service(text.as_bytes(), true).unwrap(), *meaning);
    }
}

#[test]
fn what_node_reads_with_one_meaning_is_read_as_node_does() {
    use PacketType::{Ack, BinaryAck, BinaryEvent, Connect, Disconnect, Event};
    let long_name = "n".repeat(1000);
    let long_event = format!(r#"42/,["{long_name}"]"#);
    let zeros = format!(r#"42{}7["q"]"#, "0".repeat(2000));
    let rows: &[(&str, Meaning<'_>)] = &[
        // The namespace / written out: clients of small devices.
        (r#"40/,{"token":"ok"}"#, (Connect, 0, "/", None, None, r#"{"token":"ok"}"#)),
        ("40/,", (Connect, 0, "/", None, None, "")),
        ("40/", (Connect, 0, "/", None, None, "")),
        ("41/,", (Disconnect, 0, "/", None, None, "")),
        ("41/", (Disconnect, 0, "/", None, None, "")),
        (r#"42/,["a"]"#, (Event, 0, "/", None, Some("a"), r#"["a"]"#)),
        (r#"42/,12["a"]"#, (Event, 0, "/", Some(12), Some("a"), r#"["a"]"#)),
        (r#"43/,7[1]"#, (Ack, 0, "/", Some(7), None, "[1]")),
        (r#"451-/,["a"]"#, (BinaryEvent, 1, "/", None, Some("a"), r#"["a"]"#)),
        (r#"461-/,3[]"#, (BinaryAck, 1, "/", Some(3), None, "[]")),
        // socket.io-client-cpp, packet::accept: no comma where nothing follows.
        ("40/chat", (Connect, 0, "/chat", None, None, "")),
        ("41/chat", (Disconnect, 0, "/chat", None, None, "")),
        // Zeros before a number.
        (r#"4207["q"]"#, (Event, 0, "/", Some(7), Some("q"), r#"["q"]"#)),
        (r#"42007["q"]"#, (Event, 0, "/", Some(7), Some("q"), r#"["q"]"#)),
        (r#"4200["q"]"#, (Event, 0, "/", Some(0), Some("q"), r#"["q"]"#)),
        (&zeros, (Event, 0, "/", Some(7), Some("q"), r#"["q"]"#)),
        (r#"4501-["q"]"#, (BinaryEvent, 1, "/", None, Some("q"), r#"["q"]"#)),
        // Blanks around an ack id.
        (r#"427 ["q"]"#, (Event, 0, "/", Some(7), Some("q"), r#"["q"]"#)),
        ("42 \t7\r\n[\"q\"]", (Event, 0, "/", Some(7), Some("q"), r#"["q"]"#)),
        // Ids that nothing answers, and blanks, which Node takes for such an id.
        (r#"405{"token":"ok"}"#, (Connect, 0, "/", None, None, r#"{"token":"ok"}"#)),
        (r#"40 {"token":"ok"} "#, (Connect, 0, "/", None, None, r#"{"token":"ok"} "#)),
        ("40/chat, {}", (Connect, 0, "/chat", None, None, "{}")),
        ("41 ", (Disconnect, 0, "/", None, None, "")),
        ("41/chat,12", (Disconnect, 0, "/chat", None, None, "")),
        // An ack without an id answers nothing.
        (r#"43["answer"]"#, (Ack, 0, "/", None, None, r#"["answer"]"#)),
        ("461-[]", (BinaryAck, 1, "/", None, None, "[]")),
        (&long_event, (Event, 0, "/", None, Some(&long_name), &long_event[4..])),
    ];
    for (text, meaning) in rows {
        let head = peek_client(text.as_bytes(), true).unwrap();
        assert_means(text, &head, *meaning);
        assert_eq!(head.is_canonical, meaning.0.is_ack() && meaning.3.is_none(), "{text}");
        // The service writes as Node does; only the comma is left out by some.
        assert_eq!(peek_service(text.as_bytes(), true).is_ok(), text.ends_with("/chat"), "{text}");
    }
    // Blanks of the JSON, and names of any length, are no other spelling of the head.
    let long_event = format!(r#"42["{long_name}"]"#);
    for text in ["42[ \"q\"\n, 1]", "42[\"q\",1] \t\r\n", &long_event] {
        let head = peek_client(text.as_bytes(), true).unwrap();
        assert!(head.is_canonical && head.event.is_some_and(|name| ["q", &long_name].contains(&name.as_str())));
    }
}

#[test]
fn what_node_takes_and_no_client_sends_is_refused() {
    // Each was accepted by socket.io 4.8.4, and has another reading: docs/compatibility.md.
    let rows: &[(&str, PeekError)] = &[
        (r#"42 ["q"]"#, PeekError::PayloadBegin),
        ("42\t[\"q\"]", PeekError::PayloadBegin),
        ("42\n[\"q\"]", PeekError::PayloadBegin),
        ("42\u{feff}[\"q\"]", PeekError::PayloadBegin),
        (r#"421 2["q"]"#, PeekError::AckId),
        (r#"4299999999999999999["q"]"#, PeekError::AckId),
        (r#"451e0-["q"]"#, PeekError::AttachmentCount),
        (r#"450x1-["q"]"#, PeekError::AttachmentCount),
        (r#"45 1-["q"]"#, PeekError::AttachmentCount),
        ("42/", PeekError::NamespaceUnended),
        ("42[\u{a0}\"q\"]", PeekError::EventNameNotString),
        (r#"42[1.5,"x"]"#, PeekError::EventNumber),
        (r#"42[1.0,"x"]"#, PeekError::EventNumber),
        (r#"42[1e3,"x"]"#, PeekError::EventNumber),
        (r#"42[-0,"x"]"#, PeekError::EventNumber),
        (r#"42[9007199254740993,"x"]"#, PeekError::EventNumber),
        (r#"42["\ud800"]"#, PeekError::NotUtf8),
        ("3", PeekError::NotAMessage),
        ("5", PeekError::NotAMessage),
        ("6", PeekError::NotAMessage),
        ("2", PeekError::NotAMessage),
        ("9", PeekError::NotAMessage),
        ("", PeekError::NotAMessage),
        ("\u{feff}42[\"q\"]", PeekError::NotAMessage),
        (r#"450-["q"]"#, PeekError::AttachmentCount),
        (r#"4511-["q"]"#, PeekError::TooManyAttachments),
        (r#"42["disconnecting"]"#, PeekError::EventReserved),
        ("42{}", PeekError::PayloadBegin),
        (r#"42["q"]x"#, PeekError::PayloadEnd),
    ];
    for (text, rule) in rows {
        assert_eq!(peek_client(text.as_bytes(), true), Err(*rule), "{text:?}");
    }
}

#[test]
fn every_other_way_round_a_rule_is_refused() {
    let long_namespace = format!("40/{},", "n".repeat(NAMESPACE_BYTES_MAX));
    let rows: &[(&[u8], PeekError)] = &[
        // Other spellings of numbers and types.
        (b"4", PeekError::UnknownType),
        (b"47[\"q\"]", PeekError::UnknownType),
        (b"4 [\"q\"]", PeekError::UnknownType),
        (b"45+1-[\"q\"]", PeekError::AttachmentCount),
        (b"4500-[\"q\"]", PeekError::AttachmentCount),
        (b"45-[\"q\"]", PeekError::AttachmentCount),
        (b"451[\"q\"]", PeekError::AttachmentCount),
        (b"45256-[\"q\"]", PeekError::TooManyAttachments),
        (b"451111-[\"q\"]", PeekError::AttachmentCount),
        (b"421-[\"q\"]", PeekError::AckId),
        (b"42 1 2[\"q\"]", PeekError::AckId),
        (b"42-1[\"q\"]", PeekError::PayloadBegin),
        (b"421.0[\"q\"]", PeekError::AckId),
        (b"429007199254740992[\"q\"]", PeekError::AckId),
        (b"4210000000000000000[\"q\"]", PeekError::AckId),
        (b"420", PeekError::AckId),
        (b"42", PeekError::PayloadBegin),
        // Names.
        (b"42[]", PeekError::EventNameNotString),
        (b"42[null]", PeekError::EventNameNotString),
        (b"42[\"a\x01b\"]", PeekError::EventNameNotString),
        (b"42[\"a\\x\"]", PeekError::EventNameNotString),
        (b"42[\"q]", PeekError::EventNameNotString),
        (b"42[\"\xff\"]", PeekError::NotUtf8),
        (br#"42["\u0063onnect"]"#, PeekError::EventReserved),
        (b"42[\"q\"x]", PeekError::EventNameEnd),
        (b"42[\"q\"\x0b]", PeekError::EventNameEnd),
        (b"42[007]", PeekError::EventNumber),
        (b"42[-]", PeekError::EventNumber),
        (b"42[+7]", PeekError::EventNameNotString),
        (b"42[7 7]", PeekError::EventNameEnd),
        (b"42[\"q\"]\x0c", PeekError::PayloadEnd),
        // Namespaces.
        (b"42/chat[\"q\"]", PeekError::NamespaceUnended),
        (b"40/chat?token=1,", PeekError::NamespaceCharacter),
        (b"40/ch\x00at,", PeekError::NamespaceCharacter),
        (b"40/ch\x7fat,", PeekError::NamespaceCharacter),
        (b"40/\xff,", PeekError::NotUtf8),
        (b"42/[\"q\"]", PeekError::NamespaceUnended),
        (b"40chat,", PeekError::PayloadBegin),
        (long_namespace.as_bytes(), PeekError::NamespaceTooLong),
        // Packets that a client must not send, or that answer nothing.
        (b"44{\"message\":\"no\"}", PeekError::ConnectErrorFromClient),
        // CONNECT and DISCONNECT.
        (b"40[]", PeekError::PayloadBegin),
        (b"401 2{}", PeekError::PayloadBegin),
        (b"40\"token\"", PeekError::PayloadBegin),
        (b"40{\"token\":1}]", PeekError::PayloadEnd),
        (b"41{}", PeekError::DisconnectPayload),
        (b"41/chat, x", PeekError::DisconnectPayload),
    ];
    for (text, rule) in rows {
        let shown = String::from_utf8_lossy(&text[..text.len().min(60)]);
        assert_eq!(peek_client(text, true), Err(*rule), "{shown}");
    }
}

#[test]
fn the_service_may_say_more_than_a_client() {
    use PacketType::{BinaryEvent, Connect, ConnectError, Event};
    let rows: &[(&str, Meaning<'_>)] = &[
        // As socket.io 4.8.4 sends them.
        (r#"40{"sid":"hIvfEKjs3xcyd4klAAAC"}"#, (Connect, 0, "/", None, None, r#"{"sid":"hIvfEKjs3xcyd4klAAAC"}"#)),
        (r#"44/nope,{"message":"no"}"#, (ConnectError, 0, "/nope", None, None, r#"{"message":"no"}"#)),
        (r#"44"no""#, (ConnectError, 0, "/", None, None, r#""no""#)),
        // Names that are only for counting.
        (r#"42[1.5,"x"]"#, (Event, 0, "/", None, None, r#"[1.5,"x"]"#)),
        (r#"42[1,"x"]"#, (Event, 0, "/", None, Some("1"), r#"[1,"x"]"#)),
        (r#"42["connect"]"#, (Event, 0, "/", None, Some("connect"), r#"["connect"]"#)),
        (r#"42["\ud800"]"#, (Event, 0, "/", None, None, r#"["\ud800"]"#)),
        // A service older than the fix of CVE-2026-33151.
        (r#"45255-["f"]"#, (BinaryEvent, 255, "/", None, Some("f"), r#"["f"]"#)),
    ];
    for (text, meaning) in rows {
        assert_means(text, &peek_service(text.as_bytes(), true).unwrap(), *meaning);
    }
    // What is read of a client in other spellings too, the service must write as Node does.
    for text in [
        "42 [\"q\"]",
        "4207[\"q\"]",
        "42/,[\"q\"]",
        "427 [\"q\"]",
        "4501-[\"q\"]",
        "42[\"q\"] ",
        "43[1]",
        "41x",
        "41 ",
        "42",
        "405{}",
        "45256-[\"q\"]",
    ] {
        assert!(peek_service(text.as_bytes(), true).is_err(), "{text}");
    }
}

#[test]
fn the_longest_usual_head_fits_and_a_shorter_look_says_so() {
    let namespace = format!("/{}", "n".repeat(NAMESPACE_BYTES_MAX - 1));
    let name = "\\u0061".repeat(128);
    let text = format!("4510-{namespace},{ACK_ID_MAX}[\"{name}\",{}]", "1,".repeat(1000) + "1");
    let head = peek_client(&text.as_bytes()[..PEEK_BYTES], false).unwrap();
    assert_eq!(head, peek_client(text.as_bytes(), true).unwrap());
    assert_eq!(head.event.unwrap().as_str().len(), 128);
    let written = text.find("\",").unwrap() + 1;
    for end in 0..=written {
        assert_eq!(peek_client(&text.as_bytes()[..end], false), Err(PeekError::CutShort), "{end}");
    }
}

#[test]
fn codes_are_labels_of_their_own() {
    assert_eq!(PeekError::NamespaceWrittenOut.code(), "namespace_written_out");
    assert_eq!(PeekError::CutShort.code(), "cut_short");
}

/// Something near the grammar, so that more than the first byte is tried.
fn nearly_a_packet() -> impl Strategy<Value = Vec<u8>> {
    let text = r#"4[0-7]([0-9]{1,3}-)?(/[a-z?]{0,4},?)?[ ]?[0-9]{0,17}[ ]?(\[[ ]?("[a-z\\u0-9]{0,8}"|-?[0-9]{1,2})?[ ]?[,\]]?|\{)?[ -~]{0,8}[\]}]?"#;
    prop_oneof![text.prop_map(String::into_bytes), any::<Vec<u8>>()]
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_and_the_service_says_the_same_in_the_same_words(text in nearly_a_packet()) {
        for complete in [true, false] {
            if let Ok(head) = peek_client(&text, complete) {
                match peek_service(&text, complete) {
                    Ok(said) if head.is_canonical && said.event.is_some() => prop_assert_eq!(&said, &head),
                    Ok(said) => prop_assert_eq!((said.kind, said.namespace, said.ack_id), (head.kind, head.namespace, head.ack_id)),
                    // Blanks, and an ack without an id.
                    Err(PeekError::PayloadEnd | PeekError::AckIdMissing) => {}
                    Err(_) => prop_assert!(!head.is_canonical),
                }
                prop_assert!(head.data_at <= text.len());
                prop_assert_eq!(head.event.is_some(), head.kind.is_event());
            }
        }
    }

    #[test]
    fn the_common_head_is_what_the_full_reader_reads(text in nearly_a_packet()) {
        for (complete, sender) in [true, false].into_iter().flat_map(|c| [(c, Sender::Client), (c, Sender::Service)]) {
            if let Some(head) = common_head(&text, complete, sender) {
                prop_assert_eq!(any_head(&text, complete, sender), Ok(head));
            }
        }
    }

    #[test]
    fn what_is_called_canonical_is_written_as_official_encoders_do(text in nearly_a_packet()) {
        if let Ok(head) = peek_client(&text, true) {
            let mut again = vec![b'4', head.kind.digit()];
            if head.attachments > 0 {
                again.extend(format!("{}-", head.attachments).bytes());
            }
            if head.namespace != "/" {
                again.extend(format!("{},", head.namespace).bytes());
            }
            again.extend(head.ack_id.map(|id| id.to_string()).unwrap_or_default().bytes());
            again.extend(&text[head.data_at..]);
            prop_assert_eq!(head.is_canonical, again == text, "{}", String::from_utf8_lossy(&text));
        }
    }

    #[test]
    fn what_the_gate_writes_it_reads_itself(
        namespace in "/|/[^\\pC?,]{1,40}", name in "\\PC{0,30}", id in 0..=ACK_ID_MAX,
    ) {
        let mut text = Vec::new();
        encode::event(&namespace, &name, r#"{"error":"x"}"#, &mut text);
        let head = peek_service(&text, true).unwrap();
        prop_assert_eq!((head.kind, head.namespace, head.ack_id), (PacketType::Event, namespace.as_str(), None));
        prop_assert_eq!(head.event.as_ref().map(EventName::as_str), Some(name.as_str()));

        text.clear();
        encode::ack(&namespace, id, "true", &mut text);
        let head = peek_client(&text, true).unwrap();
        prop_assert_eq!((head.kind, head.namespace, head.ack_id), (PacketType::Ack, namespace.as_str(), Some(id)));
        prop_assert_eq!(&text[head.data_at..], b"[true]");

        text.clear();
        encode::disconnect(&namespace, &mut text);
        let head = peek_client(&text, true).unwrap();
        prop_assert_eq!((head.kind, head.namespace), (PacketType::Disconnect, namespace.as_str()));

        text.clear();
        encode::connect_error(&namespace, &name, "auth.invalid", &mut text);
        let head = peek_service(&text, true).unwrap();
        prop_assert_eq!((head.kind, head.namespace), (PacketType::ConnectError, namespace.as_str()));
        let said: serde_json::Value = serde_json::from_slice(&text[head.data_at..]).unwrap();
        prop_assert_eq!(said, serde_json::json!({ "message": name, "data": { "code": "auth.invalid" } }));
    }
}
