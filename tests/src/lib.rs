//! What the whole-system tests stand on: a real Kubernetes control plane on this machine's loopback
//! ([`cluster`]) and a proxy in front of it that fails on purpose ([`proxy`]).
//!
//! No container ever runs and nothing leaves the machine. What that control plane can show and what it cannot
//! is said at [`cluster`].

mod admission;
pub mod artifacts;
pub mod chart_archive;
pub mod cluster;
pub(crate) mod everything;
pub mod host;
pub mod istiod;
pub mod linkerd;
pub mod operation;
pub mod owners;
pub mod played;
pub mod proven;
pub mod proxy;
pub mod reach;
pub mod repository;
pub mod snapshot;
pub mod there_and_back;
pub mod trust;

use std::path::PathBuf;

/// The folder with the packaged charts of real service meshes, if the environment names one
/// (`MESHERY_CHARTS`). They are not part of the repository: tests that need them are skipped without.
pub fn charts() -> Option<PathBuf> {
    std::env::var_os("MESHERY_CHARTS")
        .map(PathBuf::from)
        .filter(|path| path.is_dir())
}
