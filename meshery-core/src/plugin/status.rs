//! What can be said of a plugin's file, loaded or not: one line of the plugin list.

use std::path::PathBuf;

use meshery_plugin_api::message::descriptor::PluginKind;
use serde::{Deserialize, Serialize};

use crate::problem::Problem;

/// One file that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginStatus {
    /// Adapter or provider; unknown when the file could not say.
    pub kind: PluginKind,
    /// Name from the manifest; empty when the file has none.
    pub name: String,
    /// Version from the manifest.
    pub version: String,
    /// The file, or the folder that could not be read.
    pub file: PathBuf,
    /// SHA-256 of the file; empty when it was refused before that.
    pub sha256: String,
    /// Where it runs, or would.
    pub mode: Mode,
    /// How it is.
    pub state: PluginState,
    /// How many instances there have been, from 1; 0 when it was never loaded.
    pub generation: u32,
    /// Process of a child that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Why it was refused or has stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Problem>,
    /// One sentence on what it is for.
    pub description: String,
}

/// Where a plugin runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// In this process.
    InProcess,
    /// In a process of its own.
    Child,
}

impl std::fmt::Display for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::InProcess => "in-process",
            Self::Child => "child",
        })
    }
}

/// How a plugin is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PluginState {
    /// It can be called.
    Loaded,
    /// It was not loaded.
    Refused,
    /// It was loaded and cannot be called now.
    Stopped,
}
