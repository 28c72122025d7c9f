//! The rooms of one worker: their members, and the commands that wait for them.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeSet, VecDeque},
    sync::{Arc, atomic::AtomicUsize},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use crate::{
    observe::{
        journal::{self, LogLevel},
        tally::{Delivered, Tally},
    },
    relay::{
        cell::SessionCell,
        room_command::{RoomCommand, Selection},
        room_index::{RoomBounds, RoomFull, RoomIndex},
        room_mail::MailEntry,
    },
    session::action::RoomOf,
};

/// So many bytes of commands may wait on one worker. It does them between the polls of its sessions.
const COMMANDS_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A bound that is reached has a line so often.
const LINE_EVERY: Duration = Duration::from_secs(60);

/// The rooms of one worker. Never leaves its thread.
#[derive(Debug)]
pub struct WorkerRooms {
    index: RefCell<RoomIndex>,
    /// Sessions that may have rooms to enter or to leave by what waits in their mailboxes.
    unsettled: RefCell<BTreeSet<u64>>,
    commands: RefCell<VecDeque<RoomCommand>>,
    commands_bytes: Cell<usize>,
    arrived: Notify,
    tally: Arc<Tally>,
    lines: Lines,
}

/// What the log says of bounds that are reached.
#[derive(Debug, Default)]
struct Lines {
    rooms: Line,
    members: Line,
    mailbox: Line,
    commands: Line,
}

/// One of them: when it was written, and how often it could have been since.
#[derive(Debug, Default)]
struct Line {
    written: Cell<Option<Instant>>,
    times: Cell<u64>,
}

impl Line {
    /// Warns, once a minute.
    fn write(&self, sentence: &str, now: Instant) {
        self.times.set(self.times.get() + 1);
        if self.written.get().is_none_or(|at| now.saturating_duration_since(at) >= LINE_EVERY) {
            self.written.set(Some(now));
            journal::line(
                LogLevel::Warn,
                &format!("{sentence}; times since the last such line: {}", self.times.take()),
            );
        }
    }
}

impl WorkerRooms {
    /// No rooms yet. `on_node` counts those of all workers.
    #[must_use]
    pub fn new(on_node: Arc<AtomicUsize>, tally: Arc<Tally>) -> Self {
        Self {
            index: RefCell::new(RoomIndex::new(on_node)),
            unsettled: RefCell::default(),
            commands: RefCell::default(),
            commands_bytes: Cell::default(),
            arrived: Notify::new(),
            tally,
            lines: Lines::default(),
        }
    }

    /// A session enters a room. Where a bound is reached it does not, which is counted.
    pub fn join(&self, cell: &SessionCell, room: &RoomOf, bounds: RoomBounds, now: Instant) {
        let mut index = self.index.borrow_mut();
        let joined = index.join(cell.id, &mut cell.rooms.borrow_mut(), room, bounds);
        self.tally.rooms(index.len());
        let (setting, line) = match joined {
            Ok(()) => return,
            Err(RoomFull::Rooms) => ("limits.rooms", &self.lines.rooms),
            Err(RoomFull::Members) => ("limits.room_members", &self.lines.members),
        };
        self.tally.room_refused(setting);
        line.write(&format!("a client is not entered in a room: the bound is {setting}"), now);
    }

    /// A session leaves a room.
    pub fn leave(&self, cell: &SessionCell, room: &RoomOf) {
        let mut index = self.index.borrow_mut();
        index.leave(cell.id, &mut cell.rooms.borrow_mut(), room);
        self.tally.rooms(index.len());
    }

    /// A session leaves all of its rooms.
    pub fn forget(&self, cell: &SessionCell) {
        let mut index = self.index.borrow_mut();
        index.forget(cell.id, &mut cell.rooms.borrow_mut());
        self.tally.rooms(index.len());
    }

    /// The sessions of a selection, by number, each once.
    #[must_use]
    pub fn select(&self, selection: &Selection) -> Vec<u64> {
        self.index.borrow().select(selection)
    }

    /// Can the index say of every session whether it is meant?
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.unsettled.borrow().is_empty()
    }

    /// Sessions of which the index cannot say whether they are meant, ascending: `changes` says whether a session has such rooms
    /// to enter or to leave, and `None` where it has no rooms to enter or to leave at all.
    pub fn unsettled(&self, changes: impl Fn(u64) -> Option<bool>) -> Vec<u64> {
        let mut concerned = Vec::new();
        self.unsettled.borrow_mut().retain(|session| {
            let changes = changes(*session);
            if changes == Some(true) {
                concerned.push(*session);
            }
            changes.is_some()
        });
        concerned
    }

    /// Has this done, in order, by who takes the [next](Self::next) command. Where too much waits it is dropped, which is
    /// counted.
    pub fn command(&self, command: RoomCommand, now: Instant) {
        let bytes = self.commands_bytes.get().saturating_add(command.bytes());
        let mut commands = self.commands.borrow_mut();
        if bytes > COMMANDS_BYTES_MAX && !commands.is_empty() {
            self.tally.room_command_dropped();
            return self.lines.commands.write("an event or a request from other nodes is dropped: too many wait", now);
        }
        self.commands_bytes.set(bytes);
        commands.push_back(command);
        self.arrived.notify_one();
    }

    /// The next command, once there is one.
    pub async fn next(&self) -> RoomCommand {
        loop {
            let next = self.commands.borrow_mut().pop_front();
            if let Some(command) = next {
                self.commands_bytes.set(self.commands_bytes.get() - command.bytes());
                return command;
            }
            self.arrived.notified().await;
        }
    }

    /// Gives a session what another node wants of it. Where too much waits for it, this one does not get it, which is counted.
    pub fn post(&self, cell: &SessionCell, entry: MailEntry, max: usize, now: Instant) {
        let has_taken = cell.post_of_room(entry, max);
        if cell.has_room_changes() {
            self.unsettled.borrow_mut().insert(cell.id);
        }
        if !has_taken {
            self.tally.delivered(Delivered::Full);
            let sentence = "an event from another node is dropped for a client for which too much waits: the bound is \
                            limits.send_buffer";
            self.lines.mailbox.write(sentence, now);
        }
    }
}
