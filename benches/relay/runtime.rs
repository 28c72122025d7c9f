//! One runtime on one thread, as every role of the benchmark runs.

use std::{future::Future, io};

/// Runs `role` to its end on this thread.
pub(crate) fn block_on(role: impl Future<Output = io::Result<()>>) -> io::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(role)
}
