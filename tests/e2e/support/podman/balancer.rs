//! HAProxy in the place of a Service: it sends new connections to pods that are ready, and keeps those that are open.

use std::{
    fmt::Write as _,
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
};

use tokio::{
    net::TcpStream,
    process::{Child, Command},
};

use super::Pods;
use crate::support::{
    eventually,
    ports::Port,
    process::{self, Lines},
};

/// Of its files, in that of the run.
pub(super) const FOLDER: &str = "balancer";
const PID: &str = "pid";

/// Ends the balancer of a run that was killed.
pub(super) fn end(folder: &Path) {
    let Ok(pid) = fs::read_to_string(folder.join(PID)) else { return };
    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    // The number may be another process's by now.
    if String::from_utf8_lossy(&command).contains(&*folder.to_string_lossy()) {
        let _ = std::process::Command::new("kill").arg(pid).status();
    }
}

/// A running balancer; it ends with the value.
#[derive(Debug)]
pub(crate) struct Balancer {
    pub(crate) address: SocketAddr,
    log: Lines,
    _port: Port,
    _child: Child,
}

/// Which pod a connection goes to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Affinity {
    /// `sessionAffinity: ClientIP`.
    Client,
    /// `sessionAffinity: None`.
    None,
}

impl Balancer {
    /// Listens on this address of the host. A pod is ready where `ready` answers 200, or without it where its port accepts.
    /// The balancer listens when this returns.
    pub(crate) async fn start(
        of: &Pods,
        host: Ipv4Addr,
        affinity: Affinity,
        pods: &[(Ipv4Addr, u16)],
        ready: Option<(&str, u16)>,
    ) -> Self {
        let folder = of.folder(FOLDER);
        let port = Port::reserve();
        let address = SocketAddr::from((IpAddr::from(host), port.address.port()));
        let (balance, check) = match affinity {
            Affinity::Client => ("source", "hash-type consistent"),
            Affinity::None => ("roundrobin", ""),
        };
        let mut config = format!(
            "global\n maxconn 500\n log fd@2 local0\ndefaults\n mode tcp\n log global\n option log-health-checks\n \
             option redispatch\n retries 3\n timeout connect 2s\n timeout client 1h\n timeout server 1h\n timeout check 2s\n\
             listen service\n bind {address}\n balance {balance}\n {check}\n"
        );
        if let Some((path, _)) = ready {
            write!(config, " option httpchk GET {path}\n http-check expect status 200\n").unwrap();
        }
        for (number, (ip, port)) in pods.iter().enumerate() {
            let checked = ready.map_or_else(String::new, |(_, port)| format!("port {port}"));
            writeln!(config, " server pod-{number} {ip}:{port} check {checked} inter 100ms fall 1 rise 1").unwrap();
        }
        let file = folder.join("haproxy.cfg");
        fs::write(&file, config).unwrap();
        // In the foreground, without workers of its own, so that it ends with us.
        let mut child = process::spawn(Command::new("haproxy").arg("-db").arg("-f").arg(&file));
        fs::write(folder.join(PID), child.id().expect("it runs").to_string()).unwrap();
        let log = Lines::of(child.stderr.take().expect("it is piped").into_owned_fd());
        let balancer = Self { address, log, _port: port, _child: child };
        eventually("the balancer listens", async || TcpStream::connect(address).await.ok()).await;
        balancer
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.log.tell_if_failing("the balancer");
    }
}
