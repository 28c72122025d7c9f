//! Finds and loads the configuration: the file that is named, else that of the system.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
};

use super::failure::{Failure, SYSTEM_CONFIG};
use crate::{
    config::{
        Config,
        load::{Loaded, Sources},
    },
    start,
};

/// Which file is read: the same for every subcommand.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct FileArgs {
    /// The configuration file [default: /etc/tidegate/tidegate.toml, if it exists]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// The same as FILE
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl FileArgs {
    /// For a subcommand that takes its file by an option alone.
    pub(super) const fn of(config: Option<PathBuf>) -> Self {
        Self { file: None, config }
    }

    /// The file that is named, if one is.
    fn named(self) -> Result<Option<PathBuf>, Failure> {
        match (self.file, self.config) {
            (Some(file), Some(config)) => Err(Failure::TwoFiles { file, config }),
            (file, config) => Ok(file.or(config)),
        }
    }
}

/// Loads the configuration from the named file, or from the system's file if there is one. Returns the sources that were
/// used. `beside`: the rest of them.
pub(super) fn load(file: FileArgs, beside: Sources) -> Result<(Loaded, Sources), Failure> {
    let sources = sources(file, beside)?;
    match sources.load(start::verify) {
        Ok(loaded) => Ok((loaded, sources)),
        Err(error) => Err(Failure::of_config(error, &sources)),
    }
}

/// With the named file, or with that of the system if there is one.
pub(super) fn sources(file: FileArgs, beside: Sources) -> Result<Sources, Failure> {
    // A file whose existence cannot be checked is read, so that the error names the reason.
    let system = || Path::new(SYSTEM_CONFIG).try_exists().unwrap_or(true).then(|| SYSTEM_CONFIG.into());
    Ok(Sources { file: file.named()?.or_else(system), ..beside })
}

/// Where the node of this configuration answers its operator on this machine.
pub(super) fn operator_address(config: &Config) -> SocketAddr {
    here(config.admin.address)
}

/// How an address at which something listens is reached from this machine.
pub(super) fn here(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        let is_v4 = address.is_ipv4();
        address.set_ip(if is_v4 { IpAddr::from(Ipv4Addr::LOCALHOST) } else { Ipv6Addr::LOCALHOST.into() });
    }
    address
}
