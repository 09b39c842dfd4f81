//! Hosts and requests for the tests' own adapter.

use std::path::{Path, PathBuf};
use std::time::Duration;

use meshery_tests::artifacts;
use meshery_tests::chart_archive;
use meshery_tests::cluster::Cluster;
use meshery_tests::host::{Host, HostBuilder};
use serde_json::{Value, json};

/// More than any operation of the invented mesh takes on a busy machine.
pub const LIMIT: Duration = Duration::from_mins(2);

/// A host with the tests' adapter and the repository's own charts.
pub fn invented_host(cluster: &Cluster, kubeconfig: &Path) -> anyhow::Result<HostBuilder> {
    invented_host_with(&plugins(cluster)?, cluster, kubeconfig)
}

/// The same, with the plugins of this folder.
pub fn invented_host_with(
    folder: &Path,
    cluster: &Cluster,
    kubeconfig: &Path,
) -> anyhow::Result<HostBuilder> {
    Ok(Host::builder()
        .own_plugins(&["meshery_local_provider"])
        .plugins(folder)
        .kubeconfig(kubeconfig)
        .mirror(mirror(cluster)?)
        .helm(cluster.helm())
        .env("MESHERY_OFFLINE", "true"))
}

/// File name of the tests' adapter.
pub const PLUGIN: &str = "libfixture_invented_mesh.so";

/// A folder with the tests' adapter in it and nothing else.
pub fn plugins(cluster: &Cluster) -> anyhow::Result<PathBuf> {
    let folder = cluster.dir().join("invented-plugins");
    std::fs::create_dir_all(&folder)?;
    let library = artifacts::build()?.library("fixture_invented_mesh")?;
    let copy = folder.join(PLUGIN);
    if !copy.exists() {
        std::fs::copy(library, copy)?;
    }
    Ok(folder)
}

/// The repository's own charts.
fn mirror(cluster: &Cluster) -> anyhow::Result<PathBuf> {
    let folder = cluster.dir().join("invented-charts");
    if !folder.exists() {
        chart_archive::mirror(&folder, &["demo", "broken"])?;
    }
    Ok(folder)
}

/// A request to the invented mesh's adapter.
pub fn request(operation: &str, parameters: Value) -> Value {
    json!({"adapter": "invented", "operation": operation, "parameters": parameters})
}
