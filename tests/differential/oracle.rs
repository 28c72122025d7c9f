//! The official parsers in a Node process: `tests/upstream/oracle.mjs`.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
    thread,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::payloads::Packet;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/upstream");

/// What a packet says before its payload.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    /// Socket.IO's number of its type.
    pub(crate) kind: u8,
    pub(crate) namespace: String,
    /// `null` for what is no number, though Node believes it to be one.
    pub(crate) ack_id: Option<Value>,
    /// The name, of an event: text, or the digits of a whole number; none of any other.
    pub(crate) event: Option<String>,
    pub(crate) attachments: u64,
}

/// A packet as the official encoders write it.
#[derive(Debug, Deserialize)]
pub(crate) struct Encoded {
    pub(crate) text: String,
    pub(crate) attachments: u64,
}

/// A broadcast as a node with the Redis adapter reads it, its packet as the node encodes it for clients.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Published {
    pub(crate) uid: String,
    pub(crate) namespace: String,
    pub(crate) rooms: Vec<String>,
    pub(crate) except: Vec<String>,
    pub(crate) flags: Value,
    /// Without the Engine.IO digit.
    pub(crate) text: String,
    /// In base64.
    pub(crate) attachments: Vec<String>,
}

pub(crate) struct Oracle;

impl Oracle {
    /// How Node reads each of these text messages. None: it refuses it, or it is no Socket.IO packet.
    pub(crate) fn decode(texts: &[String]) -> Vec<Option<Reading>> {
        let questions: Vec<Value> = texts.iter().map(|text| text.clone().into()).collect();
        ask(&questions).iter().map(reading).collect()
    }

    /// Whether `JSON.parse` takes each of these texts.
    pub(crate) fn parses(texts: &[String]) -> Vec<bool> {
        let questions: Vec<_> = texts.iter().map(|text| json!({ "json": text })).collect();
        ask(&questions).iter().map(|answer| answer.as_bool().unwrap()).collect()
    }

    /// Whether each of these packets, with so many binary messages behind it, is decoded.
    pub(crate) fn decodes_binary(packets: &[String], attachments: u8) -> Vec<bool> {
        let question = |packet: &String| json!({ "binary": packet, "attachments": attachments });
        let questions: Vec<_> = packets.iter().map(question).collect();
        ask(&questions).iter().map(|answer| answer.as_bool().unwrap()).collect()
    }

    /// The text, and the number of binary messages behind it, of each of these packets `{type,nsp,id,data}`.
    pub(crate) fn encode(packets: &[Value]) -> Vec<Encoded> {
        ask(packets).into_iter().map(|answer| serde_json::from_value(answer).unwrap()).collect()
    }

    /// What the Redis adapter publishes for each of these `[uid, packet, options]`, by this version of notepack.io.
    pub(crate) fn publish(broadcasts: &[Value], notepack: u8) -> Vec<Vec<u8>> {
        let question = |broadcast: &Value| json!({ "publish": broadcast, "notepack": notepack });
        let questions: Vec<_> = broadcasts.iter().map(question).collect();
        let payload = |answer: &Value| STANDARD.decode(answer["payload"].as_str().unwrap()).unwrap();
        ask(&questions).iter().map(payload).collect()
    }

    /// How a node with the Redis adapter reads each of these payloads. Errors end the node.
    pub(crate) fn published(payloads: &[Vec<u8>]) -> Vec<Result<Published, String>> {
        let questions: Vec<_> =
            payloads.iter().map(|payload| json!({ "published": STANDARD.encode(payload) })).collect();
        let read = |answer: Value| match answer.get("error") {
            Some(error) => Err(error.to_string()),
            None => Ok(serde_json::from_value(answer).unwrap()),
        };
        ask(&questions).into_iter().map(read).collect()
    }

    /// What `JSON.stringify` makes of what `JSON.parse` makes of each of these texts.
    pub(crate) fn restated(texts: &[String]) -> Vec<String> {
        let questions: Vec<_> = texts.iter().map(|text| json!({ "restated": text })).collect();
        ask(&questions).iter().map(|answer| answer["text"].as_str().unwrap().to_owned()).collect()
    }

    /// The packets that Node reads in the body of each of these POSTs. None: one of them it refuses.
    pub(crate) fn decode_payloads(payloads: &[String]) -> Vec<Option<Vec<Packet>>> {
        let questions: Vec<_> = payloads.iter().map(|payload| json!({ "payload": payload })).collect();
        let packets = |answer: &Value| answer.as_array().unwrap().iter().map(payload_packet).collect();
        ask(&questions).iter().map(packets).collect()
    }

    /// The body that Node answers a poll with, of each of these lists of packets.
    pub(crate) fn encode_payloads(lists: &[Vec<Packet>]) -> Vec<String> {
        let questions: Vec<_> = lists.iter().map(|packets| json!({ "packets": payload_question(packets) })).collect();
        ask(&questions).iter().map(|answer| answer.as_str().unwrap().to_owned()).collect()
    }
}

fn payload_packet(answer: &Value) -> Option<Packet> {
    if let Some(base64) = answer.get("binary") {
        return Some(Packet::Binary(STANDARD.decode(base64.as_str()?).unwrap()));
    }
    Some(Packet::Text(answer.get("text")?.as_str()?.to_owned()))
}

fn payload_question(packets: &[Packet]) -> Vec<Value> {
    let question = |packet: &Packet| match packet {
        Packet::Text(text) => json!({ "text": text }),
        Packet::Binary(bytes) => json!({ "binary": STANDARD.encode(bytes) }),
    };
    packets.iter().map(question).collect()
}

fn reading(answer: &Value) -> Option<Reading> {
    let packet = answer.get("packet").filter(|packet| !packet.is_null())?;
    let kind = u8::try_from(packet["type"].as_u64().unwrap()).unwrap();
    let is_event = matches!(kind, 2 | 5);
    Some(Reading {
        kind,
        namespace: packet["namespace"].as_str().unwrap().to_owned(),
        ack_id: packet.get("id").cloned(),
        event: is_event.then(|| name(&packet["event"])).flatten(),
        attachments: packet["attachments"].as_u64().unwrap(),
    })
}

fn name(event: &Value) -> Option<String> {
    if let Some(text) = event.as_str() {
        return Some(text.to_owned());
    }
    // A number that JavaScript cannot count to has been rounded.
    event.as_i64().filter(|number| number.unsigned_abs() < 1 << 53).map(|number| number.to_string())
}

/// One answer for each question.
fn ask(questions: &[Value]) -> Vec<Value> {
    let mut node = Command::new("node")
        .arg("oracle.mjs")
        .current_dir(FOLDER)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start node: {error}"));
    let mut stdin = node.stdin.take().unwrap();
    let lines: String = questions.iter().map(|question| format!("{question}\n")).collect();
    let writer = thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let output = BufReader::new(node.stdout.take().unwrap());
    let answers: Vec<Value> = output.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    assert!(node.wait().unwrap().success(), "run `npm ci` in {FOLDER}, or scripts/test");
    writer.join().unwrap().unwrap();
    assert_eq!(answers.len(), questions.len());
    answers
}
