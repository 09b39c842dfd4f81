//! Both directions: ours in helm's hands, and helm's in ours.

use anyhow::ensure;
use meshery_tests::snapshot::Snapshot;
use serde_json::{Value, json};

use super::{Ground, Helm, annotated, config, hook, id, job};
use crate::invented::{LIMIT, request};
use crate::namespace::succeeded;
use crate::operations::owners;

pub fn ours_is_helms() -> anyhow::Result<()> {
    for helm in [Helm::Four, Helm::Three] {
        ours(helm)?;
    }
    Ok(())
}

fn ours(helm: Helm) -> anyhow::Result<()> {
    let ground = Ground::new("release-ours")?;
    let empty = Snapshot::take(&ground.cluster)?;
    let values = json!({"greeting": "ours", "webhook": false});
    let install = request(
        "release-install",
        json!({"namespace": ground.space, "values": values}),
    );
    ground.perform(&install, "succeeded")?;

    let list = ground.list(helm)?;
    ensure!(
        list.len() == 1
            && list[0]["status"] == "deployed"
            && list[0]["revision"] == "1"
            && list[0]["chart"] == "demo-0.1.0"
            && list[0]["app_version"] == "1.4.0",
        "{list:#?}"
    );
    let json = |args: &[&str]| -> anyhow::Result<Value> {
        let args = [args, &["--output=json"]].concat();
        Ok(serde_json::from_str(&ground.helm(helm, &args)?)?)
    };
    let status = json(&["status", "demo"])?;
    ensure!(
        status["info"]["status"] == "deployed" && status["info"]["description"] == "Install complete",
        "{status:#}"
    );
    ground.expect_statuses(helm, &["deployed"])?;
    ensure!(json(&["get", "values", "demo"])? == values);
    let metadata = json(&["get", "metadata", "demo"])?;
    ensure!(
        metadata["version"] == "0.1.0" && metadata["appVersion"] == "1.4.0",
        "{metadata:#}"
    );
    let notes = ground.helm(helm, &["get", "notes", "demo"])?;
    ensure!(notes.contains("demo greets with \"ours\"."), "{notes}");
    let manifest = ground.helm(helm, &["get", "manifest", "demo"])?;
    let hooks = ground.helm(helm, &["get", "hooks", "demo"])?;

    // The same text as if helm had done it; with the webhook, an upgrade would be another text.
    let archive = ground.chart("demo.tgz")?;
    let file = ground.values(&values)?;
    let dry = [
        "upgrade",
        "demo",
        archive.as_str(),
        "--dry-run=server",
        "--output=json",
        "-f",
        &file,
    ];
    let theirs: Value = serde_json::from_str(&ground.helm(Helm::Four, &dry)?)?;
    let same = |ours: &str, theirs: &str| ours.trim() == theirs.trim();
    let their_manifest = theirs["manifest"].as_str().unwrap_or_default();
    ensure!(
        same(&manifest, their_manifest),
        "ours:\n{manifest}\nhelm's:\n{their_manifest}"
    );
    for name in ["demo-pre", "demo-post", "demo-test"] {
        ensure!(hooks.contains(&format!("name: {name}\n")), "no {name} in {hooks}");
    }

    let file = ground.values(&json!({"greeting": "theirs", "replicas": 2}))?;
    ground.helm(helm, &["upgrade", "demo", &archive, "-f", &file])?;
    ensure!(ground.data("demo")?["greeting"] == "theirs");
    ground.expect_statuses(helm, &["superseded", "deployed"])?;
    ground.helm(helm, &["rollback", "demo", "1"])?;
    ensure!(ground.data("demo")?["greeting"] == "ours");
    ground.helm(helm, &["uninstall", "demo"])?;
    ensure!(ground.list(helm)?.is_empty());

    // What helm leaves on purpose, and nothing else.
    let kept = ["configmap/demo-keep", "job/demo-post"];
    for kept in kept {
        ground.kubectl(&["delete", kept])?;
    }
    succeeded(
        ground
            .cluster
            .kubectl(&["delete", "customresourcedefinition", "greetings.demo.example"]),
    )?;
    empty.await_same(&ground.cluster)?;
    succeeded(ground.cluster.kubectl(&["delete", "namespace", &ground.space]))?;
    Ok(())
}

fn keep(object: Value) -> Value {
    annotated(object, &[("helm.sh/resource-policy", "keep")])
}

/// What helm installs, and what we make of it.
fn versions() -> (Vec<Value>, Vec<Value>) {
    let workload = |image: &str, replicas: Value| {
        let mut object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "work"},
            "spec": {"selector": {"matchLabels": {"app": "work"}}, "template": {
                "metadata": {"labels": {"app": "work"}},
                "spec": {"containers": [{"name": "work", "image": image}]}}}});
        if !replicas.is_null() {
            object["spec"]["replicas"] = replicas;
        }
        object
    };
    let removal = || hook(job("farewell", "0"), "pre-delete,post-delete", "0", "");
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "falls-away"},
        "spec": {"selector": {"app": "work"}, "ports": [{"port": 80}]}});
    let first = vec![
        config(
            "changes",
            json!({"stays": "1", "falls": "away", "changes": "old"}),
        ),
        config("falls-away", json!({"a": "1"})),
        keep(config("kept", json!({"a": "1"}))),
        service,
        workload("registry.example/work:1", json!(2)),
        removal(),
    ];
    let second = vec![
        config("changes", json!({"stays": "1", "changes": "new"})),
        config("comes", json!({"a": "2"})),
        workload("registry.example/work:2", Value::Null),
        removal(),
    ];
    (first, second)
}

pub fn theirs_is_ours() -> anyhow::Result<()> {
    for helm in [Helm::Four, Helm::Three] {
        theirs(helm)?;
    }
    Ok(())
}

fn theirs(helm: Helm) -> anyhow::Result<()> {
    let ground = Ground::new("release-theirs")?;
    let empty = Snapshot::take(&ground.cluster)?;
    let (first, second) = versions();
    let archive = ground.chart("pieces.tgz")?;
    let file = ground.values(&json!({"objects": first}))?;
    let install = [
        "install",
        "demo",
        &archive,
        "-f",
        &file,
        "--wait",
        "--labels=team=a,stage=old",
    ];
    ground.helm(helm, &install)?;
    let theirs = Snapshot::take(&ground.cluster)?;
    let owners = |name: &str| owners(&ground.cluster, "configmap", name, "release-theirs");
    let owned = (owners("changes")?, owners("falls-away")?);

    // Upgraded by us: what falls away goes, whoever wrote it, and what is to be kept is kept and named.
    let upgrade = ground.pieces(&second);
    let planned = ground.host.plan(&upgrade)?;
    let preview = ground.preview(&planned)?;
    let change = |end: &str| super::previewed(&preview, end).map(|object| object["change"].clone());
    ensure!(
        change("ConfigMap/release-theirs/changes")? == "update",
        "{preview:#}"
    );
    ensure!(
        change("ConfigMap/release-theirs/comes")? == "create",
        "{preview:#}"
    );
    ensure!(
        change("ConfigMap/release-theirs/falls-away")? == "delete",
        "{preview:#}"
    );
    ensure!(change("ConfigMap/release-theirs/kept")? == "keep", "{preview:#}");
    // Three-way, whichever helm has written it: what falls away is shown as well, and what the server puts in its place.
    let diff = |end: &str| super::previewed(&preview, end).map(|object| object["diff"].to_string());
    let changes = diff("ConfigMap/release-theirs/changes")?;
    ensure!(
        changes.contains(r#""before":"away","change":"removed","path":"data.falls""#),
        "{changes}"
    );
    let work = diff("Deployment/release-theirs/work")?;
    ensure!(
        work.contains(r#""after":1,"before":2,"change":"changed","path":"spec.replicas""#),
        "{work}"
    );
    ground.host.order(&planned, "run")?;
    let upgraded = ground.host.await_end(&planned, LIMIT)?;
    ensure!(
        upgraded["state"] == "succeeded",
        "{upgraded:#}\n{}",
        ground.host.story(&planned)
    );
    check_second(&ground)?;
    ground.expect_labelled(helm, "team=a,stage=old")?;
    ensure!(
        upgraded["left"].as_array().is_some_and(|left| left
            .iter()
            .any(|left| left["ref"] == "v1/ConfigMap/release-theirs/kept")),
        "{upgraded:#}"
    );
    ground.expect_statuses(helm, &["superseded", "deployed"])?;

    // Taken back, the records included; and helm goes on as if nothing had been.
    ground.host.take_back(&planned, "undone", LIMIT)?;
    theirs.await_remade(&ground.cluster)?;
    let again = (owners("changes")?, owners("falls-away")?);
    ensure!(again == owned, "{again:#?} instead of {owned:#?}");
    ground.expect_statuses(helm, &["deployed"])?;
    let file = ground.values(&json!({"objects": second}))?;
    ground.helm(
        helm,
        &["upgrade", "demo", &archive, "-f", &file, "--labels=stage=new"],
    )?;
    check_second(&ground)?;
    ground.expect_statuses(helm, &["superseded", "deployed"])?;

    // Back to the first revision, by us, with the labels of then.
    ground.expect_labelled(helm, "team=a,stage=new")?;
    ground.perform(&ground.on_release("release-rollback"), "succeeded")?;
    ground.expect_labelled(helm, "team=a,stage=old")?;
    theirs_again(&ground, helm)?;

    // Upgraded by us once more, and rolled back by helm. Helm 3 stops at an object that is there and not in its
    // present revision, whoever wrote that, so the kept one makes way.
    ground.perform(&upgrade, "succeeded")?;
    check_second(&ground)?;
    ground.kubectl(&["delete", "configmap", "kept"])?;
    ground.helm(helm, &["rollback", "demo", "3"])?;
    ensure!(ground.data("changes")?["falls"] == "away");

    // Removed by us: its hooks run, its records go.
    let removed = ground.perform(&ground.on_release("release-remove"), "succeeded")?;
    let story = ground.host.story(id(&removed)?);
    ensure!(
        story.matches("batch/v1/Job/release-theirs/farewell").count() >= 2,
        "{story}"
    );
    ensure!(ground.list(helm)?.is_empty());
    ground.kubectl(&["delete", "configmap/kept", "job/farewell"])?;
    empty.await_same(&ground.cluster)?;
    succeeded(ground.cluster.kubectl(&["delete", "namespace", &ground.space]))?;
    Ok(())
}

fn check_second(ground: &Ground) -> anyhow::Result<()> {
    let data = ground.data("changes")?;
    ensure!(data == json!({"stays": "1", "changes": "new"}), "{data:#}");
    ensure!(ground.data("comes")?["a"] == "2");
    ensure!(ground.data("falls-away")?.is_null());
    ensure!(ground.get("service", "falls-away")?.is_none());
    ensure!(ground.data("kept")?["a"] == "1");
    let work = ground.get("deployment", "work")?.unwrap_or_default();
    ensure!(work["spec"]["replicas"] == 1, "{work:#}");
    Ok(())
}

fn theirs_again(ground: &Ground, helm: Helm) -> anyhow::Result<()> {
    let data = ground.data("changes")?;
    ensure!(
        data == json!({"stays": "1", "falls": "away", "changes": "old"}),
        "{data:#}"
    );
    ensure!(ground.data("falls-away")?["a"] == "1");
    ensure!(ground.data("comes")?.is_null());
    ground.expect_statuses(helm, &["superseded", "superseded", "deployed"])?;
    let text = ground.helm(helm, &["status", "demo", "--output=json"])?;
    let status: Value = serde_json::from_str(&text)?;
    ensure!(status["info"]["description"] == "Rollback to 1", "{status:#}");
    Ok(())
}

pub fn overtaken() -> anyhow::Result<()> {
    let ground = Ground::new("release-overtaken")?;
    let empty = Snapshot::take(&ground.cluster)?;
    let objects = |data: &str| [config("piece", json!({"a": data}))];
    let installed = ground.perform(&ground.pieces(&objects("ours")), "succeeded")?;
    let archive = ground.chart("pieces.tgz")?;
    let file = ground.values(&json!({"objects": objects("helm's")}))?;
    ground.helm(Helm::Four, &["upgrade", "demo", &archive, "-f", &file])?;
    let upgraded = Snapshot::take(&ground.cluster)?;

    let undone = ground.host.take_back(id(&installed)?, "undo-incomplete", LIMIT)?;
    let left = undone["left"].as_array().cloned().unwrap_or_default();
    ensure!(
        left.iter()
            .any(|left| left["ref"] == "v1/ConfigMap/release-overtaken/piece")
            && left
                .iter()
                .all(|left| left["why"].as_str().is_some_and(|why| why.contains("revision 2"))),
        "{undone:#}"
    );
    upgraded.await_same(&ground.cluster)?;

    ground.helm(Helm::Four, &["uninstall", "demo"])?;
    ground.host.take_back(id(&installed)?, "undone", LIMIT)?;
    empty.await_same(&ground.cluster)
}
