//! Finds and loads the configuration: the file that is named, else that of the system.

use std::path::{Path, PathBuf};

use super::failure::{Failure, SYSTEM_CONFIG};
use crate::config::{
    Config,
    load::{self, Overrides},
};

/// The configuration, and the file that was read. `None` where none is named and the system has none.
pub(super) fn load(named: Option<PathBuf>, overrides: &Overrides) -> Result<(Config, Option<PathBuf>), Failure> {
    // A file whose existence cannot be checked is read, so that the error names the reason.
    let system = || Path::new(SYSTEM_CONFIG).try_exists().unwrap_or(true).then(|| SYSTEM_CONFIG.into());
    let path = named.or_else(system);
    match load::load(path.as_deref(), overrides) {
        Ok(config) => Ok((config, path)),
        Err(error) if path.is_none() => Err(Failure::ConfigWithoutFile(error)),
        Err(error) => Err(Failure::Config(error)),
    }
}
