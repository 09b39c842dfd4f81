//! The ways in which a plugin's file can be wrong, each with what to do about it.

use std::path::PathBuf;

use meshery_plugin_api::PluginError;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::problem::{Problem, ProblemKind};

/// A file that was refused, and why.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}: {fault}", file.display())]
pub struct LoadError {
    /// The file, or the folder that could not be read.
    pub file: PathBuf,
    /// What is wrong with it.
    pub fault: LoadFault,
}

/// What is wrong with a plugin's file.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum LoadFault {
    /// A bare or relative name would be searched for in the system's folders.
    #[error("the path is not absolute")]
    NotAbsolute,
    /// It cannot be opened or read.
    #[error("it cannot be read: {why}")]
    Unreadable {
        /// What the system says.
        why: String,
    },
    /// A folder, a device, a pipe.
    #[error("it is not a regular file but {what}")]
    NotRegularFile {
        /// What it is.
        what: String,
    },
    /// Anybody but its owner may change it.
    #[error("it may be changed by others ({what})")]
    WritableByOthers {
        /// What exactly: mode or owner, of the file or its folder.
        what: String,
    },
    /// It has no content.
    #[error("it is empty")]
    Empty,
    /// Larger than any plugin.
    #[error("it has {size} bytes, more than the {limit} allowed")]
    TooLarge {
        /// Its size.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// Some other kind of file.
    #[error("it is not a shared library (no ELF file)")]
    NotElf,
    /// 32 bits, or the other byte order.
    #[error("it is made for {found}, this host for {expected}")]
    WrongClass {
        /// Class of the file.
        found: String,
        /// Class of the host.
        expected: String,
    },
    /// Another processor.
    #[error("it is made for the processor {found}, this host runs on {expected}")]
    WrongMachine {
        /// Machine of the file.
        found: String,
        /// Machine of the host.
        expected: String,
    },
    /// A program, or an object file.
    #[error("it is {found}, not a shared library")]
    NotSharedLibrary {
        /// What it is.
        found: String,
    },
    /// Loading it would end the process with SIGBUS.
    #[error("it is cut off: {what}")]
    Truncated {
        /// What lies outside of the file.
        what: String,
    },
    /// An ordinary library.
    #[error("it is a shared library but no Meshery plugin (it has no manifest)")]
    NoManifest,
    /// The section is there, its content is not a manifest.
    #[error("its manifest cannot be read: {why}")]
    BadManifest {
        /// Why.
        why: String,
    },
    /// A kind of plugin that this host does not have.
    #[error("it is a plugin of a kind that this host does not know")]
    UnknownKind,
    /// Built with a plugin API that does not fit.
    #[error("it was built with plugin API {found}, this host takes {accepted}")]
    ApiVersion {
        /// Version of the plugin.
        found: String,
        /// Range of the host.
        accepted: String,
    },
    /// Writes messages of another schema.
    #[error("its messages are of schema {found}, this host takes {accepted}")]
    SchemaVersion {
        /// Version of the plugin.
        found: String,
        /// Range of the host.
        accepted: String,
    },
    /// Another provider is configured.
    #[error("it is a provider named \"{name}\", the one configured is \"{configured}\"")]
    OtherProvider {
        /// Its name.
        name: String,
        /// The name configured.
        configured: String,
    },
    /// Another file has the same kind and name.
    #[error("another file has the same name \"{name}\": {}", first.display())]
    DuplicateName {
        /// The name.
        name: String,
        /// The file that was found first.
        first: PathBuf,
    },
    /// The copy in the cache folder could not be made.
    #[error("its copy in the cache cannot be made: {why}")]
    Cache {
        /// Why.
        why: String,
    },
    /// The system's loader refused it.
    #[error("the system cannot load it: {why}")]
    NotLoadable {
        /// What the loader says.
        why: String,
    },
    /// It does not export what the macro exports.
    #[error("it does not export the plugin's entry point")]
    NoRootSymbol,
    /// It was made with an incompatible abi_stable.
    #[error("its entry point has a header of another kind: {why}")]
    ForeignHeader {
        /// What is different.
        why: String,
    },
    /// Another major version of the ABI.
    #[error("its ABI has version {plugin}, this host's {host}")]
    AbiMajor {
        /// Version of the host.
        host: String,
        /// Version of the plugin.
        plugin: String,
    },
    /// The types that cross the boundary are different.
    #[error("its types do not fit this host's: {why}")]
    AbiLayout {
        /// The first difference.
        why: String,
    },
    /// Its entry point failed.
    #[error("its entry point failed: {why}")]
    RootModule {
        /// Why.
        why: String,
    },
    /// It says something else once loaded than in the file.
    #[error("once loaded it says that it is {found}, its manifest says {expected}")]
    ManifestDiffers {
        /// What the code says.
        found: String,
        /// What the manifest says.
        expected: String,
    },
    /// The process that loaded it died.
    #[error("loading it ended the process: {how}")]
    KilledItsLoader {
        /// Signal or exit code.
        how: String,
    },
    /// The process that should have loaded it could not be used.
    #[error("the child process for it failed: {why}")]
    ChildFailed {
        /// Why.
        why: String,
    },
    /// It panicked while the instance was made.
    #[error("it panicked at its start: {why}")]
    PanickedAtStart {
        /// The panic's message.
        why: String,
    },
    /// It returned an error while the instance was made.
    #[error("it could not start: {error}")]
    StartFailed {
        /// The plugin's own error.
        error: PluginError,
    },
    /// It did not start in time.
    #[error("it did not start within {seconds} s")]
    StartTimedOut {
        /// The deadline.
        seconds: u64,
    },
    /// It was loaded, and what it says about itself cannot be used.
    #[error("its description cannot be used: {error}")]
    BadDescriptor {
        /// Why.
        error: PluginError,
    },
}

impl LoadFault {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotAbsolute => "plugin-path-not-absolute",
            Self::Unreadable { .. } => "plugin-unreadable",
            Self::NotRegularFile { .. } => "plugin-not-regular-file",
            Self::WritableByOthers { .. } => "plugin-writable-by-others",
            Self::Empty => "plugin-empty",
            Self::TooLarge { .. } => "plugin-too-large",
            Self::NotElf => "plugin-not-elf",
            Self::WrongClass { .. } => "plugin-wrong-class",
            Self::WrongMachine { .. } => "plugin-wrong-machine",
            Self::NotSharedLibrary { .. } => "plugin-not-shared-library",
            Self::Truncated { .. } => "plugin-truncated",
            Self::NoManifest => "plugin-no-manifest",
            Self::BadManifest { .. } => "plugin-bad-manifest",
            Self::UnknownKind => "plugin-unknown-kind",
            Self::ApiVersion { .. } => "plugin-api-version",
            Self::SchemaVersion { .. } => "plugin-schema-version",
            Self::OtherProvider { .. } => "plugin-other-provider",
            Self::DuplicateName { .. } => "plugin-duplicate-name",
            Self::Cache { .. } => "plugin-cache",
            Self::NotLoadable { .. } => "plugin-not-loadable",
            Self::NoRootSymbol => "plugin-no-root-symbol",
            Self::ForeignHeader { .. } => "plugin-foreign-header",
            Self::AbiMajor { .. } => "plugin-abi-major",
            Self::AbiLayout { .. } => "plugin-abi-layout",
            Self::RootModule { .. } => "plugin-root-module",
            Self::ManifestDiffers { .. } => "plugin-manifest-differs",
            Self::KilledItsLoader { .. } => "plugin-killed-its-loader",
            Self::ChildFailed { .. } => "plugin-child-failed",
            Self::PanickedAtStart { .. } => "plugin-panicked-at-start",
            Self::StartFailed { .. } => "plugin-start-failed",
            Self::StartTimedOut { .. } => "plugin-start-timeout",
            Self::BadDescriptor { .. } => "plugin-bad-descriptor",
        }
    }

    /// What to do about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::NotAbsolute => "give the folder's full path",
            Self::Unreadable { .. } => "check that it exists and that the host's user may read it",
            Self::NotRegularFile { .. } => "put the library itself there",
            Self::WritableByOthers { .. } => {
                "make the file and its folder belong to the host's user or root, and run: chmod go-w FILE FOLDER"
            }
            Self::Empty | Self::Truncated { .. } => "copy the file again; the copy was not completed",
            Self::TooLarge { .. } => "build it in release mode and strip it",
            Self::NotElf | Self::NotSharedLibrary { .. } => {
                "build the plugin with crate-type = [\"cdylib\"], or take the file out of the folder"
            }
            Self::WrongClass { .. } | Self::WrongMachine { .. } => "build the plugin for this machine",
            Self::NoManifest => {
                "take the file out of the folder; if it is a plugin, end its source with an export macro"
            }
            Self::BadManifest { .. }
            | Self::NoRootSymbol
            | Self::ForeignHeader { .. }
            | Self::AbiLayout { .. }
            | Self::ManifestDiffers { .. } => "build the plugin again with the published meshery-plugin-api",
            Self::UnknownKind => "use a newer host",
            Self::ApiVersion { .. } | Self::SchemaVersion { .. } | Self::AbiMajor { .. } => {
                "use a plugin built for this host's plugin API, or a host built for the plugin's"
            }
            Self::OtherProvider { .. } => "name it in the settings to use it; nothing needs to be done otherwise",
            Self::DuplicateName { .. } => "take one of the two files out of its folder",
            Self::Cache { .. } => "make room, or let the host's user write to the cache folder",
            Self::NotLoadable { .. } => "install the libraries it needs, or build it on a system like this one",
            Self::RootModule { .. }
            | Self::KilledItsLoader { .. }
            | Self::PanickedAtStart { .. }
            | Self::BadDescriptor { .. } => "report it to the plugin's author",
            Self::ChildFailed { .. } => "check the host's installation: a child is the host's own binary",
            Self::StartFailed { error } if !error.remedy.is_empty() => &error.remedy,
            Self::StartFailed { .. } => "correct what the plugin complains about, then start the host again",
            Self::StartTimedOut { .. } => "report it to the plugin's author; a slow disk may be the reason too",
        }
        .to_owned()
    }
}

impl From<LoadError> for Problem {
    fn from(error: LoadError) -> Self {
        let problem = Self::new(ProblemKind::Unavailable, error.fault.code(), error.to_string())
            .remedy(error.fault.remedy());
        match error.fault {
            LoadFault::StartFailed { error } | LoadFault::BadDescriptor { error } => {
                problem.cause(error.cause)
            }
            _ => problem,
        }
    }
}
