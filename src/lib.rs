//! Tidegate: a gate in front of a Socket.IO or WebSocket service that enforces what the service lacks.
//!
//! # The code in reading order
//!
//! A layer imports only layers that are listed before it, and the files of a layer never import each other in a circle;
//! `tests/architecture.rs` checks both. Within a layer the files are listed from the bottom up as well.
//! ## Values, protocols and records
//!
//! * [`wire`] turns bytes into values and back, without I/O and without a clock.
//!   * `websocket`: RFC 6455 frames, masks, UTF-8, reassembly, the handshake.
//!   * `engineio`: Engine.IO packets, the payloads of long-polling, the open packet, its error answers, session ids.
//!   * `socketio`: the head of a Socket.IO packet, read and written in its one spelling; a packet of another parser, recognised
//!     and refused.
//!   * `json`: whether a text is JSON, one field or place in it without a parser, whether a member is repeated, an object without
//!     some of its members, and which event a message names.
//!   * `bridge`: JSON messages that stand for Socket.IO packets of one namespace, and back.
//!   * `query`: the query of a URL.
//!   * `redis_adapter`: what the Redis adapter of Socket.IO publishes.
//! * [`fault`]: a mistake in the configuration, with the key that it belongs to.
//! * [`units`]: durations, sizes and secrets as they are written in the configuration.
//! * [`event_names`]: event names as small numbers, with a cap.
//! * [`network`]: what counts as one address.
//! * [`observe`] counts and logs, and never calls back. It reads `/proc` and the clock in a few files, and has a thread for log
//!   lines.
//!   * `counter`, `histogram`: numbers with one writer that other threads read without a lock.
//!   * `tally`: the counters of one worker.
//!   * `memory`: what clients make the node keep, and how much memory it has.
//!   * `gauges`, `acme`, `process`, `service_record`, `redis`, `limits`, `revocation`: figures of the whole process; whether
//!     the service and Redis are up.
//!   * `mirror`: figures of the events that nodes exchange.
//!   * `prometheus`: the text format of a page of metrics.
//!   * `catalog`: every metric, declared once: name, help, kind, and how it is read.
//!   * `exposition`, `overview`: the page of all metrics; the figures of the status page.
//!   * `stderr`, `line_limit`, `refusals`, `journal`: log lines, written without blocking and limited in rate.
//!
//! ## Decisions: no socket, no clock, no log
//!
//! * [`policy`] turns packets and handshakes into verdicts.
//!   * `verdict`: what a policy answers.
//!   * `gcra`: an allowance as one instant.
//!   * `pattern`, `event_masks`: how rules name events.
//!   * `origin`, `namespaces`, `descriptors`, `connections`, `requests`, `handshake_rate`, `rate_limit`: one
//!     policy each.
//!   * `identity`, `token_source`, `auth`, `token_fault`, `sid_owner`: a verified user, where a token is found, whether it is
//!     valid, what is wrong with it, and who may use a sid.
//!   * `policies`: all policies, in the order in which they judge.
//! * [`mirror`] decides which service events are mirrored to other nodes, and who is in which room.
//!   * `table`: the tables of the configuration.
//!   * `template`, `confirm`: names of rooms with placeholders, and whether an ack lets a client into one.
//!   * `rules`: which events and rooms the tables name.
//!   * `copies`: selects which copy of an event is published.
//! * [`session`] is one conversation as a state machine.
//!   * `delivery`: an event from another node.
//!   * `now`, `message`, `question`, `event`, `action`: what goes in and what comes out.
//!   * `ended`, `answer`: why a session ends, and what each side receives.
//!   * `quality`: how good a client's connection is, and the pings by which a client measures it.
//!   * `heartbeat`, `control_rate`, `flood`: what a client must send, and how much it may.
//!   * `membership`, `namespace_set`, `said_connect`, `namespaces`: what is joined, and what was said to join it.
//!   * `users`: the users of a session, of whom nearly always there is one.
//!   * `table`, `hold`, `join_rate`, `rules`: the tables of sessions, and the rules that they compile to.
//!   * `backoff`, `queue`, `replay`, `upstream`: what happens while the service is down.
//!   * `parting`: namespaces that the session has left and the service perhaps not yet.
//!   * `digest`, `late`, `acks`: which packets repeat others, which acks are lost, and which are outstanding.
//!   * `reach`, `resume`: which events have reached the client, and what is kept while it is absent.
//!   * `room_reason`, `snapshot`: why a client is in a room; a session as plain data.
//!   * `orphans`: acks to sockets that the client has left; they confirm nothing.
//!   * `rooms`: the rooms in which a client is, and those for which it has asked.
//!   * `offset`: what a service with connection state recovery adds to events.
//!   * `core`: session state that does not depend on the protocols of the legs.
//!   * `waiting`: how a packet of the client joins those that wait for the service.
//!   * `route_answers`: the gate's own answers on a plain route.
//!   * `engineio`, `socketio`, `plain`, `json`, `speech`: what is spoken on each leg.
//!   * `conversation`: the parts of a Socket.IO session together.
//!   * `elsewhere`: handles events from other nodes for the client, and its disconnection by other programs.
//!   * `expiry`, `revocation`: expiry of a client's namespaces, and revocations of them.
//!   * `joining`, `offers`: when a client enters a room; service events that are mirrored to other nodes.
//!   * `connect`, `refused_dial`, `other_parser`, `client_packet`, `service_packet`: judge each kind of packet.
//!   * `beginnings`: how a session begins, on the Socket.IO endpoint and on each kind of route.
//!   * `claims`: decides whether a returning client gets its earlier session back.
//!   * `continuation`: converts a session into plain data and back; not in use yet.
//!   * `view`: a session as the log, the gauges and `/sessions` see it.
//!
//! ## I/O
//!
//! * [`side_http`] is an HTTP/1 server for short answers, beside the gate.
//!   * `body`, `paced_stream`: an answer that may last, and its connection.
//! * [`relay`] moves the bytes of a session, on the thread that accepted it.
//!   * `stream`, `scratch`, `batch`, `broken_rule`, `inflow`, `clock`: sockets, lent buffers, received bytes, a rule that they
//!     break, the frames in them, the time.
//!   * `leg`: WebSocket, long-polling, and the upgrade from one to the other.
//!   * `client_leg`, `service_leg`: the two legs of a session.
//!   * `cookies`, `dial_request`: the handshake request to the service, with the cookies that it has set.
//!   * `dial_answer`, `dial_error`, `dial`, `reconnect_pacer`: connections to the service, what it answers, why there is none,
//!     and how fast they are made again.
//!   * `service_state`: decides whether the service is down, or objects to one client.
//!   * `room_command`, `room_mail`, `room_index`: commands of other nodes for the clients of a room, and for one of them; who
//!     is in which room.
//!   * `rules`: the rules of sessions, with their I/O.
//!   * `outlet`: the interface through which workers hand mirrored events to `cluster`.
//!   * `listing`: which sessions an operator sees first.
//!   * `responder`, `request`, `registry`: what comes to a session beside its frames, and how it finds the worker.
//!   * `revoker`: revokes tokens on this node, and ends what is open with them.
//!   * `parked`: requests that wait for a key.
//!   * `directory`, `cell`, `rooms`, `worker`: the sessions of one thread, and its rooms.
//!   * `dial_outcome`: reports the outcome of a dial, and dials before there is a session.
//!   * `client_side`, `service_side`: a leg, and what is under way beside it.
//!   * `ledger`, `session_lines`: what is counted and logged of a session, and its own lines in the log.
//!   * `closing`: the last moments of a session.
//!   * `driver`: the task of a session, from its first byte to its last.
//! * [`tls`] holds certificates and does handshakes, on both sides.
//!   * `certificate`, `client_auth`: certificates from files, certificates of clients.
//!   * `acme`: orders a certificate and renews it (RFC 8555).
//!   * `resolver`: which certificate a client is shown.
//!   * `io`, `handshake`: a client's encrypted connection, and the handshake with its bounds.
//!   * `upstream`, `outgoing`: TLS towards the service; PEM files for a library that encrypts itself.
//!   * `survey`: what the files say, for people.
//! * [`jwks`] fetches the key set of an issuer.
//!   * `fetch`: one GET with bounds.
//!   * `probe`: the same once, to say what it came to.
//! * [`cluster`] knows other nodes, through Redis.
//!   * `table`: `[redis]` and `[cluster]`.
//!   * `address`, `secret_url`: where Redis is, also by a URL that is a secret.
//!   * `rules`, `advice`: all rules of the connection, what the log says of an error.
//!   * `envelope`, `queue`, `frame`: what travels between nodes, how much of it waits, and how it is one piece of bytes.
//!   * `connection`, `open`, `link`: a connection, how it is opened, how its users see it.
//!   * `backend`, `publisher`, `pushes`: how messages are published, those that wait, those that come.
//!   * `pace`, `publishers`, `stream`: how fast connections are made again; the stream, and what was read of it already.
//!   * `serving`, `connector`: one connection until its loss, and then the next.
//!   * `standing`, `conflict`: whether the service has a Redis adapter of its own, and who looks for it.
//!   * `probe`: Redis tried once, to say what a node would find.
//!   * `offers`, `dispatch`: what goes to other nodes, and what comes from them.
//!   * `leaving`: waits for the last messages of a node that ends.
//!   * `members`, `limits`: which nodes are alive, and limits that count on all of them.
//!   * `bus`: joins the parts that exchange events with other nodes.
//!   * `revocation`: what is revoked, the same on every node.
//!   * `seal`, `acme_cache`: what is secret, sealed; account and certificate of ACME for replicas that share no folder.
//! * [`gateway`] is the edge towards clients: HTTP until a connection becomes a session.
//!   * `drain`, `listener`: whether the node serves, leaves or drains, and the sockets it accepts on.
//!   * `patience`, `service_body`: how long a body may keep the gate waiting; the body of a service's answer.
//!   * `reply`, `request_summary`, `cors`, `trust_headers`, `peer`: answers, cross-origin headers, who the client is
//!     behind proxies.
//!   * `head_guard`: judges each request head before hyper reads it.
//!   * `http2`: the same for HTTP/2, and a bound for frames that carry nothing.
//!   * `path`: what a path can mean to those who read it.
//!   * `client_script`: what pages load from the gate itself.
//!   * `router`: which endpoint a request is for.
//!   * `forward`: ordinary HTTP, passed to the service.
//!   * `edge`: what endpoints need of their worker.
//!   * `admission`: what a connection may use before it is served.
//!   * `upgrade`, `websocket`, `engineio`: the endpoints.
//!   * `serve`: one connection, from accept to its endpoint.
//! * [`admin`] is the operator's address.
//!   * `answer`, `access`: its answers, and who may ask.
//!   * `exposition`, `health`, `drained`, `status`, `events`, `sessions`, `revoke`, `close`: what programs ask for.
//!   * `page`: what browsers are shown.
//!
//! ## The whole
//!
//! * [`config`] is the TOML file; the type of each table lives beside the code that obeys it.
//!   * `model`, `error`, `check`: all tables, a mistake with its place, rules between tables.
//!   * `load`, `schema`: reads the configuration, documents it.
//!   * `files`, `watch`, `changes`: the files that it names, triggers of a reload, and names of changed keys.
//! * [`start`] joins the parts, and decides what concerns the process: overload, leaving, reload.
//!   * `memory`: the limits of memory, and what is done before one is reached.
//!   * `departure`, `process_stage`: which signal makes the node leave, and in which stages; the stage as the name of a
//!     thread.
//!   * `cluster`: the thread that speaks with Redis.
//!   * `error`, `compile`, `prepare`: why a node does not start, the configuration compiled into rules, and all that is
//!     made of it before it takes effect.
//!   * `acme`, `descriptors`, `thread`: the order of a certificate, how many descriptors there are, the worker threads.
//!   * `key_task`, `reload`, `control`: the keys of an issuer, the configuration read again, the control thread.
//!   * `survey`: compiles single parts of a configuration, for tools that test them without starting a node.
//! * [`cli`] is the command line.
//!   * `failure`, `output`, `configuration`: exit codes, what is printed, which file is read.
//!   * `inject`: the gate in manifests of Kubernetes, in and out.
//!   * `run`, `drain`, `check`, `token`, `revoke`, `top`, `doctor`, `completions`, `man`: one subcommand each.
//!
//! # The way of one frame
//!
//! [`WebSocketLeg::fill`](relay::leg::websocket::WebSocketLeg::fill) receives into the worker's buffer, and
//! [`Inflow::next`](relay::inflow::Inflow::next) finds the frame and unmasks a copy of its beginning.
//! [`Session::message`](session::Session::message) reads the packet's head with
//! [`peek_client`](wire::socketio::peek::peek_client), asks the [`Policies`](policy::policies::Policies), and answers with a
//! [`Fate`](session::message::Fate) and a [`Note`](session::message::Note), which the
//! [`SessionLedger`](relay::ledger::SessionLedger)
//! counts. [`Inflow::decide`](relay::inflow::Inflow::decide) keeps or cuts the frame's bytes in the
//! [`Batch`](relay::batch::Batch). [`ServiceLeg::send`](relay::service_leg::ServiceLeg::send) sends what was kept, as it came,
//! in one call, and the [`Driver`](relay::driver::Driver) does what [`Session::poll`](session::Session::poll) asks for.

pub mod admin;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod event_names;
pub mod fault;
pub mod gateway;
pub mod jwks;
pub mod mirror;
pub mod network;
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
