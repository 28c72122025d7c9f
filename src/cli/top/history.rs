//! A figure over the last two minutes.

use std::collections::VecDeque;

/// Seconds that are remembered.
pub(super) const SECONDS: usize = 120;

/// A sample for each second; `None` where there was none to be had.
#[derive(Debug, Clone, Default)]
pub(super) struct History {
    samples: VecDeque<Option<f64>>,
    /// All that there ever were, so that a column that is full keeps its samples when another one comes.
    taken: usize,
}

impl History {
    pub(super) fn push(&mut self, sample: Option<f64>) {
        if self.samples.len() == SECONDS {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
        self.taken += 1;
    }

    /// The mean of each of at most `width` columns, which end with the latest sample.
    pub(super) fn columns(&self, width: usize) -> Vec<Option<f64>> {
        if width == 0 {
            return Vec::new();
        }
        // One column more may be needed where the oldest and the latest are both in parts.
        let each = if width >= SECONDS { 1 } else { SECONDS.div_ceil(width) };
        let first = self.taken - self.samples.len();
        let mut columns: Vec<(usize, Vec<f64>)> = Vec::new();
        for (at, sample) in self.samples.iter().enumerate() {
            let column = (first + at) / each;
            if columns.last().is_none_or(|(last, _)| *last != column) {
                columns.push((column, Vec::new()));
            }
            if let (Some((_, samples)), Some(sample)) = (columns.last_mut(), sample) {
                samples.push(*sample);
            }
        }
        let skipped = columns.len().saturating_sub(width);
        columns.into_iter().skip(skipped).map(|(_, samples)| mean(&samples)).collect()
    }
}

fn mean(samples: &[f64]) -> Option<f64> {
    (!samples.is_empty()).then(|| samples.iter().sum::<f64>() / samples.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(samples: impl IntoIterator<Item = u32>) -> History {
        let mut history = History::default();
        samples.into_iter().for_each(|sample| history.push(Some(f64::from(sample))));
        history
    }

    #[test]
    fn two_minutes_are_remembered_and_gaps_stay() {
        let mut history = of(0..200);
        assert_eq!(history.columns(200).len(), SECONDS);
        assert_eq!(history.columns(SECONDS)[0], Some(80.0));
        history.push(None);
        assert_eq!(history.columns(SECONDS).last(), Some(&None));
        assert_eq!(history.columns(0), []);
        assert_eq!(History::default().columns(10), []);
    }

    #[test]
    fn a_column_that_is_full_does_not_change() {
        let (mut history, width) = (of(0..120), 40);
        let before = history.columns(width);
        assert_eq!(before.len(), width);
        assert_eq!(before[0], Some(1.0), "the mean of 0, 1, 2");
        history.push(Some(120.0));
        let after = history.columns(width);
        assert_eq!(after.len(), width);
        assert_eq!(after[..width - 1], before[1..], "moved by one, and not changed");
        assert_eq!(after[width - 1], Some(120.0));
    }
}
