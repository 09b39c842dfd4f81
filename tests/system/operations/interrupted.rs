//! The host or the API server goes away for a moment while an operation is under way.

use std::time::Duration;

use anyhow::ensure;
use meshery_tests::cluster::Part;
use meshery_tests::snapshot::Snapshot;
use serde_json::json;

use super::host;
use crate::cluster;
use crate::invented::{LIMIT, request};

pub fn api_server_restart() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let host = host(&cluster)?;
    let before = Snapshot::take(&cluster)?;
    let id = host.plan(&request(
        "install",
        json!({"namespace": "outage", "objects": 200, "ready": "after-2s"}),
    ))?;
    host.order(&id, "run")?;
    std::thread::sleep(Duration::from_millis(400));
    cluster.kill_part(Part::ApiServer)?;
    std::thread::sleep(Duration::from_secs(2));
    cluster.start_part(Part::ApiServer)?;
    let record = host.await_end(&id, LIMIT)?;
    ensure!(record["state"] == "succeeded", "{record:#}");
    host.take_back(&id, "undone", LIMIT)?;
    before.await_same(&cluster)
}

pub fn stopped() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let mut host = host(&cluster)?;
    let before = Snapshot::take(&cluster)?;
    let id = host.plan(&request(
        "install",
        json!({"namespace": "stopped", "ready": "after-4s"}),
    ))?;
    host.order(&id, "run")?;
    std::thread::sleep(Duration::from_millis(1500));
    let status = host.terminate()?;
    ensure!(status.success(), "{status}: {}", host.log());
    host.restart()?;
    let record = host.await_state(&id, &["succeeded", "failed", "undone"], LIMIT)?;
    ensure!(record["state"] == "succeeded", "{record:#}");
    host.take_back(&id, "undone", LIMIT)?;
    before.await_same(&cluster)
}
