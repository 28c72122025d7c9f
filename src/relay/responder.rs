//! Where an answer goes: to a task of any thread.

use std::task::Context;

use tokio::sync::oneshot;

use crate::wire::engineio::error::EngineError;

/// Answers one question. Dropped unanswered, it says that the session is no more.
#[derive(Debug)]
pub struct Responder<T>(oneshot::Sender<Result<T, EngineError>>);

/// Where an answer is read.
pub type Answered<T> = oneshot::Receiver<Result<T, EngineError>>;

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

    /// Answers with an error.
    pub fn refuse(self, error: EngineError) {
        let _ = self.0.send(Err(error));
    }

    /// Whether the side that asked has gone. If not, the task is woken when that happens.
    pub fn is_abandoned(&mut self, cx: &mut Context<'_>) -> bool {
        self.0.poll_closed(cx).is_ready()
    }
}
