//! `[[room]]` and `[[mirror]]`, compiled: which events they name, and which rooms.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use super::{
    confirm::Confirm,
    table::{MirrorTable, RoomTable},
    template::{Argument, Template},
};
use crate::{
    event_names::EventSlot,
    fault::{Fault, Faults},
    policy::{event_masks::EventMasks, pattern::Pattern},
    wire::socketio::packet::is_reserved,
};

/// Each client may be in a room of each.
const ROOM_RULES_MAX: usize = 32;
/// A packet of the service is published by each rule that names its event.
const MIRROR_RULES_MAX: usize = 64;

/// In a mask: a `[[room]]` names the event.
const ROOM: u32 = 1;
/// In a mask: a `[[mirror]]` names the event.
const MIRROR: u32 = 2;

/// All `[[room]]` and `[[mirror]]` rules. The default is that of a node without others: no rules, and no rooms.
#[derive(Debug, Default)]
pub struct MirrorRules {
    /// By number.
    pub rooms: Box<[RoomRule]>,
    /// By number.
    pub mirrors: Box<[MirrorRule]>,
    /// Which kinds of rules name an event. Empty where none names any.
    masks: EventMasks,
    has_others: bool,
}

/// A `[[room]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomRule {
    /// The namespace.
    pub namespace: Box<str>,
    /// The name of the room.
    pub name: Template,
    /// How a client gets into it by an event. `None`: each client of the namespace is in it.
    pub by_event: Option<ByEvent>,
}

/// How a client gets into a room by an event, and out of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ByEvent {
    /// The event by which it asks.
    pub join: Pattern,
    /// The event by which it leaves.
    pub leave: Option<Pattern>,
    /// What lets it in.
    pub confirm: Confirm,
}

/// A `[[mirror]]`.
#[derive(Debug)]
pub struct MirrorRule {
    /// The namespace.
    pub namespace: Box<str>,
    /// The event.
    pub event: Pattern,
    /// The room. `None`: the whole namespace.
    pub room: Option<Template>,
    /// Somebody was told that its room cannot be named.
    told: AtomicBool,
}

impl MirrorRules {
    /// Reads the rules.
    ///
    /// # Errors
    /// What is wrong with each of them.
    pub fn compile(rooms: &[RoomTable], mirrors: &[MirrorTable]) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults::default();
        for (key, count, max) in [("room", rooms.len(), ROOM_RULES_MAX), ("mirror", mirrors.len(), MIRROR_RULES_MAX)] {
            if count > max {
                faults.add(key, format!("has {count} rules; at most {max} are allowed"));
            }
        }
        let rooms = faults.keep_all(rooms.iter().enumerate().map(|(at, table)| RoomRule::compile(at, table)));
        let mirrors = faults.keep_all(mirrors.iter().enumerate().map(|(at, table)| MirrorRule::compile(at, table)));
        let rules = rooms.zip(mirrors).map(|(rooms, mirrors): (Vec<RoomRule>, Vec<MirrorRule>)| {
            let name_events = !mirrors.is_empty() || rooms.iter().any(|rule| rule.by_event.is_some());
            let masks = if name_events { EventMasks::new() } else { EventMasks::default() };
            Self { rooms: rooms.into(), mirrors: mirrors.into(), masks, has_others: true }
        });
        faults.finish(rules)
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rooms.is_empty() && self.mirrors.is_empty()
    }

    /// Whether there may be other nodes, so that it matters which client is in which room.
    #[inline]
    #[must_use]
    pub const fn has_others(&self) -> bool {
        self.has_others
    }

    /// The claims that templates name, each once.
    pub fn claims(&self) -> impl Iterator<Item = Arc<str>> {
        let rooms = self.rooms.iter().map(|rule| &rule.name);
        let templates = rooms.chain(self.mirrors.iter().filter_map(|rule| rule.room.as_ref()));
        let mut claims: Vec<_> = templates.flat_map(Template::claims).cloned().collect();
        claims.sort_unstable();
        claims.dedup();
        claims.into_iter()
    }

    /// Whether a `[[room]]` names this event of a client, in any namespace.
    #[inline]
    #[must_use]
    pub fn name_client_event(&self, slot: EventSlot, event: &[u8]) -> bool {
        self.naming(slot, event) & ROOM != 0
    }

    /// Whether a `[[mirror]]` names this event of the service, in any namespace.
    #[inline]
    #[must_use]
    pub fn name_service_event(&self, slot: EventSlot, event: &[u8]) -> bool {
        self.naming(slot, event) & MIRROR != 0
    }

    /// Whether a rule may name an event of either side.
    #[inline]
    #[must_use]
    pub const fn name_events(&self) -> bool {
        !self.masks.is_empty()
    }

    /// The rooms of a namespace in which each client is, with the numbers of their rules.
    pub fn rooms_of_all<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = (usize, &'a RoomRule)> {
        self.rooms_of(namespace).filter(|(_, rule)| rule.by_event.is_none())
    }

    /// The rules by which this event joins a room or leaves one, with their numbers.
    pub fn rooms_by_event<'a>(
        &'a self,
        namespace: &'a str,
    ) -> impl Iterator<Item = (usize, &'a RoomRule, &'a ByEvent)> {
        self.rooms_of(namespace).filter_map(|(at, rule)| Some((at, rule, rule.by_event.as_ref()?)))
    }

    fn rooms_of<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = (usize, &'a RoomRule)> {
        self.rooms.iter().enumerate().filter(move |(_, rule)| *rule.namespace == *namespace)
    }

    /// The rules that publish this event, with their numbers.
    pub fn mirrors_of<'a>(
        &'a self,
        namespace: &'a str,
        event: &'a [u8],
    ) -> impl Iterator<Item = (usize, &'a MirrorRule)> {
        let names = move |(_, rule): &(usize, &MirrorRule)| *rule.namespace == *namespace && rule.event.matches(event);
        self.mirrors.iter().enumerate().filter(names)
    }

    /// Which kinds of rules name this event.
    #[inline]
    fn naming(&self, slot: EventSlot, event: &[u8]) -> u32 {
        self.masks.of(slot, || self.matching(event))
    }

    fn matching(&self, event: &[u8]) -> u32 {
        let by_event = self.rooms.iter().filter_map(|rule| rule.by_event.as_ref()).any(|rule| rule.names(event));
        let mirrored = self.mirrors.iter().any(|rule| rule.event.matches(event));
        (u32::from(by_event) * ROOM) | (u32::from(mirrored) * MIRROR)
    }
}

impl ByEvent {
    fn names(&self, event: &[u8]) -> bool {
        self.join.matches(event) || self.leave.as_ref().is_some_and(|leave| leave.matches(event))
    }
}

impl MirrorRule {
    /// Takes note of an event whose room cannot be named. True: it is the first one.
    #[must_use]
    pub fn is_first_unresolved(&self) -> bool {
        !self.told.swap(true, Relaxed)
    }

    fn compile(at: usize, table: &MirrorTable) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults::default();
        let key = |name: &str| format!("mirror[{at}].{name}");
        let namespace = faults.keep(namespace(&key("namespace"), &table.namespace));
        let event = faults.keep(event(&key("event"), &table.event));
        let room = match table.room.as_str() {
            "*" => Some(None),
            name => faults.keep(checked_room(&key("room"), name, false)).map(Some),
        };
        let rule = || Some(Self { namespace: namespace?, event: event?, room: room?, told: AtomicBool::default() });
        faults.finish(rule())
    }
}

impl RoomRule {
    fn compile(at: usize, table: &RoomTable) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults::default();
        let key = |name: &str| format!("room[{at}].{name}");
        let namespace = faults.keep(namespace(&key("namespace"), &table.namespace));
        let name = faults.keep(room_name(&key("name"), table));
        let join = table.join_on.as_deref().and_then(|text| faults.keep(event(&key("join_on"), text)));
        let leave = table.leave_on.as_deref().and_then(|text| faults.keep(event(&key("leave_on"), text)));
        let confirm = if table.join_on.is_some() {
            faults.keep(confirm(&key, table))
        } else {
            faults.keep(without_join(&key, table));
            None
        };
        let by_event = join.zip(confirm).map(|(join, confirm)| ByEvent { join, leave, confirm });
        let rule = namespace.zip(name).map(|(namespace, name)| Self { namespace, name, by_event });
        faults.finish(rule)
    }
}

fn namespace(key: &str, text: &str) -> Result<Box<str>, Fault> {
    if text.starts_with('/') && !text.contains([',', '*']) {
        return Ok(text.into());
    }
    Err(Fault::new(key, format!("is {text:?}; it must be the name of one namespace, which begins with \"/\"")))
}

fn event(key: &str, text: &str) -> Result<Pattern, Fault> {
    if text.is_empty() {
        return Err(Fault::new(key, "is empty; name the event"));
    }
    let pattern = Pattern::parse(text).map_err(|error| Fault::new(key, error.to_string()))?;
    let message = match &pattern {
        Pattern::Any => "is \"*\"; name the events, for not each of them is meant for a room".to_owned(),
        Pattern::Exact(name) if is_reserved(name.as_bytes()) => {
            format!("is {text:?}, which Socket.IO uses itself; name an event of the application")
        }
        Pattern::Exact(_) | Pattern::Wildcard { .. } => return Ok(pattern),
    };
    Err(Fault::new(key, message))
}

fn template(key: &str, text: &str) -> Result<Template, Fault> {
    Template::parse(text).map_err(|error| Fault::new(key, error.to_string()))
}

/// `in_events`: a client is let in as its event says.
fn checked_room(key: &str, text: &str, in_events: bool) -> Result<Template, Fault> {
    let room = template(key, text)?;
    if !room.may_name_a_socket(in_events) {
        return Ok(room);
    }
    let message = format!(
        "is {text:?}, which a client fills in as it likes, be it with the id of another socket, whose room that is; add a text \
         with a character that no such id has, as \"room:{text}\""
    );
    Err(Fault::new(key, message))
}

fn room_name(key: &str, table: &RoomTable) -> Result<Template, Fault> {
    if table.name == "*" {
        let message = "is \"*\"; all clients of a namespace need no room: leave this table out";
        return Err(Fault::new(key, message));
    }
    let name = checked_room(key, &table.name, table.unconfirmed)?;
    if name.needs_event() && table.join_on.is_none() {
        let message = format!("is {:?}, which an event fills in; name that event in join_on", table.name);
        return Err(Fault::new(key, message));
    }
    Ok(name)
}

/// What lets a client in that asks by an event.
fn confirm(key: &impl Fn(&str) -> String, table: &RoomTable) -> Result<Confirm, Fault> {
    let fault = |name: &str, message: &str| Err(Fault::new(key(name), message));
    let (when, equals) = (table.confirm_when.as_deref(), table.confirm_equals.as_deref());
    match table.confirm.as_deref() {
        Some("ack") if table.unconfirmed => {
            fault("unconfirmed", "is true beside confirm = \"ack\"; leave one of them out")
        }
        Some("ack") => match (when, equals) {
            (None, None) => Ok(Confirm::Ack),
            (Some(_), None) => fault("confirm_equals", "is missing; write what the service says there"),
            (None, Some(_)) => fault("confirm_when", "is missing; write where the service says it, as \"arg0.state\""),
            (Some(when), Some(equals)) => match Argument::parse(when) {
                Some(place) => Ok(Confirm::AckWith(place, equals.into())),
                None => fault("confirm_when", &format!("is {when:?}; it must be argN or argN.NAME, as \"arg0.state\"")),
            },
        },
        Some(other) => fault("confirm", &format!("is {other:?}; it must be \"ack\"")),
        None if when.is_some() || equals.is_some() => {
            let name = if when.is_some() { "confirm_when" } else { "confirm_equals" };
            fault(name, "has no effect without confirm = \"ack\"; add that, or remove this key")
        }
        None if table.unconfirmed => Ok(Confirm::Unasked),
        None => fault(
            "join_on",
            "lets any client into any room for which it asks; add confirm = \"ack\", or unconfirmed = true where all may read \
             all of it",
        ),
    }
}

/// Keys that need an event.
fn without_join(key: &impl Fn(&str) -> String, table: &RoomTable) -> Result<(), Vec<Fault>> {
    let mut faults = Faults::default();
    let written = [
        ("leave_on", table.leave_on.is_some()),
        ("confirm", table.confirm.is_some()),
        ("confirm_when", table.confirm_when.is_some()),
        ("confirm_equals", table.confirm_equals.is_some()),
        ("unconfirmed", table.unconfirmed),
    ];
    for (name, _) in written.iter().filter(|(_, is_written)| *is_written) {
        faults.add(key(name), "has no effect without join_on; name the event there, or remove this key");
    }
    faults.finish(Some(()))
}

#[cfg(test)]
mod tests;
