//! Services that are not made of the stock server's packages alone: the stock client has the same conversation with each,
//! directly and through the gate, over each transport.

use std::path::Path;

use tokio::{
    io::BufReader,
    process::{Child, ChildStdout, Command},
};

use crate::support::{Gate, Value, json, node, process, soon};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/upstream/services");
const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/python/bin/python");

/// A running service. It ends with the value.
struct Service {
    url: String,
    _child: Child,
    _output: BufReader<ChildStdout>,
}

impl Service {
    async fn start(program: &str, script: &str) -> Self {
        assert!(program == "node" || Path::new(program).exists(), "there is no {program}; scripts/test makes it");
        let mut child = process::spawn(Command::new(program).arg(script).current_dir(FOLDER));
        let (port, output) = node::listening(&mut child).await;
        Self { url: format!("http://127.0.0.1:{port}"), _child: child, _output: output }
    }
}

/// What the client saw in each case.
async fn conversation(url: &str, way: &str) -> Vec<(String, Value)> {
    let child = process::spawn(Command::new("node").args(["conversation.mjs", url, way]).current_dir(FOLDER));
    let output = soon("the conversation ends", child.wait_with_output()).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    let cases = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    cases.map(|case| (case["case"].as_str().unwrap().to_owned(), case["saw"].clone())).collect()
}

async fn is_the_same_through_the_gate(program: &str, script: &str, way: &str) {
    let service = Service::start(program, script).await;
    let gate = Gate::before_url(&service.url)
        // The token in the CONNECT packet is the service's own.
        .with("auth.required = false\nauth.token_from = [\"header\"]\nrate_limit = []")
        .await;

    let direct = conversation(&service.url, way).await;
    let gated = conversation(&gate.url(), way).await;

    assert_eq!(direct.len(), 15);
    assert_eq!(direct.iter().filter(|(_, saw)| saw.get("error").is_some()).count(), 0, "{direct:#?}");
    assert_eq!(gated, direct, "through the gate, and directly");
    let ends_on = if way == "polling" { "polling" } else { "websocket" };
    assert!(gated.contains(&("ends on its transport".to_owned(), json!(ends_on))));
}

macro_rules! services {
    ($($name:ident: $program:expr, $script:expr;)*) => {$(
        mod $name {
            use super::*;

            #[tokio::test]
            async fn is_the_same_through_the_gate_over_polling() {
                is_the_same_through_the_gate($program, $script, "polling").await;
            }

            #[tokio::test]
            async fn is_the_same_through_the_gate_over_websocket() {
                is_the_same_through_the_gate($program, $script, "websocket").await;
            }

            #[tokio::test]
            async fn is_the_same_through_the_gate_with_an_upgrade() {
                is_the_same_through_the_gate($program, $script, "upgrade").await;
            }
        }
    )*};
}

services! {
    python_socketio_on_uvicorn: PYTHON, "uvicorn_service.py";
    flask_socketio: PYTHON, "flask_service.py";
    nest: "node", "nest_service.mjs";
}
