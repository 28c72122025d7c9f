//! The quick start of the README, typed as it is written.

use std::{path::Path, time::Duration};

use tokio::{process::Command, time::timeout};

use crate::support::ports::Port;

/// Of a dozen programs, one after the other.
const PATIENCE: Duration = Duration::from_secs(150);

#[tokio::test]
async fn the_quick_start_of_the_readme_works_as_it_is_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let ports = [Port::reserve(), Port::reserve(), Port::reserve()];
    let numbers = ports.each_ref().map(|port| port.address.port().to_string()).join(",");
    let mut script = Command::new(folder.join("scripts/quickstart"));
    script.args(["--built", env!("CARGO_BIN_EXE_tidegate"), "--ports", &numbers, "--modules"]);
    script.arg(folder.join("tests/upstream/node_modules")).kill_on_drop(true);

    let typed = timeout(PATIENCE, script.output()).await.expect("the quick start ends").unwrap();

    let (said, complained) = (String::from_utf8_lossy(&typed.stdout), String::from_utf8_lossy(&typed.stderr));
    assert!(typed.status.success(), "{said}\n{complained}");
    assert!(said.contains("\nok: tidegate.toml and "), "what check says: {said}");
    for command in
        ["cargo install", "npm install", "node service.mjs", "tidegate check", "tidegate run", "node client.mjs"]
    {
        let told = said.lines().any(|line| line.contains(&format!(" s  $ {command}")));
        assert!(told, "when {command} began: {said}");
    }
    assert!(said.contains("success: true, learner: 'ada', action: 'start_session'"), "{said}\n{complained}");
}
