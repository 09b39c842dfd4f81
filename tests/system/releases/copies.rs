//! What has the marks of a release without being of it: a copy that somebody has made of one of its objects, and what a
//! controller makes of one.

use anyhow::{Context as _, ensure};
use meshery_tests::snapshot::Snapshot;
use serde_json::{Value, json};

use super::{Ground, config, id};
use crate::invented::LIMIT;
use crate::namespace::eventually;

pub fn left() -> anyhow::Result<()> {
    let ground = Ground::new("release-copies")?;
    // A controller copies the annotations of a Deployment, and the labels of its pods' template.
    let labels = json!({"app": "web", "app.kubernetes.io/managed-by": "Helm"});
    let deployment = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "labels": {}},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "web", "image": "registry.example.com/web:1"}]},
            },
        },
    });
    let before = Snapshot::take(&ground.cluster)?;
    let installed = ground.perform(
        &ground.pieces(&[config("piece", json!({"a": "1"})), deployment]),
        "succeeded",
    )?;
    eventually(|| {
        let sets = ground.kubectl(&["get", "replicasets", "--output=name"])?;
        ensure!(!sets.is_empty());
        Ok(())
    })?;
    let mut copy = ground.get("configmap", "piece")?.context("the piece")?;
    copy["metadata"] = json!({
        "name": "copy",
        "labels": copy["metadata"]["labels"],
        "annotations": copy["metadata"]["annotations"],
    });
    ground.apply(&copy)?;

    let planned = ground.host.plan(&ground.on_release("release-remove"))?;
    let preview = ground.preview(&planned)?;
    let changes = |change: &str| -> Vec<&str> {
        let objects = preview["objects"].as_array().into_iter().flatten();
        objects
            .filter(|object| object["change"] == change)
            .filter_map(|object| object["ref"].as_str())
            .filter(|object| !object.contains("/Secret/"))
            .collect()
    };
    let mut gone = changes("delete");
    gone.sort_unstable();
    ensure!(
        gone == [
            "apps/v1/Deployment/release-copies/web",
            "v1/ConfigMap/release-copies/piece"
        ],
        "{preview:#}"
    );
    ensure!(
        changes("keep") == ["v1/ConfigMap/release-copies/copy"],
        "{preview:#}"
    );

    ground.host.order(&planned, "run")?;
    let removed = ground.host.await_end(&planned, LIMIT)?;
    ensure!(removed["state"] == "succeeded", "{removed:#}");
    ensure!(ground.data("copy")?["a"] == "1", "the copy is gone");
    ensure!(ground.data("piece")? == Value::Null);
    ground.host.take_back(&planned, "undone", LIMIT)?;
    ground.kubectl(&["delete", "configmap", "copy"])?;
    ground.host.take_back(id(&installed)?, "undone", LIMIT)?;
    before.await_same(&ground.cluster)
}
