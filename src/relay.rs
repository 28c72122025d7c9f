//! I/O of one session; obeys the session, decides nothing.

pub mod batch;
pub mod closing;
pub mod dial;
pub mod driver;
pub mod inflow;
pub mod leg;
mod pump;
pub mod registry;
pub mod scratch;
pub mod worker;
