//! How often one address may start a TLS handshake: its cryptography costs the gate more than the client.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::gcra::Gcra;
use crate::network::Network;

/// The most networks that are counted one by one. Further ones share one allowance, so that new addresses gain nothing
/// and memory has a bound.
const NETWORKS_MAX: usize = 100_000;

/// The handshakes of this many seconds may come at once: a page opens several connections, and many clients may share
/// an address.
const BURST_SECONDS: u32 = 4;

/// Handshakes per second from one IPv4 address or one IPv6 /64 network.
#[derive(Debug)]
pub struct HandshakeRate {
    /// `None`: no limit.
    per_second: Option<NonZeroU32>,
    used: Mutex<HashMap<Network, Gcra>>,
}

impl HandshakeRate {
    /// This many per second, and those of four seconds at once. `0`: no limit.
    #[must_use]
    pub fn new(per_second: u32) -> Self {
        Self { per_second: NonZeroU32::new(per_second), used: Mutex::default() }
    }

    /// Whether `address` may start one more handshake now. If so, it counts.
    #[must_use]
    pub fn admit(&self, address: IpAddr, now: Instant) -> bool {
        let Some(rate) = self.per_second else { return true };
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let mut network = Network::from(address);
        if used.len() >= NETWORKS_MAX && !used.contains_key(&network) {
            network = Network::from(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
        }
        let interval = Duration::from_secs(1) / rate.get();
        let burst = rate.get().saturating_mul(BURST_SECONDS);
        used.entry(network).or_insert_with(|| Gcra::new(now)).take(1, interval, burst, now).is_ok()
    }

    /// Forgets addresses that have their whole allowance again. To be called every few seconds. True: there was no room for
    /// more.
    pub fn sweep(&self, now: Instant) -> bool {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let was_full = used.len() >= NETWORKS_MAX;
        used.retain(|_, allowance| !allowance.is_full(now));
        used.shrink_to_fit();
        was_full
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_four_seconds_worth_at_once_and_takes_nothing_from_others() {
        let (rate, now) = (HandshakeRate::new(2), Instant::now());
        let [one, other] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse::<IpAddr>().unwrap());
        assert_eq!((0..100).filter(|_| rate.admit(one, now)).count(), 8);
        assert!(rate.admit(other, now));
        assert!(!rate.sweep(now), "there is room");
        assert!(!rate.admit(one, now), "an address in use is not forgotten");
        let later = now + Duration::from_secs(4);
        rate.sweep(later);
        assert!(rate.used.lock().unwrap().is_empty(), "an idle address is");
        assert_eq!((0..100).filter(|_| rate.admit(one, later)).count(), 8);
    }

    #[test]
    fn zero_is_no_limit() {
        let (rate, now) = (HandshakeRate::new(0), Instant::now());
        assert!((0..10_000).all(|_| rate.admit([192, 0, 2, 1].into(), now)));
    }
}
