//! Metric families in the text format of Prometheus. The only file that names the prometheus crate.

use std::{fmt::Write as _, time::Duration};

use prometheus::{
    TextEncoder,
    proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType},
};

use super::histogram::HistogramTotal;

/// The `Content-Type` of the page.
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// The page so far.
#[derive(Default)]
pub(super) struct Page {
    text: String,
}

/// One value with its labels.
pub(super) struct Sample<V> {
    labels: Vec<LabelPair>,
    value: V,
}

/// The unit in which a metric gives durations.
#[derive(Clone, Copy)]
pub(super) enum Unit {
    /// Of the metrics whose names users depend on.
    Milliseconds,
    /// The base unit of Prometheus.
    Seconds,
}

impl<V> Sample<V> {
    pub(super) const fn of(value: V) -> Self {
        Self { labels: Vec::new(), value }
    }

    pub(super) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        let mut label = LabelPair::default();
        label.set_name(name.to_owned());
        label.set_value(value.into());
        self.labels.push(label);
        self
    }

    fn metric(self, set: impl FnOnce(&mut Metric, V)) -> Metric {
        let mut metric = Metric::from_label(self.labels);
        set(&mut metric, self.value);
        metric
    }
}

impl Page {
    pub(super) fn into_text(self) -> String {
        self.text
    }

    pub(super) fn counter(&mut self, name: &str, help: &str, samples: impl IntoIterator<Item = Sample<f64>>) {
        let set = |metric: &mut Metric, value| {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        };
        self.family(name, help, MetricType::COUNTER, samples.into_iter().map(|sample| sample.metric(set)));
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str, samples: impl IntoIterator<Item = Sample<f64>>) {
        let set = |metric: &mut Metric, value| {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        };
        self.family(name, help, MetricType::GAUGE, samples.into_iter().map(|sample| sample.metric(set)));
    }

    pub(super) fn histogram(
        &mut self,
        name: &str,
        help: &str,
        unit: Unit,
        samples: impl IntoIterator<Item = Sample<HistogramTotal>>,
    ) {
        let set = |metric: &mut Metric, total: HistogramTotal| metric.set_histogram(histogram(&total, unit));
        self.family(name, help, MetricType::HISTOGRAM, samples.into_iter().map(|sample| sample.metric(set)));
    }

    /// A family is on the page from the first scrape on, so that a dashboard can be made before anything is counted.
    fn family(&mut self, name: &str, help: &str, kind: MetricType, metrics: impl Iterator<Item = Metric>) {
        let metrics: Vec<Metric> = metrics.collect();
        if metrics.is_empty() {
            // The encoder refuses an empty family.
            let kind = format!("{kind:?}").to_lowercase();
            let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            return;
        }
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        family.set_metric(metrics);
        // Writing to a string cannot fail, and the encoder refuses no family that has samples.
        let _ = TextEncoder::new().encode_utf8(&[family], &mut self.text);
    }
}

fn histogram(total: &HistogramTotal, unit: Unit) -> Histogram {
    let mut below = 0;
    let buckets = total.bounds.iter().zip(&total.buckets).map(|(bound, count)| {
        below += count;
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(unit.of(bound));
        bucket.set_cumulative_count(below);
        bucket
    });
    let mut histogram = Histogram::default();
    histogram.set_bucket(buckets.collect());
    histogram.set_sample_count(total.buckets.iter().sum());
    histogram.set_sample_sum(total.seconds * unit.per_second());
    histogram
}

impl Unit {
    const fn per_second(self) -> f64 {
        match self {
            Self::Milliseconds => 1e3,
            Self::Seconds => 1.0,
        }
    }

    /// One division of whole numbers, so that a bound reads as it was configured.
    fn of(self, duration: Duration) -> f64 {
        duration.as_nanos() as f64 / (1e9 / self.per_second())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_read_as_they_were_configured() {
        assert_eq!(Unit::Milliseconds.of(Duration::from_millis(1001)).to_string(), "1001");
        assert_eq!(Unit::Seconds.of(Duration::from_micros(25)).to_string(), "0.000025");
    }
}
