//! Writes to standard output and standard error.

use std::io::{self, Write as _};

/// Writes to standard output. A reader that stops early, as `head` does, is no error.
pub(super) fn print(text: &str) -> io::Result<()> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Writes to standard error. Where that is closed the text is lost.
pub(super) fn complain(text: &str) {
    let _ = writeln!(io::stderr().lock(), "tidegate: {text}");
}
