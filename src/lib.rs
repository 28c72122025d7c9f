//! Tidegate: a gate in front of a Socket.IO or WebSocket service that enforces what the service lacks.
//!
//! # The code in reading order
//!
//! A layer imports only layers that are listed before it, and the files of a layer never import each other in a circle;
//! `tests/architecture.rs` checks both. Within a layer the files are listed from the bottom up as well.
//!
//! ## Values and protocols: no I/O, no clock
//!
//! * [`wire`] turns bytes into values and back.
//!   * `websocket`: RFC 6455 frames, masks, UTF-8, reassembly, the handshake.
//!   * `engineio`: Engine.IO packets, the payloads of long-polling, the open packet, its error answers, session ids.
//!   * `socketio`: the head of a Socket.IO packet, read and written.
//!   * `json`: whether a text is JSON, one field of an object without a parser, whether a member is repeated, and which
//!     event a message names.
//!   * `query`: the query of a URL.
//! * [`fault`]: a mistake in the configuration, with the key that it belongs to.
//! * [`units`]: durations, sizes and secrets as they are written in the configuration.
//! * [`event_names`]: event names as small numbers, with a cap.
//! * [`observe`] counts and logs, and never calls back.
//!   * `counter`, `histogram`: numbers with one writer that other threads read without a lock.
//!   * `tally`: the counters of one worker.
//!   * `memory`: what clients make the node keep, and how much memory it has.
//!   * `gauges`, `acme`, `process`: figures of the whole process.
//!   * `prometheus`: the text format of a page of metrics.
//!   * `catalog`: every metric, declared once: name, help, kind, and how it is read.
//!   * `exposition`: the page of all metrics.
//!   * `stderr`, `line_limit`, `journal`: log lines, written without blocking and limited in rate.
//!
//! ## Decisions: no socket, no clock, no log
//!
//! * [`policy`] turns packets and handshakes into verdicts.
//!   * `verdict`: what a policy answers.
//!   * `gcra`: an allowance as one instant.
//!   * `pattern`, `network`: how rules name events, and what counts as one address.
//!   * `origin`, `namespaces`, `descriptors`, `connections`, `requests`, `handshake_rate`, `rate_limit`: one
//!     policy each.
//!   * `identity`, `token_source`, `auth`, `sid_owner`: a verified user, where a token is found, whether it is valid, and
//!     who may use a sid.
//!   * `policies`: all policies, in the order in which they judge.
//! * [`session`] is one conversation as a state machine.
//!   * `now`, `message`, `question`, `event`, `action`: what goes in and what comes out.
//!   * `ended`, `answer`: why a session ends, and what each side is told.
//!   * `heartbeat`, `control_rate`, `flood`: what a client must send, and how much it may.
//!   * `membership`, `namespaces`, `acks`: what is joined, and which acks are outstanding.
//!   * `table`, `hold`, `join_rate`, `rules`: the tables of sessions, and the rules that they compile to.
//!   * `queue`, `replay`, `upstream`: what happens while the service is down.
//!   * `reach`, `resume`: what happens while the client is absent.
//!   * `snapshot`: a session as plain data.
//!   * `core`: what a session has whatever is spoken on its legs.
//!   * `engineio`, `socketio`, `plain`, `speech`: what is spoken on each leg.
//!   * `conversation`: the parts of a Socket.IO session together.
//!   * `connect`, `client_packet`, `service_packet`: what each kind of packet does.
//!   * `claims`: whether a client gets back the session that it had.
//!   * `continuation`: how a session becomes plain data, and goes on from it.
//!   * `view`: a session as the log, the gauges and `/sessions` see it.
//!
//! ## I/O
//!
//! * [`side_http`]: an HTTP/1 server for short answers, beside the gate.
//! * [`relay`] moves the bytes of a session, on the thread that accepted it.
//!   * `stream`, `scratch`, `batch`, `inflow`, `clock`: sockets, lent buffers, received bytes, the frames in them, the time.
//!   * `leg`: WebSocket, long-polling, and the upgrade from one to the other.
//!   * `client_leg`, `service_leg`: the two legs of a session.
//!   * `dial`, `dial_error`, `reconnect_pacer`: connections to the service, why there is none, and how fast they are made again.
//!   * `service_state`: whether the service is away, or objects to one client.
//!   * `rules`: the rules of sessions, with their I/O.
//!   * `responder`, `request`, `registry`: what comes to a session beside its frames, and how it finds the worker.
//!   * `directory`, `cell`, `worker`: the sessions of one thread.
//!   * `client_side`, `service_side`: a leg, and what is under way beside it.
//!   * `ledger`: what is counted and logged of a session.
//!   * `closing`: the last moments of a session.
//!   * `driver`: the task of a session, from its first byte to its last.
//! * [`tls`] holds certificates and does handshakes, on both sides.
//!   * `certificate`, `client_auth`: certificates from files, certificates of clients.
//!   * `acme`: orders a certificate and renews it (RFC 8555).
//!   * `resolver`: which certificate a client is shown.
//!   * `io`, `handshake`: a client's encrypted connection, and the handshake with its bounds.
//!   * `upstream`: TLS towards the service.
//! * [`jwks`] fetches the key set of an issuer.
//!   * `fetch`: one GET with bounds.
//! * [`gateway`] is the edge towards clients: HTTP until a connection becomes a session.
//!   * `drain`, `listener`: whether the node still accepts, and the sockets it accepts on.
//!   * `patience`, `service_body`: how long a body may keep the gate waiting; the body of a service's answer.
//!   * `reply`, `cors`, `trust_headers`, `peer`: answers, cross-origin headers, who the client is behind proxies.
//!   * `head_guard`: judges each request head before hyper reads it.
//!   * `http2`: the same for HTTP/2, and a bound for frames that carry nothing.
//!   * `router`: which endpoint a request is for.
//!   * `forward`: ordinary HTTP, passed to the service.
//!   * `edge`: what endpoints need of their worker.
//!   * `admission`: what a connection may use before it is served.
//!   * `upgrade`, `websocket`, `engineio`: the endpoints.
//!   * `serve`: one connection, from accept to its endpoint.
//! * [`admin`] is the operator's address.
//!   * `answer`, `access`: its answers, and who may ask.
//!   * `exposition`, `health`, `sessions`: its pages.
//!
//! ## The whole
//!
//! * [`config`] is the TOML file; the type of each table lives beside the code that obeys it.
//!   * `model`, `error`, `check`: all tables, a mistake with its place, rules between tables.
//!   * `load`, `schema`, `watch`: reads the configuration, documents it, notices changes.
//! * [`start`] joins the parts.
//!   * `memory`: the limits of memory, and what is done before one is reached.
//!   * `error`, `compile`: why a node does not start, and the configuration compiled into rules.
//!   * `acme`, `descriptors`, `thread`, `control`: the order of a certificate, how many descriptors there are, the worker
//!     threads, the control thread.
//! * [`cli`] is the command line.
//!   * `failure`, `output`, `configuration`: exit codes, what is printed, which file is read.
//!   * `run`, `check`, `token`, `completions`: one subcommand each.
//!
//! # The way of one frame
//!
//! [`WebSocketLeg::fill`](relay::leg::websocket::WebSocketLeg::fill) receives into the worker's buffer, and
//! [`Inflow::next`](relay::inflow::Inflow::next) finds the frame and unmasks a copy of its beginning.
//! [`Session::message`](session::Session::message) reads the packet's head with
//! [`peek_client`](wire::socketio::peek::peek_client), asks the [`Policies`](policy::policies::Policies), and answers with a
//! [`Fate`](session::message::Fate) and a [`Note`](session::message::Note), which the [`Ledger`](relay::ledger::Ledger)
//! counts. [`Inflow::decide`](relay::inflow::Inflow::decide) keeps or cuts the frame's bytes in the
//! [`Batch`](relay::batch::Batch). [`ServiceLeg::send`](relay::service_leg::ServiceLeg::send) sends what was kept, unchanged,
//! in one call, and the [`Driver`](relay::driver::Driver) does what [`Session::poll`](session::Session::poll) asks for.

pub mod admin;
pub mod cli;
pub mod config;
pub mod event_names;
pub mod fault;
pub mod gateway;
pub mod jwks;
pub mod observe;
pub mod policy;
pub mod relay;
pub mod session;
pub mod side_http;
pub mod start;
pub mod tls;
pub mod units;
pub mod wire;

pub use config::Config;
