//! `[[room]]` and `[[mirror]]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[[room]]`: which clients are in a room of this name. It has an effect only with `[redis]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RoomTable {
    /// The namespace.
    pub namespace: String,
    /// The name of the room. It may contain placeholders. `{claims.NAME}` is a claim of the verified token by which the client is
    /// in the namespace. `{auth.NAME}` is what the client says in CONNECT; nobody has verified it. `{arg0.NAME}` is a member of the
    /// first argument of the event of `join_on`. Each stands for a string, an integer or a boolean. Where one has no value, the
    /// client is not in the room. Write `{{` and `}}` for braces.
    #[schemars(example = &"user:{claims.sub}")]
    pub name: String,
    /// The event of a client that asks to be in the room: a name, or a pattern with `*`. Without it, every client of the
    /// namespace is in it as soon as the service has let it in.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"lesson:join")]
    pub join_on: Option<String>,
    /// The event by which a client leaves the room. One that does not say which room leaves all that `join_on` has brought
    /// the client into.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"lesson:leave")]
    pub leave_on: Option<String>,
    /// What confirms the join: `"ack"`, the service's ack of that very event. It refuses with `false`; a string other than `ok`,
    /// `success` or `joined`; or an object with an `error` that is neither `null` nor `false`, with `ok`, `success` or `joined` that
    /// is `false`, or with a `status` that is a string and none of those three. An event without an ack joins nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"ack")]
    pub confirm: Option<String>,
    /// Where the service says in its ack whether it has let the client in, and in `confirm_equals` what it says then: only that
    /// confirms the join.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"arg0.state")]
    pub confirm_when: Option<String>,
    /// See `confirm_when`. A string as it is, an integer or a boolean as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"entered")]
    pub confirm_equals: Option<String>,
    /// Whether a client is in the room without a confirmation, merely because it asks. Then any client can read everything that
    /// is sent to rooms of this name.
    pub unconfirmed: bool,
}

impl Default for RoomTable {
    fn default() -> Self {
        Self {
            namespace: "/".to_owned(),
            name: String::new(),
            join_on: None,
            leave_on: None,
            confirm: None,
            confirm_when: None,
            confirm_equals: None,
            unconfirmed: false,
        }
    }
}

/// `[[mirror]]`: an event of the service that the clients of other nodes shall get too. It has an effect only with `[redis]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MirrorTable {
    /// The namespace.
    pub namespace: String,
    /// The event: a name, or a pattern with `*`. One that the service broadcasts to a room or to all; if it says the event to one
    /// client alone, the clients of other nodes that are in the room get that too. Where two rules name one event, both publish
    /// it.
    #[schemars(example = &"tutor:message")]
    pub event: String,
    /// The room whose clients get it, as a `[[room]]` names it, or `"*"`: all clients of the namespace. `{argN.NAME}` is of the
    /// event; `{claims.NAME}` and `{auth.NAME}` of the client that the service says it to. Where one of them stands for nothing,
    /// the event is not published.
    #[schemars(example = &"user:{claims.sub}")]
    pub room: String,
}

impl Default for MirrorTable {
    fn default() -> Self {
        Self { namespace: "/".to_owned(), event: String::new(), room: String::new() }
    }
}
