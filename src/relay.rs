//! I/O of one session: obeys the session, decides nothing.

pub mod batch;
pub mod cell;
pub mod client_leg;
pub mod client_side;
pub mod clock;
pub mod closing;
pub mod dial;
pub mod dial_error;
pub mod directory;
pub mod driver;
pub mod inflow;
pub mod ledger;
pub mod leg;
pub mod reconnect_pacer;
pub mod registry;
pub mod request;
pub mod responder;
pub mod rules;
pub mod scratch;
pub mod service_leg;
pub mod service_side;
pub mod service_state;
pub mod stream;
pub mod worker;

#[cfg(test)]
mod tests;
