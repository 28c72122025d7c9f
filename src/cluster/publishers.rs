//! Which messages of a stream were read already, by publisher and sequence.

use std::collections::HashMap;

/// Publishers that are remembered. Each start of a node is one.
const PUBLISHERS_MAX: usize = 1024;

/// What was read last of each publisher.
#[derive(Debug, Default)]
pub(super) struct Publishers {
    known: HashMap<u64, Last>,
    /// Counts messages, to find the publisher that has been silent for longest.
    turn: u64,
}

#[derive(Debug)]
struct Last {
    sequence: u64,
    turn: u64,
}

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// It was read already: its publisher sent it twice because Redis did not answer.
    Duplicate,
    /// It is new, and so many before it were never read.
    New { missed: u64 },
}

impl Publishers {
    /// Remembers a message. The first of a publisher tells nothing of those before it.
    pub(super) fn read(&mut self, publisher: u64, sequence: u64) -> Reading {
        self.turn += 1;
        let turn = self.turn;
        if let Some(last) = self.known.get_mut(&publisher) {
            last.turn = turn;
            if sequence <= last.sequence {
                return Reading::Duplicate;
            }
            let missed = sequence - last.sequence - 1;
            last.sequence = sequence;
            return Reading::New { missed };
        }
        if self.known.len() >= PUBLISHERS_MAX {
            let silent = self.known.iter().min_by_key(|(_, last)| last.turn).map(|(publisher, _)| *publisher);
            silent.and_then(|publisher| self.known.remove(&publisher));
        }
        self.known.insert(publisher, Last { sequence, turn });
        Reading::New { missed: 0 }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_repeated_message_is_read_once_and_a_lost_one_counted() {
        let mut publishers = Publishers::default();
        let read = [(1, 5), (1, 6), (2, 1), (1, 6), (1, 5), (1, 9), (2, 2), (1, 8)];
        let read = read.map(|(publisher, sequence)| publishers.read(publisher, sequence));
        let new = |missed| Reading::New { missed };
        assert_eq!(
            read,
            [new(0), new(0), new(0), Reading::Duplicate, Reading::Duplicate, new(2), new(0), Reading::Duplicate]
        );
    }

    #[test]
    fn of_too_many_publishers_the_one_that_was_silent_for_longest_is_forgotten() {
        let mut publishers = Publishers::default();
        for publisher in 0..PUBLISHERS_MAX as u64 {
            publishers.read(publisher, 1);
        }
        publishers.read(0, 2);
        publishers.read(u64::MAX, 1);
        assert_eq!(publishers.known.len(), PUBLISHERS_MAX);
        assert_eq!(publishers.read(0, 2), Reading::Duplicate);
        assert!(!publishers.known.contains_key(&1));
    }

    proptest! {
        #[test]
        fn however_batches_are_repeated_each_message_is_read_once_in_order(ends in proptest::collection::vec(1_u64..50, 1..20)) {
            let mut publishers = Publishers::default();
            let (mut read, mut sent) = (Vec::new(), 0);
            for end in ends {
                // Sends all from the last that was confirmed on, once more.
                for sequence in sent.min(end)..=end.max(sent) {
                    if let Reading::New { missed } = publishers.read(7, sequence + 1) {
                        prop_assert_eq!(missed, 0);
                        read.push(sequence);
                    }
                }
                sent = sent.max(end);
            }
            prop_assert!(read.is_sorted_by(|one, next| one + 1 == *next));
        }
    }
}
