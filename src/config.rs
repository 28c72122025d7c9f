//! The configuration file as a whole.

pub mod model;

pub use model::Config;
