//! The untouched service: Socket.IO 4 in Node, or a plain WebSocket echo.

use std::{net::SocketAddr, process::Command};

use serde_json::{Value, json};
use tokio::{
    io::BufReader,
    process::{Child, ChildStdout},
};

use super::{eventually, http, node, ports::Port, process::signal, soon, token::SECRET};

/// A running service. It ends with the value.
#[derive(Debug)]
pub(crate) struct Service {
    script: &'static str,
    variables: Vec<(String, String)>,
    /// Ours also while it is down, so that it finds it free when it comes back.
    port: Port,
    child: Child,
    _output: BufReader<ChildStdout>,
}

impl Service {
    /// Socket.IO with a check of tokens of its own.
    pub(crate) async fn start() -> Self {
        Self::run("service.mjs", &[("NEXTAUTH_SECRET", SECRET)], Port::reserve()).await
    }

    /// Socket.IO that lets everybody in: what it does not see, the gate has kept away.
    pub(crate) async fn without_auth() -> Self {
        Self::run("service.mjs", &[("AUTH", "off")], Port::reserve()).await
    }

    /// A plain WebSocket echo.
    pub(crate) async fn plain() -> Self {
        Self::run("ws.mjs", &[], Port::reserve()).await
    }

    /// A Socket.IO service that may refuse its handshakes; the head of `refusing.mjs` says how.
    pub(crate) async fn refusing(mode: &Value) -> Self {
        Self::run("refusing.mjs", &[("MODE", &mode.to_string())], Port::reserve()).await
    }

    /// What a service of that kind does from now on.
    pub(crate) async fn refuses(&self, mode: &Value) {
        http::post(&format!("{}/mode", self.url()), mode).await;
    }

    /// A Socket.IO service with express-session; the head of `cookies.mjs` says more.
    pub(crate) async fn cookies(variables: &[(&str, &str)]) -> Self {
        Self::run("cookies.mjs", variables, Port::reserve()).await
    }

    /// A service of another protocol, by the name of its program.
    pub(crate) async fn of(script: &'static str) -> Self {
        Self::run(script, &[], Port::reserve()).await
    }

    /// The simplest Socket.IO service: it says to all what anybody says.
    pub(crate) async fn simple() -> Self {
        Self::run("simple.mjs", &[], Port::reserve()).await
    }

    /// A WebSocket service whose rooms are in the path.
    pub(crate) async fn rooms() -> Self {
        Self::run("rooms.mjs", &[], Port::reserve()).await
    }

    /// As `start`, with variables beside; the head of `service.mjs` says which there are.
    pub(crate) async fn with(variables: &[(&str, &str)]) -> Self {
        Self::run("service.mjs", &[&[("NEXTAUTH_SECRET", SECRET)], variables].concat(), Port::reserve()).await
    }

    async fn run(script: &'static str, variables: &[(&str, &str)], port: Port) -> Self {
        let variables = owned(variables);
        let (child, output) = Self::spawn(script, &variables, &port).await;
        Self { script, variables, port, child, _output: output }
    }

    async fn spawn(script: &str, variables: &[(String, String)], port: &Port) -> (Child, BufReader<ChildStdout>) {
        let variables: Vec<_> = variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let mut child = node::start(script, &[port.address.port().to_string()], &variables);
        let (_, output) = node::listening(&mut child).await;
        (child, output)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.port.address
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.port.address)
    }

    /// Whether its process is still there.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// Waits until its process ends by itself.
    pub(crate) async fn dies(&mut self) {
        soon("the service dies", self.child.wait()).await.unwrap();
    }

    /// SIGKILL: its sockets end without a word.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// SIGTERM: it closes every connection in good order, and ends.
    pub(crate) async fn stop(&mut self) {
        signal(&self.child, "TERM");
        soon("the service ends", self.child.wait()).await.unwrap();
    }

    /// Starts it again where it was, remembering nothing.
    pub(crate) async fn restart(&mut self) {
        self.kill().await;
        (self.child, self._output) = Self::spawn(self.script, &self.variables, &self.port).await;
    }

    /// As `restart`, with other variables.
    pub(crate) async fn restart_with(&mut self, variables: &[(&str, &str)]) {
        self.variables = owned(variables);
        self.restart().await;
    }

    /// From now on it may have only so many files and sockets open.
    pub(crate) fn limit_descriptors(&self, limit: u32) {
        let pid = self.child.id().expect("it runs");
        let limited = Command::new("prlimit").args(["--pid", &pid.to_string(), &format!("--nofile={limit}")]).status();
        assert!(limited.unwrap().success(), "prlimit");
    }

    /// It stands still, its sockets open.
    pub(crate) fn freeze(&self) {
        signal(&self.child, "STOP");
    }

    /// It goes on after `freeze`.
    pub(crate) fn thaw(&self) {
        signal(&self.child, "CONT");
    }

    /// Everything it saw; `tests/upstream/seen.mjs` says in what shape.
    pub(crate) async fn seen(&self) -> Value {
        http::get(&format!("{}/seen", self.url())).await.json()
    }

    /// Lets it forget what it saw.
    pub(crate) async fn forget(&self) {
        http::post(&format!("{}/seen/reset", self.url()), &json!({})).await;
    }

    /// How many connections with a client it has had, whether or not a namespace was joined.
    pub(crate) async fn transports(&self) -> u64 {
        self.seen().await["transports"].as_u64().unwrap()
    }

    /// How often clients sent `event`.
    pub(crate) async fn received(&self, event: &str) -> u64 {
        self.seen().await["received"][event].as_u64().unwrap_or(0)
    }

    /// Waits for the reason of the first disconnection it sees.
    pub(crate) async fn disconnection(&self) -> Value {
        eventually("the service sees a disconnection", async || {
            Some(self.seen().await["disconnects"][0].clone()).filter(|seen| !seen.is_null())
        })
        .await
    }

    /// Sends an event to every socket of a learner.
    pub(crate) async fn emit(&self, learner: &str, event: &str, args: Value) {
        let body = json!({ "learnerId": learner, "event": event, "args": args });
        http::post(&format!("{}/emit", self.url()), &body).await;
    }

    /// Sends an event to rooms: `{"of", "to", "except", "event", "args"}`, of which only the last two need be there.
    pub(crate) async fn broadcast(&self, what: Value) {
        http::post(&format!("{}/broadcast", self.url()), &what).await;
    }

    /// What a service of several servers learns from all of them: `count`, `sockets`, `ask` or `ports`. What went wrong is
    /// `{"error"}`.
    pub(crate) async fn servers(&self, what: &str, with: Value) -> Value {
        http::post(&format!("{}/servers/{what}", self.url()), &with).await.json()
    }

    /// As `emit`, asking for an ack.
    pub(crate) async fn ask(&self, learner: &str, event: &str, args: Value) {
        let body = json!({ "learnerId": learner, "event": event, "args": args });
        http::post(&format!("{}/ask", self.url()), &body).await;
    }

    /// `disconnectSockets(close)` for every socket of a learner.
    pub(crate) async fn disconnect(&self, learner: &str, close: bool) {
        let body = json!({ "learnerId": learner, "close": close });
        http::post(&format!("{}/disconnect", self.url()), &body).await;
    }
}

fn owned(variables: &[(&str, &str)]) -> Vec<(String, String)> {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}
