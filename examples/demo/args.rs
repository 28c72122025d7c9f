//! What the demo is asked at the command line, and the ports it takes.

/// The port of the service in the README. Its clients connect to it, so the line to the gate begins there.
pub(crate) const PORT: u16 = 4003;
pub(crate) const ADMIN_PORT: u16 = 9464;

/// What is said in place of a start, and the exit code. `None`: the demo starts.
pub(crate) fn instead_of_a_start(args: &[String]) -> Option<(String, u8)> {
    match args {
        [] => None,
        [help] if ["--help", "-h"].contains(&help.as_str()) => Some((help_text(), 0)),
        [first, ..] => Some((format!("{first:?} is not known: the demo has no arguments but --help"), 2)),
    }
}

fn help_text() -> String {
    format!(
        "Tidegate in front of a small Socket.IO service, in one process.

  cargo run --release --example demo

There are no arguments. It listens on 127.0.0.1 alone: on port {PORT} for the page and its clients, on port {ADMIN_PORT}
for the operator, and on free ports for the service and the gate behind them. A port that is taken is replaced by a free
one, which is printed. Ctrl-C ends it."
    )
}
