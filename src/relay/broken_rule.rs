//! The rule that a side broke with its frames.

use crate::{
    session::{ended::Ended, message::Side},
    wire::{json::check::JsonFault, websocket::frame::FrameError},
};

/// The rule that a sender broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrokenRule {
    /// Of RFC 6455.
    Frame(FrameError),
    /// Of JSON, in a message that was passing.
    Json(JsonFault),
}

impl BrokenRule {
    /// Why the session ends.
    #[must_use]
    pub const fn ended(self, by: Side) -> Ended {
        match self {
            Self::Frame(error) => Ended::broken_frame(by, error.close_code()),
            Self::Json(fault) => Ended::ClientPacket(fault.code()),
        }
    }
}

impl From<FrameError> for BrokenRule {
    fn from(error: FrameError) -> Self {
        Self::Frame(error)
    }
}

impl From<JsonFault> for BrokenRule {
    fn from(fault: JsonFault) -> Self {
        Self::Json(fault)
    }
}
