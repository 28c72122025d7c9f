//! Durations counted in buckets: one writer counts, the scrape adds up.

use std::{sync::Arc, time::Duration};

use super::counter::Counter;

/// Durations of one kind, counted by one thread.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    bounds: Bounds,
    /// One per bound, and one above the last.
    buckets: Box<[Counter]>,
    nanoseconds: Counter,
}

/// Inclusive upper bounds, ascending, in nanoseconds.
#[derive(Debug, Default, Clone)]
pub(super) struct Bounds(Arc<[u64]>);

impl Bounds {
    pub(super) fn new(bounds: impl IntoIterator<Item = Duration>) -> Self {
        Self(bounds.into_iter().map(nanoseconds).collect())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Duration> {
        self.0.iter().map(|bound| Duration::from_nanos(*bound))
    }
}

impl Histogram {
    pub(super) fn new(bounds: Bounds) -> Self {
        let buckets = (0..=bounds.0.len()).map(|_| Counter::default()).collect();
        Self { bounds, buckets, nanoseconds: Counter::default() }
    }

    pub(super) fn observe(&self, duration: Duration) {
        let duration = nanoseconds(duration);
        // Most are small, and there are few bounds.
        let bucket = self.bounds.0.iter().position(|bound| duration <= *bound).unwrap_or(self.bounds.0.len());
        self.buckets[bucket].add(1);
        self.nanoseconds.add(duration);
    }
}

/// Enough for 584 years.
fn nanoseconds(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000_000).saturating_add(duration.subsec_nanos().into())
}

/// The same histogram of several threads, added up.
#[derive(Debug)]
pub(super) struct HistogramTotal {
    pub(super) bounds: Bounds,
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
            total.seconds += Duration::from_nanos(part.nanoseconds.get()).as_secs_f64();
        }
        Some(total)
    }

    /// Such a part of all took no longer, as far as buckets tell: within one, all durations are taken for equally frequent. What
    /// is above the last bound is taken for it. `None`: there is none.
    pub(super) fn quantile(&self, part: f64) -> Option<Duration> {
        let all: u64 = self.buckets.iter().sum();
        let wanted = all as f64 * part;
        let (mut below, mut lower) = (0, Duration::ZERO);
        for (upper, count) in self.bounds.iter().zip(&self.buckets) {
            if *count > 0 && (below + count) as f64 >= wanted {
                return Some(lower + (upper - lower).mul_f64((wanted - below as f64) / *count as f64));
            }
            (below, lower) = (below + count, upper);
        }
        (all > 0).then_some(lower)
    }
}

impl From<&Histogram> for HistogramTotal {
    fn from(histogram: &Histogram) -> Self {
        Self {
            bounds: histogram.bounds.clone(),
            buckets: histogram.buckets.iter().map(Counter::get).collect(),
            seconds: Duration::from_nanos(histogram.nanoseconds.get()).as_secs_f64(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let histogram = Histogram::new(Bounds::new([1, 5].map(Duration::from_millis)));
        for micros in [999, 1000, 1001, 5000, 5001] {
            histogram.observe(Duration::from_micros(micros));
        }
        let total = HistogramTotal::of([&histogram, &histogram].into_iter()).unwrap();
        assert_eq!(total.buckets, [4, 4, 2]);
        let micros = |part| total.quantile(part).unwrap().as_micros();
        assert_eq!([0.2, 0.4, 0.6, 0.8, 0.99].map(micros), [500, 1000, 3000, 5000, 5000]);
        assert!((total.seconds - 2.0 * 0.013_001).abs() < 1e-12);
    }
}
