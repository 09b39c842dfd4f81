//! What a record and a chart's values may be, what is kept of a failure, and what is never touched.

use anyhow::{Context as _, ensure};
use meshery_tests::snapshot::Snapshot;
use serde_json::{Value, json};

use super::{Ground, Helm, config, hook, id, job, previewed};
use crate::invented::{LIMIT, request};
use crate::namespace::succeeded;

pub fn of_records() -> anyhow::Result<()> {
    let ground = Ground::new("release-bounds")?;
    let before = Snapshot::take(&ground.cluster)?;
    let mut large = ground.pieces(&[config("piece", json!({}))]);
    large["parameters"]["version"] = "0.1.0-large".into();
    let problem = ground
        .host
        .post("/api/v1/operations", &large)?
        .problem(413, "release-record-too-large")?;
    ensure!(
        problem["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains("1048576") && detail.contains("demo")),
        "{problem:#}"
    );
    before.await_same(&ground.cluster)?;

    let records = || -> anyhow::Result<Vec<u32>> {
        let names = ground.kubectl(&[
            "get",
            "secret",
            "--selector=owner=helm,name=demo",
            "--output=jsonpath={.items[*].metadata.labels.version}",
        ])?;
        let mut numbers: Vec<u32> = names
            .split_whitespace()
            .map(str::parse)
            .collect::<Result<_, _>>()?;
        numbers.sort_unstable();
        Ok(numbers)
    };
    for number in 1..=12 {
        let request = ground.pieces(&[config("piece", json!({"a": number.to_string()}))]);
        ground.perform(&request, "succeeded")?;
    }
    ensure!(records()? == (3..=12).collect::<Vec<u32>>(), "{:?}", records()?);
    let mut few = ground.pieces(&[config("piece", json!({"a": "13"}))]);
    few["parameters"]["history"] = 3.into();
    ground.perform(&few, "succeeded")?;
    ensure!(records()? == [11, 12, 13], "{:?}", records()?);
    ground.expect_statuses(Helm::Four, &["superseded", "superseded", "deployed"])?;
    // What is not there any more cannot be gone back to, and it is said to what one can.
    let mut back = ground.on_release("release-rollback");
    back["parameters"]["revision"] = 2.into();
    let problem = ground
        .host
        .post("/api/v1/operations", &back)?
        .problem(404, "unknown-revision")?;
    ensure!(
        problem["remedy"]
            .as_str()
            .is_some_and(|remedy| remedy.contains("11 (superseded)")),
        "{problem:#}"
    );
    back["parameters"]["revision"] = 11.into();
    ground.perform(&back, "succeeded")?;
    ensure!(ground.data("piece")?["a"] == "11");
    ground.perform(&ground.on_release("release-remove"), "succeeded")?;
    before.await_same(&ground.cluster)
}

/// Helm keeps every revision where it is told so, and lists them by name: the newest is not among the first 500.
pub fn of_long_history() -> anyhow::Result<()> {
    let ground = Ground::new("release-long")?;
    let archive = ground.chart("pieces.tgz")?;
    let file = ground.values(&json!({"objects": [config("piece", json!({}))]}))?;
    ground.helm(Helm::Four, &["install", "demo", &archive, "-f", &file])?;
    let first = "sh.helm.release.v1.demo.v1";
    let record = ground.get("secret", first)?.context("helm's record")?;
    let revision = |number: u32, status: &str| {
        let mut revision = record.clone();
        revision["metadata"] = json!({"name": format!("sh.helm.release.v1.demo.v{number}"), "labels": {
            "owner": "helm", "name": "demo", "version": number.to_string(), "status": status}});
        if status != "deployed" {
            revision["data"] = json!({});
        }
        revision
    };
    let mut revisions: Vec<Value> = (1000..1500)
        .map(|number| revision(number, "superseded"))
        .collect();
    revisions.push(revision(9999, "deployed"));
    let list = json!({"apiVersion": "v1", "kind": "List", "items": revisions});
    let file = ground.cluster.dir().join("release-long.json");
    std::fs::write(&file, list.to_string())?;
    ground.kubectl(&["create", "-f", &file.to_string_lossy()])?;
    ground.kubectl(&["delete", "secret", first])?;

    let wanted = ground.pieces(&[config("piece", json!({"a": "1"}))]);
    let preview = ground.preview(&ground.host.plan(&wanted)?)?;
    let made = previewed(&preview, "sh.helm.release.v1.demo.v10000")?;
    ensure!(made["change"] == "create", "{made:#}");
    let replaced = previewed(&preview, "sh.helm.release.v1.demo.v9999")?;
    ensure!(replaced["change"] == "update", "{replaced:#}");
    Ok(())
}

/// A release that helm keeps elsewhere is there all the same.
pub fn of_other_drivers() -> anyhow::Result<()> {
    let ground = Ground::new("release-driver")?;
    let archive = ground.chart("pieces.tgz")?;
    let file = ground.values(&json!({"objects": [config("piece", json!({"a": "1"}))]}))?;
    let installed = ground
        .cluster
        .command(&ground.cluster.helm3()?)
        .env("HELM_DRIVER", "configmap")
        .args([
            "install",
            "demo",
            &archive,
            "-f",
            &file,
            "--namespace",
            &ground.space,
        ])
        .output()?;
    succeeded(installed)?;
    let before = Snapshot::take(&ground.cluster)?;
    for wanted in [
        ground.pieces(&[config("piece", json!({"a": "2"}))]),
        ground.on_release("release-rollback"),
        ground.on_release("release-remove"),
    ] {
        let problem = ground
            .host
            .post("/api/v1/operations", &wanted)?
            .problem(409, "release-driver")?;
        ensure!(
            problem["remedy"]
                .as_str()
                .is_some_and(|remedy| remedy.contains("helm uninstall demo")),
            "{problem:#}"
        );
    }
    before.await_same(&ground.cluster)
}

pub fn of_values() -> anyhow::Result<()> {
    let ground = Ground::new("release-values")?;
    let mut request = ground.pieces(&[]);
    request["parameters"]["values"] = json!({
        "setings": {}, "settings": {"loglevel": "debug"}, "global": {"hub": "registry.example"}});
    let planned = ground.host.plan(&request)?;
    let noted = ground.host.record(&planned)?["notes"].clone();
    let notes = noted.to_string();
    for words in [
        "\\\"setings\\\"; did you mean \\\"settings\\\"?",
        "\\\"settings.loglevel\\\"; did you mean \\\"logLevel\\\"?",
    ] {
        ensure!(notes.contains(words), "no {words} in {notes}");
    }
    ensure!(!notes.contains("global"), "all charts share it: {notes}");
    let preview = ground.preview(&planned)?;
    ensure!(preview["notes"] == noted, "{preview:#}");

    let wrong = crate::invented::request(
        "release-install",
        json!({"namespace": ground.space, "values": {"replicas": "two"}}),
    );
    let problem = ground
        .host
        .post("/api/v1/operations", &wrong)?
        .problem(400, "chart-values-invalid")?;
    let text = problem.to_string();
    for words in ["replicas", "integer", "string"] {
        ensure!(
            text.contains(words),
            "path, expected and found are named: {problem:#}"
        );
    }
    Ok(())
}

pub fn failed_and_kept() -> anyhow::Result<()> {
    let ground = Ground::new("release-failed")?;
    let mut failing = ground.pieces(&[
        config("piece", json!({"a": "1"})),
        hook(job("fails", "1"), "post-install,post-upgrade", "0", ""),
    ]);
    failing["policy"] = json!({"on_failure": "keep"});
    let failed = ground.perform(&failing, "failed")?;
    ensure!(failed["error"]["code"] == "hook-failed", "{failed:#}");
    ensure!(ground.data("piece")?["a"] == "1", "it is kept");
    let list = ground.list(Helm::Four)?;
    ensure!(list.len() == 1 && list[0]["status"] == "failed", "{list:#?}");
    let status: Value = serde_json::from_str(&ground.helm(Helm::Four, &["status", "demo", "-ojson"])?)?;
    ensure!(
        status["info"]["description"]
            .as_str()
            .is_some_and(|description| description.contains("ended with 1")),
        "helm says why: {status:#}"
    );
    // Again, and with success.
    ground.perform(&ground.pieces(&[config("piece", json!({"a": "2"}))]), "succeeded")?;
    ground.expect_statuses(Helm::Four, &["failed", "deployed"])?;
    // A failed upgrade, kept as well, leaves what was deployed to be gone back to.
    failing["parameters"]["values"]["objects"][0] = config("piece", json!({"a": "3"}));
    ground.perform(&failing, "failed")?;
    ground.expect_statuses(Helm::Four, &["failed", "deployed", "failed"])?;
    let gone_back = |request: &Value| -> anyhow::Result<()> {
        let done = ground.perform(request, "succeeded")?;
        ensure!(ground.data("piece")?["a"] == "2", "{done:#}");
        ground.host.take_back(id(&done)?, "undone", LIMIT)?;
        ensure!(ground.data("piece")?["a"] == "3");
        Ok(())
    };
    gone_back(&ground.on_release("release-rollback"))?;
    // What was set in the one that failed was never in force.
    let mut as_it_was = ground.on_release("release-install");
    as_it_was["parameters"]["chart"] = "pieces".into();
    as_it_was["parameters"]["keep-values"] = true.into();
    gone_back(&as_it_was)?;
    ground.helm(Helm::Four, &["rollback", "demo", "2"])?;
    ensure!(ground.data("piece")?["a"] == "2");
    ground.helm(Helm::Four, &["uninstall", "demo"])?;
    ensure!(ground.list(Helm::Four)?.is_empty());
    Ok(())
}

pub fn definitions() -> anyhow::Result<()> {
    let ground = Ground::new("release-definitions")?;
    let install = |version: &str| {
        request(
            "release-install",
            json!({"namespace": ground.space, "version": version, "values": {"hooks": false, "webhook": false}}),
        )
    };
    let definition = || -> anyhow::Result<Value> {
        let text = succeeded(ground.cluster.kubectl(&[
            "get",
            "customresourcedefinition",
            "greetings.demo.example",
            "--output=json",
        ]))?;
        Ok(serde_json::from_str(&text)?)
    };
    ground.perform(&install("0.1.0"), "succeeded")?;
    let made = definition()?;
    ground.perform(&install("0.2.0"), "succeeded")?;
    let list = ground.list(Helm::Four)?;
    ensure!(list[0]["chart"] == "demo-0.2.0", "{list:#?}");
    let now = definition()?;
    ensure!(
        made["spec"] == now["spec"] && made["metadata"]["uid"] == now["metadata"]["uid"],
        "it was changed: {now:#}"
    );
    let removed = ground.perform(&ground.on_release("release-remove"), "succeeded")?;
    let left = removed["left"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|left| {
            left["ref"]
                .as_str()
                .is_some_and(|name| name.ends_with("/greetings.demo.example"))
        })
        .with_context(|| format!("the definition is not among what is left: {removed:#}"))?;
    ensure!(
        left["why"].as_str().is_some_and(|why| why.contains("crds")),
        "{left:#}"
    );
    ensure!(definition()?["metadata"]["uid"] == made["metadata"]["uid"]);
    succeeded(
        ground
            .cluster
            .kubectl(&["delete", "customresourcedefinition", "greetings.demo.example"]),
    )?;
    Ok(())
}
