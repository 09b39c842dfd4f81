//! Fields that a release takes from others, by force and on explicit word.

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::{Ground, accepting, config, id};
use crate::invented::LIMIT;
use crate::namespace::succeeded;

const FIELD: &str = "/fieldsV1/f:data/f:a";

/// An undo gives them back to their owner, with the value they had. Who has made the object gives way by itself; who has
/// changed a field of it since does not.
pub fn given_back() -> anyhow::Result<()> {
    let ground = Ground::new("release-forced")?;
    let file = ground.cluster.dir().join("forced.json");
    for mode in [
        &["--server-side", "--field-manager=maker"][..],
        // By the client's own account of it.
        &["--server-side=false"],
    ] {
        let made = config("there", json!({"a": "first", "b": "1", "c": "1", "d": "1"}));
        std::fs::write(&file, made.to_string())?;
        let apply = ["apply", "-f", &file.to_string_lossy()];
        ground.kubectl(&[&apply[..], mode].concat())?;
        let field = json!({"data": {"a": "theirs"}}).to_string();
        let patch = ["patch", "configmap", "there", "--field-manager=somebody"];
        ground.kubectl(&[&patch[..], &["--type=merge", "--patch", &field]].concat())?;
        let before = managed(&ground)?;
        let mut wanted = accepting(
            ground.pieces(&[config(
                "there",
                json!({"a": "ours", "b": "1", "c": "1", "d": "1"}),
            )]),
            &["adopt"],
        );
        let refused = ground.perform(&wanted, "undone")?;
        ensure!(
            refused["error"]["code"] == "apply-conflict" && refused["error"].to_string().contains("somebody"),
            "{refused:#}"
        );
        ensure!(
            managed(&ground)? == before,
            "{:#}, and before {before:#}",
            managed(&ground)?
        );
        wanted["policy"]["force_conflicts"] = true.into();
        let done = ground.perform(&wanted, "succeeded")?;
        ensure!(ground.data("there")?["a"] == "ours");
        ensure!(owners(&ground)? == ["helm"], "{:?}", owners(&ground)?);
        ground.host.take_back(id(&done)?, "undone", LIMIT)?;
        ensure!(ground.data("there")?["a"] == "theirs");
        ensure!(
            managed(&ground)? == before,
            "{:#}, and before {before:#}",
            managed(&ground)?
        );
        ground.kubectl(&["delete", "configmap", "there"])?;
    }
    Ok(())
}

/// Who owns the field.
fn owners(ground: &Ground) -> anyhow::Result<Vec<String>> {
    let entries = managed(ground)?;
    Ok(entries
        .as_array()
        .context("owners")?
        .iter()
        .filter(|entry| entry.pointer(FIELD).is_some())
        .filter_map(|entry| entry["manager"].as_str().map(str::to_owned))
        .collect())
}

/// Who owns what of the ConfigMap `there`, in an order of its own and without the moments.
pub fn managed(ground: &Ground) -> anyhow::Result<Value> {
    let text = succeeded(ground.cluster.kubectl(&[
        "get",
        "configmap",
        "there",
        "--namespace",
        &ground.space,
        "--show-managed-fields",
        "--output=json",
    ]))?;
    let mut object: Value = serde_json::from_str(&text)?;
    let entries = object["metadata"]["managedFields"]
        .as_array_mut()
        .context("owners")?;
    for entry in entries.iter_mut().filter_map(Value::as_object_mut) {
        entry.remove("time");
    }
    entries.sort_by_key(ToString::to_string);
    Ok(object["metadata"]["managedFields"].take())
}
