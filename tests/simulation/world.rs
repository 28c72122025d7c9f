//! The whole of a simulation: the gate's sessions, the clients, the service, the clock.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tidegate::{
    policy::identity::{Details, Identity},
    session::{Beginning, Session, engineio::Handshake, now::Now, rules::SessionRules},
    wire::engineio::id::{Home, Id, NodeId},
};

use crate::{
    chance::Chance,
    device::Device,
    ledger::Ledger,
    legs::{Conn, Leg},
    node::{Seat, ServiceLeg},
    settings::{Dialect, Settings},
    trace::Trace,
};

/// The wall clock at the start.
const WALL: Duration = Duration::from_secs(1_800_000_000);

/// Everything there is in one run.
pub struct World {
    pub chance: Chance,
    pub settings: Settings,
    pub trace: Trace,
    pub ledger: Ledger,
    pub start: Instant,
    pub now: Now,
    /// The rules in force, and their number.
    pub rules: (usize, Arc<SessionRules>),
    pub devices: Vec<Device>,
    pub conns: Vec<Conn>,
    pub legs: Vec<Leg>,
    pub seats: Vec<Seat>,
    /// No dial reaches the service.
    pub is_service_down: bool,
    /// Nothing breaks any more.
    pub is_calm: bool,
}

macro_rules! note {
    ($world:expr, $($line:tt)*) => { $world.trace.line(format_args!($($line)*)) };
}
pub(crate) use note;

impl World {
    pub fn new(seed: u64, shown: usize) -> Self {
        let mut chance = Chance::new(seed);
        let settings = Settings::draw(&mut chance);
        let start = Instant::now() + Duration::from_secs(3600);
        let mut ledger = Ledger::default();
        ledger.rates.generations.push(settings.config.rate_limit.clone());
        let rules = (0, settings.rules(0));
        let devices = (0..settings.devices).map(|at| Device::new(at, settings.proof)).collect();
        let mut world = Self {
            chance,
            settings,
            trace: Trace::new(shown),
            ledger,
            start,
            now: Now::new(start, UNIX_EPOCH + WALL),
            rules,
            devices,
            conns: Vec::new(),
            legs: Vec::new(),
            seats: Vec::new(),
            is_service_down: false,
            is_calm: false,
        };
        let session = &world.settings.config.session;
        let (dialect, proof, numbers) = (world.settings.dialect, world.settings.proof, world.settings.numbers);
        note!(world, "{dialect:?} proof={proof:?} numbers={numbers} {session:?}");
        let limits = &world.settings.config.rate_limit;
        note!(world, "{limits:?} {:?}", world.settings.route);
        world
    }

    pub fn wall(&self) -> SystemTime {
        self.now.wall()
    }

    /// The time since the start, in seconds.
    pub fn clock(&self) -> f64 {
        (self.now.instant - self.start).as_secs_f64()
    }

    fn id<K>(&mut self) -> Id<K> {
        Id::new(Home { node: NodeId::new([1; 6]), worker: 0 }, self.chance.bytes())
    }

    fn peer(device: usize) -> IpAddr {
        // Two clients share an address.
        IpAddr::from([192, 0, 2, if device == 0 { 1 } else { 2 }])
    }

    /// A client's connection has come, and with it a session.
    pub fn connect(&mut self, device: usize) {
        let (conn, seat) = (self.conns.len(), self.seats.len());
        let is_plain = self.settings.dialect == Dialect::Plain;
        let polls = !is_plain && self.chance.percent(25);
        let (generation, rules) = (self.rules.0, Arc::clone(&self.rules.1));
        let seed = self.chance.next().to_le_bytes();
        let beginning = Beginning {
            rules: Arc::clone(&rules),
            peer: Self::peer(device),
            seed: u32::from_le_bytes([seed[0], seed[1], seed[2], seed[3]]),
        };
        let (pid, sid) = (self.id(), self.id());
        let pid = rules.hold.resume.is_some().then_some(pid);
        note!(
            self,
            "client {device} connects: connection {conn}, session {seat}{}",
            if polls { ", polls" } else { "" }
        );
        let session = if is_plain {
            let user = self.devices[device].user;
            let expires = user.map(|_| self.wall() + Duration::from_secs(3600));
            let identity = Identity::continued(user.map(Into::into), expires, Details::default());
            Session::plain(beginning, Arc::clone(&self.settings.route), Some("chat"), identity, self.now)
        } else {
            Session::socketio(beginning, Handshake { sid, pid, token: Ok(None), certified: None }, self.now)
        };
        self.conns.push(Conn::new(seat, polls));
        self.devices[device].connected(conn);
        self.seats.push(Seat::new(session, generation, rules, pid, conn));
        if is_plain {
            // The service was dialled before the session began.
            self.reach_service(seat);
        }
        self.drive(seat);
    }

    /// A connection to the service is there.
    pub fn reach_service(&mut self, seat: usize) -> usize {
        let leg = self.legs.len();
        self.legs.push(Leg::new());
        self.seats[seat].leg = ServiceLeg::Open(leg);
        note!(self, "session {seat} has connection {leg} to the service");
        leg
    }
}
