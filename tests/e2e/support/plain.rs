//! A client of a plain WebSocket route: tungstenite, as a peer that is not ours.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{
        Error, Message,
        client::IntoClientRequest,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

use super::soon;

/// An open connection.
#[derive(Debug)]
pub(crate) struct Plain {
    stream: WebSocketStream<TcpStream>,
    /// The subprotocol agreed upon.
    pub(crate) protocol: Option<String>,
}

impl Plain {
    /// Connects; a refusal is its HTTP status.
    pub(crate) async fn connect(address: SocketAddr, target: &str, headers: &[(&str, &str)]) -> Result<Self, u16> {
        let mut request = format!("ws://{address}{target}").into_client_request().unwrap();
        for (name, value) in headers {
            let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        let stream = TcpStream::connect(address).await.unwrap();
        match soon("the answer to an upgrade", client_async(request, stream)).await {
            Ok((stream, response)) => {
                let protocol = response.headers().get("sec-websocket-protocol");
                Ok(Self { stream, protocol: protocol.map(|value| value.to_str().unwrap().to_owned()) })
            }
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("{target}: {error}"),
        }
    }

    pub(crate) async fn send(&mut self, message: impl Into<Message>) {
        self.stream.send(message.into()).await.unwrap();
    }

    /// The next text or binary message.
    pub(crate) async fn next(&mut self) -> Message {
        soon("a message", self.stream.next()).await.expect("a message before the end").unwrap()
    }

    /// Sends a message and waits for one.
    pub(crate) async fn echo(&mut self, message: impl Into<Message>) -> Message {
        self.send(message).await;
        self.next().await
    }

    /// Closes with a code and a reason, and waits for the end.
    pub(crate) async fn close(&mut self, code: u16, reason: &str) {
        let frame = CloseFrame { code: CloseCode::from(code), reason: reason.into() };
        self.stream.close(Some(frame)).await.unwrap();
        while let Some(Ok(_)) = soon("the end", self.stream.next()).await {}
    }

    /// Reads to the end: the code and the reason of the close frame. 1006: there was none.
    pub(crate) async fn closed(&mut self) -> (u16, String) {
        let mut seen = (1006, String::new());
        while let Some(Ok(message)) = soon("the end", self.stream.next()).await {
            match message {
                Message::Close(Some(frame)) => seen = (frame.code.into(), frame.reason.to_string()),
                Message::Close(None) => seen = (1005, String::new()),
                _ => {}
            }
        }
        seen
    }
}
