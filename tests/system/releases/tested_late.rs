//! Tests of a release of which somebody else has taken care since they were planned, or before they were taken back.

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::{Ground, Helm, config, hook, id, job};
use crate::invented::LIMIT;

/// The objects of a version, with a test that ends so.
fn version(data: &str, exit: &str) -> Vec<Value> {
    vec![
        config("piece", json!({"a": data})),
        hook(job("checks", exit), "test", "0", ""),
    ]
}

pub fn nothing_else_is_said() -> anyhow::Result<()> {
    let ground = Ground::new("release-tested-late")?;
    ground.perform(&ground.pieces(&version("1", "0")), "succeeded")?;
    let test = ground.on_release("release-test");

    // Helm upgrades while a plan waits.
    let planned = ground.host.plan(&test)?;
    helm_upgrade(&ground, &version("2", "0"))?;
    let upgraded = ["superseded", "deployed"];
    ground.expect_statuses(Helm::Four, &upgraded)?;
    let deployed = info(&ground, "2")?;
    ground.host.order(&planned, "run")?;
    ground.host.await_state(&planned, &["succeeded"], LIMIT)?;
    ground.expect_statuses(Helm::Four, &upgraded)?;
    ensure!(last_run(&ground, "1")?["phase"] == "Succeeded");
    // Helm writes the moments of what it has read in its own way.
    ground.host.take_back(&planned, "undone", LIMIT)?;
    ground.expect_statuses(Helm::Four, &upgraded)?;
    ensure!(last_run(&ground, "1")?["phase"] == "");
    ensure!(info(&ground, "2")? == deployed);

    // Helm upgrades after the tests, and tests again: each keeps what it has said.
    let tested = ground.perform(&test, "succeeded")?;
    ground.helm(Helm::Four, &["test", "demo"])?;
    let theirs = last_run(&ground, "2")?;
    ensure!(theirs["phase"] == "Succeeded", "{theirs:#}");
    helm_upgrade(&ground, &version("3", "4"))?;
    ground.host.take_back(id(&tested)?, "undone", LIMIT)?;
    ensure!(
        last_run(&ground, "2")? == theirs,
        "the newer run of others stays: {theirs:#}"
    );
    let upgraded = ["superseded", "superseded", "deployed"];
    ground.expect_statuses(Helm::Four, &upgraded)?;

    // Helm removes it, and tests that were planned before fail and are kept.
    let mut failing = test;
    failing["policy"] = json!({"on_failure": "keep"});
    let planned = ground.host.plan(&failing)?;
    ground.helm(Helm::Four, &["uninstall", "demo", "--keep-history"])?;
    ground.host.order(&planned, "run")?;
    ground.host.await_state(&planned, &["failed"], LIMIT)?;
    ground.expect_statuses(Helm::Four, &["superseded", "superseded", "uninstalled"])?;
    ensure!(last_run(&ground, "3")?["phase"] == "Failed");
    Ok(())
}

fn helm_upgrade(ground: &Ground, objects: &[Value]) -> anyhow::Result<()> {
    let archive = ground.chart("pieces.tgz")?;
    let file = ground.values(&json!({"objects": objects}))?;
    ground.helm(Helm::Four, &["upgrade", "demo", &archive, "-f", &file])?;
    Ok(())
}

fn status(ground: &Ground, revision: &str) -> anyhow::Result<Value> {
    let args = ["status", "demo", "--revision", revision, "--output=json"];
    Ok(serde_json::from_str(&ground.helm(Helm::Four, &args)?)?)
}

/// How a revision stands, as helm says it.
fn info(ground: &Ground, revision: &str) -> anyhow::Result<Value> {
    Ok(status(ground, revision)?["info"].take())
}

/// What helm says of the last run of a revision's test.
fn last_run(ground: &Ground, revision: &str) -> anyhow::Result<Value> {
    let status = status(ground, revision)?;
    let mut hooks = status["hooks"].as_array().into_iter().flatten();
    let hook = hooks.find(|hook| hook["name"] == "checks");
    Ok(hook.context("the test is in the record")?["last_run"].clone())
}
