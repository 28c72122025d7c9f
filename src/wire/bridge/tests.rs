use proptest::{collection::vec, option, prelude::*};
use serde_json::{Value, json};

use super::*;
use crate::wire::{
    json::check::JsonFault,
    socketio::peek::{peek_client, peek_service},
};

fn packet(text: &str) -> Result<String, BridgeFault> {
    packet_of(text.as_bytes(), "type", "/").map(|packet| String::from_utf8(packet).unwrap())
}

fn message(packet: &str, attachments: &[&[u8]]) -> Result<Option<String>, Untranslatable> {
    let message = message_of(packet.as_bytes(), attachments.iter().copied(), "type")?;
    Ok(message.map(|message| String::from_utf8(message).unwrap()))
}

#[test]
fn messages_of_the_client_become_packets() {
    let rows = [
        (r#"{"type":"say"}"#, r#"42["say",{}]"#),
        (r#"{"type":"say","text":"hi"}"#, r#"42["say",{"text":"hi"}]"#),
        (r#"{"a":1,"type":"say","b":[{"type":"x"}]}"#, r#"42["say",{"a":1,"b":[{"type":"x"}]}]"#),
        (r#"{"type":"say","ackId":0,"text":"hi"}"#, r#"420["say",{"text":"hi"}]"#),
        (r#"{"ackId":9007199254740991,"type":"say"}"#, r#"429007199254740991["say",{}]"#),
        (r#"{"type":"say","args":[]}"#, r#"42["say"]"#),
        (r#"{"type":"say","args":[ ]}"#, r#"42["say"]"#),
        (r#"{"type":"say","ackId":7,"args":[ "hi", {"args":1} ]}"#, r#"427["say","hi", {"args":1}]"#),
        // Only alone, and only an array, are these the arguments.
        (r#"{"type":"sum","args":[1,2],"op":"+"}"#, r#"42["sum",{"args":[1,2],"op":"+"}]"#),
        (r#"{"type":"sum","args":"1,2"}"#, r#"42["sum",{"args":"1,2"}]"#),
        // Numbers and strings stay as they are written.
        (r#" { "type" : "say" , "n" : 1e400 , "s" : "\u00e9\n" } "#, r#"42["say",{"n" : 1e400,"s" : "\u00e9\n"}]"#),
        (r#"{"t\u0079pe":"s\u0061y","\u0061ckId":1}"#, r#"421["s\u0061y",{}]"#),
        (r#"{"type":"ack","ackId":3,"args":["done",[1]]}"#, r#"433["done",[1]]"#),
        (r#"{"args":[],"ackId":3,"type":"\u0061ck"}"#, "433[]"),
    ];
    for (text, expected) in rows {
        assert_eq!(packet(text).as_deref(), Ok(expected), "{text}");
        assert!(peek_client(expected.as_bytes(), true).unwrap().is_canonical, "{expected}");
    }
    assert_eq!(packet_of(br#"{"event":"say","type":1}"#, "event", "/chat").unwrap(), br#"42/chat,["say",{"type":1}]"#);
}

#[test]
fn what_has_two_readings_or_another_form_is_refused() {
    let deep = |levels: usize| format!(r#"{{"type":"say","a":{}{}}}"#, "[".repeat(levels - 1), "]".repeat(levels - 1));
    assert!(packet(&deep(64)).is_ok());
    let rows = [
        ("", BridgeFault::NotAnObject),
        ("[]", BridgeFault::NotAnObject),
        (r#""type""#, BridgeFault::NotAnObject),
        ("\u{feff}{\"type\":\"say\"}", BridgeFault::NotAnObject),
        (r#"{"type":"say""#, BridgeFault::Json(JsonFault::Grammar)),
        (r#"{"type":"say"}}"#, BridgeFault::Json(JsonFault::Grammar)),
        (r#"{"type":"say",}"#, BridgeFault::Json(JsonFault::Grammar)),
        (r#"{"type":"say","a":01}"#, BridgeFault::Json(JsonFault::Grammar)),
        (r#"{'type':'say'}"#, BridgeFault::Json(JsonFault::Grammar)),
        (&deep(65), BridgeFault::Json(JsonFault::TooDeep)),
        (&deep(60_000), BridgeFault::Json(JsonFault::TooDeep)),
        (r#"{"type":"say","type":"say"}"#, BridgeFault::Repeated),
        (r#"{"type":"say","t\u0079pe":"other"}"#, BridgeFault::Repeated),
        (r#"{"type":"say","a":[{"b":1,"b":2}]}"#, BridgeFault::Repeated),
        (r#"{"type":"say","ackId":1,"ackId":2}"#, BridgeFault::Repeated),
        ("{}", BridgeFault::Type),
        (r#"{"Type":"say"}"#, BridgeFault::Type),
        (r#"{"type":7}"#, BridgeFault::Type),
        (r#"{"type":["say"]}"#, BridgeFault::Type),
        (r#"{"type":null,"a":1}"#, BridgeFault::Type),
        (r#"{"type":"say","ackId":"1"}"#, BridgeFault::AckId),
        (r#"{"type":"say","ackId":01}"#, BridgeFault::Json(JsonFault::Grammar)),
        (r#"{"type":"say","ackId":-1}"#, BridgeFault::AckId),
        (r#"{"type":"say","ackId":1.0}"#, BridgeFault::AckId),
        (r#"{"type":"say","ackId":1e3}"#, BridgeFault::AckId),
        (r#"{"type":"say","ackId":null}"#, BridgeFault::AckId),
        (r#"{"type":"say","ackId":9007199254740992}"#, BridgeFault::AckId),
        (r#"{"type":"ack","args":[]}"#, BridgeFault::Ack),
        (r#"{"type":"ack","ackId":1}"#, BridgeFault::Ack),
        (r#"{"type":"ack","ackId":1,"args":{}}"#, BridgeFault::Ack),
        (r#"{"type":"ack","ackId":1,"args":[],"more":1}"#, BridgeFault::Ack),
    ];
    for (text, fault) in rows {
        assert_eq!(packet(text), Err(fault), "{text:.60}");
    }
    assert!(packet_of(b"{\"type\":\"say\",\"\xff\":1}", "type", "/").is_err());
}

#[test]
fn packets_of_the_service_become_messages() {
    let rows = [
        (r#"42["say",{"text":"hi"}]"#, r#"{"type":"say","text":"hi"}"#),
        (r#"42["say",{}]"#, r#"{"type":"say"}"#),
        (r#"42/chat,["say",{"a":{"type":1}}]"#, r#"{"type":"say","a":{"type":1}}"#),
        (r#"42["say"]"#, r#"{"type":"say","args":[]}"#),
        (r#"42["say","hi",{"a":1}]"#, r#"{"type":"say","args":["hi",{"a":1}]}"#),
        (r#"42["say",{"a":1},{"b":1}]"#, r#"{"type":"say","args":[{"a":1},{"b":1}]}"#),
        (r#"42["say",[1]]"#, r#"{"type":"say","args":[[1]]}"#),
        (r#"42["say",null]"#, r#"{"type":"say","args":[null]}"#),
        // What would not be read as it was said.
        (r#"42["say",{"type":1}]"#, r#"{"type":"say","args":[{"type":1}]}"#),
        (r#"42["say",{"a":"]}","ackId":1}]"#, r#"{"type":"say","args":[{"a":"]}","ackId":1}]}"#),
        (r#"42["say",{"\u0061rgs":[]}]"#, r#"{"type":"say","args":[{"\u0061rgs":[]}]}"#),
        (r#"427["say",{"a":1}]"#, r#"{"type":"say","ackId":7,"a":1}"#),
        (r#"420["say",1]"#, r#"{"type":"say","ackId":0,"args":[1]}"#),
        (r#"42[7,{"a":1}]"#, r#"{"type":"7","a":1}"#),
        (r#"42["\ud800",{"\ud800":1}]"#, r#"{"type":"\ud800","\ud800":1}"#),
        (r#"42[ "say" , { "a" : 1 } ]"#, r#"{"type":"say","a" : 1}"#),
        (r#"437[{"success":true}]"#, r#"{"type":"ack","ackId":7,"args":[{"success":true}]}"#),
        ("430[]", r#"{"type":"ack","ackId":0,"args":[]}"#),
        // Events that could be taken for something else keep their arguments apart.
        (r#"42["ack",{"a":1}]"#, r#"{"type":"ack","args":[{"a":1}]}"#),
        (r#"425["ack",{"a":1}]"#, r#"{"type":"ack","args":[{"a":1}]}"#),
        (r#"42["connected",{"sid":"x"}]"#, r#"{"type":"connected","args":[{"sid":"x"}]}"#),
        (r#"40{"sid":"c2","pid":"p"}"#, r#"{"type":"connected","sid":"c2"}"#),
        (r#"40/chat,{"sid":"c2"}"#, r#"{"type":"connected","sid":"c2"}"#),
        (r#"44{"message":"no","data":{"code":1}}"#, r#"{"type":"connect_error","message":"no","data":{"code":1}}"#),
        (r#"44"no""#, r#"{"type":"connect_error","message":"no"}"#),
    ];
    for (text, expected) in rows {
        assert_eq!(message(text, &[]), Ok(Some(expected.to_owned())), "{text}");
        assert!(expected.contains("ud800") || serde_json::from_str::<Value>(expected).is_ok(), "{expected}");
    }
    assert_eq!(message("41", &[]), Ok(None));
    let other = message_of(br#"42["say",{"type":1}]"#, std::iter::empty(), "event").unwrap().unwrap();
    assert_eq!(other, br#"{"event":"say","type":1}"#);
    let deep = format!(r#"42["say",{{"a":{}{}}}]"#, "[".repeat(5000), "]".repeat(5000));
    assert!(message(&deep, &[]).unwrap().unwrap().starts_with(r#"{"type":"say","a":[["#), "the service is believed");
}

#[test]
fn attachments_stand_in_their_places_as_base64() {
    let (one, two): (&[u8], &[u8]) = (b"\x01\x02\x03", b"");
    let place = |n: u32| format!(r#"{{"_placeholder":true,"num":{n}}}"#);
    let (first, second) = (place(0), place(1));
    let rows = [
        (format!(r#"452-["say",{first},{{"a":[{second}]}}]"#), r#"{"type":"say","args":["AQID",{"a":[""]}]}"#),
        (format!(r#"452-3["say",{{"a":{second},"b":{first}}}]"#), r#"{"type":"say","ackId":3,"a":"","b":"AQID"}"#),
        (format!(r#"462-3[{first},{second}]"#), r#"{"type":"ack","ackId":3,"args":["AQID",""]}"#),
        (
            format!(r#"452-["say",{{ "num" : 0 , "_placeholder" : true }},{second},"{{\"_placeholder\":true"]"#),
            r#"{"type":"say","args":["AQID","","{\"_placeholder\":true"]}"#,
        ),
        (
            format!(r#"452-["say",{{"_placeholder":false}},{first}]"#),
            r#"{"type":"say","args":[{"_placeholder":false},"AQID"]}"#,
        ),
    ];
    for (text, expected) in rows {
        assert_eq!(message(&text, &[one, two]), Ok(Some(expected.to_owned())), "{text}");
    }
    let wrong = [format!(r#"451-["say",{first},{first}]"#), format!(r#"451-["say",{second}]"#)];
    for text in wrong {
        assert_eq!(message(&text, &[one]), Err(Untranslatable), "{text}");
    }
    for text in ["", "2", "42", r#"42["say""#, r#"42[]"#, r#"43["no id"]"#] {
        assert_eq!(message(text, &[]), Err(Untranslatable), "{text}");
    }
}

#[test]
fn an_event_of_the_gate_is_written_as_one_of_the_service() {
    assert_eq!(event("type", "error", r#"{"a":1}"#), br#"{"type":"error","a":1}"#);
    assert_eq!(event("e\"v", "error", "{}"), br#"{"e\"v":"error"}"#);
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        let name = prop_oneof![3 => "[a-z]{0,3}", 1 => any::<String>(), 1 => "type|ackId|args|num|_placeholder"];
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((name, inner), 0..4).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn names() -> impl Strategy<Value = String> {
    prop_oneof![3 => "[a-z:]{1,8}", 1 => any::<String>(), 1 => "ack|connected|error"]
}

/// A packet as official encoders write it.
fn written(kind: char, namespace: &str, id: Option<u64>, array: &[Value]) -> String {
    let namespace = if namespace == "/" { String::new() } else { format!("{namespace},") };
    format!("4{kind}{namespace}{}{}", id.map(|id| id.to_string()).unwrap_or_default(), Value::from(array.to_vec()))
}

proptest! {
    /// What the service says reaches the client, and what the client says in the same form reaches the service as it was.
    #[test]
    fn an_event_comes_back_as_it_was(
        name in names(), id in option::of(0..1_u64 << 53), args in vec(values(), 0..4), namespace in "/[a-z]{0,4}"
    ) {
        let array: Vec<Value> = [json!(name)].into_iter().chain(args).collect();
        let packet = written('2', &namespace, id, &array);
        prop_assume!(peek_client(packet.as_bytes(), true).is_ok());
        let said = message_of(packet.as_bytes(), std::iter::empty(), "type").unwrap().unwrap();
        let value: Value = serde_json::from_slice(&said).unwrap();
        prop_assert_eq!(&value["type"], &json!(name));
        // The client's own form of an ack is not that of an event.
        prop_assume!(name != "ack");
        let back = packet_of(&said, "type", &namespace).unwrap();
        let head = peek_client(&back, true).unwrap();
        prop_assert!(head.is_canonical);
        prop_assert_eq!((head.namespace, head.ack_id), (&*namespace, id));
        let read: Vec<Value> = serde_json::from_slice(&back[head.data_at..]).unwrap();
        prop_assert_eq!(read, array);
    }

    #[test]
    fn an_ack_comes_back_as_it_was(id in 0..1_u64 << 53, args in vec(values(), 0..4)) {
        let packet = written('3', "/", Some(id), &args);
        let said = message_of(packet.as_bytes(), std::iter::empty(), "type").unwrap().unwrap();
        let value: Value = serde_json::from_slice(&said).unwrap();
        prop_assert_eq!(value, json!({ "type": "ack", "ackId": id, "args": args }));
        prop_assert_eq!(packet_of(&said, "type", "/").unwrap(), packet.into_bytes());
    }

    /// Whatever a client sends: it is refused, or what is made of it is a canonical packet with its members.
    #[test]
    fn any_text_is_refused_or_becomes_one_canonical_packet(
        text in r#"[ ]?\{("type":("[a-z]{0,3}"|1|null),?)?("ackId":-?[0-9]{1,3},?)?("args":(\[[0-9,]{0,4}\]|"a"),?)?("[a-z]{1,2}":[0-9]{1,2},?){0,2}\}?[ ]?"#
    ) {
        let Ok(packet) = packet_of(text.as_bytes(), "type", "/") else { return Ok(()) };
        let value: Value = serde_json::from_str(&text).unwrap();
        let head = peek_client(&packet, true).unwrap();
        prop_assert!(head.is_canonical);
        prop_assert_eq!(head.ack_id, value.get("ackId").map(|id| id.as_u64().unwrap()));
        let array: Vec<Value> = serde_json::from_slice(&packet[head.data_at..]).unwrap();
        if head.kind.is_event() {
            prop_assert_eq!(&array[0], &value["type"]);
        } else {
            prop_assert_eq!(&Value::from(array), &value["args"]);
        }
        prop_assert!(packet.len() <= text.len() + 32, "it grows by its head alone");
        prop_assert!(peek_service(&packet, true).is_ok());
    }

    #[test]
    fn no_packet_of_the_service_is_read_beyond_its_end(packet in r#"4[0-6](1-)?[0-9]{0,2}[\[\]{}",:a0 \\]{0,12}"#) {
        let one: &[u8] = b"x";
        let _ = message_of(packet.as_bytes(), std::iter::once(one), "type");
    }
}
