//! Sums tallies at scrape; the only file that names the prometheus crate.
