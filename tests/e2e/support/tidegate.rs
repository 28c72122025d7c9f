//! The real program, started with a file of its own and ended with the value.

use std::{
    fs,
    future::{Future, IntoFuture},
    net::SocketAddr,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    process::{Child, Command},
    sync::OnceCell,
};

use super::{
    client::{Client, Driver},
    eventually, http,
    metrics::Metrics,
    pebble::Pebble,
    pki::{Pki, SecretFolder},
    plain::Plain,
    ports::Port,
    process::{self, Lines},
    redis::Redis,
    service::Service,
    settings::{ConfigFolder, Settings},
    soon,
    token::SECRET,
    way::Way,
};

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_tidegate");

/// A running gate.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) address: SocketAddr,
    admin: SocketAddr,
    settings: Settings,
    variables: Vec<(String, String)>,
    folder: ConfigFolder,
    process: Child,
    log: Lines,
    clients: OnceCell<Arc<Driver>>,
    authority: Option<String>,
    _ports: [Port; 2],
}

/// How a gate is to be started; awaiting it starts it.
#[derive(Debug)]
pub(crate) struct Setup {
    settings: Settings,
    variables: Vec<(String, String)>,
    config_map: bool,
    unready: bool,
    descriptors: Option<u32>,
    authority: Option<String>,
    data_limit: Option<u64>,
    program: PathBuf,
    ports: [Port; 2],
}

impl Gate {
    /// A gate in front of `service`, with the secret of `token()`, no lame duck and a quick drain, otherwise as delivered.
    pub(crate) fn before(service: &Service) -> Setup {
        Self::before_url(&service.url())
    }

    pub(crate) fn before_url(url: &str) -> Setup {
        let ports = [Port::reserve(), Port::reserve()];
        let mut settings = Settings::default();
        settings.change(&format!(
            "listen.address = \"{}\"\nadmin.address = \"{}\"\nupstream.url = \"{url}\"\n\
             auth.secret = {{ env = \"NEXTAUTH_SECRET\" }}\nlimits.lame_duck = \"0s\"\nlimits.shutdown_grace = \"2s\"",
            ports[0].address, ports[1].address,
        ));
        let variables = vec![("NEXTAUTH_SECRET".to_owned(), SECRET.to_owned())];
        let (descriptors, data_limit) = (None, None);
        Setup {
            settings,
            variables,
            config_map: false,
            unready: false,
            descriptors,
            authority: None,
            data_limit,
            program: PROGRAM.into(),
            ports,
        }
    }

    /// Waits until this path of the operator's side is answered with 200.
    async fn answers(&mut self, path: &str) {
        let url = self.admin_url(path);
        let what = format!("the gate answers {path}");
        let ready = eventually(&what, async || match http::try_request("GET", &url, &[], "").await {
            Ok(reply) if reply.status == 200 => Some(()),
            _ => None,
        });
        tokio::select! {
            () = ready => {}
            ended = self.process.wait() => panic!("the gate ended while it started: {ended:?}"),
        }
    }

    pub(crate) fn url(&self) -> String {
        match self.authority {
            Some(_) => format!("https://localhost:{}", self.address.port()),
            None => format!("http://{}", self.address),
        }
    }

    /// The operator's side.
    pub(crate) const fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// A URL of the operator's side.
    pub(crate) fn admin_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.admin)
    }

    /// A stock client that is connected with this token.
    pub(crate) async fn client(&self, token: String) -> Client {
        let client = self.connect(json!({ "token": token })).await;
        client.connected().await;
        client
    }

    /// A stock client that is connected, on this way.
    pub(crate) async fn client_by(&self, way: Way, token: String) -> Client {
        let client = self.connect_with(json!({ "token": token }), way.options()).await;
        client.connected().await;
        client
    }

    /// A stock client that begins to connect, with this in its CONNECT packet.
    pub(crate) async fn connect(&self, auth: Value) -> Client {
        self.connect_with(auth, json!({})).await
    }

    /// As `connect`, at another URL by which the gate is reached.
    pub(crate) async fn connect_at(&self, url: &str, auth: Value) -> Client {
        Client::begin(self.driver().await, url, auth, json!({})).await
    }

    /// As `connect`, with options for its Manager.
    pub(crate) async fn connect_with(&self, auth: Value, mut options: Value) -> Client {
        if let Some(authority) = &self.authority {
            options["ca"] = authority.as_str().into();
        }
        Client::begin(self.driver().await, &self.url(), auth, options).await
    }

    /// The Node process of this gate's clients, which has started.
    pub(crate) async fn driver(&self) -> Arc<Driver> {
        self.clients.get_or_init(async || Driver::of("client.mjs").await).await.clone()
    }

    /// A client of a plain WebSocket route; a refusal is its HTTP status.
    pub(crate) async fn websocket(&self, target: &str, headers: &[(&str, &str)]) -> Result<Plain, u16> {
        Plain::connect(self.address, target, headers).await
    }

    pub(crate) async fn metrics(&self) -> Metrics {
        Metrics::scrape(&self.admin_url("/metrics/prometheus")).await
    }

    /// Waits until the samples of that name and these labels add up to `expected`.
    pub(crate) async fn counts(&self, expected: f64, name: &str, labels: &[(&str, &str)]) {
        eventually(&format!("{name}{labels:?} is {expected}"), async || {
            (self.metrics().await.sum(name, labels) == expected).then_some(())
        })
        .await;
    }

    /// The lines of its log.
    pub(crate) fn log(&self) -> &Lines {
        &self.log
    }

    /// The lines so far, those among them that were still to be written: the gate is made to log one more, by a reload of
    /// its file, and that is waited for. A test asks this before it says that a line is not there.
    pub(crate) async fn logged(&self) -> &Lines {
        let reloads = &["the configuration was not reloaded", "configuration reloaded"];
        let told = || reloads.iter().map(|line| self.log.containing(line).len()).sum::<usize>();
        let before = told();
        self.signal("HUP");
        eventually("the reload is logged", async || (told() > before).then_some(())).await;
        &self.log
    }

    /// Writes the file anew with these changes, as an editor or Kubernetes does; nobody tells the gate.
    pub(crate) fn change(&mut self, toml: &str) {
        self.settings.change(toml);
        self.folder.write(&self.settings.toml());
    }

    /// What the file says, as far as it was changed by [`change`](Self::change).
    pub(crate) fn settings(&self) -> Settings {
        self.settings.clone()
    }

    /// Writes these settings into the file for the time being.
    pub(crate) fn write(&mut self, settings: &Settings) {
        self.folder.write(&settings.toml());
    }

    /// Where the file is.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.file()
    }

    /// Runs another subcommand beside it, `FILE` among its arguments standing for its file, with the variables of the gate.
    pub(crate) async fn cli(&self, args: &[&str]) -> Outcome {
        let file = self.file();
        let args: Vec<_> = args.iter().map(|arg| if *arg == "FILE" { file.to_str().unwrap() } else { arg }).collect();
        outcome(tidegate(&args).envs(self.variables.iter().cloned())).await
    }

    /// The line of the file that begins with this, counted from 1.
    pub(crate) fn line_of(&self, beginning: &str) -> usize {
        let toml = self.settings.toml();
        toml.lines().position(|line| line.starts_with(beginning)).expect("it is in the file") + 1
    }

    /// Sends a signal by its short name.
    pub(crate) fn signal(&self, name: &str) {
        process::signal(&self.process, name);
    }

    /// As `exit`, for as long as that may take.
    pub(crate) async fn exit_within(&mut self, patience: Duration) -> Option<i32> {
        tokio::time::timeout(patience, self.process.wait()).await.expect("the gate ends").unwrap().code()
    }

    /// Waits until it ends; answers with its exit code.
    pub(crate) async fn exit(&mut self) -> Option<i32> {
        soon("the gate ends", self.process.wait()).await.unwrap().code()
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id().expect("it runs")
    }

    /// Whether its process is still there.
    pub(crate) fn is_running(&mut self) -> bool {
        self.process.try_wait().unwrap().is_none()
    }

    /// The figure of a line `Name: value` of its `/proc/PID/status`.
    pub(crate) fn process_status(&self, name: &str) -> u64 {
        let pid = self.pid();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- the file of the gate at {}\n{}", self.address, self.settings.toml());
        }
        self.log.tell_if_failing(&format!("the log of the gate at {}", self.address));
    }
}

impl Setup {
    /// Changes the file: see [`Settings::change`].
    pub(crate) fn with(mut self, toml: &str) -> Self {
        self.settings.change(toml);
        self
    }

    /// Leaves a key out of the file.
    pub(crate) fn without(mut self, key: &str) -> Self {
        self.settings.remove(key);
        self
    }

    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// It is run from this file instead.
    pub(crate) fn by(mut self, program: &Path) -> Self {
        self.program = program.to_owned();
        self
    }

    /// The process gets no more than so many bytes of writable memory from the kernel (`RLIMIT_DATA`).
    pub(crate) fn with_data_limit(mut self, bytes: u64) -> Self {
        self.data_limit = Some(bytes);
        self
    }

    /// The file is reached through links, as Kubernetes mounts a ConfigMap.
    pub(crate) fn in_config_map(mut self) -> Self {
        self.config_map = true;
        self
    }

    /// Clients come over TLS: the gate shows the pair in `folder`, clients believe in `pki`.
    pub(crate) fn over_tls(mut self, pki: &Pki, folder: &SecretFolder) -> Self {
        self.settings.change(&format!(
            "tls.certificate = {:?}\ntls.private_key = {:?}",
            folder.path().join("tls.crt"),
            folder.path().join("tls.key"),
        ));
        self.authority = Some(pki.authority());
        self
    }

    /// Clients come over TLS: the gate orders a certificate for `localhost` and keeps it in the folder `cache`.
    pub(crate) fn ordering_from(mut self, pebble: &Pebble, cache: &Path) -> Self {
        self.settings.change(&format!(
            "tls.acme.domains = [\"localhost\"]\ntls.acme.directory = {:?}\ntls.acme.root_ca = {:?}\ntls.acme.cache = {cache:?}",
            pebble.directory(),
            pebble.root_ca(),
        ));
        self.authority = Some(pebble.issuer().to_owned());
        self
    }

    /// The same, where the gate keeps it in Redis, in a cluster of this name.
    pub(crate) fn ordering_in_redis(mut self, pebble: &Pebble, redis: &Redis) -> Self {
        self.settings.change(&format!(
            "redis.url = \"redis://127.0.0.1:{}\"\ncluster.name = \"tutor\"\ncluster.secret = {{ env = \"CLUSTER_SECRET\" }}",
            redis.port()
        ));
        self.variables.push(("CLUSTER_SECRET".to_owned(), SECRET.to_owned()));
        self.ordering_from(pebble, Path::new("redis"))
    }

    /// The gate may have only so many files and sockets open, and cannot raise that.
    pub(crate) fn with_descriptors(self, limit: u32) -> Self {
        Self { descriptors: Some(limit), ..self }
    }

    /// Where clients will connect.
    pub(crate) fn address(&self) -> SocketAddr {
        self.ports[0].address
    }

    /// The gate is awaited until it answers, not until it is ready.
    pub(crate) fn unready(mut self) -> Self {
        self.unready = true;
        self
    }

    /// Starts the gate, and does this before it is awaited.
    pub(crate) async fn meanwhile(self, act: impl AsyncFnOnce(&mut Gate)) -> Gate {
        let (awaited, mut gate) = (self.awaited(), self.spawn());
        act(&mut gate).await;
        gate.answers(awaited).await;
        gate
    }

    async fn start(self) -> Gate {
        let (awaited, mut gate) = (self.awaited(), self.spawn());
        gate.answers(awaited).await;
        gate
    }

    const fn awaited(&self) -> &'static str {
        if self.unready { "/livez" } else { "/readyz" }
    }

    fn spawn(self) -> Gate {
        let folder = ConfigFolder::new(self.config_map, &self.settings.toml());
        let mut process = process::spawn(&mut self.command(&folder));
        let log = Lines::of(process.stderr.take().expect("it is piped").into_owned_fd());
        let [listen, admin] = &self.ports;
        Gate {
            address: listen.address,
            admin: admin.address,
            settings: self.settings,
            variables: self.variables,
            folder,
            process,
            log,
            clients: OnceCell::new(),
            authority: self.authority,
            _ports: self.ports,
        }
    }

    /// Starts a gate that is to end by itself.
    pub(crate) async fn fails(self) -> Outcome {
        let folder = ConfigFolder::new(false, &self.settings.toml());
        outcome(&mut self.command(&folder)).await
    }

    /// The file as it will be written.
    pub(crate) fn toml(&self) -> String {
        self.settings.toml()
    }

    /// Runs another subcommand, `FILE` among its arguments standing for the file, with the same variables.
    pub(crate) async fn cli(&self, args: &[&str]) -> Outcome {
        let folder = ConfigFolder::new(false, &self.settings.toml());
        let file = folder.file();
        let args: Vec<_> = args.iter().map(|arg| if *arg == "FILE" { file.to_str().unwrap() } else { arg }).collect();
        outcome(tidegate(&args).envs(self.variables.iter().cloned())).await
    }

    fn command(&self, folder: &ConfigFolder) -> Command {
        let limits = [
            self.descriptors.map(|limit| format!("--nofile={limit}")),
            self.data_limit.map(|bytes| format!("--data={bytes}")),
        ];
        let limits: Vec<_> = limits.into_iter().flatten().collect();
        let mut command = if limits.is_empty() {
            Command::new(&self.program)
        } else {
            let mut command = Command::new("prlimit");
            command.args(limits).arg(&self.program);
            command
        };
        command.args(["run", "--config"]).env_remove("NEXTAUTH_SECRET");
        command.arg(folder.file()).envs(self.variables.iter().cloned());
        command
    }
}

impl IntoFuture for Setup {
    type Output = Gate;
    type IntoFuture = Pin<Box<dyn Future<Output = Gate> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.start())
    }
}

/// How a run of the program ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// None: by a signal.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The program with these arguments and no variables of Tidegate's.
fn tidegate(args: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(args).env_remove("NEXTAUTH_SECRET");
    command
}

/// Runs it to its end.
async fn outcome(command: &mut Command) -> Outcome {
    let output = soon("the program ends", process::spawn(command).wait_with_output()).await.unwrap();
    Outcome {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}
