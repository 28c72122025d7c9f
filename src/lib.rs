//! Tidegate: a gate in front of a Socket.IO or WebSocket service that enforces what the service lacks.
//!
//! The layers, bottom up; imports point down only, and `tests/architecture.rs` keeps it so:
//!
//! * [`wire`], [`units`], [`event_names`], [`observe`]: the ground. RFC 6455, Engine.IO and Socket.IO as values; how
//!   humans write values; event names as numbers; passive counters and log lines.
//! * [`policy`] decides: packets and handshakes to verdicts.
//! * [`session`] decides: one conversation as a state machine, without sockets or clocks.
//! * [`relay`] does: the I/O of one session, on the thread it was accepted on.
//! * [`gateway`] and [`admin`], neighbours that do not know one another: the edge towards clients, and the operator's
//!   side.
//! * [`config`]: the TOML file as a whole; each table's type lives beside its owner.
//! * [`start`] joins the parts; [`cli`] is the command line.
//!
//! A frame's walk: [`relay::leg::websocket::WebSocketLeg::fill`] reads into the worker's buffer,
//! [`relay::inflow::Inflow::next`] finds the frame and unmasks a copy of its beginning,
//! [`wire::socketio::peek::peek_client`] reads the packet's head, [`session::Session::client_packet`] and the
//! [`policy::policies::Policies`] give a [`policy::verdict::Verdict`], [`relay::batch::Batch::keep`] or
//! [`cut`](relay::batch::Batch::cut) settles its bytes, and [`relay::leg::upstream::UpstreamLeg::send`] sends what was
//! kept, as it came, in one call.

pub mod admin;
pub mod cli;
pub mod config;
pub mod event_names;
pub mod gateway;
pub mod jwks;
pub mod observe;
pub mod policy;
pub mod relay;
pub mod session;
pub mod start;
pub mod tls;
pub mod units;
pub mod wire;

pub use config::Config;
