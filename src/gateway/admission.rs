//! What a connection may use: its place among the open ones, and descriptors for itself and for the service behind it.

use std::net::IpAddr;

use crate::{
    gateway::edge::Edge,
    policy::{
        connections::Permit,
        descriptors::{PER_CLIENT, SetAside},
        verdict::Refusal,
    },
};

/// What one connection may use until a session takes it over.
#[derive(Debug)]
pub(super) struct Admission {
    /// `Ok(None)`: each session is counted by itself, or one has taken the permit over.
    pub(super) permit: Result<Option<Permit>, Refusal>,
    /// Where the permit does not hold them.
    descriptors: Option<SetAside>,
}

impl Admission {
    /// Of a connection from `ip`. `by_request`: many clients share it, so it needs only descriptors.
    ///
    /// # Errors
    /// The limit that it is over.
    pub(super) fn of(edge: &Edge, ip: IpAddr, by_request: bool) -> Result<Self, Refusal> {
        if !by_request {
            return Ok(Self { permit: Ok(Some(edge.admit(ip)?)), descriptors: None });
        }
        Ok(Self { permit: Ok(None), descriptors: Some(edge.descriptors.set_aside(PER_CLIENT)?) })
    }

    /// Of a connection that is over a limit, and hears so.
    pub(super) const fn refused(refusal: Refusal) -> Self {
        Self { permit: Err(refusal), descriptors: None }
    }

    /// The permit of a session over this connection, or one of its own from `address`.
    ///
    /// # Errors
    /// Why there is no room.
    pub(super) fn take(&mut self, edge: &Edge, address: IpAddr) -> Result<Option<Permit>, Refusal> {
        match std::mem::replace(&mut self.permit, Ok(None)) {
            Ok(None) if self.descriptors.is_none() => edge.admit(address).map(Some),
            Ok(None) => {
                let permit = edge.connections.admit(address)?;
                Ok(Some(match self.descriptors.take() {
                    Some(descriptors) => permit.with(descriptors),
                    None => permit,
                }))
            }
            taken => taken,
        }
    }
}
