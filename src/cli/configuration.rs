//! Finds and loads the configuration: the file that is named, else that of the system.

use std::path::Path;

use super::failure::{Failure, SYSTEM_CONFIG};
use crate::config::load::{Loaded, Sources};

/// Loads the configuration from the named file, or from the system's file if there is one. Returns the sources that were
/// used.
pub(super) fn load(sources: Sources) -> Result<(Loaded, Sources), Failure> {
    // A file whose existence cannot be checked is read, so that the error names the reason.
    let system = || Path::new(SYSTEM_CONFIG).try_exists().unwrap_or(true).then(|| SYSTEM_CONFIG.into());
    let sources = Sources { file: sources.file.or_else(system), ..sources };
    match sources.load() {
        Ok(loaded) => Ok((loaded, sources)),
        Err(error) => Err(Failure::of_config(error, &sources)),
    }
}
