//! What is on its way out and does not go.

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::{Scene, perform, told};
use crate::invented::{LIMIT, request};
use crate::namespace::succeeded;

const HOLD: &str = r#"{"metadata": {"finalizers": ["test.meshery.io/hold"]}}"#;
const LET_GO: &str = r#"{"metadata": {"finalizers": null}}"#;

pub fn namespace_going() -> anyhow::Result<()> {
    let scene = Scene::new("going")?;
    let space = &scene.space;
    space.kubectl(&["create", "configmap", "held"])?;
    space.kubectl(&["patch", "configmap", "held", "--type=merge", "-p", HOLD])?;
    succeeded(
        scene
            .cluster
            .kubectl(&["delete", "namespace", &space.name, "--wait=false"]),
    )?;
    let result = (|| {
        let install = request("install", json!({"namespace": space.name, "chart": false}));
        // It is seen before anything is done, and by the run.
        let planned = scene.host.plan(&install)?;
        let preview = scene
            .host
            .post(&format!("/api/v1/operations/{planned}/preview"), &json!({}))?
            .expect(200)?;
        ensure!(
            preview["counts"]["error"].as_u64().unwrap_or(0) > 0
                && preview.to_string().contains("is being deleted"),
            "{preview:#}"
        );
        let record = super::run(&scene.host, &planned, "undone", LIMIT)?;
        told(
            &record,
            "being-deleted",
            &[&space.name, "is being deleted", "wait until"],
        )
    })();
    space.kubectl(&["patch", "configmap", "held", "--type=merge", "-p", LET_GO])?;
    result
}

pub fn finalizer() -> anyhow::Result<()> {
    let scene = Scene::new("finalizer")?;
    let space = &scene.space;
    let install = json!({"namespace": space.name, "chart": false});
    perform(&scene.host, &request("install", install), "succeeded")?;
    space.kubectl(&[
        "patch",
        "service",
        "invented-controller",
        "--type=merge",
        "-p",
        HOLD,
    ])?;
    let mut removal = request("remove", json!({"namespace": space.name, "removal-deadline": 3}));
    removal["policy"] = json!({"on_failure": "keep"});
    let record = perform(&scene.host, &removal, "failed")?;
    let held = format!("v1/Service/{}/invented-controller", space.name);
    told(
        &record,
        "not-gone",
        &[
            &held,
            "test.meshery.io/hold",
            "controller",
            "take the finalizer out",
        ],
    )?;
    // While it waited it said for what.
    let planned = record["id"].as_str().context("an id")?;
    let story = scene.host.story(planned);
    let said = story
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    ensure!(
        said.into_iter()
            .any(|event| event["kind"] == "waiting" && event.to_string().contains("test.meshery.io/hold")),
        "{story}"
    );
    // Once it is let go of, the removal can be asked for again.
    space.kubectl(&[
        "patch",
        "service",
        "invented-controller",
        "--type=merge",
        "-p",
        LET_GO,
    ])?;
    perform(
        &scene.host,
        &request("remove", json!({"namespace": space.name})),
        "succeeded",
    )?;
    Ok(())
}
