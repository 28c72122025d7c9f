//! Obeys commands of other nodes for clients of this worker.

use std::rc::Rc;

use tokio::task::yield_now;

use super::Worker;
use crate::{
    relay::{
        cell::SessionCell,
        room_command::{RoomCommand, Selection},
        room_mail::{MailEntry, RoomMail, RoomNames, RoomsOf},
    },
    session::action::RoomOf,
};

/// So many sessions get their mail before others of the thread have their turn.
const CHUNK: usize = 256;

impl Worker {
    /// A session enters a room.
    pub fn join_room(&self, cell: &SessionCell, room: &RoomOf) {
        self.rooms.join(cell, room, self.rules.borrow().rooms, self.clock.now().instant);
    }

    /// A session leaves a room.
    pub fn leave_room(&self, cell: &SessionCell, room: &RoomOf) {
        self.rooms.leave(cell, room);
    }

    /// Does what other nodes want done, one after the other, as long as the worker runs.
    pub async fn serve_rooms(&self) {
        loop {
            let command = self.rooms.next().await;
            self.obey(command).await;
        }
    }

    /// The session of this number, as long as it is open.
    pub(in crate::relay) fn session(&self, number: u64) -> Option<Rc<SessionCell>> {
        self.sessions.borrow().get(number).map(Rc::clone)
    }

    /// Sessions that have rooms of this selection still to enter or to leave: a session does so in its own turn, behind what came
    /// before. What a program says next to a room is for those whom it has put there.
    fn unsettled(&self, selection: &Selection) -> Vec<u64> {
        if self.rooms.is_settled() {
            return Vec::new();
        }
        let names = RoomNames::of(selection);
        self.rooms.unsettled(|session| {
            let cell = self.session(session).filter(|cell| cell.has_room_changes())?;
            Some(cell.changes_rooms(&names))
        })
    }

    async fn obey(&self, command: RoomCommand) {
        let (mut sessions, unsettled) = (self.rooms.select(command.selection()), self.unsettled(command.selection()));
        if !unsettled.is_empty() {
            sessions.extend(&unsettled);
            sessions.sort_unstable();
            sessions.dedup();
        }
        if sessions.is_empty() {
            return;
        }
        let (selection, mail) = mail_of(command);
        let selection = Rc::new(selection);
        let max = self.rules.borrow().send_buffer;
        for chunk in sessions.chunks(CHUNK) {
            let now = self.clock.now().instant;
            for session in chunk {
                // It may have ended since.
                if let Some(cell) = self.session(*session) {
                    let of = unsettled.binary_search(session).is_ok().then(|| Rc::clone(&selection));
                    self.rooms.post(&cell, MailEntry { mail: mail.clone(), of }, max, now);
                }
            }
            yield_now().await;
        }
    }
}

fn mail_of(command: RoomCommand) -> (Selection, RoomMail) {
    let rooms_of = |selection: &Selection, rooms| Rc::new(RoomsOf::new(selection.namespace.clone(), rooms));
    match command {
        RoomCommand::Deliver(selection, delivery) => (selection, RoomMail::Deliver(delivery)),
        RoomCommand::Join(selection, rooms) => {
            let of = rooms_of(&selection, rooms);
            (selection, RoomMail::Join(of))
        }
        RoomCommand::Leave(selection, rooms) => {
            let of = rooms_of(&selection, rooms);
            (selection, RoomMail::Leave(of))
        }
        RoomCommand::Disconnect(selection, close) => {
            let namespace = Rc::from(&*selection.namespace);
            (selection, RoomMail::Disconnect(namespace, close))
        }
    }
}
