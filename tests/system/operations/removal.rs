//! A removal: what it leaves is listed, and its undo leaves nothing of that.

use anyhow::ensure;
use meshery_tests::snapshot::Snapshot;
use serde_json::json;

use super::{host, id, install};
use crate::cluster;
use crate::invented::{LIMIT, request};
use crate::namespace::succeeded;

pub fn leaves_as_before() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let host = host(&cluster)?;
    let before = Snapshot::take(&cluster)?;
    host.perform(&install("removal"), "succeeded", LIMIT)?;
    let removed = host.perform(
        &request("remove", json!({"namespace": "removal"})),
        "succeeded",
        LIMIT,
    )?;
    // The chart asks to keep one of its objects, so its namespace stays as well; both are listed.
    let left: Vec<&str> = removed["left"]
        .as_array()
        .map(|left| left.iter().filter_map(|left| left["ref"].as_str()).collect())
        .unwrap_or_default();
    let differences = before.differences(&Snapshot::take(&cluster)?);
    for difference in &differences {
        let name = difference.rsplit('/').next().unwrap_or_default();
        let derived = ["default", "kube-root-ca.crt"].contains(&name);
        ensure!(
            derived || left.iter().any(|left| left.ends_with(&format!("/{name}"))),
            "{difference} is left and not listed: {removed:#}"
        );
    }
    // And the removal can be taken back, after which nothing of it is left.
    ensure!(!left.is_empty(), "{removed:#}");
    let undone = host.take_back(id(&removed)?, "undone", LIMIT)?;
    ensure!(undone["left"].as_array().is_none_or(Vec::is_empty), "{undone:#}");
    let again = host.perform(
        &request("restart", json!({"namespace": "removal"})),
        "succeeded",
        LIMIT,
    )?;
    ensure!(again["state"] == "succeeded");
    host.perform(
        &request("remove", json!({"namespace": "removal"})),
        "succeeded",
        LIMIT,
    )?;
    for kept in [
        ["namespace", "removal"],
        ["customresourcedefinition", "greetings.demo.example"],
    ] {
        succeeded(cluster.kubectl(&["delete", kept[0], kept[1]]))?;
    }
    before.await_same(&cluster)
}
