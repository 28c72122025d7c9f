//! I/O of sessions. It decides nothing about a packet. Whether the service is down or objects to one client, and who dials next,
//! is decided from all sessions of the node in `service_state` and `reconnect_pacer`, as functions of time.

pub mod batch;
pub mod broken_rule;
pub mod cell;
pub mod client_leg;
pub mod client_side;
pub mod clock;
pub mod closing;
pub(crate) mod cookies;
pub mod dial;
pub mod dial_answer;
pub mod dial_error;
pub mod dial_outcome;
mod dial_request;
pub mod directory;
pub mod driver;
pub mod inflow;
pub mod ledger;
pub mod leg;
pub mod listing;
pub mod outlet;
pub mod parked;
pub mod reconnect_pacer;
pub mod registry;
pub mod request;
pub mod responder;
pub mod revoker;
pub mod room_command;
pub mod room_index;
pub mod room_mail;
pub mod rooms;
pub mod rules;
pub mod scratch;
pub mod service_leg;
pub mod service_side;
pub mod service_state;
pub mod session_lines;
pub mod stream;
pub mod worker;

#[cfg(test)]
mod tests;
