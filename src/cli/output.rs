//! Writes to standard output and standard error.

use std::io::{self, Write as _};

/// So many characters of what another program says stand in one message.
const FOREIGN_MAX: usize = 500;

/// A text without what would move the cursor or turn the direction of reading: users, peers and other programs choose it.
pub(super) fn clean(text: &str) -> String {
    text.chars().map(shown).collect()
}

/// The same of a message of another program, cut where it is long.
pub(super) fn clean_message(text: &str) -> String {
    let mut message: String = text.chars().take(FOREIGN_MAX).map(shown).collect();
    if text.chars().nth(FOREIGN_MAX).is_some() {
        message.push('…');
    }
    message
}

fn shown(c: char) -> char {
    let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if c.is_control() || turns { '\u{fffd}' } else { c }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_say_moves_no_cursor_and_fills_no_screen() {
        assert_eq!(clean("ada lovelace é"), "ada lovelace é");
        assert_eq!(clean("a\u{1b}[2Jb\u{202e}c\n"), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}");
        assert_eq!(clean("\u{61c}a\u{9b}1m\u{2068}"), "\u{fffd}a\u{fffd}1m\u{fffd}");
        assert_eq!(clean_message("set \u{1b}]0;admin.token"), "set \u{fffd}]0;admin.token");
        let as_long_as_may_be = "é".repeat(FOREIGN_MAX);
        assert_eq!(clean_message(&as_long_as_may_be), as_long_as_may_be);
        assert_eq!(clean_message(&format!("{as_long_as_may_be}é")), format!("{as_long_as_may_be}…"));
    }
}
