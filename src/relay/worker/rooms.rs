//! What other nodes want done with clients of this worker.

use std::rc::Rc;

use tokio::task::yield_now;

use super::Worker;
use crate::{
    relay::{
        cell::SessionCell,
        room_command::RoomCommand,
        room_mail::{RoomMail, RoomsOf},
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

    async fn obey(&self, command: RoomCommand) {
        let sessions = self.rooms.select(command.selection());
        if sessions.is_empty() {
            return;
        }
        let mail = mail_of(command);
        let max = self.rules.borrow().send_buffer;
        for chunk in sessions.chunks(CHUNK) {
            let now = self.clock.now().instant;
            for session in chunk {
                // It may have ended since.
                if let Some(cell) = self.session(*session) {
                    self.rooms.post(&cell, mail.clone(), max, now);
                }
            }
            yield_now().await;
        }
    }
}

fn mail_of(command: RoomCommand) -> RoomMail {
    match command {
        RoomCommand::Deliver(_, delivery) => RoomMail::Deliver(delivery),
        RoomCommand::Join(selection, rooms) => RoomMail::Join(Rc::new(RoomsOf::new(selection.namespace, rooms))),
        RoomCommand::Leave(selection, rooms) => RoomMail::Leave(Rc::new(RoomsOf::new(selection.namespace, rooms))),
        RoomCommand::Disconnect(selection, close) => RoomMail::Disconnect(selection.namespace.into(), close),
    }
}
