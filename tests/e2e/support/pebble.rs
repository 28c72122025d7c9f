//! An ACME server on loopback: Debian's Pebble, for which every name leads to this machine.

use std::{fs, net::SocketAddr, path::PathBuf, time::Duration};

use serde_json::json;
use tempfile::TempDir;
use tokio::{
    net::TcpStream,
    process::{Child, Command},
};

use super::{
    eventually,
    pki::Pki,
    ports::Port,
    process::{self, Lines},
    tls::TlsClient,
};

/// A running server. It validates, and refuses a part of good nonces, as it is delivered.
#[derive(Debug)]
pub(crate) struct Pebble {
    folder: TempDir,
    pki: Pki,
    directory: Port,
    management: Port,
    issuer: String,
    dns: Port,
    process: Child,
    _log: Lines,
    _names: Child,
}

impl Pebble {
    /// A server that looks for HTTP-01 at `http` and for TLS-ALPN-01 at `tls`, and whose certificates last so long.
    pub(crate) async fn start(http: SocketAddr, tls: SocketAddr, validity: Duration) -> Self {
        let folder = TempDir::new().unwrap();
        let pki = Pki::new();
        let pair = pki.localhost(1);
        let [directory, management, dns] = [Port::reserve(), Port::reserve(), Port::reserve()];
        let file = |name: &str, content: &str| {
            let path = folder.path().join(name);
            fs::write(&path, content).unwrap();
            path
        };
        file("root.pem", &pki.authority());
        let config = json!({ "pebble": {
            "listenAddress": directory.address,
            "managementListenAddress": management.address,
            "certificate": file("tls.crt", &pair.certificate),
            "privateKey": file("tls.key", &pair.private_key),
            "httpPort": http.port(),
            "tlsPort": tls.port(),
            "certificateValidityPeriod": validity.as_secs(),
        }});
        file("pebble.json", &config.to_string());
        let names = process::spawn(Command::new("pebble-challtestsrv").args([
            "-dns01",
            &dns.address.to_string(),
            "-defaultIPv4",
            "127.0.0.1",
            "-defaultIPv6",
            "",
            "-http01",
            "",
            "-https01",
            "",
            "-tlsalpn01",
            "",
            "-management",
            "",
        ]));
        // Pebble asks once for a name, and an order that has failed is repeated a minute later.
        eventually("the names are there", async || TcpStream::connect(dns.address).await.ok()).await;
        let (process, log) = run(&folder, &dns);
        let issuer = String::new();
        let mut pebble = Self { folder, pki, directory, management, issuer, dns, process, _log: log, _names: names };
        pebble.answers().await;
        pebble
    }

    /// The root of what it issues, PEM.
    pub(crate) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// It answers nobody until it is [`thawed`](Self::thaw).
    pub(crate) fn freeze(&self) {
        process::signal(&self.process, "STOP");
    }

    /// It goes on.
    pub(crate) fn thaw(&self) {
        process::signal(&self.process, "CONT");
    }

    /// The setting `tls.acme.directory`.
    pub(crate) fn directory(&self) -> String {
        format!("https://localhost:{}/dir", self.directory.address.port())
    }

    /// The setting `tls.acme.root_ca`: whom to trust when asking it.
    pub(crate) fn root_ca(&self) -> PathBuf {
        self.folder.path().join("root.pem")
    }

    /// It is away.
    pub(crate) async fn stop(&mut self) {
        self.process.kill().await.unwrap();
    }

    /// It is back, and has forgotten everything.
    pub(crate) async fn restart(&mut self) {
        (self.process, self._log) = run(&self.folder, &self.dns);
        self.answers().await;
    }

    async fn answers(&mut self) {
        let client = TlsClient::new(&self.pki);
        let root = eventually("Pebble's root", async || {
            client.http1(self.management.address, "GET", "/roots/0", &[], "").await.ok()
        });
        self.issuer = root.await.text().to_owned();
        eventually("Pebble answers", async || {
            client.http1(self.directory.address, "GET", "/dir", &[], "").await.ok().filter(|reply| reply.status == 200)
        })
        .await;
    }
}

fn run(folder: &TempDir, dns: &Port) -> (Child, Lines) {
    let mut command = Command::new("pebble");
    command.arg("-config").arg(folder.path().join("pebble.json"));
    command.args(["-dnsserver", &dns.address.to_string()]).env("PEBBLE_VA_NOSLEEP", "1");
    let mut process = process::spawn(&mut command);
    let log = Lines::of(process.stdout.take().expect("it is piped").into_owned_fd());
    (process, log)
}
