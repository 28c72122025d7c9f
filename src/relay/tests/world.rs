//! A session between a client that comes in whatever way, and a service on loopback.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::{LocalSet, spawn_local},
    time::timeout,
};

use super::message::{Message, read_message};
use crate::{
    event_names::EventNames,
    mirror::rules::MirrorRules,
    observe::tally::Tally,
    policy::{
        auth::AuthTable,
        origin::OriginsTable,
        policies::{Policies, PolicyTables},
        rate_limit::RateLimitTable,
        sid_owner::Requester,
    },
    relay::{
        client_leg::ClientLeg,
        client_side::ClientSide,
        dial::{Dialler, PackedRequest, UpstreamTable},
        driver::Driver,
        inflow::Inflow,
        leg::{polling::PollingLeg, websocket::WebSocketLeg},
        outlet::Outlet,
        registry::{Registry, Target, WorkerCommand},
        request::{Incoming, SessionRequest, Transfer, Upgrade},
        responder::Responder,
        room_index::RoomBounds,
        rules::RelayRules,
        service_leg::ServiceLeg,
        service_side::ServiceSide,
        worker::{SharedState, Worker},
    },
    session::{
        Beginning, Session,
        engineio::Handshake,
        hold::{HoldRules, SessionTable},
        join_rate::JoinLimit,
        rules::SessionRules,
        table::SocketioTable,
    },
    wire::{
        engineio::{
            error::EngineError,
            id::{NodeId, Sid},
        },
        json::check::{JsonBounds, JsonReading},
        websocket::{frame::Sender, handshake},
    },
};

/// Nothing takes so long.
const PATIENCE: Duration = Duration::from_secs(40);

/// Asks for an ack behind everything else, so that its answer says that all has arrived.
const LAST: &str = r#"42999["last"]"#;
const LAST_ACK: &str = "43999[";

/// How a client comes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Way {
    Websocket,
    /// With so many packets in each POST.
    Polling(usize),
    /// After so many packets, two in each POST, it goes over to a websocket.
    Upgrade(usize),
}

/// What has arrived on either side.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) service: Vec<Message>,
    pub(super) client: Vec<Message>,
    /// Was the client sent away?
    pub(super) ended: bool,
}

/// A service that accepts every client, says `says` to each that joins `/`, and acknowledges with `["ok"]`.
pub(super) async fn serve(listener: TcpListener, says: Vec<Message>, got: mpsc::UnboundedSender<Message>) {
    loop {
        let (io, _) = listener.accept().await.unwrap();
        spawn_local(serve_one(io, says.clone(), got.clone()));
    }
}

async fn serve_one(mut io: TcpStream, says: Vec<Message>, got: mpsc::UnboundedSender<Message>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(io.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let key = head.lines().find_map(|line| line.strip_prefix("sec-websocket-key: ")).unwrap();
    let accept = handshake::accept(key);
    let upgraded = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {}\r\n\r\n",
        accept.to_str().unwrap()
    );
    io.write_all(upgraded.as_bytes()).await.unwrap();
    say(&mut io, r#"0{"sid":"a","upgrades":[],"pingInterval":25000,"pingTimeout":20000}"#.into()).await;
    let mut ack = None;
    while let Some(message) = read_message(&mut io, Sender::Client).await {
        let _ = got.send(message.clone());
        let Message::Text(text) = &message else {
            if let Some(ack) = Option::take(&mut ack) {
                say(&mut io, ack).await;
            }
            continue;
        };
        let namespace = if text.contains("/chat,") { "/chat," } else { "" };
        if text.starts_with("40") {
            say(&mut io, Message::Text(format!(r#"40{namespace}{{"sid":"x"}}"#))).await;
            let says = if namespace.is_empty() { &says[..] } else { &[] };
            for message in says {
                say(&mut io, message.clone()).await;
            }
        }
        let id: String = text[2..].chars().skip_while(|c| *c == '1' && text.starts_with("451-")).collect();
        let id: String =
            id.trim_start_matches('-').trim_start_matches("/chat,").chars().take_while(char::is_ascii_digit).collect();
        if !id.is_empty() && (text.starts_with("42") || text.starts_with("45")) {
            let answer = Message::Text(format!(r#"43{namespace}{id}["ok"]"#));
            // An event with an attachment is complete with it.
            if text.starts_with("42") { say(&mut io, answer).await } else { ack = Some(answer) }
        }
    }
}

async fn say(io: &mut TcpStream, message: Message) {
    let _ = io.write_all(&message.frame(None)).await;
}

/// The client's side.
pub(super) struct Client {
    worker: Rc<Worker>,
    sid: Sid,
    pub(super) got: Rc<RefCell<Vec<Message>>>,
    pub(super) ended: Rc<Cell<bool>>,
    /// It polls no more once its poll is answered.
    pub(super) goes_over: Rc<Cell<bool>>,
}

impl Client {
    fn note(&self, message: Message) {
        match &message {
            Message::Text(text) if text == "1" => self.ended.set(true),
            Message::Text(text) if text == "6" || text.starts_with("0{") => {}
            _ => self.got.borrow_mut().push(message),
        }
    }

    fn requests(&self, incoming: impl Into<Incoming>) {
        let from = Some(Requester::new(Ok(None), &http::HeaderMap::new(), [127, 0, 0, 1].into()));
        let (to, incoming) = (Target::Sid(self.sid), incoming.into());
        self.worker.run(WorkerCommand::Deliver { to, from, incoming });
    }

    /// Polls, until it is sent away or goes over.
    async fn poll(self: Rc<Self>) {
        loop {
            let (responder, answer) = Responder::awaited();
            self.requests(SessionRequest::Poll(responder));
            let Ok(Ok(payload)) = answer.await else { return self.ended.set(true) };
            Message::of_payload(payload.packets).into_iter().for_each(|message| self.note(message));
            if self.ended.get() || self.goes_over.get() {
                return;
            }
        }
    }

    pub(super) async fn post(&self, messages: &[Message]) -> Result<(), EngineError> {
        let (responder, answer) = Responder::awaited();
        self.requests(SessionRequest::Payload(Message::payload(messages).into(), responder));
        answer.await.map_or(Err(EngineError::SessionUnknown), |answer| answer.map_err(|why| why.error))
    }

    async fn read(self: Rc<Self>, mut io: ReadHalf<DuplexStream>) {
        while let Some(message) = read_message(&mut io, Sender::Service).await {
            self.note(message);
        }
        self.ended.set(true);
    }

    /// Goes over to a websocket, step by step.
    async fn go_over(self: &Rc<Self>) -> WriteHalf<DuplexStream> {
        let (responder, answer) = Responder::awaited();
        self.requests(SessionRequest::Upgrade(responder));
        assert_eq!(answer.await.unwrap(), Ok(Upgrade::Probe));
        let (near, far) = tokio::io::duplex(1024);
        self.requests(Transfer::Websocket { io: Box::new(near), read_ahead: bytes::Bytes::new(), base64: false });
        let (mut read, mut write) = tokio::io::split(far);
        write.write_all(&Message::from("2probe").frame(Some([1, 2, 3, 4]))).await.unwrap();
        assert_eq!(read_message(&mut read, Sender::Service).await, Some("3probe".into()));
        self.goes_over.set(true);
        write.write_all(&Message::from("5").frame(Some([1, 2, 3, 4]))).await.unwrap();
        spawn_local(Rc::clone(self).read(read));
        write
    }

    fn heard(&self) -> usize {
        self.got.borrow().len()
    }

    /// Waits for the answer to a CONNECT at the end of what was said, as a client does before it says more, and where
    /// the client hears so much, for what the service asks it then.
    async fn answered(&self, said: &[Message], before: usize, expected: usize, says: usize) {
        let asked = if said.last() == Some(&"40".into()) { says.min(expected) } else { 0 };
        let heard = || self.heard() > before + asked || self.ended.get();
        while said.last().is_some_and(is_connect) && !heard() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Waits for the answer to the last packet or the end and, because the gate may answer before the service does, for
    /// so many messages.
    async fn settled(&self, expected: usize) {
        let last = || self.got.borrow().iter().any(is_last_ack);
        let all = || self.ended.get() || (last() && self.heard() > expected);
        while !all() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Sends frames, one byte beyond the first of each now and then, so that no read is a whole frame.
pub(super) async fn send(io: &mut (impl AsyncWrite + Unpin), messages: &[Message]) {
    let bytes: Vec<u8> = messages.iter().flat_map(|message| message.frame(Some([9, 8, 7, 6]))).collect();
    for piece in bytes.chunks(4999) {
        if io.write_all(piece).await.is_err() {
            return;
        }
    }
}

/// A worker for a service, whose clients need no token and may send so many messages.
pub(in crate::relay) fn worker(service: std::net::SocketAddr, messages: u32) -> Rc<Worker> {
    let limit = RateLimitTable { messages, ..RateLimitTable::default() };
    worker_obeying(service, Settings { limit, ..Settings::default() }, &SharedState::default())
}

/// What the sessions of a worker obey.
pub(super) struct Settings {
    pub(super) limit: RateLimitTable,
    pub(super) mirror: MirrorRules,
    pub(super) ping_interval: Duration,
    pub(super) ping_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        let (ping_interval, ping_timeout) = (Duration::from_secs(25), Duration::from_secs(20));
        let mirror = MirrorRules::compile(&[], &[]).unwrap();
        Self { limit: RateLimitTable::default(), mirror, ping_interval, ping_timeout }
    }
}

/// A worker whose sessions obey that, and whose clients need no token.
pub(super) fn worker_obeying(service: std::net::SocketAddr, settings: Settings, shared: &SharedState) -> Rc<Worker> {
    let Settings { limit, mirror, ping_interval, ping_timeout } = settings;
    let tables = PolicyTables {
        auth: &AuthTable { required: false, ..AuthTable::default() },
        origins: &OriginsTable::default(),
        namespaces: &["*".to_owned()],
        rate_limit: &[limit],
        sharing: None,
    };
    let session = SessionRules {
        policies: Policies::compile(&tables, &Arc::default(), 1).unwrap(),
        names: Arc::new(EventNames::new(10, [])),
        ping_interval,
        ping_timeout,
        connect_timeout: Duration::from_secs(45),
        idle_timeout: None,
        max_payload: 10_000_000,
        max_message: 100_000_000,
        max_connect: 16_384,
        hold: HoldRules::compile(&SessionTable::default()).unwrap(),
        joins: JoinLimit::compile(&SocketioTable::default()).unwrap(),
        json: JsonBounds::new(JsonReading::Structure, 64).unwrap(),
        max_namespaces: 64,
        mirror,
        rooms_per_session: 64,
        ping: crate::session::quality::ping_rules::PingRules::default(),
        routes: Box::default(),
    };
    let url = format!("http://{service}");
    let rules = RelayRules {
        session: Arc::new(session),
        dialler: Dialler::compile(&UpstreamTable { url, ..UpstreamTable::default() }, None).unwrap(),
        send_buffer: 10_000_000,
        rooms: RoomBounds { rooms: 1000, members: 1000 },
        session_memory: 100_000_000,
        mailbox: 10_000_000,
        same_address: false,
        upgrade_without_token: true,
    };
    Worker::new(Registry::new(NodeId::new([0; 6]), Vec::new()), 0, shared, Arc::new(rules), Tally::new(&[1]))
}

pub(in crate::relay) fn beginning(worker: &Worker) -> Beginning {
    Beginning { rules: Arc::clone(&worker.rules().session), peer: [127, 0, 0, 1].into(), seed: 1 }
}

/// A client that reads what it gets, and its websocket. `None`: it posts.
pub(super) fn arrive(worker: &Rc<Worker>, way: Way) -> (Rc<Client>, Option<WriteHalf<DuplexStream>>) {
    let sid = worker.draw_id();
    let client = Rc::new(Client {
        worker: Rc::clone(worker),
        sid,
        got: Rc::default(),
        ended: Rc::default(),
        goes_over: Rc::default(),
    });
    if let Way::Websocket = way {
        let (read, write) = tokio::io::split(arrive_unread(worker, sid));
        spawn_local(Rc::clone(&client).read(read));
        return (client, Some(write));
    }
    open(worker, sid, ClientLeg::Polling(Box::new(PollingLeg::new(1_000_000))));
    spawn_local(Rc::clone(&client).poll());
    (client, None)
}

/// The websocket of a client that reads by itself.
pub(super) fn arrive_unread(worker: &Rc<Worker>, sid: Sid) -> DuplexStream {
    let (near, far) = tokio::io::duplex(1024);
    let inflow = Inflow::new(Sender::Client, 1_000_000, false);
    open(worker, sid, ClientLeg::Websocket(WebSocketLeg::new(Box::new(near) as _, Sender::Service, inflow, &[])));
    far
}

fn open(worker: &Rc<Worker>, sid: Sid, client: ClientLeg) {
    let handshake = Handshake { sid, pid: None, token: Ok(None), certified: None };
    let session = Session::socketio(beginning(worker), handshake, worker.clock.now());
    let request = PackedRequest::new("/", [], Vec::new());
    let service = ServiceSide::new(ServiceLeg::Absent, Some(request));
    Driver::spawn(worker, session, None, ClientSide::new(client, None), service);
}

/// Lets a client say `packets`, at most `messages` of which may be events, to a service that says `says`; the client
/// hears `expected` messages, or more.
pub(super) fn play(way: Way, packets: &[Message], says: &[Message], messages: u32, expected: usize) -> Outcome {
    play_at(|service| worker(service, messages), way, packets, says, expected)
}

/// The same at a node that mirrors by these rules what its service says, and offers that to the outlet.
pub(super) fn play_beside(
    outlet: Arc<dyn Outlet>,
    mirror: MirrorRules,
    way: Way,
    packets: &[Message],
    says: &[Message],
    expected: usize,
) -> Outcome {
    let shared = SharedState::default().with_outlet(outlet);
    let limit = RateLimitTable { messages: 100, ..RateLimitTable::default() };
    let settings = Settings { limit, mirror, ..Settings::default() };
    play_at(|service| worker_obeying(service, settings, &shared), way, packets, says, expected)
}

fn play_at(
    worker: impl FnOnce(std::net::SocketAddr) -> Rc<Worker>,
    way: Way,
    packets: &[Message],
    says: &[Message],
    expected: usize,
) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let local = LocalSet::new();
    let played = local.run_until(async { timeout(PATIENCE, converse(worker, way, packets, says, expected)).await });
    runtime.block_on(played).unwrap_or_else(|_| panic!("{way:?} does not come to an end: {packets:?}"))
}

async fn converse(
    worker: impl FnOnce(std::net::SocketAddr) -> Rc<Worker>,
    way: Way,
    packets: &[Message],
    says: &[Message],
    expected: usize,
) -> Outcome {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let worker = worker(listener.local_addr().unwrap());
    let (heard, mut hears) = mpsc::unbounded_channel();
    spawn_local(serve(listener, says.to_vec(), heard));
    let packets: Vec<Message> = packets.iter().cloned().chain([LAST.into()]).collect();
    // Up to here by POST, the rest on a websocket.
    let (posted, per_post) = match way {
        Way::Websocket => (0, 1),
        Way::Polling(per_post) => (packets.len(), per_post),
        Way::Upgrade(after) => (after.min(packets.len()), 2),
    };
    let (by_post, by_websocket) = packets.split_at(posted);
    let (client, mut write) = arrive(&worker, way);
    for said in by_post.split_inclusive(is_connect) {
        let before = client.heard();
        for payload in said.chunks(per_post) {
            // An error says that the session has ended, as the next poll does.
            let _ = client.post(payload).await;
        }
        client.answered(said, before, expected, says.len()).await;
    }
    for said in by_websocket.split_inclusive(is_connect).filter(|_| !client.ended.get()) {
        let before = client.heard();
        if write.is_none() {
            write = Some(client.go_over().await);
        }
        if let Some(write) = &mut write {
            send(write, said).await;
        }
        client.answered(said, before, expected, says.len()).await;
    }
    client.settled(expected).await;
    let got = client.got.borrow().iter().filter(|message| !is_last_ack(message)).cloned().collect();
    let mut service = Vec::new();
    while let Ok(message) = hears.try_recv() {
        if message != LAST.into() {
            service.push(message);
        }
    }
    Outcome { service, client: got, ended: client.ended.get() }
}

fn is_last_ack(message: &Message) -> bool {
    matches!(message, Message::Text(text) if text.starts_with(LAST_ACK))
}

fn is_connect(message: &Message) -> bool {
    matches!(message, Message::Text(text) if text.starts_with("40"))
}
