//! That `meshery_core::cluster` does with a real API server what it promises: writing, reading, waiting, and
//! bearing faults.

mod definitions;
mod faults;
mod reading;
mod refusals;
mod waiting;
mod writing;

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use libtest_mimic::Trial;
use meshery_core::cluster::apply::ApplyOptions;
use meshery_core::cluster::{Cluster, ClusterError, ClusterSettings, Clusters, KubeconfigSource};
use serde_json::{Value, json};

pub fn trials() -> Vec<Trial> {
    [
        definitions::trials(),
        faults::trials(),
        reading::trials(),
        refusals::trials(),
        waiting::trials(),
        writing::trials(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

pub fn run<T>(test: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?
        .block_on(test)
}

async fn connect(kubeconfig: &Path) -> Result<Arc<Cluster>, ClusterError> {
    connect_with(kubeconfig, ClusterSettings::default()).await
}

pub async fn connect_with(
    kubeconfig: &Path,
    settings: ClusterSettings,
) -> Result<Arc<Cluster>, ClusterError> {
    let source = KubeconfigSource::Path(kubeconfig.to_owned());
    Clusters::with_settings(source, settings).connect(None).await
}

pub fn by(manager: &str) -> ApplyOptions {
    ApplyOptions {
        manager: manager.to_owned(),
        ..ApplyOptions::default()
    }
}

pub fn config_map(namespace: &str, name: &str, data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": data})
}

fn text<'a>(object: &'a Value, pointer: &str) -> anyhow::Result<&'a str> {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .with_context(|| format!("no text at {pointer} in {object}"))
}

fn seconds(count: u64) -> Instant {
    Instant::now() + Duration::from_secs(count)
}

/// The error that a call must end with.
fn refused<T>(result: Result<T, ClusterError>, code: &str) -> anyhow::Result<ClusterError> {
    match result {
        Ok(_) => anyhow::bail!("it succeeded where {code} was expected"),
        Err(error) if error.code() == code => Ok(error),
        Err(error) => anyhow::bail!("{} instead of {code}: {error}", error.code()),
    }
}
