//! The adapter that planned an operation is gone from the folder: what was planned is kept, so that only what the adapter
//! would have to be asked for cannot be done any more.

use anyhow::ensure;
use meshery_tests::cluster::Cluster;
use meshery_tests::host::Host;
use meshery_tests::snapshot::Snapshot;
use serde_json::{Value, json};

use crate::cluster;
use crate::invented::{LIMIT, PLUGIN, invented_host_with, plugins, request};
use crate::namespace::Namespace;

/// A host whose adapter can be taken away.
fn host(cluster: &Cluster, folder: &std::path::Path) -> anyhow::Result<Host> {
    std::fs::copy(plugins(cluster)?.join(PLUGIN), folder.join(PLUGIN))?;
    invented_host_with(folder, cluster, cluster.kubeconfig())?.start()
}

fn take_adapter_away(host: &mut Host, folder: &std::path::Path) -> anyhow::Result<()> {
    host.terminate()?;
    std::fs::remove_file(folder.join(PLUGIN))?;
    host.restart()?;
    host.post("/api/v1/operations", &request("install", json!({})))?
        .problem(404, "unknown-adapter")?;
    Ok(())
}

fn paused(host: &Host, operation: &str, parameters: Value) -> anyhow::Result<String> {
    let id = host.plan(&request(operation, parameters))?;
    host.order(&id, "run")?;
    host.await_state(&id, &["paused"], LIMIT)?;
    Ok(id)
}

/// What it has installed is taken back all the same.
pub fn undone() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let folder = tempfile::tempdir()?;
    let mut host = host(&cluster, folder.path())?;
    let before = Snapshot::take(&cluster)?;
    let install = request(
        "install",
        json!({"objects": 3, "chart": true, "ready": "at-once"}),
    );
    let record = host.perform(&install, "succeeded", LIMIT)?;
    take_adapter_away(&mut host, folder.path())?;
    host.take_back(record["id"].as_str().unwrap_or_default(), "undone", LIMIT)?;
    before.await_same(&cluster)
}

/// What is planned goes on; where the adapter is to say what a step does, it ends there and is taken back.
pub fn goes_on() -> anyhow::Result<()> {
    let space = Namespace::new("forsaken")?;
    let folder = tempfile::tempdir()?;
    let mut host = host(&space.cluster, folder.path())?;
    let before = Snapshot::take(&space.cluster)?;
    let staged = paused(
        &host,
        "staged",
        json!({"namespace": space.name, "approval": true}),
    )?;
    let spread = paused(
        &host,
        "spread",
        json!({"namespace": space.name, "approval": true}),
    )?;
    take_adapter_away(&mut host, folder.path())?;
    for id in [&staged, &spread] {
        host.await_state(id, &["paused"], LIMIT)?;
        host.post(&format!("/api/v1/operations/{id}/approve"), &json!({}))?
            .expect(202)?;
    }
    let record = host.await_end(&staged, LIMIT)?;
    ensure!(record["state"] == "succeeded", "{record:#}");
    let record = host.await_end(&spread, LIMIT)?;
    let error = record["error"]["message"].as_str().unwrap_or_default();
    ensure!(
        record["state"] == "undone" && error.contains("the adapter invented is not there any more"),
        "{record:#}"
    );
    host.take_back(&staged, "undone", LIMIT)?;
    before.await_same(&space.cluster)
}
