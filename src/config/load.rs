//! Reads the configuration. Its layers are figment's: defaults, the file, `TIDEGATE__TABLE__KEY`, the command line. Later
//! ones win; unknown keys are refused wherever they stand.

pub(crate) mod address;
mod file;
mod left_out;
mod plain;
mod setting;
mod syntax;

use std::{env, ffi::OsString, net::SocketAddr, path::PathBuf};

use figment::{Figment, providers::Serialized};
use serde_json::Value;

use self::{
    file::ConfigFile,
    left_out::{Left, LeftOut},
    setting::{Refused, Setting},
};
use super::{error::ConfigError, model::Config};
use crate::fault::Fault;

/// Where a configuration comes from, beside the environment of this process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    /// `None`: no file is read.
    pub file: Option<PathBuf>,
    /// `--listen`, over everything else.
    pub listen: Option<SocketAddr>,
    /// `--upstream`, over everything else.
    pub upstream: Option<String>,
}

/// A configuration, and where each of its keys is written.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// How many environment variables say something of it.
    pub variables: usize,
    layers: Layers,
}

/// All sources, one over the other.
#[derive(Debug, Default)]
struct Layers {
    figment: Figment,
    file: ConfigFile,
    /// Which entries of lists could be read.
    left: Left,
}

impl Sources {
    /// Reads them, and the environment of this process. What a configuration says is checked when it is put into effect. Where
    /// a part of it cannot be read, `verify` tells what is wrong with the rest, so that all mistakes are told together.
    ///
    /// # Errors
    /// What is no configuration, with its place.
    pub fn load(&self, verify: impl FnOnce(&Loaded) -> Result<(), ConfigError>) -> Result<Loaded, ConfigError> {
        self.load_with(env::vars_os(), verify)
    }

    /// The same with another environment.
    pub(crate) fn load_with(
        &self,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        verify: impl FnOnce(&Loaded) -> Result<(), ConfigError>,
    ) -> Result<Loaded, ConfigError> {
        let file = self.file.as_deref().map(ConfigFile::read).transpose()?.unwrap_or_default();
        let mut figment = Figment::from(Serialized::defaults(Config::default())).merge(&file);
        let (settings, refused) = setting::variables(environment);
        let variables = settings.len();
        for variable in settings {
            figment = figment.merge(variable);
        }
        if let Some(address) = self.listen {
            figment = figment.merge(Setting::option("--listen", "listen.address", address.to_string()));
        }
        if let Some(url) = &self.upstream {
            figment = figment.merge(Setting::option("--upstream", "upstream.url", url.clone()));
        }
        Layers { figment, file, left: Left::default() }.read(variables, refused, verify)
    }
}

impl Loaded {
    /// One file's text alone, with neither environment nor command line. `name` is what errors call it.
    ///
    /// # Errors
    /// As for [`Sources::load`].
    pub fn of_text(name: &str, text: &str) -> Result<Self, ConfigError> {
        let file = ConfigFile::parse(name.to_owned(), text.to_owned())?;
        let figment = Figment::from(Serialized::defaults(Config::default())).merge(&file);
        Layers { figment, file, left: Left::default() }.read(0, Vec::new(), |_| Ok(()))
    }

    /// Where these faults of the configuration are written: the one place that knows.
    #[must_use]
    pub fn place(&self, faults: Vec<Fault>) -> ConfigError {
        let mut error = self.layers.place(faults);
        error.sort();
        error
    }
}

/// A configuration that a program has made: nothing says its keys.
impl From<Config> for Loaded {
    fn from(config: Config) -> Self {
        Self { config, variables: 0, layers: Layers::default() }
    }
}

impl Layers {
    fn read(
        mut self,
        variables: usize,
        refused: Vec<Refused>,
        verify: impl FnOnce(&Loaded) -> Result<(), ConfigError>,
    ) -> Result<Loaded, ConfigError> {
        // Through JSON, because serde's errors name indexes of lists there.
        let merged: Value = match self.figment.extract() {
            Ok(merged) => merged,
            Err(error) => return Err(self.place(vec![Fault::new("", error.to_string())])),
        };
        let reading = left_out::read(merged);
        self.left = reading.left;
        let mut left_out: LeftOut = reading.left_out;
        // Their numbers are those of the sources already.
        let mut error = self.place_in_sources(std::mem::take(&mut left_out.faults));
        for (name, fault) in refused {
            left_out.add_key(fault.key.clone());
            error.add(ConfigError::one(name, fault), |_| true);
        }
        let Some(config) = reading.config else { return Err(error) };
        let loaded = Loaded { config, variables, layers: self };
        if error.mistakes().is_empty() {
            return Ok(loaded);
        }
        if let Err(beside) = verify(&loaded) {
            error.add(beside, |fault| !left_out.explains(fault));
        }
        error.sort();
        Err(error)
    }

    fn place(&self, faults: Vec<Fault>) -> ConfigError {
        let in_sources = |fault: Fault| Fault { key: self.left.in_sources(&fault.key), ..fault };
        self.place_in_sources(faults.into_iter().map(in_sources).collect())
    }

    fn place_in_sources(&self, faults: Vec<Fault>) -> ConfigError {
        ConfigError::new(faults.into_iter().map(|fault| (self.place_of(&fault.key), fault)))
    }

    /// The file and line, the variable or the option that says this key. Where none does, what says the table around it:
    /// the file first. Where nothing says that either, the file as a whole.
    fn place_of(&self, key: &str) -> Option<String> {
        // All entries of a list come from one layer.
        let own = key.split('[').next().unwrap_or_default();
        let mut tables = std::iter::successors(Some(own), |key| Some(key.rsplit_once('.')?.0)).skip(1);
        let setting = |key| self.figment.find_metadata(key).and_then(setting::name).map(str::to_owned);
        let around = || self.file.place_of(key).or_else(|| tables.find_map(setting));
        setting(own).or_else(around).or_else(|| self.file.name().map(str::to_owned))
    }
}

#[cfg(test)]
mod tests;
