//! A server with a replica, watched by a Sentinel that decides alone.

use std::fs;

use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::{super::ports::Port, Redis, eventually, process, run};

/// What the Sentinel calls the group.
pub(crate) const GROUP: &str = "tidegate";

/// After so long without an answer the Sentinel takes a server for gone, in milliseconds; a busy machine is not.
const DOWN_AFTER_MS: u32 = 3000;

/// Both servers and the Sentinel; they end with the value.
#[derive(Debug)]
pub(crate) struct Sentinel {
    servers: [Redis; 2],
    port: Port,
    _child: Child,
    _folder: TempDir,
}

impl Sentinel {
    /// All know each other.
    pub(crate) async fn start() -> Self {
        let master = Redis::start().await;
        let replica = Redis::setup().args(&["--replicaof", "127.0.0.1", &master.port().to_string()]).start().await;
        eventually("the replica is up to date", async || {
            master.cli(&["INFO", "replication"]).await.contains("state=online").then_some(())
        })
        .await;

        let (port, folder) = (Port::reserve(), TempDir::new().unwrap());
        let file = folder.path().join("sentinel.conf");
        let settings = format!(
            "port {}\nbind 127.0.0.1\ndir {}\nsentinel monitor {GROUP} 127.0.0.1 {} 1\n\
             sentinel down-after-milliseconds {GROUP} {DOWN_AFTER_MS}\nsentinel failover-timeout {GROUP} 10000\n",
            port.address.port(),
            folder.path().display(),
            master.port(),
        );
        fs::write(&file, settings).unwrap();
        let mut child = process::spawn(Command::new("redis-sentinel").arg(&file));
        process::Lines::of(child.stdout.take().unwrap().into_owned_fd());
        process::Lines::of(child.stderr.take().unwrap().into_owned_fd());
        let sentinel = Self { servers: [master, replica], port, _child: child, _folder: folder };
        eventually("the Sentinel knows the replica", async || {
            let replicas = sentinel.cli(&["SENTINEL", "REPLICAS", GROUP]).await;
            (replicas.contains("master-link-status\nok")).then_some(())
        })
        .await;
        sentinel
    }

    /// The port of the Sentinel.
    pub(crate) fn port(&self) -> u16 {
        self.port.address.port()
    }

    /// What `redis-cli` prints for a command to the Sentinel.
    pub(crate) async fn cli(&self, command: &[&str]) -> String {
        let mut cli = Command::new("redis-cli");
        run(cli.args(["-p", &self.port().to_string()]).args(command), b"").await
    }

    /// Which of the servers is the master now.
    async fn master_index(&self) -> Option<usize> {
        let address = self.cli(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", GROUP]).await;
        let port = address.lines().nth(1)?.parse::<u16>().ok()?;
        self.servers.iter().position(|server| server.port() == port)
    }

    /// The server that is the master now.
    pub(crate) async fn master(&mut self) -> &mut Redis {
        let index = self.master_index().await.expect("the Sentinel knows a master");
        &mut self.servers[index]
    }

    /// The Sentinel makes the replica the master, both being well. It has done so when this is done.
    pub(crate) async fn failover(&self) {
        let before = self.master_index().await;
        // It refuses as long as it is not sure of the replica.
        eventually("the Sentinel begins a failover", async || {
            (self.cli(&["SENTINEL", "FAILOVER", GROUP]).await == "OK").then_some(())
        })
        .await;
        self.has_another_master(before).await;
    }

    /// SIGKILL for the master. When this is done, the replica has its place.
    pub(crate) async fn kill_master(&mut self) {
        let before = self.master_index().await;
        self.master().await.kill().await;
        self.has_another_master(before).await;
    }

    /// SIGKILL for the master, which the Sentinel does not notice until [`notices`](Self::notices).
    pub(crate) async fn kill_master_unnoticed(&mut self) {
        self.down_after(600_000).await;
        self.master().await.kill().await;
    }

    /// The Sentinel notices that the master is gone. When this is done, the replica has its place.
    pub(crate) async fn notices(&self) {
        let before = self.master_index().await;
        self.down_after(DOWN_AFTER_MS).await;
        self.has_another_master(before).await;
    }

    async fn down_after(&self, ms: u32) {
        let set = self.cli(&["SENTINEL", "SET", GROUP, "down-after-milliseconds", &ms.to_string()]).await;
        assert_eq!(set, "OK");
    }

    async fn has_another_master(&self, before: Option<usize>) {
        eventually("there is another master", async || {
            let index = self.master_index().await.filter(|index| Some(*index) != before)?;
            self.servers[index].cli(&["ROLE"]).await.starts_with("master").then_some(())
        })
        .await;
    }
}
