//! Keeps the first messages and the subscriptions of a plain route's client, and sends them again to a service that was lost.

use crate::{
    fault::{Fault, Faults},
    policy::pattern::Patterns,
    session::queue::{Queue, QueueBounds, WholePacket},
};

/// The bound of the first messages, and another time of those that a pattern names.
pub const REPLAY_BOUNDS: QueueBounds = QueueBounds { packets: 8, bytes: 16 * 1024 };

/// Which messages of a client are sent again.
#[derive(Debug, Default, Clone)]
pub struct ReplayRules {
    first: usize,
    events: Patterns,
}

impl ReplayRules {
    /// The first `first` messages, and those whose event one of these patterns names. `route` is the name of the table
    /// in the configuration.
    ///
    /// # Errors
    /// More than [`REPLAY_BOUNDS`] allow, and each text that is not a pattern.
    pub fn compile(route: &str, first: usize, events: &[String]) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults::default();
        let max = REPLAY_BOUNDS.packets;
        if first > max {
            faults.add(format!("{route}.replay_first"), format!("is {first}; at most {max} messages are sent again"));
        }
        let events = faults.keep(Patterns::compile(&format!("{route}.replay_events"), events));
        faults.finish(events.map(|events| Self { first, events }))
    }

    /// Whether a message of this event is sent again, at whatever position it came.
    #[must_use]
    pub fn names(&self, event: impl AsRef<[u8]>) -> bool {
        self.events.matches(event)
    }
}

/// The messages of one client that are sent again. Wiped when dropped: they may hold its credentials.
#[derive(Debug, Default)]
pub struct Replay {
    first: Queue,
    /// How many of the first messages have been sent, remembered or not; at most `first` of the rules.
    said: u8,
    events: Queue,
    overflowed: bool,
}

impl Replay {
    /// Whether the next message is one of the first.
    #[must_use]
    pub fn wants_next(&self, rules: &ReplayRules) -> bool {
        usize::from(self.said) < rules.first
    }

    /// A message has been sent. If the same text was sent twice, the later one counts. True: it is remembered.
    pub fn remember(&mut self, packet: &WholePacket, rules: &ReplayRules) -> bool {
        let is_first = self.wants_next(rules);
        let kept = if is_first {
            self.said += 1;
            &mut self.first
        } else if packet.may_be_sent_again && !self.first.iter().any(|first| first.payload() == packet.payload()) {
            self.events.retain(|earlier| earlier.payload() != packet.payload());
            &mut self.events
        } else {
            return false;
        };
        if kept.has_room(packet, &REPLAY_BOUNDS) {
            kept.push(packet.clone());
            return true;
        }
        self.overflowed = true;
        false
    }

    /// The last message has not been sent after all, and waits again.
    pub fn forget(&mut self, packet: &WholePacket) {
        let is_it = |last: &WholePacket| last.payload() == packet.payload();
        if self.events.is_empty() {
            self.said -= u8::from(self.first.pop_last_if(is_it).is_some());
        } else {
            self.events.pop_last_if(is_it);
        }
    }

    /// Whether everything is remembered that should be. If not, the next service would get only a part of what the
    /// client has sent.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        !self.overflowed
    }

    /// What all of them take, in bytes of memory.
    #[must_use]
    pub const fn memory(&self) -> usize {
        self.first.bytes() + self.events.bytes()
    }

    /// The messages to send again, in this order.
    pub fn again(&self) -> impl Iterator<Item = &WholePacket> {
        self.first.iter().chain(self.events.iter())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::websocket::frame::OpCode;

    fn rules(first: usize) -> ReplayRules {
        ReplayRules::compile("websocket[0]", first, &["sub*".to_owned()]).unwrap()
    }

    fn message(event: &str, rules: &ReplayRules) -> WholePacket {
        let mut packet = WholePacket::message(OpCode::Text, event.as_bytes().to_vec());
        packet.may_be_sent_again = rules.names(event);
        packet
    }

    fn after(events: &[&str], rules: &ReplayRules) -> Replay {
        let mut replay = Replay::default();
        for event in events {
            replay.remember(&message(event, rules), rules);
        }
        replay
    }

    fn again(replay: &Replay) -> Vec<String> {
        replay.again().map(|packet| String::from_utf8(packet.payload().to_vec()).unwrap()).collect()
    }

    #[test]
    fn first_messages_come_first_and_each_subscription_once_at_its_last_position() {
        let rules = rules(2);
        let said = ["auth", "sub a", "chat", "sub b", "sub c", "sub a", "sub b", "auth"];
        assert_eq!(again(&after(&said, &rules)), ["auth", "sub a", "sub c", "sub b"]);
    }

    #[test]
    fn nothing_is_remembered_without_a_rule() {
        let replay = after(&["auth", "chat"], &rules(0));
        assert_eq!((again(&replay).len(), replay.is_complete()), (0, true));
    }

    #[test]
    fn what_does_not_fit_makes_it_incomplete() {
        let overhead = WholePacket::message(OpCode::Text, vec![0]).memory();
        let long = "x".repeat(REPLAY_BOUNDS.bytes - overhead - 100);
        assert!(after(&[&long], &rules(1)).is_complete());
        assert!(!after(&["y", &long], &rules(2)).is_complete());
        let subs: Vec<String> = (0..9).map(|n| format!("sub {n}")).collect();
        let subs: Vec<&str> = subs.iter().map(String::as_str).collect();
        assert!(after(&subs[..8], &rules(0)).is_complete());
        assert!(!after(&subs, &rules(0)).is_complete());
        assert!(after(&subs, &rules(1)).is_complete());
    }

    proptest! {
        /// For any messages: within the bounds, in the order of the last sending, and no message of a pattern twice.
        #[test]
        fn it_is_bounded_and_in_order(said in prop::collection::vec(0..12_u8, 0..60), first in 0..=8_usize) {
            let rules = rules(first);
            let said: Vec<String> = said.iter().map(|n| format!("{} {n}", if n % 2 == 0 { "sub" } else { "say" })).collect();
            let said: Vec<&str> = said.iter().map(String::as_str).collect();
            let replay = after(&said, &rules);
            let again = again(&replay);
            prop_assert!(again.len() <= 2 * REPLAY_BOUNDS.packets);
            let firsts = said.len().min(first);
            prop_assert_eq!(&again[..firsts], &said[..firsts]);
            let last = |text: &str| said.iter().rposition(|other| *other == text);
            prop_assert!(again[firsts..].iter().is_sorted_by_key(|text| last(text)));
            prop_assert!(again[firsts..].iter().all(|text| text.starts_with("sub") && !said[..firsts].contains(&text.as_str())));
        }
    }
}
