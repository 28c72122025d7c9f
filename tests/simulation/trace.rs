//! What has happened, for a reader, and as one number to compare two runs by.

use std::{collections::VecDeque, fmt::Arguments};

/// The last lines of a run, and a hash of all of them.
pub struct Trace {
    lines: VecDeque<String>,
    /// So many lines are kept.
    shown: usize,
    hash: u64,
    step: usize,
}

impl Trace {
    pub const fn new(shown: usize) -> Self {
        Self { lines: VecDeque::new(), shown, hash: 0, step: 0 }
    }

    pub fn step(&mut self) {
        self.step += 1;
    }

    pub fn line(&mut self, line: Arguments<'_>) {
        let line = format!("{:>4}  {line}", self.step);
        for byte in line.bytes() {
            // FNV-1a.
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if self.lines.len() == self.shown {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    pub const fn hash(&self) -> u64 {
        self.hash
    }

    pub const fn steps(&self) -> usize {
        self.step
    }

    pub fn shown(&self) -> String {
        self.lines.iter().map(|line| format!("{line}\n")).collect()
    }
}
