//! The promises of Tidegate, end to end: the real program between an untouched Node service and stock clients.
#![allow(clippy::unwrap_used, reason = "what is not there fails the scenario")]

mod acme;
mod admin;
mod attacks;
mod auth;
mod chaos;
mod cli;
mod control_frames;
mod cors;
mod drain;
mod forward;
mod hold;
mod hold_plain;
mod hostile;
mod keys;
mod load;
mod metrics;
mod old_clients;
mod outage;
mod payloads;
mod polling;
mod python;
mod rate_limit;
mod reload;
mod resume;
mod sid;
mod smuggling;
mod stock_client;
mod tls;
mod transports;
mod upgrade;
mod upgrade_ends;
mod upstream_tls;
mod websocket_routes;
mod wrong_service;

mod support;
