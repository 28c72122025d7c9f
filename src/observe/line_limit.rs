//! A limit of log lines per second and reason, so that many refusals do not cause many lines.

use std::time::{Duration, Instant};

/// Lines written in one [`WINDOW`] for one reason.
pub(super) const LINES_PER_WINDOW: u32 = 10;
/// How long these lines count.
pub(super) const WINDOW: Duration = Duration::from_secs(1);
/// The most reasons that are told apart. They are few and fixed in the code; further ones count as one.
const REASONS_MAX: usize = 64;
/// Stands for the further ones.
const OTHERS: &str = "other";

/// Lines written and left out, by reason.
#[derive(Debug)]
pub(super) struct LineLimit {
    reasons: Vec<Reason>,
}

#[derive(Debug)]
struct Reason {
    name: &'static str,
    window: Instant,
    written: u32,
    suppressed: u64,
}

impl LineLimit {
    pub(super) const fn new() -> Self {
        Self { reasons: Vec::new() }
    }

    /// Whether to write a line, and how many were left out before it.
    pub(super) fn admit(&mut self, name: &'static str, now: Instant) -> Option<u64> {
        let reason = self.reason(name, now);
        if now.saturating_duration_since(reason.window) >= WINDOW {
            (reason.window, reason.written) = (now, 0);
        }
        if reason.written == LINES_PER_WINDOW {
            reason.suppressed += 1;
            return None;
        }
        reason.written += 1;
        Some(std::mem::take(&mut reason.suppressed))
    }

    fn reason(&mut self, name: &'static str, now: Instant) -> &mut Reason {
        let full = self.reasons.len() >= REASONS_MAX - 1;
        let find = |name| self.reasons.iter().position(|reason| reason.name == name);
        let known = find(name).or_else(|| if full { find(OTHERS) } else { None });
        let index = known.unwrap_or_else(|| {
            let name = if full { OTHERS } else { name };
            self.reasons.push(Reason { name, window: now, written: 0, suppressed: 0 });
            self.reasons.len() - 1
        });
        &mut self.reasons[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_lines_a_second_for_each_reason() {
        let (mut limit, now) = (LineLimit::new(), Instant::now());
        let written = |limit: &mut LineLimit, reason| (0..15).filter(|_| limit.admit(reason, now).is_some()).count();
        assert_eq!(written(&mut limit, "origin"), 10);
        assert_eq!(written(&mut limit, "auth.missing"), 10);
    }

    #[test]
    fn a_reason_beyond_the_bound_has_lines_too() {
        let (mut limit, now) = (LineLimit::new(), Instant::now());
        let names: Vec<&'static str> = (0..REASONS_MAX + 10).map(|n| &*format!("reason {n}").leak()).collect();
        assert_eq!(names.iter().filter(|name| limit.admit(name, now).is_some()).count(), REASONS_MAX - 1 + 10);
        assert_eq!(limit.admit(names[REASONS_MAX], now), None, "they share ten lines a second");
        assert_eq!(limit.reasons.len(), REASONS_MAX);
    }

    #[test]
    fn the_next_line_says_how_many_were_left_out() {
        let (mut limit, now) = (LineLimit::new(), Instant::now());
        for _ in 0..25 {
            limit.admit("origin", now);
        }
        assert_eq!(limit.admit("origin", now + WINDOW), Some(15));
        assert_eq!(limit.admit("origin", now + WINDOW), Some(0));
    }
}
