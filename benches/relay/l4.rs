//! The reference of all ratios: a relay that copies bytes, with or without TLS.

use std::{io, path::PathBuf};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use crate::{echo, tls};

/// Relays until killed. `pair`: the certificate to end TLS with.
pub(crate) async fn run(port: u16, upstream: u16, pair: Option<PathBuf>) -> io::Result<()> {
    match pair.as_deref().map(tls::acceptor).transpose()? {
        None => echo::accept(port, move |client| relay(client, upstream)).await,
        Some(acceptor) => {
            let relay = move |client: TcpStream| {
                let acceptor = acceptor.clone();
                async move { relay(acceptor.accept(client).await?, upstream).await }
            };
            echo::accept(port, relay).await
        }
    }
}

async fn relay(mut client: impl AsyncRead + AsyncWrite + Unpin, upstream: u16) -> io::Result<()> {
    let mut service = TcpStream::connect(("127.0.0.1", upstream)).await?;
    service.set_nodelay(true)?;
    tokio::io::copy_bidirectional(&mut client, &mut service).await?;
    Ok(())
}
