//! The least that a delivery can cost: one system call for each client, with bytes that are ready, and nothing beside.

use std::{
    io::{self, Write as _},
    net,
    sync::{Arc, Mutex, PoisonError},
};

use tidegate::wire::websocket::frame::{FrameHeader, OpCode};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
};

use crate::{
    echo,
    fanout::{CHANNEL, packet},
};

/// The connections of all clients, each a second time.
type Clients = Arc<Mutex<Vec<net::TcpStream>>>;

/// Lets clients join as the echo does, and sends all of them the same for each message in Redis, until killed.
pub(crate) async fn run(port: u16, redis: u16) -> io::Result<()> {
    let clients = Clients::default();
    let joining = Arc::clone(&clients);
    let serve = move |stream: TcpStream| {
        let joining = Arc::clone(&joining);
        async move {
            let stream = stream.into_std()?;
            joining.lock().unwrap_or_else(PoisonError::into_inner).push(stream.try_clone()?);
            echo::serve(TcpStream::from_std(stream)?).await
        }
    };
    tokio::try_join!(echo::accept(port, serve), send_to_all(redis, &clients)).map(drop)
}

async fn send_to_all(redis: u16, clients: &Clients) -> io::Result<()> {
    let mut redis = BufReader::new(TcpStream::connect(("127.0.0.1", redis)).await?);
    redis.get_mut().write_all(format!("SUBSCRIBE {CHANNEL}\r\n").as_bytes()).await?;
    // `subscribe`, the channel and the number of subscriptions.
    for _ in 0..6 {
        redis.read_line(&mut String::new()).await?;
    }
    let packet = packet();
    let mut frame = Vec::new();
    FrameHeader::encode(OpCode::Text, packet.len() as u64, None, &mut frame);
    frame.extend_from_slice(packet.as_bytes());
    loop {
        message(&mut redis).await?;
        // One that is closed is forgotten: who looks whether this listens connects too.
        clients.lock().unwrap_or_else(PoisonError::into_inner).retain_mut(|client| client.write_all(&frame).is_ok());
    }
}

/// Reads one message: an array of `message`, the channel and what was published there.
async fn message(redis: &mut BufReader<TcpStream>) -> io::Result<()> {
    redis.read_line(&mut String::new()).await?;
    for _ in 0..3 {
        let mut len = String::new();
        redis.read_line(&mut len).await?;
        let len = len.trim_end().strip_prefix('$').and_then(|len| len.parse::<usize>().ok());
        let len = len.ok_or_else(|| io::Error::other("Redis says something that is no message"))?;
        redis.read_exact(&mut vec![0; len + 2]).await?;
    }
    Ok(())
}
