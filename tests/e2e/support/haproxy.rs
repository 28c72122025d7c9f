//! HAProxy in front of a gate.

use std::{fmt::Write as _, net::SocketAddr};

use tempfile::TempDir;
use tokio::{
    net::TcpStream,
    process::{Child, Command},
};

use super::{
    eventually,
    pki::Pair,
    ports::Port,
    process::{self, Lines},
};

/// A running HAProxy; it ends with the value.
#[derive(Debug)]
pub(crate) struct Haproxy {
    /// Where its only frontend listens.
    pub(crate) address: SocketAddr,
    pub(crate) log: Lines,
    _port: Port,
    _child: Child,
    _folder: TempDir,
}

/// One server with its check.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Backend<'a> {
    pub(crate) name: &'a str,
    pub(crate) address: SocketAddr,
    /// Lines of the configuration that say how it is checked.
    pub(crate) check: &'a str,
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        self.log.tell_if_failing(&format!("HAProxy at {}", self.address));
    }
}

impl Haproxy {
    /// Passes everything to the first backend, and checks all of them. With a pair it ends TLS; `frontend` are further
    /// lines of its configuration. It listens when this returns: a browser does not ask a second time.
    pub(crate) async fn start(backends: &[Backend<'_>], pair: Option<&Pair>, frontend: &str) -> Self {
        let (port, folder) = (Port::reserve(), TempDir::new().unwrap());
        let mut bind = format!("bind {}", port.address);
        if let Some(Pair { certificate, private_key }) = pair {
            let file = folder.path().join("pair.pem");
            std::fs::write(&file, format!("{certificate}{private_key}")).unwrap();
            write!(bind, " ssl crt {}", file.display()).unwrap();
        }
        let mut config = format!(
            "global\n maxconn 200\n log fd@2 local0\ndefaults\n mode http\n log global\n option dontlognull\n option log-health-checks\n \
             timeout connect 10s\n timeout client 60s\n timeout server 60s\n timeout check 30s\n\
             frontend front\n {bind}\n option forwardfor\n default_backend {}\n {frontend}\n",
            backends[0].name
        );
        for Backend { name, address, check } in backends {
            write!(config, "backend {name}\n {check}\n server one {address} check inter 200ms fastinter 200ms\n")
                .unwrap();
        }
        let file = folder.path().join("haproxy.cfg");
        std::fs::write(&file, config).unwrap();
        // In the foreground, without workers of its own, so that it ends with us.
        let mut child = process::spawn(Command::new("haproxy").arg("-db").arg("-f").arg(&file));
        let log = Lines::of(child.stderr.take().expect("it is piped").into_owned_fd());
        let haproxy = Self { address: port.address, log, _port: port, _child: child, _folder: folder };
        eventually("HAProxy listens", async || TcpStream::connect(haproxy.address).await.ok()).await;
        haproxy
    }
}
