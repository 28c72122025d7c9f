//! A client that does nothing wrong while others attack, and how long it waits for answers.

use std::{
    future::Future,
    pin::pin,
    time::{Duration, Instant},
};

use super::{Client, json};

/// Time between two events of a bystander.
const PAUSE: Duration = Duration::from_millis(20);

/// How long a client waited for the acks of its events.
#[derive(Debug)]
pub(crate) struct Waits(Vec<Duration>);

impl Waits {
    /// How many acks came.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Ninety-nine of a hundred acks came within this time.
    pub(crate) fn p99(&self) -> Duration {
        self.0[(self.0.len() * 99).div_ceil(100) - 1]
    }
}

/// Lets the client ask for one ack after another until `attack` has ended; at least one. Fails where one does not come.
pub(crate) async fn waits_during<T>(client: &Client, attack: impl Future<Output = T>) -> (Waits, T) {
    let mut attack = pin!(attack);
    let mut waits = Vec::new();
    loop {
        let asked = Instant::now();
        assert_eq!(client.ask("echo", json!([waits.len()])).await, waits.len());
        waits.push(asked.elapsed());
        if let Ok(outcome) = tokio::time::timeout(PAUSE, &mut attack).await {
            waits.sort_unstable();
            return (Waits(waits), outcome);
        }
    }
}
