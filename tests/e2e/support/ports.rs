//! Ports that nobody else uses, for programs that must be told theirs.

use std::{
    env::temp_dir,
    fs::{File, create_dir_all},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::atomic::{AtomicU16, Ordering},
};

/// Below the range from which the kernel takes the ports of outgoing connections.
const FIRST: u16 = 20_000;
const COUNT: u16 = 10_000;

/// A port on loopback that is nobody else's until this is dropped.
///
/// Binding port 0 would not do: two gates could be given the same one, and since a gate's workers share their port
/// (`SO_REUSEPORT`) neither would notice. So tests in all processes agree by locks on files.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) address: SocketAddr,
    _lock: File,
}

impl Port {
    pub(crate) fn reserve() -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let locks = temp_dir().join("tidegate-test-ports");
        create_dir_all(&locks).unwrap();
        // Processes begin at different places, so that they seldom meet.
        let begin = std::process::id().wrapping_mul(97) as u16 % COUNT;
        for _ in 0..COUNT {
            let number = FIRST + (begin + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT) % COUNT;
            let lock = File::create(locks.join(number.to_string())).unwrap();
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, number));
            if lock.try_lock().is_ok() && TcpListener::bind(address).is_ok() {
                return Self { address, _lock: lock };
            }
        }
        panic!("all {COUNT} ports from {FIRST} on are in use");
    }
}
