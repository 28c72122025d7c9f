//! Node programs of `tests/upstream`.

use std::{
    fs,
    io::{self, BufRead},
    path::Path,
    thread,
};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, ChildStdout, Command},
};

use super::{process, soon};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/upstream");

/// Starts one of them; what it complains about goes to the test's own output.
pub(crate) fn start(script: &str, args: &[String], variables: &[(&str, &str)]) -> Child {
    assert!(Path::new(FOLDER).join("node_modules").exists(), "run `npm ci` in {FOLDER}, or scripts/test");
    let mut command = Command::new("node");
    command.arg(script).args(args).current_dir(FOLDER).envs(variables.iter().copied());
    let mut child = process::spawn(&mut command);
    let stderr = child.stderr.take().expect("it is piped");
    let script = script.to_owned();
    let stderr = fs::File::from(stderr.into_owned_fd().unwrap());
    // Not a task of the test: what Node says last, it may say when the test has failed already.
    thread::spawn(move || {
        for line in io::BufReader::new(stderr).lines().map_while(Result::ok) {
            eprintln!("{script}: {line}");
        }
    });
    child
}

/// The port that a server prints as `{"port":N}` once it listens. The reader must be kept while the server runs.
pub(crate) async fn listening(child: &mut Child) -> (u16, BufReader<ChildStdout>) {
    let mut output = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut line = String::new();
    soon("the port of a Node server", output.read_line(&mut line)).await.unwrap();
    let printed: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
    (u16::try_from(printed["port"].as_u64().unwrap()).unwrap(), output)
}
