//! Child processes: what they write is kept, and they end with the test.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    os::fd::OwnedFd,
    process::Stdio,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use tokio::process::{Child, Command};

use super::eventually;

/// So many of a child's last lines are shown when a test fails.
const LAST: usize = 50;
/// Lines that the child has logged and its own thread has yet to write come within this time.
const ON_THEIR_WAY: Duration = Duration::from_millis(300);

/// The lines a child has written so far.
///
/// A line comes some time after what it tells of: a test waits for it with [`Lines::wait`] or [`Lines::wait_for`].
#[derive(Debug, Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    /// Collects the lines of a stream of a child until its end, whether or not the test is waiting for something.
    pub(crate) fn of(stream: io::Result<OwnedFd>) -> Self {
        let stream = File::from(stream.unwrap());
        let lines = Self::default();
        let kept = lines.clone();
        thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                kept.0.lock().unwrap().push(line);
            }
        });
        lines
    }

    /// What has come so far. To find a line that is to be there, wait for it instead.
    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    /// Waits for a line that has all of these in it; answers with the first.
    pub(crate) async fn wait(&self, parts: &[&str]) -> String {
        self.wait_for(1, parts).await.swap_remove(0)
    }

    /// Waits until at least so many lines have all of these in them; answers with all that there are.
    pub(crate) async fn wait_for(&self, count: usize, parts: &[&str]) -> Vec<String> {
        eventually(&format!("{count} lines with {parts:?}"), async || {
            Some(self.with(parts)).filter(|lines| lines.len() >= count)
        })
        .await
    }

    /// The lines so far that have this in them. That there are none says something only behind a later line:
    /// see [`super::Gate::logged`].
    pub(crate) fn containing(&self, part: &str) -> Vec<String> {
        self.with(&[part])
    }

    fn with(&self, parts: &[&str]) -> Vec<String> {
        let has = |line: &&String| parts.iter().all(|part| line.contains(part));
        self.0.lock().unwrap().iter().filter(has).cloned().collect()
    }

    /// Shows the last of them on standard error, where they are those of a test that is failing.
    pub(crate) fn tell_if_failing(&self, of: &str) {
        if thread::panicking() {
            thread::sleep(ON_THEIR_WAY);
            eprint!("{}", last(of, &self.all()));
        }
    }
}

/// The last lines of a log, under a line that says whose they are and how many there were.
fn last(of: &str, lines: &[String]) -> String {
    let shown = &lines[lines.len().saturating_sub(LAST)..];
    let mut text = format!("--- the last {} of {} lines of {of}\n", shown.len(), lines.len());
    for line in shown {
        text += line;
        text.push('\n');
    }
    text + "---\n"
}

#[test]
fn of_a_log_the_last_fifty_lines_are_shown() {
    let lines: Vec<_> = (1..=60).map(|n| format!("line {n}")).collect();
    let shown = last("the gate", &lines);
    let shown: Vec<_> = shown.lines().collect();
    assert_eq!(shown[0], "--- the last 50 of 60 lines of the gate");
    assert_eq!(shown[1..51], lines[10..]);
    assert_eq!(shown[51..], ["---"]);
    assert_eq!(last("it", &lines[..1]), "--- the last 1 of 1 lines of it\nline 1\n---\n");
    assert_eq!(last("it", &[]), "--- the last 0 of 0 lines of it\n---\n");
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
