//! Plugins' files and plugins' code that are wrong in every way they can be: the host comes up, says what is wrong,
//! and goes on with the others.
//!
//! The child processes of these trials are this program itself, see `main`.

mod adapters;
mod child_process;
mod files;
mod loading;
mod logs;
mod providers;
mod versions;

use std::fs::Permissions;
use std::future::Future;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use libtest_mimic::Trial;
use meshery_core::plugin::{Isolation, PluginSettings, PluginStatus, Plugins};
use meshery_core::problem::Problem;
use meshery_tests::artifacts;
use tempfile::TempDir;

pub fn trials() -> Vec<Trial> {
    [
        child_process::trials(),
        files::trials(),
        loading::trials(),
        logs::trials(),
        adapters::trials(),
        providers::trials(),
        versions::trials(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The file of a fixture.
fn fixture(name: &str) -> anyhow::Result<&'static Path> {
    artifacts::build()?.library(&format!("fixture_{}", name.replace('-', "_")))
}

/// A plugin folder and a data folder of their own.
struct Place {
    root: TempDir,
}

impl Place {
    fn new() -> anyhow::Result<Self> {
        let root = TempDir::new()?;
        for folder in ["data", "plugins"] {
            std::fs::create_dir(root.path().join(folder))?;
            std::fs::set_permissions(root.path().join(folder), Permissions::from_mode(0o755))?;
        }
        Ok(Self { root })
    }

    /// With these fixtures in the plugin folder.
    fn with(fixtures: &[&str]) -> anyhow::Result<Self> {
        let place = Self::new()?;
        for name in fixtures {
            place.put(&format!("{name}.so"), &std::fs::read(fixture(name)?)?)?;
        }
        Ok(place)
    }

    fn plugins(&self) -> PathBuf {
        self.root.path().join("plugins")
    }

    fn put(&self, name: &str, bytes: &[u8]) -> anyhow::Result<PathBuf> {
        let path = self.plugins().join(name);
        std::fs::write(&path, bytes)?;
        std::fs::set_permissions(&path, Permissions::from_mode(0o644))?;
        Ok(path)
    }

    fn settings(&self, isolation: Isolation) -> PluginSettings {
        let mut settings = PluginSettings::new(self.root.path().join("data"));
        settings.folders = vec![self.plugins()];
        settings.isolation = isolation;
        settings.provider_name = "fixture".into();
        settings.limits.start = Duration::from_secs(20);
        settings.limits.grace = Duration::from_millis(300);
        settings
    }
}

fn run<F: Future>(future: F) -> anyhow::Result<F::Output> {
    Ok(tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?
        .block_on(future))
}

/// The line of the plugin list for a file.
fn line(plugins: &Plugins, file: &str) -> anyhow::Result<PluginStatus> {
    let list = plugins.list();
    let found = list
        .iter()
        .find(|status| status.file.file_name().is_some_and(|name| name == file));
    found
        .cloned()
        .with_context(|| format!("{file} is not in the list: {list:#?}"))
}

/// Why a file was refused.
fn refusal(plugins: &Plugins, file: &str) -> anyhow::Result<Problem> {
    let status = line(plugins, file)?;
    status
        .error
        .clone()
        .with_context(|| format!("{file} was not refused: {status:?}"))
}

/// Waits until something holds; panics saying what, when it does not.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(
            begin.elapsed() < Duration::from_secs(20),
            "after 20 s still not: {what}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
