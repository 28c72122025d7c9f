//! The reference that everything is a ratio to: a relay that looks at nothing.

use std::io;

use tokio::net::TcpStream;

use crate::echo;

/// Relays until killed.
pub(crate) async fn run(port: u16, upstream: u16) -> io::Result<()> {
    echo::accept(port, move |client| relay(client, upstream)).await
}

async fn relay(mut client: TcpStream, upstream: u16) -> io::Result<()> {
    let mut service = TcpStream::connect(("127.0.0.1", upstream)).await?;
    client.set_nodelay(true)?;
    service.set_nodelay(true)?;
    tokio::io::copy_bidirectional(&mut client, &mut service).await?;
    Ok(())
}
