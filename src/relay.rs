//! I/O of one session; obeys the session, decides nothing.

pub mod batch;
pub mod client_leg;
pub mod closing;
pub mod dial;
pub mod driver;
pub mod inflow;
pub mod leg;
mod letters;
pub mod mailbox;
pub mod pace;
mod pump;
mod record;
mod redial;
pub mod registry;
pub mod resume;
pub mod scratch;
pub mod stream;
pub mod worker;

#[cfg(test)]
mod tests;
