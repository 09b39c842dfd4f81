//! The undo of a removal, when helm has installed the release anew in between.

use anyhow::ensure;
use meshery_tests::snapshot::Snapshot;
use serde_json::{Value, json};

use super::{Ground, Helm, config, id};
use crate::invented::LIMIT;

pub fn stays() -> anyhow::Result<()> {
    let ground = Ground::new("release-anew")?;
    let archive = ground.chart("pieces.tgz")?;
    let helm = |verb: &str, objects: &[Value]| {
        let file = ground.values(&json!({"objects": objects}))?;
        ground.helm(Helm::Four, &[verb, "demo", &archive, "-f", &file])
    };
    let old = config("old", json!({"a": "1"}));
    helm("install", std::slice::from_ref(&old))?;
    helm("upgrade", &[old.clone(), config("piece", json!({"a": "2"}))])?;
    let removed = ground.perform(&ground.on_release("release-remove"), "succeeded")?;
    let removal = id(&removed)?;
    // One of the old objects is in it again, and one record has the name of an old one.
    helm("install", &[old])?;
    let anew = Snapshot::take(&ground.cluster)?;

    let preview = ground
        .host
        .get(&format!("/api/v1/operations/{removal}/undo-preview"))?
        .expect(200)?;
    let objects = preview["objects"].as_array().cloned().unwrap_or_default();
    ensure!(
        !objects.is_empty()
            && objects.iter().all(|object| object["change"] == "keep"
                && object["note"]
                    .as_str()
                    .is_some_and(|note| note.contains("installed anew"))),
        "{preview:#}"
    );
    let undone = ground.host.take_back(removal, "undo-incomplete", LIMIT)?;
    ensure!(
        undone["left"]
            .to_string()
            .contains("installed anew since, as revision 1"),
        "{undone:#}"
    );
    anew.await_same(&ground.cluster)?;
    ground.expect_statuses(Helm::Four, &["deployed"])?;

    ground.helm(Helm::Four, &["uninstall", "demo"])?;
    ground.host.take_back(removal, "undone", LIMIT)?;
    ground.expect_statuses(Helm::Four, &["superseded", "deployed"])?;
    ensure!(ground.data("old")?["a"] == "1" && ground.data("piece")?["a"] == "2");
    Ok(())
}
