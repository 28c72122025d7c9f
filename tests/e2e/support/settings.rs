//! The configuration file of a scenario: a base, and what the scenario changes.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

const FILE: &str = "tidegate.toml";

/// Dotted keys with their values, and tables after them, all in the words of the file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    keys: BTreeMap<String, String>,
    tables: String,
}

impl Settings {
    /// Lines `table.key = value` take the place of the same keys; from the first line that begins with `[` on, the text
    /// takes the place of all tables.
    pub(crate) fn change(&mut self, toml: &str) {
        let table = toml.lines().position(|line| line.trim_start().starts_with('['));
        let mut lines = toml.lines();
        for line in lines.by_ref().take(table.unwrap_or(usize::MAX)).filter(|line| !line.trim().is_empty()) {
            let (key, value) = line.split_once('=').unwrap_or_else(|| panic!("`{line}` is not `key = value`"));
            self.keys.insert(key.trim().to_owned(), value.trim().to_owned());
        }
        if table.is_some() {
            self.tables = lines.map(|line| format!("{}\n", line.trim())).collect();
        }
    }

    /// The key is left out.
    pub(crate) fn remove(&mut self, key: &str) {
        self.keys.remove(key);
    }

    /// The file.
    pub(crate) fn toml(&self) -> String {
        let keys: String = self.keys.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
        keys + &self.tables
    }
}

/// The folder of the file.
#[derive(Debug)]
pub(crate) struct ConfigFolder {
    folder: TempDir,
    /// How often the file was written, where it is reached through links.
    versions: Option<u32>,
}

impl ConfigFolder {
    /// With `config_map` the file is `..data/tidegate.toml`, and `..data` a link to the folder of one version, as
    /// Kubernetes mounts a ConfigMap.
    pub(crate) fn new(config_map: bool, toml: &str) -> Self {
        let mut folder = Self { folder: TempDir::new().unwrap(), versions: config_map.then_some(0) };
        if config_map {
            symlink(Path::new("..data").join(FILE), folder.file()).unwrap();
        }
        folder.write(toml);
        folder
    }

    /// What the program is told.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join(FILE)
    }

    /// In one step the file is another.
    pub(crate) fn write(&mut self, toml: &str) {
        let folder = self.folder.path();
        let Some(versions) = &mut self.versions else {
            let new = folder.join("new");
            fs::write(&new, toml).unwrap();
            return fs::rename(new, self.file()).unwrap();
        };
        *versions += 1;
        let version = format!("..version-{versions}");
        fs::create_dir(folder.join(&version)).unwrap();
        fs::write(folder.join(&version).join(FILE), toml).unwrap();
        symlink(&version, folder.join("..data_tmp")).unwrap();
        fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    }
}
