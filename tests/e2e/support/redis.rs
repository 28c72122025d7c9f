//! A redis-server that keeps nothing.

use tempfile::TempDir;
use tokio::{
    net::TcpStream,
    process::{Child, Command},
};

use super::{eventually, ports::Port, process};

/// A running server; it ends with the value.
#[derive(Debug)]
pub(crate) struct Redis {
    port: Port,
    _child: Child,
    _folder: TempDir,
}

impl Redis {
    pub(crate) async fn start() -> Self {
        let (port, folder) = (Port::reserve(), TempDir::new().unwrap());
        let mut command = Command::new("redis-server");
        command.args(["--port", &port.address.port().to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"]);
        let child = process::spawn(command.arg(folder.path()));
        let redis = Self { port, _child: child, _folder: folder };
        eventually("redis-server listens", async || TcpStream::connect(redis.port.address).await.ok()).await;
        redis
    }

    pub(crate) fn port(&self) -> u16 {
        self.port.address.port()
    }
}
