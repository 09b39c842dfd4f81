//! Fields that a release takes from others, by force and on explicit word.

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::{Ground, accepting, config, id};
use crate::invented::LIMIT;
use crate::namespace::succeeded;

const FIELD: &str = "/fieldsV1/f:data/f:a";

/// An undo gives them back to their owner, with the value they had.
pub fn given_back() -> anyhow::Result<()> {
    let ground = Ground::new("release-forced")?;
    let file = ground.cluster.dir().join("forced.json");
    std::fs::write(&file, config("there", json!({"a": "theirs"})).to_string())?;
    for mode in [
        &["--server-side", "--field-manager=somebody"][..],
        // By the client's own account of it.
        &["--server-side=false"],
    ] {
        let file = file.to_string_lossy();
        ground.kubectl(&[&["apply", "-f", &file][..], mode].concat())?;
        let before = owners(&ground)?;
        let mut wanted = accepting(
            ground.pieces(&[config("there", json!({"a": "ours"}))]),
            &["adopt"],
        );
        wanted["policy"]["force_conflicts"] = true.into();
        let done = ground.perform(&wanted, "succeeded")?;
        ensure!(ground.data("there")?["a"] == "ours");
        ensure!(owners(&ground)? == ["helm"], "{:?}", owners(&ground)?);
        ground.host.take_back(id(&done)?, "undone", LIMIT)?;
        ensure!(ground.data("there")?["a"] == "theirs");
        ensure!(
            owners(&ground)? == before,
            "{:?}, and before {before:?}",
            owners(&ground)?
        );
        ground.kubectl(&["delete", "configmap", "there"])?;
    }
    Ok(())
}

/// Who owns the field.
fn owners(ground: &Ground) -> anyhow::Result<Vec<String>> {
    let text = succeeded(ground.cluster.kubectl(&[
        "get",
        "configmap",
        "there",
        "--namespace",
        &ground.space,
        "--show-managed-fields",
        "--output=json",
    ]))?;
    let object: Value = serde_json::from_str(&text)?;
    let entries = object["metadata"]["managedFields"].as_array().context("owners")?;
    Ok(entries
        .iter()
        .filter(|entry| entry.pointer(FIELD).is_some())
        .filter_map(|entry| entry["manager"].as_str().map(str::to_owned))
        .collect())
}
