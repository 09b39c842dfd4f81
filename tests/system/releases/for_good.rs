//! What is done for good: a preview says where that begins, and the record what an undo does not bring back.

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::{Ground, config, hook, job, previewed};
use crate::invented::LIMIT;
use crate::namespace::{eventually, succeeded};

/// Where a plan's point of no return is, and what its record says of taking back that step.
fn for_good(ground: &Ground, request: &Value, step: &str, words: &str) -> anyhow::Result<(String, Value)> {
    let planned = ground.host.plan(request)?;
    let preview = ground.preview(&planned)?;
    ensure!(preview["point_of_no_return"] == step, "not {step}: {preview:#}");
    let record = ground.host.record(&planned)?;
    let steps = record["steps"].as_array().into_iter().flatten();
    let found = steps
        .into_iter()
        .find(|found| found["id"] == step)
        .with_context(|| format!("no {step} in {record:#}"))?;
    ensure!(
        found["undo"] == "compensating" && found["because"].to_string().contains(words),
        "{found:#}"
    );
    Ok((planned, preview))
}

/// A volume of the namespace's own, gone at the end.
struct Volume<'a> {
    ground: &'a Ground,
    name: String,
}

impl<'a> Volume<'a> {
    fn new(ground: &'a Ground, name: &str) -> anyhow::Result<Self> {
        let name = format!("{}-{name}", ground.space);
        let volume = Self { ground, name };
        ground.apply(&json!({"apiVersion": "v1", "kind": "PersistentVolume",
            "metadata": {"name": volume.name}, "spec": {"accessModes": ["ReadWriteOnce"],
                "capacity": {"storage": "1Mi"}, "persistentVolumeReclaimPolicy": "Retain",
                "storageClassName": ground.space, "hostPath": {"path": "/nowhere"}}}))?;
        Ok(volume)
    }

    /// Waits until the claim has this volume.
    fn await_bound(&self) -> anyhow::Result<()> {
        eventually(|| {
            let claim = self.ground.get("pvc", "data")?.context("the claim is there")?;
            ensure!(
                claim["status"]["phase"] == "Bound" && claim["spec"]["volumeName"] == self.name.as_str(),
                "{claim:#}"
            );
            Ok(())
        })
    }
}

impl Drop for Volume<'_> {
    fn drop(&mut self) {
        let cluster = &self.ground.cluster;
        cluster.kubectl(&["delete", "pv", &self.name, "--wait=false", "--ignore-not-found"]);
        let let_go = r#"{"metadata": {"finalizers": null}}"#;
        cluster.kubectl(&["patch", "pv", &self.name, "--type=merge", "-p", let_go]);
    }
}

pub fn told() -> anyhow::Result<()> {
    let ground = Ground::new("release-for-good")?;
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": ground.space,
            "resources": {"requests": {"storage": "1Mi"}}}});
    let runs = ground.pieces(&[
        config("piece", json!({})),
        hook(job("runs", "0"), "pre-install", "0", ""),
    ]);
    for_good(&ground, &runs, "release.before", "what their programs did stays")?;
    let only_there = ground.pieces(&[claim, hook(config("there", json!({})), "pre-install", "0", "")]);
    let planned = ground.host.plan(&only_there)?;
    let preview = ground.preview(&planned)?;
    ensure!(preview["point_of_no_return"].is_null(), "{preview:#}");

    let first = Volume::new(&ground, "first")?;
    ground.host.order(&planned, "run")?;
    let installed = ground.host.await_end(&planned, LIMIT)?;
    ensure!(installed["state"] == "succeeded", "{installed:#}");
    first.await_bound()?;
    let remove = ground.on_release("release-remove");
    let (planned, preview) = for_good(&ground, &remove, "release.objects", "the data of volumes is gone")?;
    ensure!(
        previewed(&preview, "PersistentVolumeClaim/release-for-good/data")?["change"] == "delete"
            && preview["risks"].to_string().contains("delete-data"),
        "{preview:#}"
    );
    ground.host.order(&planned, "run")?;
    let removed = ground.host.await_end(&planned, LIMIT)?;
    ensure!(removed["state"] == "succeeded", "{removed:#}");

    // The claim comes back, and gets another volume: the one before is nobody's any more.
    let preview = ground
        .host
        .get(&format!("/api/v1/operations/{planned}/undo-preview"))?
        .expect(200)?;
    let claim = previewed(&preview, "PersistentVolumeClaim/release-for-good/data")?;
    ensure!(
        claim["note"].to_string().contains("without its data"),
        "{claim:#}"
    );
    let second = Volume::new(&ground, "second")?;
    ground.host.take_back(&planned, "undone", LIMIT)?;
    second.await_bound()?;
    ground.perform(&remove, "succeeded")?;
    succeeded(
        ground
            .cluster
            .kubectl(&["delete", "pv", &first.name, &second.name, "--wait=false"]),
    )?;
    Ok(())
}
