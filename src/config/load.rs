//! Reads the configuration. Its layers are figment's: defaults, the file, `TIDEGATE__TABLE__KEY`, the command line. Later
//! ones win; unknown keys are refused wherever they stand.

mod file;
mod plain;
mod setting;

use std::{env, ffi::OsString, net::SocketAddr, path::PathBuf};

use figment::{Figment, providers::Serialized};
use serde_json::Value;

use self::{file::ConfigFile, plain::plain, setting::Setting};
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
    layers: Layers,
}

/// All sources, one over the other.
#[derive(Debug, Default)]
struct Layers {
    figment: Figment,
    file: ConfigFile,
}

impl Sources {
    /// Reads them, and the environment of this process.
    ///
    /// # Errors
    /// What is no configuration, with its place. What a configuration says is checked when it is put into effect.
    pub fn load(&self) -> Result<Loaded, ConfigError> {
        self.load_with(env::vars_os())
    }

    /// The same with another environment.
    pub(crate) fn load_with(
        &self,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Loaded, ConfigError> {
        let file = self.file.as_deref().map(ConfigFile::read).transpose()?.unwrap_or_default();
        let mut figment = Figment::from(Serialized::defaults(Config::default())).merge(&file);
        for variable in setting::variables(environment)? {
            figment = figment.merge(variable);
        }
        if let Some(address) = self.listen {
            figment = figment.merge(Setting::option("--listen", "listen.address", address.to_string()));
        }
        if let Some(url) = &self.upstream {
            figment = figment.merge(Setting::option("--upstream", "upstream.url", url.clone()));
        }
        Layers { figment, file }.read()
    }
}

impl Loaded {
    /// One file's text alone, with neither environment nor command line. `name` is what errors call it.
    ///
    /// # Errors
    /// As for [`Sources::load`].
    pub fn of_text(name: &str, text: &str) -> Result<Self, ConfigError> {
        let file = ConfigFile::parse(name.to_owned(), text.to_owned())?;
        Layers { figment: Figment::from(Serialized::defaults(Config::default())).merge(&file), file }.read()
    }

    /// Where these faults of the configuration are written: the one place that knows.
    #[must_use]
    pub fn place(&self, faults: Vec<Fault>) -> ConfigError {
        self.layers.place(faults)
    }
}

/// A configuration that a program has made: nothing says its keys.
impl From<Config> for Loaded {
    fn from(config: Config) -> Self {
        Self { config, layers: Layers::default() }
    }
}

impl Layers {
    fn read(self) -> Result<Loaded, ConfigError> {
        match self.config() {
            Ok(config) => Ok(Loaded { config, layers: self }),
            Err(fault) => Err(self.place(vec![fault])),
        }
    }

    /// What all layers come to. It is read through JSON, because serde's errors name indexes of lists there.
    fn config(&self) -> Result<Config, Fault> {
        let merged: Value = self.figment.extract().map_err(|error| Fault::new("", error.to_string()))?;
        serde_path_to_error::deserialize(&merged).map_err(|error| {
            let key = error.path().to_string();
            let pointer = format!("/{}", key.replace(['.', '['], "/").replace(']', ""));
            let found = merged.pointer(&pointer).and_then(Value::as_str).map(|found| format!("{found:?}"));
            Fault::new(key, plain(&error.inner().to_string(), found.as_deref()))
        })
    }

    fn place(&self, faults: Vec<Fault>) -> ConfigError {
        ConfigError::new(faults.into_iter().map(|fault| (self.place_of(&fault.key), fault)))
    }

    /// The file and line, the variable or the option that says this key. Where none does, what says the table around it:
    /// the file first.
    fn place_of(&self, key: &str) -> Option<String> {
        // All entries of a list come from one layer.
        let own = key.split('[').next().unwrap_or_default();
        let mut tables = std::iter::successors(Some(own), |key| Some(key.rsplit_once('.')?.0)).skip(1);
        let setting = |key| self.figment.find_metadata(key).and_then(setting::name).map(str::to_owned);
        setting(own).or_else(|| self.file.place_of(key)).or_else(|| tables.find_map(setting))
    }
}

#[cfg(test)]
mod tests;
