//! Who asks for a `[[websocket]]` route.

use crate::{
    gateway::peer::Peer,
    policy::{connections::Permit, identity::Identity, token_source::Token},
    wire::websocket::handshake::Upgrade,
};

/// A client whose handshake is good, and whose user is known.
pub(super) struct AdmittedClient {
    pub(super) offer: Upgrade,
    pub(super) token: Option<Token>,
    pub(super) identity: Identity,
    pub(super) peer: Peer,
    pub(super) permit: Option<Permit>,
}
