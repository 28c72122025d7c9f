//! Child processes: what they write is kept, and they end with the test.

use std::{
    process::Stdio,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, Command},
};

use super::eventually;

/// The lines a child has written so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    /// Collects the lines of `stream` until its end.
    pub(crate) fn of(stream: impl AsyncRead + Unpin + Send + 'static) -> Self {
        let lines = Self::default();
        let kept = lines.clone();
        tokio::spawn(async move {
            let mut reader = BufReader::new(stream).lines();
            while let Ok(Some(line)) = reader.next_line().await {
                kept.0.lock().unwrap().push(line);
            }
        });
        lines
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    /// Waits for a line that has all of these in it.
    pub(crate) async fn wait(&self, parts: &[&str]) {
        eventually(&format!("a line with {parts:?}"), async || {
            self.all().iter().any(|line| parts.iter().all(|part| line.contains(part))).then_some(())
        })
        .await;
    }

    pub(crate) fn containing(&self, part: &str) -> Vec<String> {
        self.all().into_iter().filter(|line| line.contains(part)).collect()
    }
}

/// `command` with piped streams, killed when dropped.
pub(crate) fn spawn(command: &mut Command) -> Child {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {:?}: {error}", command.as_std().get_program()))
}

/// Sends a signal by its short name: `TERM`, `HUP`, `STOP`, `CONT`.
pub(crate) fn signal(child: &Child, name: &str) {
    let pid = child.id().expect("the child has not been waited for");
    let sent = std::process::Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status().unwrap();
    assert!(sent.success(), "cannot send SIG{name} to {pid}");
}
