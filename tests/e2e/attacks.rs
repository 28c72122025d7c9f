//! Attacks by one client on all others, each beside a control: the same attack without the gate, or without its defence.

mod descriptors;
mod handshakes;
mod http2_floods;
mod trust_headers;
mod uploads;
mod joins;
mod nesting;
mod unreadable;
mod hang_up;
mod ack_bound;
mod heard;
mod secrets;
mod memory;
mod overload;
mod small_node;
