//! The last lines of the gate's log, for the page to show.

use std::{
    collections::VecDeque,
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};

/// So many lines are kept.
const LINES: usize = 200;

/// The last lines, each with its number. Clones are of the same book.
#[derive(Debug, Clone, Default)]
pub(crate) struct LogBook(Arc<Mutex<Book>>);

#[derive(Debug, Default)]
struct Book {
    lines: VecDeque<String>,
    /// Of the next line; they are counted from 1.
    written: u64,
}

impl LogBook {
    pub(crate) fn add(&self, line: &str) {
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if book.lines.len() == LINES {
            book.lines.pop_front();
        }
        book.lines.push_back(line.to_owned());
        book.written += 1;
    }

    /// The lines after this one, and the number of the last.
    pub(crate) fn after(&self, number: u64) -> (Vec<String>, u64) {
        let book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let new = usize::try_from(book.written.saturating_sub(number)).unwrap_or(usize::MAX).min(book.lines.len());
        (book.lines.range(book.lines.len() - new..).cloned().collect(), book.written)
    }
}

/// A subscriber of `tracing` writes each line at once.
impl Write for LogBook {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for line in String::from_utf8_lossy(bytes).lines() {
            self.add(line);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
