//! Attacks by one client on all others, each beside a control: the same attack without the gate, or without its defence.

mod descriptors;
mod trust_headers;
mod uploads;
