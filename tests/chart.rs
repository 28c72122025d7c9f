//! What the Helm chart renders, by a real Helm: valid for Kubernetes, safe, and a configuration that this Tidegate reads.
//!
//! `scripts/test` installs Helm and the schemas. `UPDATE_EXPECT=1 cargo nextest run --test chart` takes over other renders
//! into `tests/chart/golden`.

#[path = "chart/check.rs"]
mod check;
#[path = "chart/files.rs"]
mod files;
#[path = "chart/golden.rs"]
mod golden;
#[path = "chart/helm.rs"]
mod helm;
#[path = "chart/manifests.rs"]
mod manifests;
#[path = "chart/matrix.rs"]
mod matrix;
#[path = "chart/names.rs"]
mod names;
#[path = "chart/pages.rs"]
mod pages;
#[path = "chart/pods.rs"]
mod pods;
#[path = "chart/refusals.rs"]
mod refusals;
#[path = "chart/rules.rs"]
mod rules;
#[path = "chart/traffic.rs"]
mod traffic;
#[path = "chart/values.rs"]
mod values;
