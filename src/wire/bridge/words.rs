//! The members and names that messages of a bridged route have beside those of events.

/// The member with the id of an ack.
pub(super) const ACK_ID: &str = "ackId";

/// The member with the arguments of an event or ack, where they are not one object.
pub(super) const ARGS: &str = "args";

/// What stands in place of an event's name in a message that is an ack.
pub(super) const ACK: &str = "ack";
