//! Servers of Redis that keep nothing: one, one with a replica under a Sentinel, and a Cluster.

pub(crate) mod cluster;
pub(crate) mod sentinel;

use std::{fs, path::PathBuf};

use tempfile::TempDir;
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    process::{Child, Command},
};

use super::{
    Pki, eventually,
    pki::Request,
    ports::Port,
    process::{self, signal},
    soon,
};

/// A running server; it ends with the value.
#[derive(Debug)]
pub(crate) struct Redis {
    setup: Setup,
    port: Port,
    child: Child,
    folder: TempDir,
}

/// What a server is to be like.
#[derive(Debug, Default)]
pub(crate) struct Setup {
    args: Vec<String>,
    password: Option<String>,
    tls: Option<Files>,
}

/// Files of a server that is reached over TLS.
#[derive(Debug)]
struct Files {
    folder: TempDir,
    wants_certificate: bool,
}

impl Files {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn args(&self, names: &[(&str, &str)]) -> Vec<String> {
        let arg = |(option, name): &(&str, &str)| [(*option).to_owned(), self.path(name).to_str().unwrap().to_owned()];
        names.iter().flat_map(arg).collect()
    }
}

impl Setup {
    /// Further arguments of `redis-server`.
    pub(crate) fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(|&arg| arg.to_owned()));
        self
    }

    /// The password of the user `default`.
    pub(crate) fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self.args(&["--requirepass", password])
    }

    /// One more user, with rules of an ACL, as `+@all ~* &*`.
    pub(crate) fn acl(self, user: &str, password: &str, rules: &str) -> Self {
        self.args(&["--user", user, "on", &format!(">{password}")]).args(&rules.split(' ').collect::<Vec<_>>())
    }

    /// It is reached over TLS and nothing else, with a certificate of this authority for `localhost` and 127.0.0.1.
    pub(crate) fn tls(self, pki: &Pki) -> Self {
        self.encrypted(pki, false)
    }

    /// As `tls`, and it wants a certificate of the same authority.
    pub(crate) fn mutual_tls(self, pki: &Pki) -> Self {
        self.encrypted(pki, true)
    }

    fn encrypted(mut self, pki: &Pki, wants_certificate: bool) -> Self {
        let files = Files { folder: TempDir::new().unwrap(), wants_certificate };
        let (server, client) =
            (pki.issue(&Request::server(&["localhost", "127.0.0.1"])), pki.issue(&Request::client("gate")));
        for (name, content) in [
            ("ca.pem", pki.authority()),
            ("server.pem", server.certificate),
            ("server.key", server.private_key),
            ("client.pem", client.certificate),
            ("client.key", client.private_key),
        ] {
            fs::write(files.path(name), content).unwrap();
        }
        self.tls = Some(files);
        self
    }

    pub(crate) async fn start(self) -> Redis {
        let (port, folder) = (Port::reserve(), TempDir::new().unwrap());
        let child = self.spawn(&port, &folder);
        let redis = Redis { setup: self, port, child, folder };
        redis.listens().await;
        redis
    }

    fn spawn(&self, port: &Port, folder: &TempDir) -> Child {
        let number = port.address.port().to_string();
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        command.arg("--dir").arg(folder.path());
        match &self.tls {
            None => drop(command.args(["--port", &number])),
            Some(files) => {
                let wants = if files.wants_certificate { "yes" } else { "no" };
                command.args(["--port", "0", "--tls-port", &number, "--tls-auth-clients", wants]);
                let named = [
                    ("--tls-ca-cert-file", "ca.pem"),
                    ("--tls-cert-file", "server.pem"),
                    ("--tls-key-file", "server.key"),
                ];
                command.args(files.args(&named));
            }
        }
        let mut child = process::spawn(command.args(&self.args));
        // Its log, which nobody reads, must not fill a pipe.
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        process::Lines::of(stdout.into_owned_fd());
        process::Lines::of(stderr.into_owned_fd());
        child
    }
}

impl Redis {
    /// Without a password, not encrypted.
    pub(crate) async fn start() -> Self {
        Self::setup().start().await
    }

    /// Of another kind, to be started by [`Setup::start`].
    pub(crate) fn setup() -> Setup {
        Setup::default()
    }

    pub(crate) fn port(&self) -> u16 {
        self.port.address.port()
    }

    /// `redis://127.0.0.1:PORT`, or `rediss://`. There is no password in it.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.setup.tls.is_some() { "rediss" } else { "redis" };
        format!("{scheme}://{}", self.port.address)
    }

    /// The certificate of the authority, of a server over TLS.
    pub(crate) fn authority(&self) -> PathBuf {
        self.files().path("ca.pem")
    }

    /// A certificate that a server over TLS takes from its clients, and its key.
    pub(crate) fn client_pair(&self) -> (PathBuf, PathBuf) {
        (self.files().path("client.pem"), self.files().path("client.key"))
    }

    fn files(&self) -> &Files {
        self.setup.tls.as_ref().expect("it is reached over TLS")
    }

    /// What `redis-cli` prints for a command, as the user `default`, without the line end.
    pub(crate) async fn cli(&self, command: &[&str]) -> String {
        self.cli_with(command, b"").await
    }

    /// As `cli`; with the option `-x` the last argument of the command is `input`.
    async fn cli_with(&self, command: &[&str], input: &[u8]) -> String {
        let mut cli = Command::new("redis-cli");
        cli.args(["-h", "127.0.0.1", "-p", &self.port().to_string()]);
        if let Some(password) = &self.setup.password {
            cli.args(["--no-auth-warning", "-a", password]);
        }
        if let Some(files) = &self.setup.tls {
            cli.arg("--tls").args(files.args(&[
                ("--cacert", "ca.pem"),
                ("--cert", "client.pem"),
                ("--key", "client.key"),
            ]));
        }
        run(cli.args(command), input).await
    }

    /// Publishes these bytes; how many subscriptions got them.
    pub(crate) async fn publish(&self, channel: &str, payload: &[u8]) -> u64 {
        let answer = self.cli_with(&["-x", "PUBLISH", channel], payload).await;
        answer.parse().unwrap_or_else(|_| panic!("PUBLISH {channel}: {answer}"))
    }

    /// SIGKILL: its connections break.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// Starts it again where it was, with nothing in it.
    pub(crate) async fn restart(&mut self) {
        self.kill().await;
        self.child = self.setup.spawn(&self.port, &self.folder);
        self.listens().await;
    }

    async fn listens(&self) {
        eventually("redis-server listens", async || TcpStream::connect(self.port.address).await.ok()).await;
    }

    /// It stands still, its sockets open.
    pub(crate) fn freeze(&self) {
        signal(&self.child, "STOP");
    }

    /// It goes on after `freeze`.
    pub(crate) fn thaw(&self) {
        signal(&self.child, "CONT");
    }

    /// `CLIENT KILL` for all connections but that of the command; how many there were.
    pub(crate) async fn kill_clients(&self) -> u64 {
        let mut killed = 0;
        for kind in ["normal", "pubsub"] {
            killed += self.cli(&["CLIENT", "KILL", "TYPE", kind]).await.parse::<u64>().unwrap();
        }
        killed
    }
}

/// What a program of Redis prints. It is alive and at an end soon.
async fn run(command: &mut Command, input: &[u8]) -> String {
    let mut child = process::spawn(command);
    let mut stdin = child.stdin.take().unwrap();
    // It may end without having read it.
    drop(stdin.write_all(input).await);
    drop(stdin);
    let output = soon("redis-cli ends", child.wait_with_output()).await.unwrap();
    let printed = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&printed).trim_end().to_owned()
}

#[cfg(test)]
mod tests;
