//! Durations counted in buckets: one writer counts, the scrape adds up.

use std::{sync::Arc, time::Duration};

use super::counter::{Counter, Sum};

/// Durations of one kind, counted by one thread.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    /// Inclusive upper bounds, ascending.
    bounds: Arc<[Duration]>,
    /// One per bound, and one above the last.
    buckets: Box<[Counter]>,
    seconds: Sum,
}

impl Histogram {
    pub(super) fn new(bounds: Arc<[Duration]>) -> Self {
        let buckets = (0..=bounds.len()).map(|_| Counter::default()).collect();
        Self { bounds, buckets, seconds: Sum::default() }
    }

    pub(super) fn observe(&self, duration: Duration) {
        let bucket = self.bounds.partition_point(|bound| *bound < duration);
        self.buckets[bucket].add(1);
        self.seconds.add(duration.as_secs_f64());
    }
}

/// The same histogram of several threads, added up.
#[derive(Debug)]
pub(super) struct HistogramTotal {
    pub(super) bounds: Arc<[Duration]>,
    /// One per bound, and one above the last; not cumulative.
    pub(super) buckets: Vec<u64>,
    pub(super) seconds: f64,
}

impl HistogramTotal {
    /// The total of histograms with equal bounds; `None` if there is none.
    pub(super) fn of<'a>(mut parts: impl Iterator<Item = &'a Histogram>) -> Option<Self> {
        let mut total = Self::from(parts.next()?);
        for part in parts {
            total.buckets.iter_mut().zip(&part.buckets).for_each(|(bucket, more)| *bucket += more.get());
            total.seconds += part.seconds.get();
        }
        Some(total)
    }
}

impl From<&Histogram> for HistogramTotal {
    fn from(histogram: &Histogram) -> Self {
        Self {
            bounds: Arc::clone(&histogram.bounds),
            buckets: histogram.buckets.iter().map(Counter::get).collect(),
            seconds: histogram.seconds.get(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let histogram = Histogram::new([1, 5].map(Duration::from_millis).into());
        for micros in [999, 1000, 1001, 5000, 5001] {
            histogram.observe(Duration::from_micros(micros));
        }
        let total = HistogramTotal::of([&histogram, &histogram].into_iter()).unwrap();
        assert_eq!(total.buckets, [4, 4, 2]);
        assert!((total.seconds - 2.0 * 0.013_001).abs() < 1e-12);
    }
}
