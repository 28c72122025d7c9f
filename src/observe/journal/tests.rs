//! What the lines look like, in both formats.

use std::{
    io::Write,
    sync::{Arc, Mutex, PoisonError},
};

use tracing::subscriber::DefaultGuard;

use super::*;

/// Lines that were written.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    /// Those that have this in them.
    pub(crate) fn containing(&self, part: &str) -> Vec<String> {
        let bytes = self.0.lock().unwrap().clone();
        let lines = String::from_utf8(bytes).unwrap();
        lines.lines().filter(|line| line.contains(part)).map(str::to_owned).collect()
    }
}

/// Catches what this thread writes from now on, at level INFO and as JSON, until the guard is dropped.
pub(crate) fn caught() -> (Lines, DefaultGuard) {
    let lines = Lines::default();
    let writer = lines.clone();
    let (level, _) = reload::Layer::new(LevelFilter::INFO);
    let guard = tracing::subscriber::set_default(subscriber(LogFormat::Json, level, move || writer.clone()));
    (lines, guard)
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The lines that `act` writes.
fn lines(format: LogFormat, act: impl FnOnce(&reload::Handle<LevelFilter, Registry>)) -> Vec<String> {
    let lines = Lines::default();
    let writer = lines.clone();
    let (level, handle) = reload::Layer::new(LevelFilter::INFO);
    tracing::subscriber::with_default(subscriber(format, level, move || writer.clone()), || act(&handle));
    let bytes = lines.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
}

fn ada(namespaces: &[String]) -> SessionFields<'_> {
    SessionFields {
        id: 7,
        sid_hash: Some("0f1e2d3c"),
        user: Some("ada"),
        peer: [127, 0, 0, 1].into(),
        transport: "websocket",
        route: None,
        namespaces,
    }
}

#[test]
fn a_session_has_two_lines() {
    let namespaces = ["/".to_owned(), "/tutor".to_owned()];
    let written = lines(LogFormat::Json, |_| {
        session_opened(&ada(&namespaces));
        session_ended(&Ended {
            session: &ada(&namespaces),
            duration: Duration::from_millis(1500),
            absent: None,
            packets_received: 3,
            packets_sent: 4,
            packets_refused: 1,
            packets_unsent: 2,
            cause: "ping_timeout",
            fault: "client",
            setting: Some("socketio.json"),
        });
    });
    let [opened, ended] = &written[..] else { panic!("{written:?}") };
    let opened: serde_json::Value = serde_json::from_str(opened).unwrap();
    assert_eq!(opened["message"], "session opened");
    assert_eq!(opened["sid_hash"], "0f1e2d3c");
    assert_eq!(opened["namespaces"], "/,/tutor");
    let ended: serde_json::Value = serde_json::from_str(ended).unwrap();
    assert_eq!(ended["level"], "INFO");
    assert_eq!(ended["duration_seconds"], 1.5);
    assert_eq!(ended["packets_refused"], 1);
    assert_eq!(ended["packets_unsent"], 2);
    assert_eq!(ended["cause"], "ping_timeout");
}

#[test]
fn text_reads_as_a_sentence_with_fields() {
    let written = lines(LogFormat::Text, |_| session_opened(&ada(&["/".to_owned()])));
    let (_time, line) = written[0].split_once("  ").unwrap();
    let expected = r#"INFO session opened id=7 sid_hash="0f1e2d3c" user="ada" peer=127.0.0.1 "#.to_owned()
        + r#"transport="websocket" namespaces="/""#;
    assert_eq!(line, expected);
}

#[test]
fn what_a_client_says_cannot_begin_a_line_or_fill_the_log() {
    for format in [LogFormat::Json, LogFormat::Text] {
        let user = format!("ada\n2026 INFO session opened id=8\u{1b}[2J{}", "x".repeat(10_000));
        let opened = SessionFields { user: Some(&user), ..ada(&[]) };
        let written = lines(format, |_| session_opened(&opened));
        assert_eq!(written.len(), 1, "{written:?}");
        assert!(written[0].len() < 600);
        assert!(!written[0].contains('\u{1b}'));
    }
}

#[test]
fn refusals_of_one_reason_are_limited() {
    let line = Refused { origin: Some("https://x"), ..Refused::of([127, 0, 0, 1].into(), "test", "test.flood") };
    let written = lines(LogFormat::Text, |_| (0..100).for_each(|_| refused(&line)));
    assert!((10..=20).contains(&written.len()), "{} lines", written.len());
    assert!(written[0].ends_with(r#"stage="test" reason="test.flood" origin="https://x""#), "{}", written[0]);
}

#[test]
fn the_level_can_be_changed_while_running() {
    let written = lines(LogFormat::Text, |level| {
        level.reload(LevelFilter::from(LogLevel::Warn)).unwrap();
        session_opened(&ada(&[]));
        level.reload(LevelFilter::from(LogLevel::Info)).unwrap();
        session_opened(&ada(&[]));
    });
    assert_eq!(written.len(), 1);
}

#[test]
fn a_sentence_about_the_process_is_one_line() {
    let written = lines(LogFormat::Text, |_| {
        line(LogLevel::Warn, "tidegate.toml:3: unknown field\nthe configuration in force is kept");
        line(LogLevel::Debug, "not at this level");
    });
    assert_eq!(written.len(), 1);
    assert!(written[0].ends_with("WARN tidegate.toml:3: unknown field the configuration in force is kept"));
}
