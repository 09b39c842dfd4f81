//! What decides which plugins are loaded, where they run, and how much they may take.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::status::Mode;

/// Everything [`super::Plugins::load`] needs to know.
#[derive(Debug, Clone)]
pub struct PluginSettings {
    /// Folders to look in, absolute; every `*.so` in them is a plugin.
    pub folders: Vec<PathBuf>,
    /// The folder of the host's own binary: only `libmeshery_*.so` in it are plugins.
    pub own_folder: Option<PathBuf>,
    /// Folder for copies of the files; may be deleted at any time the host does not run.
    pub cache: PathBuf,
    /// Where plugins run.
    pub isolation: Isolation,
    /// Where single plugins run, by name, whatever `isolation` says.
    pub isolation_of: BTreeMap<String, Isolation>,
    /// What to start as a child process.
    pub child: ChildProgram,
    /// Name of the provider to use; other providers are not loaded.
    pub provider_name: String,
    /// The provider's part of the settings.
    pub provider_config: Value,
    /// The host's data folder, absolute; the provider gets the folder `provider` in it.
    pub data: PathBuf,
    /// How much plugins may take.
    pub limits: PluginLimits,
}

impl PluginSettings {
    /// Settings with this data folder, its `cache` as cache, no folder to look in, and the default for the rest.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        let data = data.into();
        Self {
            folders: Vec::new(),
            own_folder: None,
            cache: data.join("cache"),
            isolation: Isolation::Auto,
            isolation_of: BTreeMap::new(),
            child: ChildProgram::default(),
            provider_name: "local".to_owned(),
            provider_config: Value::Null,
            data,
            limits: PluginLimits::default(),
        }
    }

    pub(super) fn isolation_for(&self, name: &str) -> Isolation {
        self.isolation_of.get(name).copied().unwrap_or(self.isolation)
    }
}

/// Where a plugin runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// In this process if it lies in the host's own folder with the host's owner and mode, else in a child.
    #[default]
    Auto,
    /// In this process.
    InProcess,
    /// In a process of its own.
    Child,
}

impl Isolation {
    pub(super) fn mode(self, trusted: bool) -> Mode {
        match self {
            Self::InProcess => Mode::InProcess,
            Self::Auto if trusted => Mode::InProcess,
            Self::Auto | Self::Child => Mode::Child,
        }
    }
}

/// The program that becomes a plugin's process: one whose `main` calls [`super::child_main`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildProgram {
    /// The binary, absolute.
    pub path: PathBuf,
    /// Arguments that make it call [`super::child_main`] with the arguments after them.
    pub args: Vec<String>,
}

impl Default for ChildProgram {
    /// This program's own binary with the hidden subcommand `plugin-child`.
    fn default() -> Self {
        Self {
            path: std::env::current_exe().unwrap_or_default(),
            args: vec!["plugin-child".to_owned()],
        }
    }
}

/// How long plugins may take, and how much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginLimits {
    /// From the start of a plugin until it can be called.
    pub start: Duration,
    /// For a call of an adapter's method.
    pub call: Duration,
    /// For a child between being told that a call is cancelled and being killed because it went on.
    pub grace: Duration,
    /// Address space of a child in bytes.
    pub child_memory: u64,
    /// Calls of one plugin at a time in this process; more wait, within their deadline.
    pub calls: usize,
}

impl Default for PluginLimits {
    fn default() -> Self {
        Self {
            start: Duration::from_secs(30),
            call: Duration::from_secs(10),
            grace: Duration::from_secs(2),
            child_memory: 4 << 30,
            calls: 64,
        }
    }
}
