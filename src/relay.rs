//! I/O of one session; obeys the session, decides nothing.

pub mod dial;
pub mod registry;
