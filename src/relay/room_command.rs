//! A command of another node, or of another program, for the clients of a room.

use std::sync::Arc;

use crate::session::delivery::Delivery;

/// What a command costs beside its texts and its event, in bytes.
const OVERHEAD_BYTES: usize = 256;

/// What a text costs beside its bytes.
const TEXT_BYTES: usize = 40;

/// Clients of one namespace: those in any of `rooms`, or all where there are none, but for those in any room of `except`. Each
/// socket is in a room of its own, whose name is its socket id.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    /// The namespace.
    pub namespace: Box<str>,
    /// The rooms.
    pub rooms: Vec<Box<str>>,
    /// The rooms whose clients are left out.
    pub except: Vec<Box<str>>,
}

/// What is to be done with the clients of a selection. Shared by all workers.
#[derive(Debug, Clone)]
pub enum RoomCommand {
    /// Say an event to them.
    Deliver(Selection, Arc<Delivery>),
    /// Put them into these rooms.
    Join(Selection, Vec<Box<str>>),
    /// Take them out of these rooms.
    Leave(Selection, Vec<Box<str>>),
    /// Put them out of the namespace; with `true`, close their connections.
    Disconnect(Selection, bool),
}

impl Selection {
    /// What it costs where it waits, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        OVERHEAD_BYTES + self.namespace.len() + texts(&self.rooms) + texts(&self.except)
    }
}

impl RoomCommand {
    /// What it costs on its way to a worker, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Deliver(selection, delivery) => selection.bytes() + delivery.bytes(),
            Self::Join(selection, rooms) | Self::Leave(selection, rooms) => selection.bytes() + texts(rooms),
            Self::Disconnect(selection, _) => selection.bytes(),
        }
    }

    /// Whose clients they are.
    #[must_use]
    pub const fn selection(&self) -> &Selection {
        match self {
            Self::Deliver(selection, _)
            | Self::Join(selection, _)
            | Self::Leave(selection, _)
            | Self::Disconnect(selection, _) => selection,
        }
    }
}

fn texts(texts: &[Box<str>]) -> usize {
    texts.iter().map(|text| text.len() + TEXT_BYTES).sum()
}
