//! The stage of a node: serving, leaving or draining. Every thread watches it.

use std::time::Duration;

use tokio::sync::watch;

/// Whether the node still takes clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// New connections are accepted.
    Serving,
    /// The node is not ready any more. Everything is served as before for this time (`limits.lame_duck`), also new
    /// connections, because balancers learn only later that it leaves.
    Leaving(Duration),
    /// No new connections; the open ones close within this time.
    Draining(Duration),
}

impl Stage {
    /// Whether the node is draining.
    #[must_use]
    pub const fn is_draining(&self) -> bool {
        matches!(self, Self::Draining(_))
    }

    /// Whether the node is about to drain, and still serves.
    #[must_use]
    pub const fn is_leaving(&self) -> bool {
        matches!(self, Self::Leaving(_))
    }
}

/// Waits until the node drains, or nobody can say so any more. Nothing of `stage` stays borrowed: whoever sets the next stage
/// would wait for that.
pub async fn begins(mut stage: watch::Receiver<Stage>) {
    let _ = stage.wait_for(Stage::is_draining).await;
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread};

    use tokio::runtime::Builder;

    use super::*;

    /// A stage that stays borrowed would block its thread for good, so a thread of its own is waited for.
    #[test]
    fn the_next_stage_can_be_set_while_its_begin_is_handled() {
        let (done, is_done) = mpsc::channel();
        thread::spawn(move || {
            let runtime = Builder::new_current_thread().build().unwrap();
            let (sender, stage) = watch::channel(Stage::Draining(Duration::from_secs(600)));
            runtime.block_on(async {
                tokio::select! {
                    () = begins(stage) => drop(sender.send_replace(Stage::Draining(Duration::ZERO))),
                }
            });
            let next = *sender.borrow();
            done.send(next).unwrap();
        });
        assert_eq!(is_done.recv_timeout(Duration::from_secs(30)), Ok(Stage::Draining(Duration::ZERO)));
    }
}
