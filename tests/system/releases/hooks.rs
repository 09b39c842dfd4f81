//! Hooks: when they run, what is waited for, when they go, and what is said of one that fails.

use anyhow::{Context as _, ensure};
use meshery_tests::snapshot::Snapshot;
use serde_json::{Value, json};

use super::{Ground, Helm, config, hook, id, job, previewed};
use crate::invented::{LIMIT, request};
use crate::namespace::succeeded;

const MOMENTS: &str = "pre-install,pre-upgrade";

pub fn in_order() -> anyhow::Result<()> {
    let ground = Ground::new("release-hooks")?;
    let before = Snapshot::take(&ground.cluster)?;
    let pieces = ground.pieces(&[
        config("piece", json!({})),
        hook(job("third", "0"), MOMENTS, "7", "before-hook-creation"),
        hook(job("first", "0"), MOMENTS, "-5", "hook-succeeded"),
        hook(job("second-more", "0"), MOMENTS, "0", ""),
        hook(job("second", "0"), MOMENTS, "0", ""),
        hook(job("last", "0"), "post-install,test", "-9", "hook-failed"),
        hook(job("twice", "0"), "pre-install,post-install", "9", ""),
    ]);
    let installed = ground.perform(&pieces, "succeeded")?;
    let story = record(&ground, id(&installed)?)?;
    let made: Vec<&str> = story
        .iter()
        .filter(|event| event["kind"] == "object" && event["change"] != "deleted")
        .filter_map(|event| event["object"].as_str())
        .filter_map(|object| object.rsplit('/').next())
        .filter(|name| !name.starts_with("sh.helm."))
        .collect();
    ensure!(
        made == [
            "first",
            "second",
            "second-more",
            "third",
            "twice",
            "piece",
            "last",
            "twice"
        ],
        "{made:?}: {}",
        ground.host.story(id(&installed)?)
    );
    ensure!(ground.get("job", "first")?.is_none(), "hook-succeeded");
    let second = ground.get("job", "second")?.context("second stays")?;
    let third = ground.get("job", "third")?.context("third stays")?;
    let last = ground.get("job", "last")?.context("last stays")?;
    let twice = ground.get("job", "twice")?.context("twice stays")?;
    let time = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    ensure!(
        time(&last["status"]["completionTime"]) <= time(&twice["metadata"]["creationTimestamp"]),
        "a hook of two moments runs at both: {twice:#}"
    );
    ensure!(
        time(&second["status"]["completionTime"]) <= time(&third["metadata"]["creationTimestamp"]),
        "the third does not begin before the second has ended: {second:#}"
    );

    // Made anew by an upgrade.
    let upgraded = ground.perform(&pieces, "succeeded")?;
    let again = ground.get("job", "second")?.context("second again")?;
    ensure!(second["metadata"]["uid"] != again["metadata"]["uid"]);
    ground.host.take_back(id(&upgraded)?, "undone", LIMIT)?;
    ground.host.take_back(id(&installed)?, "undone", LIMIT)?;
    before.await_same(&ground.cluster)?;

    // One that is in the way, and that the chart does not let go.
    let stays = ground.pieces(&[hook(job("stays", "0"), MOMENTS, "0", "hook-failed")]);
    ground.perform(&stays, "succeeded")?;
    let preview = ground.preview(&ground.host.plan(&stays)?)?;
    let shown = previewed(&preview, "Job/release-hooks/stays")?;
    ensure!(
        shown["change"] == "error" && shown["error"]["code"] == "hook-in-the-way",
        "{shown:#}"
    );
    let failed = ground.perform(&stays, "undone")?;
    ensure!(failed["error"]["code"] == "hook-in-the-way", "{failed:#}");
    ensure!(
        failed["error"]["message"]
            .as_str()
            .is_some_and(|message| message.contains("is there already")),
        "{failed:#}"
    );
    Ok(())
}

fn record(ground: &Ground, id: &str) -> anyhow::Result<Vec<Value>> {
    let record = ground
        .host
        .get(&format!("/api/v1/operations/{id}/record"))?
        .expect(200)?;
    Ok(record["events"].as_array().cloned().unwrap_or_default())
}

pub fn failing() -> anyhow::Result<()> {
    let ground = Ground::new("release-hook-fails")?;
    let before = Snapshot::take(&ground.cluster)?;
    for policy in ["", "hook-failed"] {
        let pieces = ground.pieces(&[
            config("piece", json!({})),
            hook(job("fails", "3"), "post-install", "0", policy),
        ]);
        let failed = ground.perform(&pieces, "undone")?;
        let message = failed["error"]["message"].as_str().unwrap_or_default();
        ensure!(
            failed["error"]["code"] == "hook-failed"
                && message.contains("post-install")
                && message.contains("Job/release-hook-fails/fails")
                && message.contains("ended with 3"),
            "{failed:#}"
        );
        before.await_same(&ground.cluster)?;
    }
    // One that never ends is given up at the deadline of a cancel, not waited for for ever.
    let pieces = ground.pieces(&[hook(job("endless", "never"), "pre-install", "0", "")]);
    let planned = ground.host.plan(&pieces)?;
    ground.host.order(&planned, "run")?;
    crate::namespace::eventually(|| ground.get("job", "endless")?.context("the hook runs"))?;
    ground.host.order(&planned, "cancel")?;
    ground.host.await_state(&planned, &["undone"], LIMIT)?;
    before.await_same(&ground.cluster)
}

pub fn failing_and_kept() -> anyhow::Result<()> {
    let ground = Ground::new("release-hook-kept")?;
    for (policy, stays) in [("", true), ("hook-succeeded", true), ("hook-failed", false)] {
        let mut pieces = ground.pieces(&[
            config("piece", json!({})),
            hook(job("goes", "0"), "post-install", "1", "hook-succeeded"),
            hook(job("stays", "0"), "post-install", "2", "hook-failed"),
            hook(job("fails", "3"), "post-install", "3", policy),
            hook(job("never", "0"), "post-install", "4", ""),
        ]);
        pieces["policy"] = json!({"on_failure": "keep"});
        let failed = ground.perform(&pieces, "failed")?;
        let message = failed["error"]["message"].as_str().unwrap_or_default();
        ensure!(
            failed["error"]["code"] == "hook-failed" && message.contains("ended with 3"),
            "{failed:#}"
        );
        for (name, expected) in [
            ("goes", false),
            ("stays", true),
            ("fails", stays),
            ("never", false),
        ] {
            let there = ground.get("job", name)?.is_some();
            ensure!(there == expected, "{name} with \"{policy}\"");
        }
        ground.perform(&ground.on_release("release-remove"), "succeeded")?;
        ground.kubectl(&["delete", "jobs", "--all"])?;
    }
    Ok(())
}

/// An undo is no rollback to a chart: it gives back what was there, and runs nothing.
pub fn of_rollback() -> anyhow::Result<()> {
    let ground = Ground::new("release-hooks-back")?;
    let version = |data: &str| {
        ground.pieces(&[
            config("piece", json!({"a": data})),
            hook(job("before", "0"), "pre-rollback,pre-delete", "0", ""),
            hook(job("after", "0"), "post-rollback,post-delete", "0", ""),
        ])
    };
    let ran = || -> anyhow::Result<Vec<bool>> {
        ["before", "after"]
            .map(|name| Ok(ground.get("job", name)?.is_some()))
            .into_iter()
            .collect()
    };
    ground.perform(&version("1"), "succeeded")?;
    let upgraded = ground.perform(&version("2"), "succeeded")?;
    ground.host.take_back(id(&upgraded)?, "undone", LIMIT)?;
    let story = ground.host.story(id(&upgraded)?);
    ensure!(!story.contains("/Job/"), "{story}");
    ensure!(ran()? == [false, false] && ground.data("piece")?["a"] == "1");

    ground.perform(&version("2"), "succeeded")?;
    let before = Snapshot::take(&ground.cluster)?;
    let back = ground.perform(&ground.on_release("release-rollback"), "succeeded")?;
    ensure!(ran()? == [true, true] && ground.data("piece")?["a"] == "1");
    ground.host.take_back(id(&back)?, "undone", LIMIT)?;
    before.await_same(&ground.cluster)?;

    // One that fails stops the rollback, and what it has changed is back.
    let failing = ground.pieces(&[
        config("piece", json!({"a": "3"})),
        hook(job("refuses", "5"), "post-rollback", "0", ""),
    ]);
    ground.perform(&failing, "succeeded")?;
    ground.perform(&version("4"), "succeeded")?;
    let before = Snapshot::take(&ground.cluster)?;
    let failed = ground.perform(&ground.on_release("release-rollback"), "undone")?;
    let message = failed["error"]["message"].as_str().unwrap_or_default();
    ensure!(
        message.contains("post-rollback") && message.contains("ended with 5"),
        "{failed:#}"
    );
    before.await_same(&ground.cluster)
}

pub fn tests() -> anyhow::Result<()> {
    let ground = Ground::new("release-tests")?;
    let test = ground.on_release("release-test");
    ground
        .host
        .post("/api/v1/operations", &test)?
        .problem(404, "unknown-release")?;
    let install = request(
        "release-install",
        json!({"namespace": ground.space, "values": {"webhook": false}}),
    );
    ground.perform(&install, "succeeded")?;
    expect_runs(
        &ground,
        &[
            ("demo-pre", "Succeeded"),
            ("demo-post", "Succeeded"),
            ("demo-test", ""),
        ],
    )?;
    let before = Snapshot::take(&ground.cluster)?;
    let tested = ground.perform(&test, "succeeded")?;
    expect_runs(&ground, &[("demo-pre", "Succeeded"), ("demo-test", "Succeeded")])?;
    for helm in [Helm::Three, Helm::Four] {
        let told = ground.helm(helm, &["status", "demo"])?;
        ensure!(
            told.contains("TEST SUITE:") && told.contains("Succeeded"),
            "{told}"
        );
    }
    let pod = ground.get("pod", "demo-test")?.context("the test's pod")?;
    ensure!(pod["status"]["phase"] == "Succeeded", "{pod:#}");
    // Again: the one of the first time goes.
    let again = ground.perform(&test, "succeeded")?;
    ground.host.take_back(id(&again)?, "undone", LIMIT)?;
    ground.host.take_back(id(&tested)?, "undone", LIMIT)?;
    before.await_same(&ground.cluster)?;
    expect_runs(&ground, &[("demo-post", "Succeeded"), ("demo-test", "")])?;
    notes_of_upgrade(&ground, &install)?;
    ground.perform(&ground.on_release("release-remove"), "succeeded")?;
    succeeded(
        ground
            .cluster
            .kubectl(&["delete", "customresourcedefinition", "greetings.demo.example"]),
    )?;

    let mut failing = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "fails",
        "annotations": {"test.meshery.io/exit": "4"}}, "spec": {"restartPolicy": "Never",
        "containers": [{"name": "test", "image": "registry.example/test:1"}]}});
    failing = hook(failing, "test", "0", "");
    ground.perform(
        &ground.pieces(&[config("piece", json!({})), failing]),
        "succeeded",
    )?;
    let failed = ground.perform(&test, "undone")?;
    ensure!(
        failed["error"]["message"]
            .as_str()
            .is_some_and(|message| message.contains("ended with 4")),
        "{failed:#}"
    );
    ensure!(ground.get("pod", "fails")?.is_none());
    expect_runs(&ground, &[("fails", "")])?;
    let mut kept = test.clone();
    kept["policy"] = json!({"on_failure": "keep"});
    ground.perform(&kept, "failed")?;
    expect_runs(&ground, &[("fails", "Failed")])?;
    ground.expect_statuses(Helm::Four, &["deployed"])?;
    ground.perform(&ground.pieces(&[config("piece", json!({}))]), "succeeded")?;
    ground
        .host
        .post("/api/v1/operations", &test)?
        .problem(404, "no-tests")?;
    Ok(())
}

/// That helm, 3 and 4, says of hooks how they ended last, and when; "" for one that has not run.
fn expect_runs(ground: &Ground, expected: &[(&str, &str)]) -> anyhow::Result<()> {
    for helm in [Helm::Three, Helm::Four] {
        let told = ground.helm(helm, &["status", "demo", "--output=json"])?;
        let status: Value = serde_json::from_str(&told)?;
        for (name, phase) in expected {
            let mut hooks = status["hooks"].as_array().into_iter().flatten();
            let hook = hooks.find(|hook| hook["name"] == *name).context(told.clone())?;
            let last = &hook["last_run"];
            let text = |key: &str| last[key].as_str().unwrap_or_default();
            let timed = !text("started_at").is_empty() && text("started_at") <= text("completed_at");
            ensure!(
                text("phase") == *phase && timed != phase.is_empty(),
                "helm {helm:?} says of {name}, not {phase:?}: {last:#}"
            );
        }
    }
    Ok(())
}

/// What a chart says to who upgrades it is in the record of an upgrade, and goes with an undo.
fn notes_of_upgrade(ground: &Ground, install: &Value) -> anyhow::Result<()> {
    let notes = || ground.helm(Helm::Four, &["get", "notes", "demo"]);
    ensure!(!notes()?.contains("upgraded"), "{}", notes()?);
    let mut upgrade = install.clone();
    upgrade["parameters"]["values"]["greeting"] = "more".into();
    let upgraded = ground.perform(&upgrade, "succeeded")?;
    ensure!(
        notes()?.contains("demo greets with \"more\", and was upgraded."),
        "{}",
        notes()?
    );
    ground.host.take_back(id(&upgraded)?, "undone", LIMIT)?;
    ensure!(!notes()?.contains("upgraded"), "{}", notes()?);
    Ok(())
}
