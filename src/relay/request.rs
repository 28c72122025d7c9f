//! What comes to a session beside the frames of its legs: requests of its client, and connections from elsewhere.

use bytes::Bytes;

use crate::{
    policy::{connections::Permit, sid_owner::SidOwner},
    relay::{
        client_leg::ClientLeg,
        dial::PackedRequest,
        responder::{Polled, Rejection, Responder},
        stream::ClientStream,
    },
    session::question::{Answer, Claim, Returning},
};

/// What a session costs its mailbox beside the bytes of a payload.
const OVERHEAD_BYTES: usize = 256;

/// A request to a session. It is plain data but for the place of its answer, so that it can come from another thread or, in
/// time, another node.
#[derive(Debug)]
pub enum SessionRequest {
    /// A GET that waits for packets: answered with a payload.
    Poll(Responder<Polled>),
    /// A POST with a payload: answered once its last packet has been judged.
    Payload(Bytes, Responder<()>),
    /// May this client go on over a websocket?
    Upgrade(Responder<Upgrade>),
    /// Does the session take a client back?
    Claim(Claim, Responder<Answer>),
}

/// An open connection that goes to a session of this process, on whichever thread.
#[derive(Debug)]
pub enum Transfer {
    /// The polling client goes on over this websocket.
    Websocket {
        /// The connection.
        io: ClientStream,
        /// What was read of it already.
        read_ahead: Bytes,
        /// The client wants binary messages as base64 in text.
        base64: bool,
    },
    /// The client is back with this connection.
    Attach(Box<Attachment>),
}

/// A client's connection, and what it takes to go on with it.
#[derive(Debug)]
pub struct Attachment {
    /// The connection.
    pub leg: ClientLeg,
    /// Whom its sid was given to. `None`: no request brings that sid.
    pub owner: Option<Box<SidOwner>>,
    /// Its place among the open connections.
    pub permit: Option<Permit>,
    /// What the client claims.
    pub returning: Returning,
    /// What the service hears of this connection when it is dialled. `None`: what it heard of the one before.
    pub request: Option<PackedRequest>,
}

/// What waits in the mailbox of a session.
#[derive(Debug)]
pub enum Incoming {
    /// A request.
    Request(SessionRequest),
    /// A connection.
    Transfer(Transfer),
}

/// The answer to an upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upgrade {
    /// Its probe is awaited.
    Probe,
    /// The session has a websocket, or one that is being probed: this one is to be closed, as engine.io does.
    Close,
}

impl Incoming {
    /// What it adds to a mailbox, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Request(SessionRequest::Payload(body, _)) => OVERHEAD_BYTES + body.len(),
            Self::Transfer(Transfer::Websocket { read_ahead, .. }) => OVERHEAD_BYTES + read_ahead.len(),
            Self::Transfer(Transfer::Attach(attachment)) => {
                let request = attachment.request.as_ref().map_or(0, PackedRequest::memory);
                OVERHEAD_BYTES + attachment.returning.connect.len() + request
            }
            Self::Request(_) => OVERHEAD_BYTES,
        }
    }

    /// Whether a polling client goes over to a websocket by it.
    #[must_use]
    pub const fn upgrades(&self) -> bool {
        matches!(self, Self::Request(SessionRequest::Upgrade(_)) | Self::Transfer(Transfer::Websocket { .. }))
    }

    /// Refuses it. A connection is closed.
    pub fn refuse(self, why: impl Into<Rejection>) {
        match self {
            Self::Request(SessionRequest::Poll(responder)) => responder.refuse(why),
            Self::Request(SessionRequest::Payload(_, responder)) => responder.refuse(why),
            Self::Request(SessionRequest::Upgrade(responder)) => responder.refuse(why),
            Self::Request(SessionRequest::Claim(_, responder)) => responder.refuse(why),
            Self::Transfer(_) => {}
        }
    }
}

impl From<SessionRequest> for Incoming {
    fn from(request: SessionRequest) -> Self {
        Self::Request(request)
    }
}

impl From<Transfer> for Incoming {
    fn from(transfer: Transfer) -> Self {
        Self::Transfer(transfer)
    }
}
