//! A client of the polling transport that may send any request at all.

use std::net::SocketAddr;

use tokio::task::JoinHandle;

use super::{
    http::{self, Reply},
    json,
    raw::Raw,
    token,
};

/// What stands between two packets of a payload.
pub(crate) const SEPARATOR: char = '\x1e';

/// One Engine.IO session, or somebody who knows its `sid`. Each request has a connection of its own.
#[derive(Debug, Clone)]
pub(crate) struct Poller {
    address: SocketAddr,
    /// As the open packet said.
    pub(crate) sid: String,
    /// Further parameters of every request: `&token=…`.
    query: String,
    headers: Vec<(String, String)>,
}

impl Poller {
    /// A session, its open packet read, no namespace joined.
    pub(crate) async fn engineio(address: SocketAddr) -> Self {
        Self::shaking_hands(address, "", &[]).await
    }

    /// A session that has joined the namespace `/`.
    pub(crate) async fn socketio(address: SocketAddr) -> Self {
        let poller = Self::engineio(address).await;
        poller.join(&json!({ "token": token("raw") }).to_string()).await;
        poller
    }

    /// A session whose requests all have these parameters and headers.
    pub(crate) async fn shaking_hands(address: SocketAddr, query: &str, headers: &[(&str, &str)]) -> Self {
        let mut poller = Self { address, sid: String::new(), query: query.to_owned(), headers: Vec::new() };
        poller = poller.with_headers(headers);
        let reply = poller.request("GET", &poller.target("polling"), "").await;
        assert_eq!(reply.status, 200, "{reply:?}");
        // A ping may come with it, where pings are frequent and the gate is slow.
        let open = reply.text().split(SEPARATOR).next().unwrap();
        let open: serde_json::Value = serde_json::from_str(open.strip_prefix('0').unwrap()).unwrap();
        poller.sid = open["sid"].as_str().unwrap().to_owned();
        poller
    }

    /// Somebody with the same `sid` and these parameters.
    pub(crate) fn with_query(&self, query: &str) -> Self {
        Self { query: query.to_owned(), ..self.clone() }
    }

    /// Somebody with the same `sid` and these headers.
    pub(crate) fn with_headers(&self, headers: &[(&str, &str)]) -> Self {
        let owned = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Self { headers: owned.collect(), ..self.clone() }
    }

    /// The same with another `sid`.
    pub(crate) fn with_sid(&self, sid: String) -> Self {
        Self { sid, ..self.clone() }
    }

    /// The same at another gate.
    pub(crate) fn at(&self, address: SocketAddr) -> Self {
        Self { address, ..self.clone() }
    }

    /// Joins the namespace `/` with this CONNECT payload.
    pub(crate) async fn join(&self, auth: &str) {
        self.send(&format!("40{auth}")).await;
        let connected = self.poll().await;
        assert!(connected.starts_with("40{\"sid\":"), "{connected}");
    }

    /// Path and query of its requests over this transport.
    pub(crate) fn target(&self, transport: &str) -> String {
        let sid = if self.sid.is_empty() { String::new() } else { format!("&sid={}", self.sid) };
        format!("/socket.io/?EIO=4&transport={transport}{sid}{}", self.query)
    }

    /// A GET, whatever comes of it.
    pub(crate) async fn get(&self) -> Reply {
        self.request("GET", &self.target("polling"), "").await
    }

    /// A GET that is answered with packets.
    pub(crate) async fn poll(&self) -> String {
        let reply = self.get().await;
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.text().to_owned()
    }

    /// Polls until so many packets have come.
    pub(crate) async fn packets(&self, count: usize) -> Vec<String> {
        let mut packets = Vec::new();
        while packets.len() < count {
            packets.extend(self.poll().await.split(SEPARATOR).map(str::to_owned));
        }
        packets
    }

    /// A GET that is under way.
    pub(crate) fn polling(&self) -> JoinHandle<Reply> {
        let poller = self.clone();
        tokio::spawn(async move { poller.get().await })
    }

    /// A POST, whatever comes of it.
    pub(crate) async fn post(&self, payload: impl Into<bytes::Bytes>) -> Reply {
        self.request("POST", &self.target("polling"), payload).await
    }

    /// A POST that is under way.
    pub(crate) fn posting(&self, payload: &str) -> JoinHandle<Reply> {
        let (poller, payload) = (self.clone(), payload.to_owned());
        tokio::spawn(async move { poller.post(payload).await })
    }

    /// A POST that is taken.
    pub(crate) async fn send(&self, payload: &str) {
        let reply = self.post(payload.to_owned()).await;
        assert_eq!((reply.status, reply.text()), (200, "ok"), "{reply:?}");
    }

    /// Asks the service to send something back; so the session is alive and what was sent before has arrived.
    pub(crate) async fn echoes(&self) {
        self.send("42[\"echo\",\"alive\"]").await;
        while !self.poll().await.split(SEPARATOR).any(|packet| packet == "42[\"echo\",\"alive\"]") {}
    }

    /// The session is no more.
    pub(crate) async fn assert_ended(&self, what: &str) {
        let reply = self.get().await;
        assert_eq!((reply.status, reply.text()), (400, UNKNOWN_SID), "{what}");
    }

    /// Opens a WebSocket for the same session.
    pub(crate) async fn websocket(&self) -> Raw {
        Raw::upgraded(self.address, &self.target("websocket"), &self.header_lines()).await
    }

    /// Tries to open one: the status and the body of the answer.
    pub(crate) async fn websocket_refused(&self) -> (u16, String) {
        let mut raw = Raw::connect(self.address).await;
        raw.ask_upgrade(&self.target("websocket"), &self.header_lines()).await;
        let status = raw.status().await;
        (status, raw.rest().await)
    }

    fn header_lines(&self) -> String {
        self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect()
    }

    async fn request(&self, method: &str, target: &str, body: impl Into<bytes::Bytes>) -> Reply {
        let headers: Vec<_> = self.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
        http::request(method, &format!("http://{}{target}", self.address), &headers, body).await
    }
}

/// What engine.io says of a session that it does not have.
pub(crate) const UNKNOWN_SID: &str = r#"{"code":1,"message":"Session ID unknown"}"#;

/// What it says of a request that cannot be.
pub(crate) const BAD_REQUEST: &str = r#"{"code":3,"message":"Bad request"}"#;
