//! A client's side of Engine.IO over a WebSocket, as far as a diagnosis needs it.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::time::timeout;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};

use crate::{
    relay::{
        dial::{Dialled, Dialler, PackedRequest},
        dial_error::DialError,
        stream::ServiceStream,
    },
    wire::engineio::open::ServiceOpen,
};

/// An open WebSocket.
pub(super) struct Socket(WebSocketStream<ServiceStream>);

impl Socket {
    /// Connects and upgrades, within the dialler's time.
    pub(super) async fn open(server: &Dialler, request: &PackedRequest) -> Result<Self, DialError> {
        let Dialled { io, read_ahead, .. } = server.dial(request, &[]).await?;
        Ok(Self(WebSocketStream::from_partially_read(io, read_ahead.to_vec(), Role::Client, None).await))
    }

    /// The next text, within this time. Why there is none.
    pub(super) async fn text(&mut self, within: Duration) -> Result<String, String> {
        let next = async {
            loop {
                match self.0.next().await {
                    Some(Ok(Message::Text(text))) => return Ok(text.to_string()),
                    Some(Ok(Message::Close(frame))) => return Err(closed(frame.map(|frame| frame.code.into()))),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Err(error.to_string()),
                    None => return Err(closed(None)),
                }
            }
        };
        let silent = || Err(format!("nothing came within {} s", within.as_secs_f32()));
        timeout(within, next).await.unwrap_or_else(|_| silent())
    }

    /// The open packet of Engine.IO.
    pub(super) async fn opened(&mut self, within: Duration) -> Result<ServiceOpen, String> {
        let text = self.text(within).await?;
        ServiceOpen::parse(text.as_bytes()).map_err(|error| error.to_string())
    }

    pub(super) async fn say(&mut self, text: String) -> Result<(), String> {
        self.0.send(Message::text(text)).await.map_err(|error| error.to_string())
    }

    /// Leaves in good order. The other side is not waited for.
    pub(super) async fn leave(mut self) {
        let _ = self.0.close(None).await;
    }
}

fn closed(code: Option<u16>) -> String {
    code.map_or_else(|| "the connection was closed".to_owned(), |code| format!("it was closed with code {code}"))
}
