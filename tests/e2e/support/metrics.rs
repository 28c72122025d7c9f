//! A scrape, read.

use super::http;

/// The samples of one scrape of `/metrics/prometheus`.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) text: String,
}

impl Metrics {
    pub(crate) async fn scrape(url: &str) -> Self {
        let reply = http::get(url).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        Self { text: reply.text().to_owned() }
    }

    /// The sum of all samples called `name` that have these labels. Without such a sample it is 0.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.samples(name)
            .filter(|(found, _)| labels.iter().all(|(label, value)| found.contains(&format!("{label}=\"{value}\""))))
            .map(|(_, value)| value)
            .sum()
    }

    /// The labels, as they stand between the braces, and the values of the samples called `name`.
    pub(crate) fn samples<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        self.text.lines().filter_map(move |line| {
            let rest = line.strip_prefix(name)?;
            let (labels, value) = match rest.strip_prefix('{') {
                Some(rest) => rest.rsplit_once("} ")?,
                None => ("", rest.strip_prefix(' ')?),
            };
            Some((labels, value.parse().unwrap()))
        })
    }
}
