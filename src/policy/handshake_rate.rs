//! How often one address may shake hands: cryptography costs us more than it costs the client.

use std::{
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
};

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::network::Network;

/// How many networks are counted one by one. Those beyond share one allowance: ever new addresses gain nothing, and
/// memory has a bound.
const NETWORKS_MAX: usize = 100_000;
/// So many seconds' worth may come at once: a page opens several connections, and many clients may share an address.
const BURST_SECONDS: u32 = 4;

/// Handshakes per second from one IPv4 address or one IPv6 /64 network.
#[derive(Debug)]
pub struct HandshakeRate(Option<DefaultKeyedRateLimiter<Network>>);

impl HandshakeRate {
    /// So many a second, and four seconds' worth at once; `0`: any number.
    #[must_use]
    pub fn new(per_second: u32) -> Self {
        let per_second = NonZeroU32::new(per_second);
        Self(per_second.map(|rate| {
            let burst = rate.saturating_mul(NonZeroU32::MIN.saturating_add(BURST_SECONDS - 1));
            RateLimiter::keyed(Quota::per_second(rate).allow_burst(burst))
        }))
    }

    /// May `address` begin another one now? If so, it counts.
    #[must_use]
    pub fn admit(&self, address: IpAddr) -> bool {
        let Some(limiter) = &self.0 else { return true };
        let network = if limiter.len() < NETWORKS_MAX {
            Network::from(address)
        } else {
            Network::from(IpAddr::V6(Ipv6Addr::UNSPECIFIED))
        };
        limiter.check_key(&network).is_ok()
    }

    /// Forgets addresses that have their whole allowance back. To be called now and then.
    pub fn sweep(&self) {
        if let Some(limiter) = &self.0 {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_four_seconds_worth_at_once_and_takes_nothing_from_others() {
        let rate = HandshakeRate::new(2);
        let [one, other] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse::<IpAddr>().unwrap());
        let admitted = (0..100).filter(|_| rate.admit(one)).count();
        // A slow machine may earn one more meanwhile.
        assert!((8..=9).contains(&admitted), "{admitted}");
        assert!(rate.admit(other));
        rate.sweep();
        assert!(!(0..3).all(|_| rate.admit(one)), "what is in use is not forgotten");
    }

    #[test]
    fn zero_is_no_limit() {
        let rate = HandshakeRate::new(0);
        assert!((0..10_000).all(|_| rate.admit([192, 0, 2, 1].into())));
    }
}
