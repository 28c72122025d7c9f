//! What happens next: one step at a time, drawn by chance; and at the end, until everything rests.

use std::time::Duration;

use tidegate::{
    session::{
        Beginning, Session,
        ended::{Ended, Shortage},
        event::Event,
        now::Now,
        question::Answer,
        snapshot::Snapshot,
    },
    units::Period,
};

use crate::{
    device::{NAMESPACES, State},
    node::ServiceLeg,
    settings::{Dialect, Proof},
    world::{World, note},
};

/// So many steps has a run, before it comes to rest.
pub const STEPS: usize = 200;

/// More events than a session knows by their ack ids.
const MANY_ACKS: usize = 1100;

/// One thing that happens.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// Everybody does a little of what there is to do.
    Works,
    ClientEmits,
    ClientJoins,
    ClientLeaves,
    ClientLeavesAndJoins,
    ClientFloods,
    ClientMisbehaves,
    ClientCloses,
    ClientIsCut,
    ClientIsSilent,
    GateTurns,
    ServiceActs,
    ServiceIsCut,
    ServiceGoes,
    ServiceComes,
    Passes,
    PassesToDeadline,
    PassesLong,
    WallJumps,
    Reload,
    Keys,
    KeysForgotten,
    Drain,
    Full,
    Moves,
}

const WEIGHTS: &[(u64, Step)] = &[
    (500, Step::Works),
    (60, Step::ClientEmits),
    (20, Step::ClientJoins),
    (8, Step::ClientLeaves),
    (15, Step::ClientLeavesAndJoins),
    (4, Step::ClientFloods),
    (1, Step::ClientMisbehaves),
    (5, Step::ClientCloses),
    (20, Step::ClientIsCut),
    (2, Step::ClientIsSilent),
    (60, Step::GateTurns),
    (20, Step::ServiceActs),
    (20, Step::ServiceIsCut),
    (8, Step::ServiceGoes),
    (40, Step::ServiceComes),
    (60, Step::Passes),
    (15, Step::PassesToDeadline),
    (5, Step::PassesLong),
    (2, Step::WallJumps),
    (3, Step::Reload),
    (8, Step::Keys),
    (1, Step::KeysForgotten),
    (1, Step::Drain),
    (1, Step::Full),
    (25, Step::Moves),
];

impl World {
    /// A whole run.
    pub fn run(&mut self, steps: usize) {
        for _ in 0..steps {
            self.trace.step();
            let step = self.chance.weighted(WEIGHTS);
            self.does(step);
        }
        self.trace.step();
        self.comes_to_rest();
        self.trace.step();
        self.ends_all();
    }

    fn any_device(&mut self) -> usize {
        self.chance.below(self.devices.len())
    }

    /// A session that is open.
    fn any_seat(&mut self) -> Option<usize> {
        let open: Vec<usize> = (0..self.seats.len()).filter(|&seat| self.seats[seat].over.is_none()).collect();
        open.get(self.chance.below(open.len())).copied()
    }

    fn any_leg(&mut self) -> Option<usize> {
        let open: Vec<usize> = (0..self.legs.len()).filter(|&leg| !self.legs[leg].is_closed).collect();
        open.get(self.chance.below(open.len())).copied()
    }

    fn does(&mut self, step: Step) {
        let (device, namespace) = (self.any_device(), self.chance.weighted(&[(4, "/"), (2, "/a"), (1, "/b")]));
        let messages = 1 + self.chance.below(8);
        match step {
            Step::ClientEmits => {
                for _ in 0..=self.chance.below(3) {
                    self.client_emits(device, namespace);
                }
            }
            Step::Works => self.works(),
            Step::ClientJoins if self.devices[device].conn.is_none() => self.comes(device),
            Step::ClientJoins if self.settings.dialect == Dialect::SocketIo => self.client_joins(device, namespace),
            Step::ClientLeaves if self.settings.dialect == Dialect::SocketIo => self.client_leaves(device, namespace),
            Step::ClientLeavesAndJoins if self.settings.dialect == Dialect::SocketIo => {
                if self.devices[device].rooms[namespace].state == State::Joined {
                    self.client_leaves(device, namespace);
                    self.client_joins(device, namespace);
                }
            }
            Step::ClientJoins | Step::ClientLeaves | Step::ClientLeavesAndJoins => {}
            Step::ClientFloods => self.client_floods(device),
            Step::ClientMisbehaves => self.client_misbehaves(device),
            Step::ClientCloses => self.client_closes(device),
            Step::ClientIsCut => self.client_is_cut(device),
            Step::ClientIsSilent => self.devices[device].is_silent = true,
            Step::GateTurns => self.each_seat(Self::drive),
            Step::ServiceActs => {
                if let Some(leg) = self.any_leg() {
                    (0..messages).for_each(|_| self.service_acts(leg));
                }
            }
            Step::ServiceIsCut => {
                if let Some(leg) = self.any_leg() {
                    self.service_is_cut(leg);
                }
            }
            Step::ServiceGoes => {
                note!(self, "the service goes down");
                self.is_service_down = true;
                (0..self.legs.len()).for_each(|leg| self.service_is_cut(leg));
            }
            Step::ServiceComes => self.is_service_down = false,
            Step::Passes => {
                let time = self.chance.milliseconds(1, 400);
                self.passes(time);
            }
            Step::PassesToDeadline => self.passes_to_deadline(),
            Step::PassesLong => {
                let time = self.chance.milliseconds(1000, 90_000);
                self.passes(time);
            }
            Step::WallJumps => {
                let (forward, time) = (self.chance.percent(50), Duration::from_secs(self.chance.between(1, 4000)));
                let wall = if forward { self.wall() + time } else { self.wall() - time };
                note!(self, "the wall clock jumps {time:?} {}", if forward { "forward" } else { "back" });
                self.now = Now::new(self.now.instant, wall);
                // The node notices it, and looks at every session.
                for seat in &mut self.seats {
                    seat.expires.values_mut().for_each(|expires| expires.keep_time(self.now));
                    seat.deadline = self.now.instant;
                }
                self.each_seat(Self::drive);
            }
            Step::Reload => self.reloads(),
            Step::Keys => self.keys_change(),
            Step::KeysForgotten => self.settings.published.forget(),
            Step::Drain | Step::Full => self.ends_one(matches!(step, Step::Drain)),
            Step::Moves => self.moves(),
        }
    }

    /// In few runs a client has more acks open than the session knows by their ids.
    fn client_floods(&mut self, device: usize) {
        let Some(conn) = self.devices[device].conn.filter(|_| self.settings.floods) else { return };
        for _ in 0..MANY_ACKS {
            self.client_asks(device, "/", "once", 0, 0, true);
        }
        let seat = self.conns[conn].seat;
        for _ in 0..MANY_ACKS / 4 {
            self.drive(seat);
        }
        if let ServiceLeg::Open(leg) = self.seats[seat].leg
            && self.chance.percent(50)
        {
            self.service_is_cut(leg);
        }
    }

    /// Everybody does a little of what there is to do.
    fn works(&mut self) {
        for device in 0..self.devices.len() {
            let messages = self.chance.below(12);
            self.client_hears(device, messages);
            if self.devices[device].conn.is_none() && self.chance.percent(30) {
                self.comes(device);
            }
            for namespace in NAMESPACES {
                if self.chance.percent(40) {
                    self.client_answers(device, namespace);
                }
                if self.chance.percent(30) {
                    self.client_emits(device, namespace);
                }
                if self.chance.percent(5) && self.lacks_service(device) {
                    self.client_repeats(device, namespace, false);
                }
            }
        }
        self.each_seat(|world, seat| {
            if world.chance.percent(80) {
                world.drive(seat);
            }
            if world.chance.percent(50) {
                world.is_dialled(seat);
            }
        });
        for leg in (0..self.legs.len()).filter(|&leg| !self.legs[leg].is_closed).collect::<Vec<_>>() {
            let messages = self.chance.below(12);
            self.service_hears(leg, messages);
            (0..self.chance.below(4)).for_each(|_| self.service_acts(leg));
        }
    }

    /// The service of this client is down: its client, who does not know that, waits for an ack in vain.
    fn lacks_service(&self, device: usize) -> bool {
        let seat = self.devices[device].conn.map(|conn| self.conns[conn].seat);
        seat.is_some_and(|seat| self.seats[seat].session.view().service() == Some("down"))
    }

    fn each_seat(&mut self, does: impl Fn(&mut Self, usize)) {
        for seat in 0..self.seats.len() {
            if self.seats[seat].over.is_none() {
                does(self, seat);
            }
        }
    }

    /// A client that has no connection makes one, and asks for its namespaces.
    fn comes(&mut self, device: usize) {
        self.connect(device);
        let mut wanted = NAMESPACES.to_vec();
        if self.chance.percent(30) {
            wanted.reverse();
        }
        if self.settings.dialect == Dialect::SocketIo {
            wanted.retain(|namespace| self.devices[device].rooms[*namespace].wanted);
            wanted.into_iter().for_each(|namespace| self.client_joins(device, namespace));
        }
    }

    /// Time passes. Every session is looked at that has asked for it, perhaps late.
    fn passes(&mut self, time: Duration) {
        self.now = self.now.at(self.now.instant + time);
        note!(self, "it is {:.3} s", self.clock());
        if time > Duration::from_secs(10) {
            // A service that is there pings, and clients answer.
            for leg in 0..self.legs.len() {
                if !self.legs[leg].is_closed && (self.is_calm || self.chance.percent(90)) {
                    self.service_pings(leg);
                }
            }
        }
        let now = self.now.instant;
        self.each_seat(|world, seat| {
            if world.seats[seat].deadline <= now {
                world.drive(seat);
            }
        });
    }

    fn passes_to_deadline(&mut self) {
        let open = self.seats.iter().filter(|seat| seat.over.is_none());
        let Some(deadline) = open.map(|seat| seat.deadline).min() else { return };
        let time = deadline.saturating_duration_since(self.now.instant);
        self.passes(time);
    }

    fn reloads(&mut self) {
        let mut chance = std::mem::replace(&mut self.chance, crate::chance::Chance::new(0));
        self.settings.draw_limits(&mut chance);
        if self.is_calm {
            self.settings.config.rate_limit.clear();
        } else if chance.percent(10) {
            self.settings.config.session.resume = Period::OFF;
        }
        self.chance = chance;
        let generation = self.ledger.rates.generations.len();
        self.ledger.rates.generations.push(self.settings.config.rate_limit.clone());
        self.rules = (generation, self.settings.rules(generation as u64));
        note!(self, "rules {generation}: {:?}", self.settings.config.rate_limit);
    }

    fn keys_change(&mut self) {
        if self.settings.proof != Proof::Published {
            return;
        }
        note!(self, "the keys are fetched");
        if self.is_calm || self.chance.percent(80) {
            self.settings.publish()
        } else {
            self.settings.published.failed()
        }
        self.each_seat(|world, seat| {
            if let Some(asked) = world.seats[seat].asked.as_mut().filter(|asked| !asked.is_claim) {
                asked.answer = Some(Answer::KeysChanged);
            }
        });
    }

    fn ends_one(&mut self, drains: bool) {
        let Some(seat) = self.any_seat() else { return };
        if drains {
            self.seats[seat].drains = true;
        } else if self.seats[seat].session.view().waiting().1 > 0 {
            self.seats[seat].shed = true;
            self.lost(seat, Ended::Overloaded(Shortage::SessionMemory));
        }
        self.drive(seat);
    }

    /// A session of an absent client, whose service is down too, goes on as a snapshot of itself.
    fn moves(&mut self) {
        for seat in 0..self.seats.len() {
            let there = &mut self.seats[seat];
            let is_bare = there.conn.is_none() && there.leg == ServiceLeg::Absent && there.over.is_none();
            if !is_bare || there.generation != self.rules.0 {
                continue;
            }
            let Some(snapshot) = there.session.snapshot(b"GET /", self.now) else { continue };
            let read = Snapshot::decode(&snapshot.encode().expect("it can be written")).expect("it can be read");
            assert_eq!(read, snapshot, "a snapshot is read as another one");
            let beginning =
                Beginning { rules: std::sync::Arc::clone(&there.rules), peer: there.session.view().peer(), seed: 1 };
            let waited = there.session.view().waiting();
            there.session = Session::restore(read, beginning, self.now).expect("it can be restored");
            assert_eq!(there.session.view().waiting(), waited, "what waits is not the same");
            there.deadline = self.now.instant;
            // It enters them there.
            there.rooms.clear();
            // The joins of a session are not among what it goes on with.
            there.joins_full_at = Some(self.now.instant);
            note!(self, "session {seat} goes on as its snapshot");
            self.drive(seat);
        }
    }

    /// Nothing breaks any more, and all that was broken comes back.
    fn comes_to_rest(&mut self) {
        note!(self, "everything comes to rest");
        (self.is_calm, self.is_service_down) = (true, false);
        self.settings.publish();
        // No client waits for its turn.
        self.reloads();
        let until = self.now.instant + Duration::from_secs(300);
        let (mut quiet, mut had_time) = (0, false);
        while quiet < 3 || !had_time {
            assert!(self.now.instant < until, "the sessions do not come to rest");
            quiet = if self.is_quiet() { quiet + 1 } else { 0 };
            for device in 0..self.devices.len() {
                self.devices[device].is_silent = false;
                self.client_hears(device, 200);
                if self.devices[device].conn.is_none() {
                    self.comes(device);
                }
                for namespace in NAMESPACES {
                    (0..4).for_each(|_| self.client_answers(device, namespace));
                }
            }
            self.keys_change();
            self.each_seat(|world, seat| {
                for _ in 0..20 {
                    world.drive(seat);
                }
                world.is_dialled(seat);
            });
            for leg in 0..self.legs.len() {
                self.service_hears(leg, 200);
                (0..40).for_each(|_| self.service_acts_calmly(leg));
            }
            if quiet == 0 {
                self.passes(Duration::from_millis(500));
            }
            if quiet == 3 && !had_time {
                // Clients that have had their time to repeat hear of their lost acks.
                self.passes(Duration::from_millis(2000));
                (quiet, had_time) = (0, true);
            }
        }
        for device in 0..self.devices.len() {
            self.client_has_all(device);
        }
        for seat in 0..self.seats.len() {
            if self.seats[seat].over.is_none() {
                let kept = format!("{:?}", self.seats[seat].session).matches("Kept {").count();
                assert!(kept <= self.seats[seat].bounds.0, "{kept} events are kept for the client");
                let view = self.seats[seat].session.view();
                let (counted, waiting) = (view.unsent(), view.waiting());
                self.lost_are_counted(seat, counted);
                assert!(
                    waiting == (0, 0) || self.seats[seat].conn.is_none(),
                    "{waiting:?} wait, and the service is open"
                );
            }
        }
    }

    fn service_acts_calmly(&mut self, leg: usize) {
        let there = &self.legs[leg];
        let has_work =
            !there.at_service.is_open || !there.at_service.asked.is_empty() || !there.to_acknowledge.is_empty();
        if has_work && self.settings.dialect == Dialect::SocketIo {
            self.service_acts(leg);
        }
    }

    /// Nothing is on its way.
    fn is_quiet(&self) -> bool {
        let is_still = |pipe: &crate::legs::Pipe| pipe.queue.is_empty() && !pipe.is_cut;
        let conns = self.devices.iter().all(|device| {
            device.conn.is_some_and(|conn| {
                let conn = &self.conns[conn];
                is_still(&conn.up) && is_still(&conn.down) && !conn.is_closed
            })
        });
        let legs = self.legs.iter().filter(|leg| !leg.is_closed);
        let legs = legs.map(|leg| {
            is_still(&leg.up) && is_still(&leg.down) && leg.to_acknowledge.is_empty() && leg.at_service.asked.is_empty()
        });
        let seats = self.seats.iter().filter(|seat| seat.over.is_none());
        let seats = seats.map(|seat| {
            let is_served = seat.conn.is_none() || seat.session.view().service() != Some("down");
            let asks = seat.paused.is_some() || seat.asked.is_some() || !seat.mail.is_empty();
            seat.leg != ServiceLeg::Dialling && is_served && !asks
        });
        conns && legs.chain(seats).all(|is_quiet| is_quiet)
    }

    /// The node stops: nothing is left behind.
    fn ends_all(&mut self) {
        self.each_seat(|world, seat| {
            world.tell_drain(seat);
        });
        assert!(self.seats.iter().all(|seat| seat.over.is_some()), "a session has not ended with its node");
    }

    fn tell_drain(&mut self, seat: usize) {
        let now = self.now;
        self.seats[seat].session.event(Event::Drain, now);
        self.drive(seat);
    }
}
