//! Attacks by one client on all others, each beside a control: the same attack without the gate, or without its defence.

mod absent;
mod ack_bound;
mod descriptors;
mod handshakes;
mod hang_up;
mod heard;
mod http2_floods;
mod joins;
mod memory;
mod nesting;
mod overload;
mod secrets;
mod small_node;
mod trust_headers;
mod unreadable;
mod uploads;
