//! From the tables `[socketio]` and `[session]` to the terms of a session.

use crate::{
    fault::{Fault, Faults},
    session::{SocketioTable, Terms, hold::HoldTerms, hold::SessionTable},
    units::Period,
};

/// A fragmented message is put together in memory.
const MAX_PAYLOAD: std::ops::RangeInclusive<u64> = 1..=100 * 1024 * 1024;

impl Terms {
    /// As the tables say; `idle_timeout` may be off.
    ///
    /// # Errors
    /// Each value out of bounds.
    pub fn compile(socketio: &SocketioTable, session: &SessionTable, idle_timeout: Period) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults::default();
        faults.keep(socketio.max_payload.within("socketio.max_payload", &MAX_PAYLOAD));
        let ping_interval = faults.keep(socketio.ping_interval.above_zero("socketio.ping_interval"));
        let ping_timeout = faults.keep(socketio.ping_timeout.above_zero("socketio.ping_timeout"));
        let connect_timeout = faults.keep(socketio.connect_timeout.above_zero("socketio.connect_timeout"));
        let hold = faults.keep(HoldTerms::compile(session));
        let terms = || {
            Some(Self {
                ping_interval: ping_interval?,
                ping_timeout: ping_timeout?,
                connect_timeout: connect_timeout?,
                idle_timeout: Some(idle_timeout.0).filter(|idle| !idle.is_zero()),
                hold: hold?,
            })
        };
        faults.finish(terms())
    }
}
