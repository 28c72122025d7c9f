//! The namespaces of one session: connecting, joined, left.

use std::{borrow::Cow, fmt};

use serde::Deserialize;
use zeroize::Zeroizing;

use crate::{
    session::{
        membership::Membership,
        now::{Deadline, Now},
        queue::{allocated, allocated_text},
        snapshot::{Blob, NamespaceData},
    },
    wire::socketio::encode,
};

/// The namespaces of one session. Nearly every session has `/` alone, which therefore owns little memory.
#[derive(Debug, Default)]
pub struct Namespaces {
    root: Entry,
    others: Vec<(Box<str>, Entry)>,
}

#[derive(Debug, Default)]
struct Entry {
    membership: Membership,
    memory: Option<Box<Memory>>,
}

/// Who is in a namespace, and until when.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Login {
    /// The number of the user.
    pub(super) user: u8,
    /// When the token expires that opened the namespace, or one that was shown for it since. `None`: never.
    pub(super) expires: Option<Deadline>,
}

/// What is needed to join a namespace again, at a service that does not know the session.
#[derive(Default)]
struct Memory {
    /// The JSON of the client's CONNECT, which may hold its token.
    connect: Zeroizing<Vec<u8>>,
    /// The client's socket id there. `None` before the first answer.
    socket_id: Option<Box<str>>,
    /// Connection state recovery: the secret by which the service recognizes the session, ...
    pid: Option<Box<str>>,
    /// ... and the offset of the last event that the client got.
    offset: Option<Box<str>>,
    /// The offset of an event whose attachments are still coming.
    offset_to_come: Option<Box<str>>,
    /// CONNECT was sent again; its answer is awaited.
    asked_again: bool,
    /// Which of the joins of the session this is, by which the client tells another socket from the one that it had.
    join: u32,
    /// Who the client is there.
    login: Login,
}

/// All of it is secret or may be.
impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").finish_non_exhaustive()
    }
}

impl Entry {
    fn save(&self, name: &str, now: Now) -> NamespaceData {
        let memory = self.memory.as_deref();
        NamespaceData {
            name: name.into(),
            membership: self.membership,
            connect: memory.map(|memory| Blob(memory.connect.clone())).unwrap_or_default(),
            socket_id: memory.and_then(|memory| memory.socket_id.clone()),
            pid: memory.and_then(|memory| memory.pid.clone()),
            offset: memory.and_then(|memory| memory.offset.clone()),
            join: memory.map_or(0, |memory| memory.join),
            user: memory.map_or(0, |memory| memory.login.user),
            lives: memory.and_then(|memory| memory.login.expires).map(|expires| expires.left(now)),
        }
    }

    fn load(saved: NamespaceData, now: Now) -> Self {
        let NamespaceData { name: _, membership, connect, socket_id, pid, offset, join, user, lives } = saved;
        let login = Login { user, expires: lives.map(|lives| Deadline::at(now.wall() + lives, now)) };
        let memory = Memory { connect: connect.0, socket_id, pid, offset, join, login, ..Memory::default() };
        Self { membership, memory: (membership != Membership::Apart).then(|| Box::new(memory)) }
    }
}

/// What the service's answer to CONNECT means for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answered {
    /// The client has joined, or has another socket id than before: it must get this answer.
    News,
    /// The service still knows the session: nothing changes for the client.
    Recovered,
}

/// The JSON of the service's CONNECT (socket.io-protocol v5; `pid` with connection state recovery).
#[derive(Deserialize)]
struct Joined<'a> {
    #[serde(borrow)]
    sid: Cow<'a, str>,
    #[serde(borrow, default)]
    pid: Option<Cow<'a, str>>,
}

impl Namespaces {
    /// The number and the membership of a namespace. `None` if the session is apart from it.
    #[must_use]
    #[inline]
    pub fn find(&self, name: &str) -> Option<(u8, Membership)> {
        if name == "/" {
            let membership = self.root.membership;
            return (membership != Membership::Apart).then_some((0, membership));
        }
        let number = self.number(name)?;
        Some((number, self.entry(number)?.membership))
    }

    /// Whether no other namespace can be joined where a session may have so many at once. A place for `/` is always there.
    #[must_use]
    pub fn is_full(&self, max: usize) -> bool {
        let others = self.others.iter().filter(|(_, entry)| entry.membership != Membership::Apart).count();
        others + 1 >= max
    }

    /// A CONNECT passes, with this JSON or none.
    pub fn connecting(&mut self, name: &str, connect: &[u8]) {
        let memory = Memory { connect: Zeroizing::new(connect.to_vec()), ..Memory::default() };
        let entry = Entry { membership: Membership::Connecting, memory: Some(Box::new(memory)) };
        if name == "/" {
            self.root = entry;
        } else if let Some(free) = self.others.iter_mut().find(|(_, entry)| entry.membership == Membership::Apart) {
            *free = (Box::from(name), entry);
        } else {
            self.others.push((Box::from(name), entry));
        }
    }

    /// The bytes of JSON that are kept of CONNECT packets.
    #[must_use]
    pub fn connect_bytes(&self) -> usize {
        self.entries().filter_map(|entry| entry.memory.as_ref()).map(|memory| memory.connect.len()).sum()
    }

    /// What all of it takes in memory, in bytes.
    #[must_use]
    pub fn memory(&self) -> usize {
        let text = |text: &Option<Box<str>>| text.as_deref().map_or(0, allocated_text);
        let of = |memory: &Memory| {
            let texts = [&memory.socket_id, &memory.pid, &memory.offset, &memory.offset_to_come];
            allocated(size_of::<Memory>())
                + allocated(memory.connect.capacity())
                + texts.map(text).iter().sum::<usize>()
        };
        let entries = self.entries().filter_map(|entry| entry.memory.as_deref()).map(of).sum::<usize>();
        let names = self.others.iter().map(|(name, _)| allocated_text(name)).sum::<usize>();
        entries + names + allocated(self.others.capacity() * size_of::<(Box<str>, Entry)>())
    }

    /// The service accepted, with this JSON. `None`: no answer was awaited, and it says nothing new.
    pub fn joined(&mut self, name: &str, answer: &[u8]) -> Option<Answered> {
        let number = self.number(name)?;
        let entry = self.entry_mut(number)?;
        let memory = entry.memory.as_mut()?;
        let asked = std::mem::take(&mut memory.asked_again) || entry.membership == Membership::Connecting;
        entry.membership = Membership::Joined;
        let Ok(Joined { sid, pid }) = serde_json::from_slice(answer) else { return asked.then_some(Answered::News) };
        let recovered = memory.socket_id.as_deref() == Some(&*sid);
        if !recovered {
            // Another socket starts its offsets again.
            let (connect, login) = (std::mem::take(&mut memory.connect), memory.login);
            *memory.as_mut() = Memory { connect, login, ..Memory::default() };
            memory.socket_id = Some(sid.into());
        }
        memory.pid = pid.map(Into::into);
        // Of a client that has left and asked again before the first answer came, the second answer makes another socket.
        if recovered { asked.then_some(Answered::Recovered) } else { Some(Answered::News) }
    }

    /// The namespace was refused, or left by either side: the number and the membership it had.
    pub fn left(&mut self, name: &str) -> Option<(u8, Membership)> {
        let number = self.number(name)?;
        let entry = std::mem::take(self.entry_mut(number)?);
        Some((number, entry.membership))
    }

    /// The service no longer knows the session: the CONNECT packets to send to it, in the order of joining.
    pub fn ask_again(&mut self) -> Vec<Vec<u8>> {
        let root = std::iter::once(("/", &mut self.root));
        let others = self.others.iter_mut().map(|(name, entry)| (&**name, entry));
        let entries = root.chain(others).filter(|(_, entry)| entry.membership != Membership::Apart);
        let mut packets = Vec::new();
        for (name, memory) in entries.filter_map(|(name, entry)| Some((name, entry.memory.as_mut()?))) {
            memory.asked_again = true;
            memory.offset_to_come = None;
            let mut packet = Vec::new();
            let recovery = memory.pid.as_deref().map(|pid| (pid, memory.offset.as_deref()));
            encode::connect(name, &memory.connect, recovery, &mut packet);
            packets.push(packet);
        }
        packets
    }

    /// Whether every CONNECT that was sent again has been answered.
    #[must_use]
    pub fn all_answered(&self) -> bool {
        !self.entries().any(|entry| entry.memory.as_ref().is_some_and(|memory| memory.asked_again))
    }

    /// Whether the service has let the client into this namespace, by this connection.
    pub(super) fn is_answered(&self, name: &str) -> bool {
        let entry = self.number(name).and_then(|number| self.entry(number));
        let is_joined = |entry: &&Entry| entry.membership == Membership::Joined;
        entry.filter(is_joined).and_then(|entry| entry.memory.as_ref()).is_some_and(|memory| !memory.asked_again)
    }

    /// The CONNECT by which the client has asked for this namespace.
    pub(super) fn connect_of(&self, name: &str) -> Option<Vec<u8>> {
        let memory = self.entry(self.number(name)?)?.memory.as_ref()?;
        let mut packet = Vec::new();
        encode::connect(name, &memory.connect, None, &mut packet);
        Some(packet)
    }

    /// The JSON that the client has said to join the namespace with this number; empty where it said none.
    pub(super) fn auth_of(&self, number: u8) -> &[u8] {
        self.entry(number).and_then(|entry| entry.memory.as_ref()).map_or(&[], |memory| &memory.connect)
    }

    /// Whether the service numbers the events of this namespace, so that it can tell which ones a client has missed.
    #[must_use]
    pub fn numbers_events(&self, name: &str) -> bool {
        let entry = self.number(name).and_then(|number| self.entry(number));
        entry.and_then(|entry| entry.memory.as_ref()).is_some_and(|memory| memory.pid.is_some())
    }

    /// The offset of the last event that the client got.
    pub fn got(&mut self, name: &str, offset: &str) {
        let entry = self.number(name).and_then(|number| self.entry_mut(number));
        if let Some(memory) = entry.and_then(|entry| entry.memory.as_mut()) {
            memory.offset = Some(offset.into());
        }
    }

    /// The offset of an event that the client gets once [all of it](Self::got_whole) has come.
    pub fn gets(&mut self, name: &str, offset: &str) {
        let entry = self.number(name).and_then(|number| self.entry_mut(number));
        if let Some(memory) = entry.and_then(|entry| entry.memory.as_mut()) {
            memory.offset_to_come = Some(offset.into());
        }
    }

    /// All attachments of an event have come.
    pub fn got_whole(&mut self, number: u8) {
        if let Some(memory) = self.entry_mut(number).and_then(|entry| entry.memory.as_mut()) {
            memory.offset = memory.offset_to_come.take().or_else(|| memory.offset.take());
        }
    }

    /// The client's socket id in this namespace; empty before the service has sent it.
    #[must_use]
    pub fn socket_id(&self, name: &str) -> &str {
        let entry = self.number(name).and_then(|number| self.entry(number));
        let memory = entry.and_then(|entry| entry.memory.as_ref());
        memory.and_then(|memory| memory.socket_id.as_deref()).unwrap_or_default()
    }

    /// The client has another socket there than it had, by this join of the session.
    pub fn joins(&mut self, name: &str, join: u32) {
        let entry = self.number(name).and_then(|number| self.entry_mut(number));
        if let Some(memory) = entry.and_then(|entry| entry.memory.as_mut()) {
            memory.join = join;
        }
    }

    /// The join by which the client has the socket that it has there.
    #[must_use]
    pub fn join_of(&self, name: &str) -> u32 {
        let entry = self.number(name).and_then(|number| self.entry(number));
        entry.and_then(|entry| entry.memory.as_ref()).map_or(0, |memory| memory.join)
    }

    /// The client is somebody there.
    pub(super) fn set_login(&mut self, name: &str, login: Login) {
        let entry = self.number(name).and_then(|number| self.entry_mut(number));
        if let Some(memory) = entry.and_then(|entry| entry.memory.as_mut()) {
            memory.login = login;
        }
    }

    /// Who the client is in the namespace with this number.
    pub(super) fn login(&self, number: u8) -> Login {
        let memory = self.entry(number).and_then(|entry| entry.memory.as_ref());
        memory.map(|memory| memory.login).unwrap_or_default()
    }

    /// Who the client is in each namespace that it is in or has asked for, by number.
    pub(super) fn logins(&self) -> impl Iterator<Item = (u8, Login)> {
        let all = (0..=u8::MAX).zip(self.entries()).filter(|(_, entry)| entry.membership != Membership::Apart);
        all.filter_map(|(number, entry)| Some((number, entry.memory.as_ref()?.login)))
    }

    /// The same, to be changed.
    pub(super) fn logins_mut(&mut self) -> impl Iterator<Item = &mut Login> {
        let all = std::iter::once(&mut self.root).chain(self.others.iter_mut().map(|(_, entry)| entry));
        let joined = all.filter(|entry| entry.membership != Membership::Apart);
        joined.filter_map(|entry| Some(&mut entry.memory.as_mut()?.login))
    }

    /// The numbers of the namespaces with this membership.
    pub fn numbers(&self, membership: Membership) -> impl Iterator<Item = u8> {
        let numbered = (0..=u8::MAX).zip(self.entries());
        numbered.filter(move |(_, entry)| entry.membership == membership).map(|(number, _)| number)
    }

    /// The names of those that the client has asked for and has had no answer about.
    pub(super) fn asked_for(&self) -> Vec<String> {
        self.numbers(Membership::Connecting).filter_map(|number| self.name(number)).map(str::to_owned).collect()
    }

    /// The name of the namespace with this number.
    #[must_use]
    pub fn name(&self, number: u8) -> Option<&str> {
        match usize::from(number).checked_sub(1) {
            None => Some("/"),
            Some(at) => self.others.get(at).map(|(name, _)| &**name),
        }
    }

    /// Whether no namespace is connecting or joined.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries().all(|entry| entry.membership == Membership::Apart)
    }

    /// The names of the joined namespaces.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let root = (self.root.membership == Membership::Joined).then_some("/");
        let others = self.others.iter().filter(|(_, entry)| entry.membership == Membership::Joined);
        root.into_iter().chain(others.map(|(name, _)| &**name))
    }

    /// As plain data, by number.
    pub(super) fn save(&self, now: Now) -> Vec<NamespaceData> {
        let root = std::iter::once(("/", &self.root));
        let others = self.others.iter().map(|(name, entry)| (&**name, entry));
        root.chain(others).map(|(name, entry)| entry.save(name, now)).collect()
    }

    /// The namespaces that were [saved](Self::save). `None` if there are none, or more than a session may ever have.
    pub(super) fn load(saved: Vec<NamespaceData>, now: Now) -> Option<Self> {
        let mut entries = saved.into_iter().map(|saved| (saved.name.clone(), Entry::load(saved, now)));
        let (_, root) = entries.next()?;
        let others: Vec<_> = entries.collect();
        (others.len() < usize::from(u8::MAX)).then_some(Self { root, others })
    }

    fn number(&self, name: &str) -> Option<u8> {
        if name == "/" {
            return (self.root.membership != Membership::Apart).then_some(0);
        }
        let is_it = |(other, entry): &(Box<str>, Entry)| entry.membership != Membership::Apart && **other == *name;
        u8::try_from(self.others.iter().position(is_it)? + 1).ok()
    }

    fn entry(&self, number: u8) -> Option<&Entry> {
        match usize::from(number).checked_sub(1) {
            None => Some(&self.root),
            Some(at) => self.others.get(at).map(|(_, entry)| entry),
        }
    }

    fn entry_mut(&mut self, number: u8) -> Option<&mut Entry> {
        match usize::from(number).checked_sub(1) {
            None => Some(&mut self.root),
            Some(at) => self.others.get_mut(at).map(|(_, entry)| entry),
        }
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        std::iter::once(&self.root).chain(self.others.iter().map(|(_, entry)| entry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(namespaces: &mut Namespaces, name: &str, sid: &str) -> Option<Answered> {
        namespaces.joined(name, format!(r#"{{"sid":"{sid}"}}"#).as_bytes())
    }

    #[test]
    fn a_namespace_is_connected_joined_and_left() {
        let mut namespaces = Namespaces::default();
        assert!(namespaces.is_empty());
        for name in ["/", "/chat"] {
            namespaces.connecting(name, b"");
            assert_eq!(namespaces.find(name).map(|(_, m)| m), Some(Membership::Connecting));
            assert_eq!(joined(&mut namespaces, name, "a"), Some(Answered::News));
            assert_eq!(joined(&mut namespaces, name, "a"), None, "no second answer is awaited");
        }
        assert_eq!(namespaces.names().collect::<Vec<_>>(), ["/", "/chat"]);
        assert_eq!((namespaces.name(0), namespaces.name(1)), (Some("/"), Some("/chat")));
        assert_eq!(namespaces.left("/chat"), Some((1, Membership::Joined)));
        assert_eq!(namespaces.find("/chat"), None);
        assert_eq!(namespaces.left("/chat"), None);
        assert_eq!(namespaces.left("/"), Some((0, Membership::Joined)));
        assert!(namespaces.is_empty());
    }

    #[test]
    fn namespaces_are_bounded_and_their_numbers_are_reused() {
        let mut namespaces = Namespaces::default();
        for i in 1..5 {
            assert!(!namespaces.is_full(5), "there is room for /{i}, and for / beside it");
            namespaces.connecting(&format!("/{i}"), b"");
        }
        assert!(namespaces.is_full(5) && !namespaces.is_full(6));
        assert_eq!(namespaces.left("/3"), Some((3, Membership::Connecting)));
        assert!(!namespaces.is_full(5));
        namespaces.connecting("/now-it-fits", b"");
        assert_eq!(namespaces.find("/now-it-fits").map(|(number, _)| number), Some(3));
    }

    #[test]
    fn another_service_gets_the_connect_packets_of_the_client_again() {
        let mut namespaces = Namespaces::default();
        namespaces.connecting("/", br#"{"token":"t"}"#);
        namespaces.connecting("/chat", b"");
        assert!(namespaces.all_answered(), "the first CONNECT is the client's own");
        joined(&mut namespaces, "/", "a");
        namespaces.joined("/chat", br#"{"sid":"b","pid":"p"}"#);
        assert!(namespaces.numbers_events("/chat") && !namespaces.numbers_events("/"));
        namespaces.got("/chat", "7-0");

        let packets = namespaces.ask_again();

        let packets: Vec<_> = packets.iter().map(|packet| String::from_utf8_lossy(packet)).collect();
        assert_eq!(packets, [r#"40{"token":"t"}"#, r#"40/chat,{"pid":"p","offset":"7-0"}"#]);
        assert!(!namespaces.all_answered());
        assert_eq!(namespaces.names().count(), 2, "the client stays in both");
        assert_eq!(joined(&mut namespaces, "/", "other"), Some(Answered::News));
        assert_eq!(namespaces.joined("/chat", br#"{"sid":"b","pid":"p"}"#), Some(Answered::Recovered));
        assert!(namespaces.all_answered());
    }
}
