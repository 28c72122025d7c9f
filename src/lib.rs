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
//!   * `engineio`: Engine.IO packets, the payloads of long-polling, the open packet, its error answers.
//!   * `socketio`: the head of a Socket.IO packet, read and written.
//!   * `json`: one field of a JSON object, without a parser.
//! * [`fault`]: an error in the configuration, with the key that it belongs to.
//! * [`units`]: durations, sizes and secrets as they are written in the configuration.
//! * [`event_names`]: event names as small numbers, with a cap.
//! * [`observe`] counts and logs, and never calls back.
//!   * `counter`, `histogram`: numbers with one writer that other threads read without a lock.
//!   * `tally`: the counters of one worker.
//!   * `gauges`, `acme`, `process`: figures of the whole process.
//!   * `catalog`: name and help of every metric.
//!   * `prometheus`: sums the tallies at a scrape.
//!   * `stderr`, `line_limit`, `journal`: log lines, written without blocking and limited in rate.
//!
//! ## Decisions: no socket, no clock, no log
//!
//! * [`policy`] turns packets and handshakes into verdicts.
//!   * `verdict`: what a policy answers.
//!   * `pattern`, `network`: how rules name events, and what counts as one address.
//!   * `origin`, `namespaces`, `connections`, `handshake_rate`, `rate_limit`: one policy each.
//!   * `token_source`, `auth`, `identity`, `bearer`: where a token is found, whether it is valid, whose it is, who may use a
//!     sid.
//!   * `policies`: all policies, in the order in which they judge.
//! * [`session`] is one conversation as a state machine.
//!   * `ended`, `answer`: why a session ends, and what each side is told.
//!   * `heartbeat`, `control_frames`, `control_rate`, `flood`: what a client must send, and how much it may.
//!   * `namespaces`, `acks`: what is joined, and which acknowledgements are outstanding.
//!   * `hold`, `queue`, `backlog`, `replay`, `upstream`: what happens while the service is down.
//!   * `resume`: what happens while the client is absent.
//!   * `socketio`, `plain`: the two kinds of conversation.
//!   * `compile`: the rules of sessions, from the configuration.
//!
//! ## I/O
//!
//! * [`side_http`]: an HTTP/1 server for short answers, beside the gate.
//! * [`relay`] moves the bytes of a session, on the thread that accepted it.
//!   * `stream`, `scratch`, `batch`, `inflow`: sockets, lent buffers, received bytes, the frames in them.
//!   * `leg`, `client_leg`: one side of a session over WebSocket or long-polling.
//!   * `dial`, `pace`, `redial`: connections to the service, and how fast they are made again.
//!   * `mailbox`, `registry`, `letters`: how a request finds its session on another thread.
//!   * `pump`, `driver`, `closing`, `record`, `resume`: the task of one session from its first byte to its log line.
//!   * `worker`: all sessions of one thread.
//! * [`jwks`] fetches the key set of an issuer.
//!   * `fetch`: one GET with bounds.
//! * [`tls`] holds certificates and does handshakes, on both sides.
//!   * `certificate`, `client_auth`: certificates from files, certificates of clients.
//!   * `acme`: orders a certificate and renews it (RFC 8555).
//!   * `resolver`: which certificate a client is shown.
//!   * `io`, `handshake`: a client's encrypted connection, and the handshake with its bounds.
//!   * `upstream`: TLS towards the service.
//! * [`gateway`] is the edge towards clients: HTTP until a connection becomes a session.
//!   * `drain`, `listener`: whether the node still accepts, and the sockets it accepts on.
//!   * `reply`, `cors`, `peer`: answers, cross-origin headers, the client's address behind proxies.
//!   * `head_guard`: judges each request head before hyper reads it.
//!   * `http2`: the same for HTTP/2.
//!   * `router`: which endpoint a request is for.
//!   * `forward`: ordinary HTTP, passed to the service.
//!   * `edge`: what endpoints need of their worker.
//!   * `upgrade`, `websocket`, `engineio`: the endpoints.
//!   * `serve`: one connection, from accept to its endpoint.
//! * [`admin`] is the operator's address.
//!   * `answer`, `access`: its answers, and who may ask.
//!   * `exposition`, `health`, `sessions`: its pages.
//!
//! ## The whole
//!
//! * [`config`] is the TOML file; the type of each table lives beside the code that obeys it.
//!   * `model`, `error`, `check`: all tables, what can be wrong with them, rules between them.
//!   * `load`, `schema`, `watch`: reads the configuration, documents it, notices changes.
//! * [`start`] joins the parts.
//!   * `error`, `compile`: why a node does not start, and the configuration compiled into rules.
//!   * `acme`, `thread`, `control`: the order of a certificate, the worker threads, the control thread.
//! * [`cli`] is the command line.
//!   * `failure`, `output`, `configuration`: exit codes, what is printed, which file is read.
//!   * `run`, `check`, `token`, `completions`: one subcommand each.
//!
//! # The way of one frame
//!
//! [`relay::leg::websocket::WebSocketLeg::fill`] reads into the worker's buffer, [`relay::inflow::Inflow::next`] finds the
//! frame and unmasks a copy of its beginning, [`wire::socketio::peek::peek_client`] reads the packet's head,
//! [`session::Session::client_packet`] and the [`policy::policies::Policies`] give a [`policy::verdict::Verdict`],
//! [`relay::batch::Batch::keep`] or [`cut`](relay::batch::Batch::cut) marks its bytes, and
//! [`relay::leg::upstream::UpstreamLeg::send`] sends what was kept, unchanged, in one call.

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
