//! Waiting for a result, with a deadline.

use std::{future::Future, time::Duration};

use tokio::time::{Instant, sleep, timeout};

/// Far more than anything here takes, also on a machine that is busy with something else. It costs nothing while all is
/// well: only what never comes is waited for so long. Less than the 45 s after which a heartbeat or a client that joins nothing
/// would end a session as the gate is delivered, so that no test passes because of these.
const PATIENCE: Duration = Duration::from_secs(40);
const BETWEEN_LOOKS: Duration = Duration::from_millis(25);

/// Looks again and again until `look` sees it. `what` is what the panic says was waited for.
pub(crate) async fn eventually<T, F>(what: &str, mut look: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain: {what}");
        sleep(BETWEEN_LOOKS).await;
    }
}

/// Waits for one thing that tells by itself when it is there.
pub(crate) async fn soon<T>(what: &str, coming: impl Future<Output = T>) -> T {
    match timeout(PATIENCE, coming).await {
        Ok(seen) => seen,
        Err(_) => panic!("waited {PATIENCE:?} in vain: {what}"),
    }
}
