//! An engine with plugins of its own, and how a bench that has one begins and ends.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use meshery_core::cluster::KubeconfigSource;
use meshery_core::plugin::{Isolation, child_main};
use meshery_core::{Meshery, MesheryBuilder};
use meshery_tests::artifacts;
use meshery_tests::cluster::Cluster;
use meshery_tests::reach::ended;

/// Runs a bench.
pub fn main(bench: impl FnOnce() -> anyhow::Result<()>) -> ExitCode {
    // A plugin's process is this program itself, as the host's own is in the field.
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == "plugin-child") {
        return child_main(arguments);
    }
    ended(bench())
}

/// With these packages as plugins, in process, before a cluster and without the internet.
pub async fn engine(
    packages: &[&str],
    plane: &Cluster,
    folder: &Path,
    more: impl FnOnce(MesheryBuilder) -> MesheryBuilder,
) -> anyhow::Result<Meshery> {
    let plugins = artifacts::build_packages(packages)?;
    let libraries = folder.join("plugins");
    std::fs::create_dir(&libraries)?;
    for package in packages {
        let library = plugins.library(&package.replace('-', "_"))?;
        let file = library.file_name().context("a library has a name")?;
        std::fs::copy(library, libraries.join(file))?;
    }
    let builder = Meshery::builder(folder.join("data"))
        .plugin_folder(libraries)
        .isolation(Isolation::InProcess)
        .kubeconfig(KubeconfigSource::Path(plane.kubeconfig().to_owned()))
        .helm(plane.helm())
        .offline(true);
    Ok(more(builder).build().await?)
}
