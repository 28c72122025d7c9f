//! Tidegate.

pub mod admin;
pub mod config;
pub mod event_names;
pub mod gateway;
pub mod observe;
pub mod policy;
pub mod relay;
pub mod session;
pub mod units;
pub mod wire;
