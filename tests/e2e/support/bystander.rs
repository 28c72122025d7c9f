//! A client that does nothing wrong while others attack, and how long it waits for answers.

use std::{
    cell::Cell,
    future::Future,
    time::{Duration, Instant},
};

use tokio::time::sleep;

use super::{Client, json};

/// Time between two events of a bystander.
const PAUSE: Duration = Duration::from_millis(20);

/// What an ack may take on a machine that does nothing else, ninety-nine times of a hundred.
const PROMPT: Duration = Duration::from_secs(1);
/// Of so many acks one may take longer: one stall of the machine is not the gate's doing. Of fewer none may, or a gate that answers
/// nobody until the attack is over would pass.
const ENOUGH: usize = 10;
/// An ack passes six processes, the control two; each is given some time more to wait for its turn.
const WAY_OF_AN_ACK: u32 = 10;

/// What `rate_limit` lets through at once, as delivered.
const LIMIT: usize = 100;

/// How long a client waited for the acks of its events.
#[derive(Debug)]
pub(crate) struct Waits {
    acks: Vec<Duration>,
    /// The control: answers of the client's own process, beside which there is neither the gate nor the service.
    control: Vec<Duration>,
}

impl Waits {
    /// How many acks came.
    pub(crate) fn len(&self) -> usize {
        self.acks.len()
    }

    /// Ninety-nine of a hundred acks came within this time, and of fewer all but one.
    pub(crate) fn p99(&self) -> Duration {
        p99(&self.acks)
    }

    /// Acks came within a second, or as soon as a machine lets them that keeps the client's own process waiting.
    pub(crate) fn assert_prompt(&self) {
        let bound = PROMPT.max(p99(&self.control) * WAY_OF_AN_ACK);
        assert!(self.p99() < bound, "acks took {:?}; {bound:?} are allowed, {self:?}", self.p99());
    }
}

/// Lets the client ask for one ack after another until `attack` has ended; at least one. Fails where one does not come.
///
/// The attack goes on while an ack is waited for, or on a slow machine it would be a slow attack, with its clients standing still.
pub(crate) async fn waits_during<T>(client: &Client, attack: impl Future<Output = T>) -> (Waits, T) {
    let is_over = Cell::new(false);
    let attack = async {
        let outcome = attack.await;
        is_over.set(true);
        outcome
    };
    tokio::join!(waits_until(client, &is_over), attack)
}

async fn waits_until(client: &Client, is_over: &Cell<bool>) -> Waits {
    let mut waits = Waits { acks: Vec::new(), control: Vec::new() };
    loop {
        let asked = Instant::now();
        let answer = client.ask("echo", json!([waits.len()])).await;
        // On a slow machine an attack lasts until the default limit answers in the service's place.
        let is_over_limit = waits.len() >= LIMIT && answer["rateLimited"] == true;
        assert!(is_over_limit || answer == waits.len(), "{answer}");
        waits.acks.push(asked.elapsed());
        let asked = Instant::now();
        client.state().await;
        waits.control.push(asked.elapsed());
        if is_over.get() {
            waits.acks.sort_unstable();
            waits.control.sort_unstable();
            return waits;
        }
        sleep(PAUSE).await;
    }
}

fn p99(sorted: &[Duration]) -> Duration {
    let left_out = if sorted.len() < ENOUGH { 0 } else { (sorted.len() / 100).max(1) };
    sorted[sorted.len() - 1 - left_out]
}
