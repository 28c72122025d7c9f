//! What the requests of a client bring to its session, on whichever connection and thread they came in.

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::{
    policy::bearer::Bearer,
    relay::{resume::Arrival, stream::ClientStream},
    wire::engineio::error::EngineError,
};

/// One request with the `sid` of a session.
#[derive(Debug)]
pub struct Letter {
    /// Who brings it.
    pub bearer: Bearer,
    /// What it is.
    pub request: ClientRequest,
}

/// What a client may ask of its session beside the packets on a websocket.
#[derive(Debug)]
pub enum ClientRequest {
    /// A GET that waits for packets: answered with a payload.
    Poll(Reply<Vec<u8>>),
    /// A POST with a payload: answered once its last packet has been judged.
    Payload(Bytes, Reply<()>),
    /// May this client go on over a websocket?
    Upgrade(Reply<Upgrade>),
    /// It goes on over this one: what was read of it already comes first.
    Websocket(ClientStream, Bytes),
    /// Would the session take a client back?
    Claim(Question),
    /// The client is back.
    Arrive(Box<Arrival>),
}

/// Who wants to come back, and to what.
#[derive(Debug)]
pub struct Question {
    /// The user, by a verified token.
    pub user: Option<Box<str>>,
    /// The namespace it asks for first.
    pub namespace: Box<str>,
    /// The number of the last event that it got there.
    pub offset: Option<u64>,
    /// Where the answer goes: yes, or none.
    pub reply: Reply<()>,
}

/// The answer to an upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upgrade {
    /// Its probe is awaited.
    Probe,
    /// The session has a websocket, or one that is being probed: this one is to be closed, as engine.io does.
    Close,
}

/// Where an answer goes. Dropped unanswered, it says that the session is no more.
#[derive(Debug)]
pub struct Reply<T>(oneshot::Sender<Result<T, EngineError>>);

impl<T> Reply<T> {
    /// A reply, and where it will be read.
    #[must_use]
    pub fn awaited() -> (Self, oneshot::Receiver<Result<T, EngineError>>) {
        let (sender, receiver) = oneshot::channel();
        (Self(sender), receiver)
    }

    /// Answers. Whoever asked may have gone.
    pub fn answer(self, answer: T) {
        let _ = self.0.send(Ok(answer));
    }

    /// Answers with an error.
    pub fn refuse(self, error: EngineError) {
        let _ = self.0.send(Err(error));
    }

    /// Has whoever asked gone? If not, the task is woken when that happens.
    pub fn is_abandoned(&mut self, cx: &mut std::task::Context<'_>) -> bool {
        self.0.poll_closed(cx).is_ready()
    }
}

impl ClientRequest {
    /// Refuses it, whatever it is.
    pub fn refuse(self, error: EngineError) {
        match self {
            Self::Poll(reply) => reply.refuse(error),
            Self::Payload(_, reply) => reply.refuse(error),
            Self::Upgrade(reply) => reply.refuse(error),
            Self::Claim(question) => question.reply.refuse(error),
            Self::Websocket(..) | Self::Arrive(_) => {}
        }
    }
}
