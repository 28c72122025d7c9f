//! What is spoken on each leg of a session.

use std::time::Instant;

use crate::session::{ended::Ended, engineio::EngineIo, hold::HoldRules, json::Json, plain::Plain, socketio::SocketIo};

/// What is spoken with the client.
#[derive(Debug)]
pub(super) enum ClientSpeech {
    /// Socket.IO v5 inside Engine.IO v4.
    EngineIo(EngineIo),
    /// JSON messages, which stand for packets of one namespace.
    Json(Json),
    /// WebSocket messages, as they are.
    Plain,
}

/// What is spoken with the service.
#[derive(Debug)]
pub(super) enum ServiceSpeech {
    /// Socket.IO v5 inside Engine.IO v4.
    SocketIo(SocketIo),
    /// WebSocket messages, as they are.
    Plain(Plain),
}

impl ClientSpeech {
    /// What is known of a client whose service speaks Socket.IO. `None`: it speaks what its service speaks.
    pub(super) const fn of_socketio(&self) -> Option<&EngineIo> {
        match self {
            Self::EngineIo(client) | Self::Json(Json { client, .. }) => Some(client),
            Self::Plain => None,
        }
    }

    /// Since when the client is absent. `None`: it is there.
    pub(super) fn absent_since(&self) -> Option<Instant> {
        self.of_socketio().and_then(EngineIo::absent_since)
    }

    /// When the session has something to do about the client: until it has joined a namespace, while it owes
    /// attachments, and while it is absent.
    pub(super) fn deadlines(&self, hold: &HoldRules) -> [Option<Instant>; 3] {
        let Some(client) = self.of_socketio() else { return [None; 3] };
        [
            client.connect_by(),
            client.attachments.until(),
            client.resume.as_ref().and_then(|resume| resume.deadline(hold)),
        ]
    }
}

impl ServiceSpeech {
    /// When the session has something to do about acks that were lost.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::SocketIo(service) => service.acks.deadline(),
            Self::Plain(_) => None,
        }
    }

    /// When the service is asked for a namespace though it has not answered a ping.
    pub(super) fn pong_by(&self) -> Option<Instant> {
        match self {
            Self::SocketIo(service) => service.parting.deadline(),
            Self::Plain(_) => None,
        }
    }

    /// Whether the client has something to wait for when the service is lost so.
    pub(super) fn holds_after(&self, why: Ended) -> bool {
        match self {
            Self::SocketIo(service) => !service.namespaces.is_empty(),
            Self::Plain(service) => service.holds_after(why),
        }
    }
}
