//! What an undo would do, looked at before it is done.

use anyhow::{Context as _, ensure};
use meshery_tests::host::Host;
use meshery_tests::snapshot::Snapshot;
use serde_json::{Value, json};

use super::{config, data, host, id, install};
use crate::cluster;
use crate::invented::{LIMIT, request};
use crate::mesheryctl::{ctl, has};
use crate::namespace::{Namespace, succeeded};

fn previewed(host: &Host, id: &str) -> anyhow::Result<Value> {
    host.get(&format!("/api/v1/operations/{id}/undo-preview"))?
        .expect(200)
}

fn object<'p>(preview: &'p Value, end: &str) -> anyhow::Result<&'p Value> {
    preview["objects"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|object| object["ref"].as_str().is_some_and(|name| name.ends_with(end)))
        .with_context(|| format!("no {end} in {preview:#}"))
}

pub fn shown() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let host = host(&cluster)?;

    // A field that was changed goes back; once somebody has changed it again, it stays.
    let space = Namespace::new("undo-shown")?;
    config(&cluster, &space.name, "them", &json!({"value": "theirs"}))?;
    let mut forced = request("conflict", json!({"namespace": space.name, "value": "ours"}));
    forced["policy"] = json!({"force_conflicts": true});
    let done = host.perform(&forced, "succeeded", LIMIT)?;
    let preview = previewed(&host, id(&done)?)?;
    let contested = object(&preview, "/contested")?;
    let field = json!({"path": "data.value", "change": "changed", "before": "ours", "after": "theirs"});
    ensure!(
        contested["change"] == "update"
            && contested["certainty"] == "verified"
            && contested["diff"]
                .as_array()
                .is_some_and(|diff| diff.contains(&field)),
        "{contested:#}"
    );
    ensure!(
        data(&cluster, &space.name)? == json!({"value": "ours"}),
        "it was only looked at"
    );
    config(&cluster, &space.name, "them", &json!({"value": "newer"}))?;
    let preview = previewed(&host, id(&done)?)?;
    let contested = object(&preview, "/contested")?;
    ensure!(
        contested["note"]
            .as_str()
            .is_some_and(|note| note.contains("data.value")),
        "{contested:#}"
    );
    drop(space);

    let before = Snapshot::take(&cluster)?;
    // What was made goes, what is gone already is named, and what a removal has deleted is made again.
    let made = host.perform(&install("undo-shown-too"), "succeeded", LIMIT)?;
    let here = ["--namespace", "undo-shown-too"];
    let service = ["delete", "service", "invented-controller"];
    succeeded(cluster.kubectl(&[&service[..], &here].concat()))?;
    let preview = previewed(&host, id(&made)?)?;
    let changes: Vec<(&Value, &Value)> = [
        "Deployment/undo-shown-too/invented-controller",
        "Namespace//undo-shown-too",
    ]
    .iter()
    .map(|end| object(&preview, end).map(|object| (&object["change"], &object["certainty"])))
    .collect::<anyhow::Result<_>>()?;
    ensure!(
        changes
            == [
                (&json!("delete"), &json!("verified")),
                (&json!("delete"), &json!("decided-later"))
            ],
        "{preview:#}"
    );
    let gone = object(&preview, "Service/undo-shown-too/invented-controller")?;
    ensure!(gone["change"] == "unchanged", "{gone:#}");
    let (said, _) = ctl(&host, 0, &format!("operation undo {} --preview", id(&made)?))?;
    has(&said, &["Take back: ", "invented-controller"])?;

    let removed = request("remove", json!({"namespace": "undo-shown-too"}));
    let removed = host.perform(&removed, "succeeded", LIMIT)?;
    let preview = previewed(&host, id(&removed)?)?;
    let controller = object(&preview, "Deployment/undo-shown-too/invented-controller")?;
    ensure!(controller["change"] == "create", "{controller:#}");
    host.take_back(id(&removed)?, "undone", LIMIT)?;
    host.get(&format!("/api/v1/operations/{}/undo-preview", id(&removed)?))?
        .problem(409, "nothing-to-undo")?;
    // What that undo has made again is still what the installation has made, and the service that somebody has deleted
    // is none of its business.
    host.take_back(id(&made)?, "undone", LIMIT)?;
    before.await_same(&cluster)
}
