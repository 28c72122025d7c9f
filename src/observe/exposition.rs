//! Everything that is measured, as one page.

use std::sync::Arc;

use super::prometheus::Page;
use super::{
    catalog::{self, Scrape},
    gauges::Gauges,
    journal::Journal,
    process::ProcessFigures,
    tally::Tally,
};
use crate::event_names::EventNames;

/// The sources of all metrics.
#[derive(Debug)]
pub struct Exposition {
    tallies: Vec<Arc<Tally>>,
    names: Arc<EventNames>,
    gauges: Arc<Gauges>,
    journal: Option<Journal>,
}

impl Exposition {
    /// `tallies`: one for each worker, all with the same buckets.
    #[must_use]
    pub const fn new(
        tallies: Vec<Arc<Tally>>,
        names: Arc<EventNames>,
        gauges: Arc<Gauges>,
        journal: Option<Journal>,
    ) -> Self {
        Self { tallies, names, gauges, journal }
    }

    /// The figures as of now, in the text format 0.0.4 of Prometheus.
    ///
    /// The number of series is bounded: by [`EventNames::SLOTS`] for each metric with an event, by 65 for others.
    #[must_use]
    pub fn render(&self) -> String {
        let mut page = Page::default();
        catalog::write(
            &mut page,
            &Scrape {
                tallies: &self.tallies,
                names: &self.names,
                gauges: &self.gauges,
                log_lines_lost: self.journal.as_ref().map_or(0, Journal::lines_lost),
                process: ProcessFigures::read(),
            },
        );
        page.into_text()
    }
}

#[cfg(test)]
mod tests;
