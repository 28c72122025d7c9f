//! The lines of one session in the log: one when it opens, one each time its client is absent and is back, one when it ends.

use std::{
    borrow::Cow,
    time::{Duration, Instant},
};

use crate::{
    observe::journal::{self, Ended as EndedLine, SessionFields},
    relay::cell::SessionCell,
    session::{ended::Ended, table::Transport, view::View},
};

/// Which lines have been written, and what the next one is.
#[derive(Debug, Default)]
pub struct SessionLines {
    stage: Stage,
    namespaces: ToldNamespaces,
}

/// The namespaces of the latest line: a client that disconnects leaves them one by one before its session ends.
#[derive(Debug, Default)]
enum ToldNamespaces {
    #[default]
    None,
    /// `/` alone, as in nearly every session.
    Root,
    These(Box<[String]>),
}

impl ToldNamespaces {
    fn of(namespaces: Vec<String>) -> Self {
        match &namespaces[..] {
            [] => Self::None,
            [only] if only == "/" => Self::Root,
            _ => Self::These(namespaces.into()),
        }
    }

    fn names(&self) -> Cow<'_, [String]> {
        match self {
            Self::None => Cow::Borrowed(&[]),
            Self::Root => Cow::Owned(vec!["/".to_owned()]),
            Self::These(names) => Cow::Borrowed(names),
        }
    }
}

#[derive(Debug, Default, Clone, Copy)]
enum Stage {
    /// The user is not known.
    #[default]
    Unknown,
    /// The user is known. An Engine.IO session has its first line once a namespace is joined.
    Known,
    /// The session has its first line.
    Open,
    /// The client is absent since then.
    Absent(Instant),
    /// The session has its last line.
    Over,
}

impl SessionLines {
    /// The user is known.
    pub const fn known(&mut self) {
        if let Stage::Unknown = self.stage {
            self.stage = Stage::Known;
        }
    }

    /// Whether the session has no first line, and waits for what that says.
    #[must_use]
    pub const fn is_unopened(&self) -> bool {
        matches!(self.stage, Stage::Known)
    }

    /// The first line, where all that it says is known: of a plain session at once, of others when a namespace is joined.
    pub fn open(&mut self, cell: &SessionCell, view: View<'_>, transport: Option<Transport>) {
        if self.is_unopened() && (view.sid().is_none() || view.has_joined()) {
            self.stage = Stage::Open;
            self.write(cell, view, transport, journal::session_opened);
        }
    }

    /// The client is absent from now on, and the session waits for it.
    pub fn absent(&mut self, cell: &SessionCell, view: View<'_>, lost: Option<Transport>, why: Ended, now: Instant) {
        self.open(cell, view, lost);
        // Without a first line it has no other than the last one.
        let Stage::Open = self.stage else { return };
        self.stage = Stage::Absent(now);
        let waits = view.waits_for_client().unwrap_or_default();
        self.write(cell, view, lost, |session| {
            journal::session_absent(session, why.cause(), why.fault().name(), waits)
        });
    }

    /// The client is back.
    pub fn back(&mut self, cell: &SessionCell, view: View<'_>, transport: Option<Transport>, now: Instant) {
        if let Some(absent) = self.absent_for(now) {
            self.stage = Stage::Open;
            self.write(cell, view, transport, |session| journal::session_back(session, absent));
        }
    }

    /// The last line. None of a session whose user never was known: its refusals have theirs.
    pub fn end(
        &mut self,
        cell: &SessionCell,
        view: View<'_>,
        transport: Option<Transport>,
        ended: Ended,
        now: Instant,
    ) {
        if matches!(self.stage, Stage::Unknown | Stage::Over) {
            return;
        }
        let absent = self.absent_for(now);
        self.stage = Stage::Over;
        let (packets_received, packets_sent) = cell.packets.get();
        self.write(cell, view, transport, |session| {
            journal::session_ended(&EndedLine {
                session,
                duration: now.saturating_duration_since(cell.opened),
                absent,
                packets_received,
                packets_sent,
                packets_refused: cell.refused.get(),
                packets_unsent: view.unsent(),
                cause: ended.cause(),
                fault: ended.fault().name(),
                setting: ended.setting(),
            });
        });
    }

    fn absent_for(&self, now: Instant) -> Option<Duration> {
        if let Stage::Absent(since) = self.stage { Some(now.saturating_duration_since(since)) } else { None }
    }

    fn write(
        &mut self,
        cell: &SessionCell,
        view: View<'_>,
        transport: Option<Transport>,
        line: impl FnOnce(&SessionFields<'_>),
    ) {
        if !journal::writes_sessions() {
            return;
        }
        let namespaces = view.namespaces();
        if !namespaces.is_empty() {
            self.namespaces = ToldNamespaces::of(namespaces);
        }
        let sid_hash = view.sid().map(|sid| sid.hash().to_string());
        line(&SessionFields {
            id: cell.id,
            sid_hash: sid_hash.as_deref(),
            user: view.identity().and_then(|identity| identity.user()),
            peer: view.peer(),
            transport: transport.map_or("none", Transport::name),
            route: view.route(),
            namespaces: &self.namespaces.names(),
        });
    }
}
