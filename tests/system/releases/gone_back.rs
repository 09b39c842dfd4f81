//! What is awaited once a release has gone back: what the revision gone back to has.

use anyhow::ensure;
use serde_json::{Value, json};

use super::Ground;

/// A workload of two pods.
fn workload(name: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": name}}, "template": {
            "metadata": {"labels": {"app": name}},
            "spec": {"containers": [{"name": "work", "image": "registry.example/work:1"}]}}}})
}

pub fn awaited() -> anyhow::Result<()> {
    let ground = Ground::new("release-gone-back")?;
    ground.perform(
        &ground.pieces(&[workload("first"), workload("both")]),
        "succeeded",
    )?;
    ground.perform(
        &ground.pieces(&[workload("second"), workload("both")]),
        "succeeded",
    )?;
    let mut back = ground.on_release("release-rollback");
    // By what there is before, which goes.
    back["parameters"]["awaited"] = "second".into();
    let preview = ground.preview(&ground.host.plan(&back)?)?;
    let waits = preview["objects"].as_array().into_iter().flatten();
    let waits: Vec<&str> = waits
        .filter(|object| object["change"] == "wait")
        .filter_map(|object| object["ref"].as_str()?.rsplit('/').next())
        .collect();
    ensure!(
        waits.len() == 2 && waits.contains(&"first") && waits.contains(&"both"),
        "{waits:?}: {preview:#}"
    );
    ground.perform(&back, "succeeded")?;
    let first = ground.get("deployment", "first")?.unwrap_or_default();
    ensure!(first["status"]["readyReplicas"] == 2, "{first:#}");
    ensure!(ground.get("deployment", "second")?.is_none());
    Ok(())
}
