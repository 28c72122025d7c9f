//! The configuration file as a whole: its tables, reading it, checking it, noticing its change.

pub mod changes;
mod check;
pub mod error;
pub mod files;
pub mod load;
pub mod model;
pub mod schema;
pub mod watch;

pub use model::Config;
