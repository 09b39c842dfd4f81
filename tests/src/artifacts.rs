//! The programs and plugins of this workspace, as `cargo build` makes them.
//!
//! `cargo test` builds no plugin and no other crate's program. One `cargo build`, with the profile that the tests
//! themselves have and into the same target folder, builds everything; what it made is taken from what cargo says.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context as _, anyhow, ensure};
use serde::Deserialize;

/// What was built.
#[derive(Debug)]
pub struct Artifacts {
    programs: BTreeMap<String, PathBuf>,
    libraries: BTreeMap<String, PathBuf>,
}

/// A line of cargo's output; most are about something else.
#[derive(Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
enum Message {
    CompilerArtifact {
        target: Target,
        filenames: Vec<PathBuf>,
        executable: Option<PathBuf>,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

/// Builds the workspace with its examples: once in the life of this process, however many tests ask.
pub fn build() -> anyhow::Result<&'static Artifacts> {
    static BUILT: OnceLock<Result<Artifacts, String>> = OnceLock::new();
    BUILT
        .get_or_init(|| {
            Artifacts::build(&["--workspace", "--lib", "--bins", "--examples"])
                .map_err(|error| format!("{error:#}"))
        })
        .as_ref()
        .map_err(|error| anyhow!("{error}"))
}

/// Cargo as a person would start it, with this program's profile to be added by [`as_built`].
///
/// A test has in its environment what cargo says about its package. Handed on, it makes build scripts that look at
/// such variables run again, and all that depends on them be built again, here and when the tests are built next.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// Has cargo build with the profile that this program was built with.
pub fn as_built(command: &mut Command) {
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
}

/// Builds single packages, for what needs no more than these.
pub fn build_packages(packages: &[&str]) -> anyhow::Result<Artifacts> {
    let chosen: Vec<&str> = packages
        .iter()
        .flat_map(|package| ["--package", package])
        .collect();
    Artifacts::build(&chosen)
}

impl Artifacts {
    fn build(chosen: &[&str]) -> anyhow::Result<Self> {
        let mut command = cargo();
        command
            .args(["build", "--message-format=json-render-diagnostics"])
            .args(chosen)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stderr(Stdio::inherit());
        as_built(&mut command);
        let output = command.output().context("cargo could not be run")?;
        ensure!(output.status.success(), "{command:?} failed: {}", output.status);
        let mut artifacts = Self {
            programs: BTreeMap::new(),
            libraries: BTreeMap::new(),
        };
        for line in output.stdout.split(|byte| *byte == b'\n') {
            // A newer cargo may say things that are not known here.
            let Ok(Message::CompilerArtifact {
                target,
                filenames,
                executable,
            }) = serde_json::from_slice(line)
            else {
                continue;
            };
            if let Some(program) = executable {
                artifacts.programs.insert(target.name, program);
            } else if target.kind.iter().any(|kind| kind == "cdylib")
                && let Some(library) = filenames
                    .into_iter()
                    .find(|file| file.extension().is_some_and(|e| e == "so"))
            {
                artifacts.libraries.insert(target.name.replace('-', "_"), library);
            }
        }
        Ok(artifacts)
    }

    /// A program: `meshery`, `mesheryctl`.
    pub fn program(&self, name: &str) -> anyhow::Result<&Path> {
        found(&self.programs, name)
    }

    /// A plugin's library by the name of its crate, with underscores: `meshery_local_provider`.
    pub fn library(&self, name: &str) -> anyhow::Result<&Path> {
        found(&self.libraries, name)
    }

    /// All libraries by name.
    pub fn libraries(&self) -> impl Iterator<Item = (&str, &Path)> {
        self.libraries
            .iter()
            .map(|(name, path)| (name.as_str(), path.as_path()))
    }
}

fn found<'a>(all: &'a BTreeMap<String, PathBuf>, name: &str) -> anyhow::Result<&'a Path> {
    let path = all.get(name).map(PathBuf::as_path);
    path.with_context(|| {
        let known: Vec<_> = all.keys().collect();
        format!("cargo built no {name}, only {known:?}")
    })
}
