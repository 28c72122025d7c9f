//! Tracks namespaces that the session has left and the service perhaps not yet; they are joined again only afterwards.
//!
//! socket.io closes a connection, and with it every other namespace, on a DISCONNECT for a namespace that it has not let the
//! client into, and on a CONNECT for one that it is about to leave: it handles a DISCONNECT a tick after it has read it, and
//! reads what comes together in one tick (`Client.ondecoded` in socket.io, `allowSynchronousEvents` in ws). A WebSocket
//! ping behind the DISCONNECT is answered (RFC 6455 §5.5.2) when that has been read, and what comes behind the answer is read
//! in a later tick.

use std::time::{Duration, Instant};

use crate::session::queue::{allocated, allocated_text};

/// A service that does not answer pings is asked for the namespace after this.
const ANSWERED_WITHIN: Duration = Duration::from_secs(2);

/// So many namespaces are remembered whose CONNECT the service has not answered.
const UNANSWERED_MAX: usize = 64;

/// Nothing in sessions that have left no namespace.
#[derive(Debug, Default)]
pub(super) struct Parting(Option<Box<State>>);

#[derive(Debug, Default)]
struct State {
    /// Namespaces that were left before the service had answered their CONNECT: DISCONNECT is yet to be said.
    unanswered: Vec<Box<str>>,
    /// Namespaces that the client has asked for, and the service has not been.
    held: Vec<Box<str>>,
    /// How often DISCONNECT was said.
    said: u32,
    /// How many of them the service has read.
    read: u32,
    /// Until when the answer to a ping is awaited. `None`: no ping is under way.
    until: Option<Instant>,
}

impl Parting {
    fn state(&mut self) -> &mut State {
        self.0.get_or_insert_default()
    }

    /// What it takes in memory, in bytes.
    pub(super) fn memory(&self) -> usize {
        let Some(state) = &self.0 else { return 0 };
        let names = [&state.unanswered, &state.held];
        let lists = names.map(|list| allocated(list.capacity() * size_of::<Box<str>>()));
        let texts = names.into_iter().flatten().map(|name| allocated_text(name));
        allocated(size_of::<State>()) + lists.into_iter().chain(texts).sum::<usize>()
    }

    /// The connection to the service is another one.
    pub(super) fn forget(&mut self) {
        self.0 = None;
    }

    /// DISCONNECT is said.
    pub(super) fn count_disconnect(&mut self) {
        let state = self.state();
        state.said = state.said.wrapping_add(1);
    }

    /// The client leaves a namespace. Whether DISCONNECT is to be said for it now. `answered`: the service has answered its
    /// CONNECT.
    pub(super) fn leave(&mut self, namespace: &str, answered: bool) -> bool {
        if let Some(state) = &mut self.0
            && let Some(at) = state.held.iter().position(|held| **held == *namespace)
        {
            state.held.remove(at);
            return false;
        }
        if answered || self.state().unanswered.len() >= UNANSWERED_MAX {
            return true;
        }
        self.state().unanswered.push(namespace.into());
        false
    }

    /// The service answers a CONNECT. True: the client has left the namespace meanwhile, and this answer is not for it.
    pub(super) fn answered(&mut self, namespace: &str) -> bool {
        let Some(state) = &mut self.0 else { return false };
        let at = state.unanswered.iter().position(|left| **left == *namespace);
        at.map(|at| state.unanswered.remove(at)).is_some()
    }

    /// The client asks for a namespace. Whether the service may be asked now, or else when [`next`](Self::next) says so.
    pub(super) fn ask_or_hold(&mut self, namespace: &str) -> bool {
        let Some(state) = &mut self.0 else { return true };
        let may = state.may_ask(namespace);
        if !may {
            state.held.push(namespace.into());
        }
        may
    }

    /// Whether the client waits for the service to be asked for this namespace.
    pub(super) fn holds(&self, namespace: &str) -> bool {
        self.0.as_ref().is_some_and(|state| state.held.iter().any(|held| **held == *namespace))
    }

    /// A namespace for which the service is to be asked now.
    pub(super) fn next(&mut self) -> Option<Box<str>> {
        let state = self.0.as_mut()?;
        let at = state.held.iter().position(|held| state.may_ask(held))?;
        Some(state.held.remove(at))
    }

    /// What a ping is to say, if one is needed now.
    pub(super) fn ping(&mut self, now: Instant) -> Option<[u8; 4]> {
        let state = self.0.as_mut()?;
        let waits = state.said != state.read && state.until.is_none();
        let is_wanted = waits && state.held.iter().any(|held| !state.unanswered.contains(held));
        is_wanted.then(|| {
            state.until = Some(now + ANSWERED_WITHIN);
            state.said.to_be_bytes()
        })
    }

    /// The service answers a ping with this.
    pub(super) fn ponged(&mut self, payload: &[u8]) {
        if let Some(state) = &mut self.0
            && state.until.is_some()
            && let Ok(read) = payload.try_into()
        {
            (state.read, state.until) = (u32::from_be_bytes(read), None);
        }
    }

    /// When [`timeout`](Self::timeout) has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.0.as_ref().and_then(|state| state.until)
    }

    /// The service has had its time to answer a ping.
    pub(super) fn timeout(&mut self, now: Instant) {
        if let Some(state) = &mut self.0
            && state.until.is_some_and(|until| now >= until)
        {
            (state.read, state.until) = (state.said, None);
        }
    }
}

impl State {
    fn may_ask(&self, namespace: &str) -> bool {
        self.said == self.read && !self.unanswered.iter().any(|left| **left == *namespace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_is_asked_again_when_it_has_read_that_the_namespace_is_left() {
        let now = Instant::now();
        let mut parting = Parting::default();
        assert!(parting.ask_or_hold("/a") && parting.leave("/a", true));
        assert_eq!(parting.ping(now), None);
        parting.count_disconnect();
        assert!(!parting.ask_or_hold("/a") && parting.holds("/a") && !parting.holds("/b"));
        let ping = parting.ping(now).unwrap();
        assert_eq!((parting.ping(now), parting.next()), (None, None), "one is under way");
        parting.ponged(b"unsolicited");
        assert_eq!((parting.next(), parting.deadline()), (None, Some(now + ANSWERED_WITHIN)));
        parting.ponged(&ping);
        assert_eq!((parting.next().as_deref(), parting.deadline()), (Some("/a"), None));
        assert!(!parting.holds("/a") && parting.ask_or_hold("/a"));
    }

    #[test]
    fn another_one_that_is_left_meanwhile_takes_another_ping() {
        let now = Instant::now();
        let mut parting = Parting::default();
        parting.count_disconnect();
        assert!(!parting.ask_or_hold("/a"));
        let first = parting.ping(now).unwrap();
        parting.count_disconnect();
        parting.ponged(&first);
        assert_eq!(parting.next(), None);
        assert_ne!(parting.ping(now), Some(first));
        parting.timeout(now + ANSWERED_WITHIN);
        assert_eq!(parting.next().as_deref(), Some("/a"), "a service that answers no ping is asked all the same");
    }

    #[test]
    fn a_namespace_is_left_when_the_service_has_answered() {
        let mut parting = Parting::default();
        assert!(!parting.leave("/a", false) && !parting.ask_or_hold("/a"));
        assert!(parting.ask_or_hold("/b") && parting.memory() > 0);
        assert!(!parting.leave("/a", false), "the service was not asked a second time");
        assert!(!parting.ask_or_hold("/a"));
        assert_eq!(parting.next(), None);
        assert!(parting.answered("/a") && !parting.answered("/a"));
        assert_eq!(parting.next().as_deref(), Some("/a"));
    }
}
