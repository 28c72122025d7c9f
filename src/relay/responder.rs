//! Where an answer goes: to a task of any thread.

use std::task::Context;

use http::HeaderMap;
use tokio::sync::oneshot;

use crate::{policy::token_fault::TokenFault, wire::engineio::error::EngineError};

/// Answers one question. Dropped unanswered, it says that the session is no more.
#[derive(Debug)]
pub struct Responder<T>(oneshot::Sender<Result<T, Rejection>>);

/// Where an answer is read.
pub type Answered<T> = oneshot::Receiver<Result<T, Rejection>>;

/// Why a question has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rejection {
    /// What the client hears.
    pub error: EngineError,
    /// The rule, as metrics and log name it. A client need not hear which it is.
    pub reason: &'static str,
    /// What is wrong with the token that came with it, for the log alone. `None`: it is not refused for its token.
    pub fault: Option<TokenFault>,
}

impl From<EngineError> for Rejection {
    fn from(error: EngineError) -> Self {
        Self { error, reason: error.reason(), fault: None }
    }
}

impl<T> Responder<T> {
    /// A responder, and where its answer is read.
    #[must_use]
    pub fn awaited() -> (Self, Answered<T>) {
        let (sender, receiver) = oneshot::channel();
        (Self(sender), receiver)
    }

    /// Answers. The side that asked may have gone.
    pub fn answer(self, answer: T) {
        let _ = self.0.send(Ok(answer));
    }

    /// Says why there is no answer.
    pub fn refuse(self, why: impl Into<Rejection>) {
        let _ = self.0.send(Err(why.into()));
    }

    /// Whether the side that asked has gone. If not, the task is woken when that happens.
    pub fn poll_abandoned(&mut self, cx: &mut Context<'_>) -> bool {
        self.0.poll_closed(cx).is_ready()
    }
}

/// The answer to a poll.
#[derive(Debug, Default)]
pub struct Polled {
    /// The packets, as a payload.
    pub packets: Vec<u8>,
    /// What the service's answer to its handshake brings the client, once. Nearly always nothing.
    pub headers: Option<Box<HeaderMap>>,
}
