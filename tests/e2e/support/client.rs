//! Stock Socket.IO clients: `socket.io-client` in one Node process, driven by `tests/upstream/client.mjs`.

use std::{
    collections::HashMap,
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, ChildStdout},
    sync::{Notify, oneshot},
};

use super::{eventually, node, soon};

/// The Node process that hosts the clients of one gate.
#[derive(Debug)]
pub(crate) struct Driver {
    stdin: tokio::sync::Mutex<ChildStdin>,
    next: AtomicU64,
    heard: Arc<Heard>,
    _child: Child,
}

/// What came from the process.
#[derive(Debug, Default)]
struct Heard {
    answers: Mutex<HashMap<u64, oneshot::Sender<Result<Value, String>>>>,
    /// What happened to each socket and was not asked for yet, in order.
    reports: Mutex<HashMap<u64, Vec<(String, Value)>>>,
    news: Notify,
}

impl Driver {
    pub(crate) fn start() -> Arc<Self> {
        Self::run("client.mjs")
    }

    /// Another program that is driven in the same way, once it is ready.
    pub(crate) async fn of(script: &str) -> Arc<Self> {
        let driver = Self::run(script);
        driver.call("ready", json!({})).await.unwrap();
        driver
    }

    fn run(script: &str) -> Arc<Self> {
        let mut child = node::start(script, &[], &[]);
        let stdin = child.stdin.take().expect("it is piped");
        let stdout = child.stdout.take().expect("it is piped");
        let heard = Arc::<Heard>::default();
        tokio::spawn(listen(stdout, heard.clone()));
        Arc::new(Self { stdin: stdin.into(), next: AtomicU64::new(1), heard, _child: child })
    }

    /// Does `op` and waits for its result, for as long as it takes.
    pub(crate) async fn call(&self, op: &str, mut with: Value) -> Result<Value, String> {
        let call = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        self.heard.answers.lock().unwrap().insert(call, sender);
        with["call"] = call.into();
        with["op"] = op.into();
        self.stdin.lock().await.write_all(format!("{with}\n").as_bytes()).await.unwrap();
        answer.await.expect("the Node process of the clients is alive")
    }
}

async fn listen(stdout: ChildStdout, heard: Arc<Heard>) {
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let mut said: Value = serde_json::from_str(&line).unwrap();
        if let Some(call) = said["call"].as_u64() {
            let answer = match said.get("error") {
                Some(error) => Err(error.as_str().unwrap_or_default().to_owned()),
                None => Ok(said["result"].take()),
            };
            let waiting = heard.answers.lock().unwrap().remove(&call);
            // Whoever asked may have lost patience.
            let _ = waiting.map(|waiting| waiting.send(answer));
        } else {
            let event = said["event"].as_str().unwrap().to_owned();
            let report = (event, said["args"].take());
            heard.reports.lock().unwrap().entry(said["id"].as_u64().unwrap()).or_default().push(report);
            heard.news.notify_waiters();
        }
    }
}

/// One socket of a stock client.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    driver: Arc<Driver>,
    id: u64,
}

impl Client {
    /// Begins to connect to `url`: `auth` goes into CONNECT, `options` to the Manager, over its defaults here.
    pub(crate) async fn begin(driver: Arc<Driver>, url: &str, auth: Value, options: Value) -> Self {
        let mut all = json!({ "transports": ["websocket"], "reconnectionDelay": 100, "reconnectionDelayMax": 500 });
        all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
        let id = driver.next.fetch_add(1, Ordering::Relaxed);
        let with = json!({ "id": id, "url": url, "auth": auth, "options": all });
        driver.call("connect", with).await.unwrap();
        Self { driver, id }
    }

    /// Begins to join another namespace over the same connection.
    pub(crate) async fn namespace(&self, namespace: &str, auth: Value) -> Self {
        let id = self.driver.next.fetch_add(1, Ordering::Relaxed);
        let with = json!({ "id": id, "namespace": namespace, "auth": auth, "with": self.id });
        self.driver.call("connect", with).await.unwrap();
        Self { driver: self.driver.clone(), id }
    }

    /// A client that begins with another operation than `connect`.
    pub(crate) async fn by(driver: Arc<Driver>, op: &str, mut with: Value) -> Self {
        let id = driver.next.fetch_add(1, Ordering::Relaxed);
        with["id"] = id.into();
        driver.call(op, with).await.unwrap();
        Self { driver, id }
    }

    /// Does `op` with this client; a failure is a sentence.
    pub(crate) async fn call(&self, op: &str, mut with: Value) -> Result<Value, String> {
        with["id"] = self.id.into();
        self.driver.call(op, with).await
    }

    /// Waits until the socket is connected; answers with its `id`.
    pub(crate) async fn connected(&self) -> String {
        self.settled().await.unwrap_or_else(|refusal| panic!("refused: {refusal}"))
    }

    /// Waits until the socket is connected, however many attempts fail before.
    pub(crate) async fn connected_after_errors(&self) {
        self.next("connect").await;
    }

    /// Waits for a `connect_error`; answers with `{"message":…,"data":…}`.
    pub(crate) async fn refused(&self) -> Value {
        self.settled().await.expect_err("a refusal")
    }

    /// Waits for the outcome of an attempt to connect: its `id`, or why not.
    pub(crate) async fn settled(&self) -> Result<String, Value> {
        let outcome = |event: &str| matches!(event, "connect" | "connect_error");
        let (event, args) = self.wait("the client is connected or refused", outcome).await;
        match &*event {
            "connect" => Ok(args[0].as_str().unwrap().to_owned()),
            _ => Err(json!({ "message": args[0], "data": args[1] })),
        }
    }

    /// Waits for a disconnection; answers with the client's reason.
    pub(crate) async fn disconnected(&self) -> String {
        self.next("disconnect").await[0].as_str().unwrap().to_owned()
    }

    /// Waits for an event from the service; answers with its arguments.
    pub(crate) async fn next(&self, event: &str) -> Value {
        self.wait(&format!("the client gets `{event}`"), |name| name == event).await.1
    }

    /// Takes the first report that fits, leaving the others where they are.
    fn wait<'a>(
        &'a self,
        what: &'a str,
        fits: impl Fn(&str) -> bool + 'a,
    ) -> impl Future<Output = (String, Value)> + 'a {
        soon(what, async move {
            loop {
                let news = self.driver.heard.news.notified();
                tokio::pin!(news);
                // From here on a report wakes us, so that none slips in between the look and the wait.
                news.as_mut().enable();
                if let Some(reports) = self.driver.heard.reports.lock().unwrap().get_mut(&self.id)
                    && let Some(found) = reports.iter().position(|(event, _)| fits(event))
                {
                    return reports.remove(found);
                }
                news.await;
            }
        })
    }

    /// How many reports of `event` there are that nobody took.
    pub(crate) fn untaken(&self, event: &str) -> usize {
        let reports = self.driver.heard.reports.lock().unwrap();
        reports.get(&self.id).map_or(0, |reports| reports.iter().filter(|(name, _)| name == event).count())
    }

    /// Sends an event without asking for an ack.
    pub(crate) async fn send(&self, event: &str, args: Value) {
        self.call("emit", json!({ "event": event, "args": args, "ack": false })).await.unwrap();
    }

    /// Sends an event and waits for its ack.
    pub(crate) async fn ask(&self, event: &str, args: Value) -> Value {
        self.try_ask(event, args).await.unwrap_or_else(|error| panic!("no ack of `{event}`: {error}"))
    }

    /// As `ask`; no ack is a sentence.
    pub(crate) async fn try_ask(&self, event: &str, args: Value) -> Result<Value, String> {
        self.call("emit", json!({ "event": event, "args": args, "ack": true })).await
    }

    /// As `try_ask`, waiting no longer than so many milliseconds.
    pub(crate) async fn ask_within(&self, ms: u64, event: &str, args: Value) -> Result<Value, String> {
        self.call("emit", json!({ "event": event, "args": args, "ack": true, "timeout": ms })).await
    }

    /// Sends so many events at once, each with its place as `seq` in its first argument; their acks, in that order.
    pub(crate) async fn ask_at_once(&self, times: usize, event: &str, args: Value) -> Vec<Value> {
        let answers = self.call("burst", json!({ "times": times, "event": event, "args": args })).await;
        answers.unwrap_or_else(|error| panic!("an ack of `{event}` is missing: {error}")).as_array().unwrap().clone()
    }

    /// As `ask`, of an event whose name is a number.
    pub(crate) async fn ask_number(&self, event: i64, args: Value) -> Value {
        self.call("emit", json!({ "event": event, "args": args, "ack": true })).await.unwrap()
    }

    /// As `ask_at_once`, of an event whose name is a number.
    pub(crate) async fn ask_number_at_once(&self, times: usize, event: i64, args: Value) -> Vec<Value> {
        let answers = self.call("burst", json!({ "times": times, "event": event, "args": args })).await;
        answers.unwrap_or_else(|error| panic!("an ack of {event} is missing: {error}")).as_array().unwrap().clone()
    }

    /// Sends so many equal events at once with `emitWithAck`, without a timeout: what each becomes, where `{"rejected":…}` is
    /// an error.
    pub(crate) async fn attempts(&self, times: usize, event: &str, args: Value) -> Vec<Value> {
        let results = self.call("attempt", json!({ "times": times, "event": event, "args": args })).await.unwrap();
        results.as_array().unwrap().clone()
    }

    /// As `attempts` for one event, with `socket.timeout(ms)` where that is said.
    pub(crate) async fn attempt(&self, event: &str, args: Value, timeout: Option<u64>) -> Value {
        let with = json!({ "event": event, "args": args, "timeout": timeout });
        self.call("attempt", with).await.unwrap()[0].clone()
    }

    /// From now on every `event` that asks for an ack gets this one.
    pub(crate) async fn answer(&self, event: &str, args: Value) {
        self.call("answer", json!({ "event": event, "args": args })).await.unwrap();
    }

    /// What the next CONNECT packet carries.
    pub(crate) async fn set_auth(&self, auth: Value) {
        self.call("auth", json!({ "auth": auth })).await.unwrap();
    }

    /// From now on it waits so many milliseconds for an ack before it repeats a packet, where it has `retries`.
    pub(crate) async fn set_ack_timeout(&self, ms: u32) {
        self.call("ackTimeout", json!({ "ms": ms })).await.unwrap();
    }

    /// What it says of itself; no packet is sent for that.
    pub(crate) async fn state(&self) -> Value {
        self.call("state", json!({})).await.unwrap()
    }

    /// How many acks of the service it waits for.
    pub(crate) async fn open_acks(&self) -> u64 {
        self.state().await["acks"].as_u64().unwrap()
    }

    /// How often it has sent the first of the packets that it repeats, where it has `retries`.
    pub(crate) async fn tries(&self) -> u64 {
        self.state().await["tries"].as_u64().unwrap()
    }

    /// What the heads of its next requests carry, where it was given `extraHeaders`.
    pub(crate) async fn set_headers(&self, headers: Value) {
        self.call("headers", json!({ "headers": headers })).await.unwrap();
    }

    /// Whether the client goes on trying to connect by itself.
    pub(crate) async fn is_active(&self) -> bool {
        self.state().await["active"].as_bool().unwrap()
    }

    /// The subprotocol of the WebSocket that carries its packets now.
    pub(crate) async fn subprotocol(&self) -> Value {
        self.state().await["subprotocol"].take()
    }

    /// What carries its packets now: `polling` or `websocket`. It must be connected.
    pub(crate) async fn transport(&self) -> String {
        let state = self.state().await;
        state["transport"].as_str().expect("the client is connected").to_owned()
    }

    /// Waits until its packets travel by this transport.
    pub(crate) async fn travels_by(&self, transport: &str) {
        eventually(&format!("the client travels by {transport}"), async || {
            (self.transport().await == transport).then_some(())
        })
        .await;
    }

    /// Waits until the connection has gone over from polling to websocket.
    pub(crate) async fn upgraded(&self) {
        self.next("upgrade").await;
    }

    /// Goes over from polling to websocket now, with a Manager whose option `upgrade` is off.
    pub(crate) async fn upgrade(&self) {
        self.call("upgrade", json!({})).await.unwrap();
        self.travels_by("websocket").await;
    }

    /// Whether the client believes that it has missed nothing.
    pub(crate) async fn recovered(&self) -> bool {
        self.state().await["recovered"].as_bool().unwrap()
    }

    /// What it would show to come back.
    pub(crate) async fn pid(&self) -> String {
        self.state().await["pid"].as_str().unwrap().to_owned()
    }

    /// The id of its Engine.IO session.
    pub(crate) async fn session(&self) -> String {
        self.state().await["session"].as_str().unwrap().to_owned()
    }

    /// `socket.disconnect()`.
    pub(crate) async fn disconnect(&self) {
        self.call("disconnect", json!({})).await.unwrap();
    }

    /// `socket.connect()`, after a disconnection that it does not repair by itself.
    pub(crate) async fn connect_again(&self) {
        self.call("connectAgain", json!({})).await.unwrap();
    }

    /// Waits for its disconnection, and connects again.
    pub(crate) async fn comes_back(&self) {
        self.disconnected().await;
        self.connect_again().await;
        self.connected().await;
    }

    /// Its network is gone: all its TCP connections end without a packet or a frame, whatever the transport.
    pub(crate) async fn cut(&self) {
        self.call("cut", json!({})).await.unwrap();
    }
}
