//! Limits the HTTP requests that are under way at once, in total and per address, whichever connection brings them: one
//! connection of HTTP/2 carries many.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    connections::LimitsTable,
    descriptors::SetAside,
    verdict::{Refusal, RefusalKind},
};
use crate::network::Network;

/// Counts the requests under way in the process.
#[derive(Debug)]
pub struct Requests {
    counts: Mutex<Counts>,
}

#[derive(Debug)]
struct Counts {
    limit: u32,
    limit_per_ip: u32,
    under_way: u32,
    /// Networks without a request have no entry, so there are never more entries than requests.
    per_network: HashMap<Network, u32>,
}

/// A place for one request; it is under way until this is dropped.
#[derive(Debug)]
#[must_use = "the request counts as answered as soon as this is dropped"]
pub struct Place {
    requests: Arc<Requests>,
    network: Network,
    /// What its connection to the service is opened with, where the client's connection has none for it.
    descriptors: Option<SetAside>,
}

impl Place {
    /// The same with these descriptors, kept as long.
    pub fn with(self, descriptors: SetAside) -> Self {
        let mut place = self;
        place.descriptors = Some(descriptors);
        place
    }
}

impl Requests {
    /// No request is under way yet.
    #[must_use]
    pub fn new(limits: &LimitsTable) -> Arc<Self> {
        let (limit, limit_per_ip) = (limits.requests, limits.requests_per_ip);
        Arc::new(Self { counts: Mutex::new(Counts { limit, limit_per_ip, under_way: 0, per_network: HashMap::new() }) })
    }

    /// A place for one more request from `ip`.
    ///
    /// # Errors
    /// `limit.requests` (unavailable) when the node has its fill, else `limit.requests_per_ip` (too many) when the
    /// address, or the IPv6 /64 around it, has its share.
    pub fn admit(self: &Arc<Self>, ip: IpAddr) -> Result<Place, Refusal> {
        const FULL: Refusal = Refusal {
            kind: RefusalKind::Unavailable,
            code: "limit.requests",
            message: "Too many requests at once. Please try again later.",
            rule: None,
            fault: None,
        };
        const SHARE_TAKEN: Refusal = Refusal {
            kind: RefusalKind::TooMany,
            code: "limit.requests_per_ip",
            message: "Too many requests at once from your address.",
            rule: None,
            fault: None,
        };
        let network = Network::from(ip);
        let mut counts = self.counts();
        if counts.under_way >= counts.limit {
            return Err(FULL);
        }
        let of_network = counts.per_network.get(&network).copied().unwrap_or(0);
        if of_network >= counts.limit_per_ip {
            return Err(SHARE_TAKEN);
        }
        counts.under_way += 1;
        counts.per_network.insert(network, of_network + 1);
        Ok(Place { requests: Arc::clone(self), network, descriptors: None })
    }

    /// Replaces the limits. Requests under way beyond them are answered.
    pub fn set_limits(&self, limits: &LimitsTable) {
        let mut counts = self.counts();
        (counts.limit, counts.limit_per_ip) = (limits.requests, limits.requests_per_ip);
    }

    /// The number of requests under way.
    #[must_use]
    pub fn under_way(&self) -> u32 {
        self.counts().under_way
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.requests.counts();
        counts.under_way -= 1;
        match counts.per_network.get_mut(&self.network) {
            Some(more @ 2..) => *more -= 1,
            _ => drop(counts.per_network.remove(&self.network)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(requests: u32, requests_per_ip: u32) -> Arc<Requests> {
        Requests::new(&LimitsTable { requests, requests_per_ip, ..LimitsTable::default() })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_has_its_share_and_the_node_its_fill() {
        let requests = requests(3, 2);
        let places = [requests.admit(ip("2001:db8::1")).unwrap(), requests.admit(ip("2001:db8::2")).unwrap()];
        let refusal = requests.admit(ip("2001:db8::3")).unwrap_err();
        assert_eq!((refusal.kind, refusal.code), (RefusalKind::TooMany, "limit.requests_per_ip"));
        let _other = requests.admit(ip("192.0.2.1")).unwrap();
        let refusal = requests.admit(ip("192.0.2.2")).unwrap_err();
        assert_eq!((refusal.kind, refusal.code), (RefusalKind::Unavailable, "limit.requests"));
        drop(places);
        assert_eq!(requests.under_way(), 1);
        assert!(requests.admit(ip("2001:db8::3")).is_ok());
        assert_eq!(requests.counts().per_network.len(), 1, "nothing is remembered of what is answered");
    }

    #[test]
    fn new_limits_hold_at_once() {
        let requests = requests(2, 2);
        let _one = requests.admit(ip("192.0.2.1")).unwrap();
        requests.set_limits(&LimitsTable { requests: 1, ..LimitsTable::default() });
        assert!(requests.admit(ip("192.0.2.2")).is_err());
    }
}
