//! What scenarios are made of: the real program, the untouched service, stock clients, and patience.

pub(crate) mod cable;
pub(crate) mod client;
pub(crate) mod eventually;
pub(crate) mod frame;
pub(crate) mod http;
pub(crate) mod issuer;
pub(crate) mod metrics;
pub(crate) mod node;
pub(crate) mod pebble;
pub(crate) mod pki;
pub(crate) mod plain;
pub(crate) mod poller;
pub(crate) mod ports;
pub(crate) mod process;
pub(crate) mod raw;
pub(crate) mod redis;
pub(crate) mod scripted;
pub(crate) mod service;
pub(crate) mod settings;
pub(crate) mod tidegate;
pub(crate) mod tls;
pub(crate) mod token;
pub(crate) mod way;

pub(crate) use cable::Cable;
pub(crate) use client::Client;
pub(crate) use eventually::{eventually, soon};
pub(crate) use pki::Pki;
pub(crate) use plain::Plain;
pub(crate) use poller::Poller;
pub(crate) use raw::Raw;
pub(crate) use redis::Redis;
pub(crate) use serde_json::{Value, json};
pub(crate) use service::Service;
pub(crate) use tidegate::Gate;
pub(crate) use token::token;
pub(crate) use way::Way;
