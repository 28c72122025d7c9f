//! python-socketio, a client by other people, holds the demo conversation over each transport.

use std::path::Path;

use tokio::process::Command;

use crate::support::{Gate, Service, Value, json, process, soon, token};

const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/python/bin/python");
const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/upstream/python_client.py");

/// What the client printed, with the transports it was told to use; none: its own choice.
async fn conversation(gate: &Gate, transports: &[&str]) -> Vec<Value> {
    assert!(Path::new(PYTHON).exists(), "there is no {PYTHON}; scripts/test makes it");
    let mut command = Command::new(PYTHON);
    command.args([CLIENT, &gate.url(), &token("ada")]).args(transports);
    let output = soon("the Python client ends", process::spawn(&mut command).wait_with_output()).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn holds_the_demo_conversation(transports: &[&str], ends_with: &str) {
    let service = Service::start().await;
    // Its WebSocket library always sends an `Origin`: the address it connects to, so "self".
    let gate = Gate::before(&service).await;

    let said = conversation(&gate, transports).await;

    let expected = [
        ("transport", json!(ends_with)),
        ("learning", json!({ "success": true, "correct": true })),
        ("speech", json!({ "success": true, "bytes": 5 })),
        ("quality", json!({ "heard": 5 })),
        ("binary", json!({ "$binary": "AP8eCg==" })),
        ("asked", json!({ "answer": { "python": { "about": "mood" } } })),
        ("chat", json!({ "success": true })),
        ("said", json!("déjà vu 🌊")),
        ("large", json!(900_000)),
    ];
    assert_eq!(said, expected.map(|(step, result)| json!({ "step": step, "result": result })));
    // Whether its goodbye is still sent before its socket closes is left to chance, also without a gate.
    service.disconnection().await;
    let seen = service.seen().await;
    assert_eq!(seen["received"], json!({ "agent:learning": 1, "agent:speech": 1, "echo": 2, "ask": 1, "say": 1 }));
    assert_eq!(seen["connections"].as_array().unwrap().len(), 2, "a socket in each namespace");
    assert_eq!((&seen["transports"], seen["upgrades"].as_array().unwrap().len()), (&json!(1), 1), "by websocket alone");
    assert_eq!(seen["faults"], json!([]));
}

#[tokio::test]
async fn python_socketio_talks_over_the_transports_it_chooses() {
    holds_the_demo_conversation(&[], "websocket").await;
}

#[tokio::test]
async fn python_socketio_talks_over_polling_alone() {
    holds_the_demo_conversation(&["polling"], "polling").await;
}

#[tokio::test]
async fn python_socketio_talks_over_websocket_alone() {
    holds_the_demo_conversation(&["websocket"], "websocket").await;
}
