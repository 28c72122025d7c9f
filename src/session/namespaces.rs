//! The namespaces of one session: connecting, joined, left.

use std::{borrow::Cow, fmt, sync::Arc};

use serde::Deserialize;
use zeroize::Zeroizing;

use crate::{
    policy::identity::Details,
    session::{
        membership::Membership,
        now::{Deadline, Now, later},
        queue::{allocated, allocated_text},
        said_connect::SaidConnect,
        snapshot::{Blob, NamespaceData, TokenData},
    },
    wire::socketio::encode,
};

/// The last CONNECT packets of one session for each of its namespaces have together at most so many times the size of the largest
/// one. All that is kept of CONNECT packets is at most twice that: of a client that has come back there may be two for each.
const CONNECTS_MAX: usize = 4;

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
    connect: SaidConnect,
    /// The client's socket id there. `None` before the first answer.
    socket_id: Option<Box<str>>,
    /// `None` where the service does not recover connections.
    recovery: Option<Box<Recovery>>,
    /// CONNECT was sent again; its answer is awaited.
    asked_again: bool,
    /// Which of the joins of the session this is, by which the client tells another socket from the one that it had.
    join: u32,
    /// Who the client is there.
    login: Login,
    /// What is kept of the token by which it is there. `None`: nothing.
    token: Option<Arc<Details>>,
}

/// Connection state recovery.
#[derive(Default)]
struct Recovery {
    /// The secret by which the service recognizes the session.
    pid: Box<str>,
    /// The offset of the last event that the client got.
    offset: Option<Box<str>>,
    /// The offset of an event whose attachments are still coming.
    offset_to_come: Option<Box<str>>,
}

/// All of it is secret or may be.
impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").finish_non_exhaustive()
    }
}

impl Entry {
    /// `of_user`: what is kept of the token of a user.
    fn save<'a>(&self, name: &str, of_user: impl Fn(u8) -> Option<&'a Arc<Details>>, now: Now) -> NamespaceData {
        let memory = self.memory.as_deref();
        let recovery = memory.and_then(|memory| memory.recovery.as_deref());
        let user = memory.map_or(0, |memory| memory.login.user);
        let token = memory.and_then(|memory| memory.token.as_ref());
        NamespaceData {
            name: name.into(),
            membership: self.membership,
            connect: memory.map(|memory| Blob(memory.connect.last().to_vec().into())).unwrap_or_default(),
            socket_id: memory.and_then(|memory| memory.socket_id.clone()),
            pid: recovery.map(|recovery| recovery.pid.clone()),
            offset: recovery.and_then(|recovery| recovery.offset.clone()),
            join: memory.map_or(0, |memory| memory.join),
            user,
            token: (memory.is_some() && token != of_user(user)).then(|| TokenData::of(token.map(|token| &**token))),
            lives: memory.and_then(|memory| memory.login.expires).map(|expires| expires.left(now)),
        }
    }

    /// `None`: its token is not valid.
    fn load<'a>(saved: NamespaceData, of_user: impl Fn(u8) -> Option<&'a Arc<Details>>, now: Now) -> Option<Self> {
        let NamespaceData { name: _, membership, connect, socket_id, pid, offset, join, user, token, lives } = saved;
        let token = match token {
            Some(token) => token.details()?.shared(),
            None => of_user(user).cloned(),
        };
        let recovery = pid.map(|pid| Box::new(Recovery { pid, offset, offset_to_come: None }));
        let login = Login { user, expires: lives.map(|lives| Deadline::at(now.wall() + lives, now)) };
        let connect = SaidConnect::new(connect.0);
        let memory = Memory { connect, socket_id, recovery, join, login, token, asked_again: false };
        Some(Self { membership, memory: (membership != Membership::Apart).then(|| Box::new(memory)) })
    }
}

impl Recovery {
    fn memory(&self) -> usize {
        let offsets = [&self.offset, &self.offset_to_come].into_iter().flatten();
        let texts = offsets.chain([&self.pid]).map(|text| allocated_text(text));
        allocated(size_of::<Self>()) + texts.sum::<usize>()
    }
}

/// The claims that rules name.
fn claims(token: Option<&Arc<Details>>) -> &[(Arc<str>, Box<str>)] {
    token.map_or(&[], |token| &token.claims)
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
        let memory = Memory { connect: SaidConnect::new(Zeroizing::new(connect.to_vec())), ..Memory::default() };
        let entry = Entry { membership: Membership::Connecting, memory: Some(Box::new(memory)) };
        if name == "/" {
            self.root = entry;
        } else if let Some(free) = self.others.iter_mut().find(|(_, entry)| entry.membership == Membership::Apart) {
            *free = (Box::from(name), entry);
        } else {
            self.others.push((Box::from(name), entry));
        }
    }

    /// The client has come back to a namespace with this JSON in its CONNECT.
    pub(super) fn connects_anew(&mut self, name: &str, connect: &[u8]) {
        let entry = self.number(name).and_then(|number| self.entry_mut(number));
        if let Some(memory) = entry.and_then(|entry| entry.memory.as_mut()) {
            memory.connect.comes_back(connect);
        }
    }

    /// Whether this JSON may be kept for this namespace, where the largest CONNECT has `max`.
    pub(super) fn keeps_connect(&self, name: &str, json: &[u8], max: usize) -> bool {
        let connects = self.entries().filter_map(|entry| entry.memory.as_ref()).map(|memory| &memory.connect);
        let (last, all) =
            connects.fold((0, 0), |(last, all), connect| (last + connect.last().len(), all + connect.len()));
        let memory = self.number(name).and_then(|number| self.entry(number)?.memory.as_ref());
        let (had_last, had_again) = match memory {
            Some(memory) if memory.connect.let_in()[..] == *json => return true,
            Some(memory) => (memory.connect.last().len(), memory.connect.len_again()),
            None => (0, 0),
        };
        let bound = max.saturating_mul(CONNECTS_MAX);
        (last - had_last).saturating_add(json.len()) <= bound
            && (all - had_again).saturating_add(json.len()) <= bound.saturating_mul(2)
    }

    /// What all of it takes in memory, in bytes.
    #[must_use]
    pub fn memory(&self) -> usize {
        let text = |text: &Option<Box<str>>| text.as_deref().map_or(0, allocated_text);
        let of = |memory: &Memory| {
            allocated(size_of::<Memory>())
                + memory.connect.memory()
                + text(&memory.socket_id)
                + memory.recovery.as_deref().map_or(0, Recovery::memory)
                // Those that share it have a part each.
                + memory.token.as_ref().map_or(0, |token| allocated(token.bytes()) / Arc::strong_count(token))
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
        if asked {
            memory.connect.answered();
        }
        let Ok(Joined { sid, pid }) = serde_json::from_slice(answer) else { return asked.then_some(Answered::News) };
        let recovered = memory.socket_id.as_deref() == Some(&*sid);
        if !recovered {
            // Another socket starts its offsets again.
            memory.socket_id = Some(sid.into());
            (memory.recovery, memory.join) = (None, 0);
        }
        memory.recovery = pid.map(|pid| {
            let recovery = memory.recovery.take().unwrap_or_default();
            Box::new(Recovery { pid: pid.into(), ..*recovery })
        });
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
            memory.connect.asked();
            if let Some(recovery) = &mut memory.recovery {
                recovery.offset_to_come = None;
            }
            let mut packet = Vec::new();
            let recovery = memory.recovery.as_deref().map(|recovery| (&*recovery.pid, recovery.offset.as_deref()));
            encode::connect(name, memory.connect.last(), recovery, &mut packet);
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
        encode::connect(name, memory.connect.last(), None, &mut packet);
        Some(packet)
    }

    /// The JSON by which the client was let into the namespace with this number; empty where it said none.
    pub(super) fn auth_of(&self, number: u8) -> &[u8] {
        self.entry(number).and_then(|entry| entry.memory.as_ref()).map_or(&[], |memory| memory.connect.let_in())
    }

    /// Whether the service numbers the events of this namespace, so that it can tell which ones a client has missed.
    #[must_use]
    pub fn numbers_events(&self, name: &str) -> bool {
        let entry = self.number(name).and_then(|number| self.entry(number));
        entry.and_then(|entry| entry.memory.as_ref()).is_some_and(|memory| memory.recovery.is_some())
    }

    /// The offset of the last event that the client got.
    pub fn set_offset(&mut self, name: &str, offset: &str) {
        if let Some(recovery) = self.number(name).and_then(|number| self.recovery(number)) {
            recovery.offset = Some(offset.into());
        }
    }

    /// The offset of an event that the client gets once [all of it](Self::commit_offset) has come.
    pub fn stage_offset(&mut self, name: &str, offset: &str) {
        if let Some(recovery) = self.number(name).and_then(|number| self.recovery(number)) {
            recovery.offset_to_come = Some(offset.into());
        }
    }

    /// All attachments of an event have come.
    pub fn commit_offset(&mut self, number: u8) {
        if let Some(recovery) = self.recovery(number) {
            recovery.offset = recovery.offset_to_come.take().or_else(|| recovery.offset.take());
        }
    }

    fn recovery(&mut self, number: u8) -> Option<&mut Recovery> {
        self.entry_mut(number)?.memory.as_mut()?.recovery.as_deref_mut()
    }

    /// The client's socket id in this namespace; empty before the service has sent it.
    #[must_use]
    pub fn socket_id(&self, name: &str) -> &str {
        let entry = self.number(name).and_then(|number| self.entry(number));
        let memory = entry.and_then(|entry| entry.memory.as_ref());
        memory.and_then(|memory| memory.socket_id.as_deref()).unwrap_or_default()
    }

    /// The client has another socket there than it had, by this join of the session.
    pub fn set_join(&mut self, name: &str, join: u32) {
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

    /// The client is somebody there, by this token.
    pub(super) fn set_login(&mut self, name: &str, login: Login, token: Option<Arc<Details>>) {
        let entry = self.number(name).and_then(|number| self.entry_mut(number));
        if let Some(memory) = entry.and_then(|entry| entry.memory.as_mut()) {
            (memory.login, memory.token) = (login, token);
        }
    }

    /// A token of this user was shown beside the namespaces, which ends then. It takes the place of those by which the client is
    /// in them, where it is good for longer: of one that `is_own`, as the CONNECT of the namespace says, only with the same claims.
    pub(super) fn renew(
        &mut self,
        user: u8,
        (token, ends): (Option<&Arc<Details>>, Option<Deadline>),
        is_own: impl Fn(&[u8]) -> bool,
    ) {
        let all = std::iter::once(&mut self.root).chain(self.others.iter_mut().map(|(_, entry)| entry));
        for memory in all.filter_map(|entry| entry.memory.as_mut()).filter(|memory| memory.login.user == user) {
            let is_longer = later(memory.login.expires, ends) == ends;
            if is_longer && (claims(memory.token.as_ref()) == claims(token) || !is_own(memory.connect.last())) {
                (memory.login.expires, memory.token) = (ends, token.cloned());
            }
        }
    }

    /// What is kept of the token by which the client is in the namespace with this number. `None`: nothing.
    pub(super) fn token(&self, number: u8) -> Option<&Arc<Details>> {
        self.entry(number)?.memory.as_ref()?.token.as_ref()
    }

    /// The same of all namespaces.
    pub(super) fn tokens(&self) -> impl Iterator<Item = &Arc<Details>> {
        self.entries().filter_map(|entry| entry.memory.as_ref()?.token.as_ref())
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
    pub(super) fn save<'a>(&self, of_user: impl Fn(u8) -> Option<&'a Arc<Details>>, now: Now) -> Vec<NamespaceData> {
        let root = std::iter::once(("/", &self.root));
        let others = self.others.iter().map(|(name, entry)| (&**name, entry));
        root.chain(others).map(|(name, entry)| entry.save(name, &of_user, now)).collect()
    }

    /// The namespaces that were [saved](Self::save). `None` if there are none, more than a session may ever have, or one that is not
    /// valid.
    pub(super) fn load<'a>(
        saved: Vec<NamespaceData>,
        of_user: impl Fn(u8) -> Option<&'a Arc<Details>>,
        now: Now,
    ) -> Option<Self> {
        let mut entries = saved.into_iter().map(|saved| Some((saved.name.clone(), Entry::load(saved, &of_user, now)?)));
        let (_, root) = entries.next()??;
        let others = entries.collect::<Option<Vec<_>>>()?;
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
mod tests;
