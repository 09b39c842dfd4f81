//! `kill -9` of the host in each step of a mesh's upgrade, and in the undo of it, on the real charts: what comes out is the new
//! version or the old one.

use std::path::Path;

use anyhow::{Context as _, ensure};
use meshery_tests::cluster::Cluster;
use meshery_tests::host::Host;
use meshery_tests::istiod::Istiod;
use meshery_tests::linkerd::Linkerd;
use meshery_tests::snapshot::Snapshot;
use serde_json::{Value, json};

use super::{SEED, Seeded, is_long, kill, setting};
use crate::invented::LIMIT;
use crate::namespace::eventually;
use crate::{istio, linkerd};

/// In how many steps of each mesh it is killed unless more kills than usual are asked for.
const FEW: usize = 2;

pub fn istio(charts: &Path) -> anyhow::Result<()> {
    let mut bench = istio::Bench::new(charts)?;
    let istiod = Istiod::start(&bench.cluster, istio::SYSTEM)?;
    bench.perform("install", &json!({"version": istio::VERSION}))?;
    let upgrade = json!({"adapter": "istio", "operation": "upgrade", "parameters": {"version": "1.30.3"}});
    in_steps(&bench.cluster, &mut bench.host, &upgrade)?;
    istiod.trouble()
}

pub fn linkerd(charts: &Path) -> anyhow::Result<()> {
    let mut bench = linkerd::Bench::new(charts)?;
    bench.give_trust()?;
    let linkerd = Linkerd::start(&bench.cluster, linkerd::SYSTEM)?;
    bench.perform("linkerd", "install", &json!({"version": linkerd::OLDER}))?;
    let upgrade =
        json!({"adapter": "linkerd", "operation": "upgrade", "parameters": {"version": linkerd::NEWER}});
    in_steps(&bench.cluster, &mut bench.host, &upgrade)?;
    linkerd.trouble()
}

fn in_steps(cluster: &Cluster, host: &mut Host, upgrade: &Value) -> anyhow::Result<()> {
    let adapter = upgrade["adapter"].as_str().context("an adapter")?;
    let before = Snapshot::take(cluster)?;
    let older = detected(host, adapter)?;
    let whole = host.perform(upgrade, "succeeded", LIMIT)?;
    let newer = detected(host, adapter)?;
    ensure!(older != newer, "the upgrade changes nothing: {newer:?}");
    let id = whole["id"].as_str().context("an id")?;
    host.take_back(id, "undone", LIMIT)?;
    await_as_before(cluster, &before)?;
    let steps: Vec<String> = whole["steps"]
        .as_array()
        .context("steps")?
        .iter()
        .filter_map(|step| step["id"].as_str().map(str::to_owned))
        .collect();

    let seed = setting("MESHERY_TEST_SEED", SEED);
    let all = is_long();
    println!("{} steps; MESHERY_TEST_SEED={seed}", steps.len());
    let mut seeded = Seeded::new(seed);
    let mut chosen: Vec<&String> = steps.iter().collect();
    while !all && chosen.len() > FEW {
        let at = usize::try_from(seeded.below(chosen.len() as u64))?;
        chosen.remove(at);
    }
    for (round, step) in chosen.into_iter().enumerate() {
        let policy = ["resume", "undo"][round % 2];
        let done = one_kill(host, upgrade, step, policy)
            .with_context(|| format!("killed in step {step}, policy {policy}, seed {seed}"))?;
        if let Some(id) = done {
            eventually(|| {
                let there = detected(host, adapter)?;
                ensure!(there == newer, "{there:?} instead of {newer:?}");
                Ok(())
            })?;
            killed_in_undo(host, &id)?;
        }
        await_as_before(cluster, &before)
            .with_context(|| format!("killed in step {step}, policy {policy}"))?;
    }
    Ok(())
}

/// What differs, but for when pods were made anew, which is written into their Deployments.
fn changed(before: &Snapshot, now: &Snapshot) -> Vec<String> {
    let mut differences = before.differences_of_remade(now);
    differences.retain(|difference| !difference.starts_with("~ apps/v1/Deployment/"));
    differences
}

pub fn await_as_before(cluster: &Cluster, before: &Snapshot) -> anyhow::Result<()> {
    eventually(|| {
        let differences = changed(before, &Snapshot::take(cluster)?);
        ensure!(
            differences.is_empty(),
            "the cluster is not as before:\n{}",
            differences.join("\n")
        );
        Ok(())
    })
}

/// Version and health of the one installation.
fn detected(host: &Host, adapter: &str) -> anyhow::Result<(String, String)> {
    let contexts = host.get("/api/v1/clusters")?.expect(200)?;
    let context = contexts["items"][0]["context"].as_str().context("a context")?;
    let path = format!("/api/v1/clusters/{context}/detect?adapter={adapter}");
    let found = host.get(&path)?.expect(200)?;
    let [found] = &found["items"].as_array().context("items")?[..] else {
        anyhow::bail!("one installation: {found:#}");
    };
    Ok((found["version"].to_string(), found["health"].to_string()))
}

/// Kills the host when a step runs; the operation's id when it was done all the same.
fn one_kill(host: &mut Host, upgrade: &Value, step: &str, policy: &str) -> anyhow::Result<Option<String>> {
    let mut upgrade = upgrade.clone();
    upgrade["policy"] = json!({"on_interruption": policy});
    let id = host.plan(&upgrade)?;
    host.order(&id, "run")?;
    host.await_step(&id, step, &["running", "done"], LIMIT)?;
    kill(host.pid()?);
    host.wait_ended().context("the host was killed")?;
    host.restart()?;
    let record = host.await_state(&id, &["succeeded", "undone", "undo-incomplete", "failed"], LIMIT)?;
    let expected: &[&str] = match policy {
        "undo" => &["undone", "succeeded"],
        _ => &["succeeded"],
    };
    ensure!(
        expected.iter().any(|state| record["state"] == *state),
        "it ended otherwise: {record:#}\n{}",
        host.story(&id)
    );
    Ok((record["state"] == "succeeded").then_some(id))
}

fn killed_in_undo(host: &mut Host, id: &str) -> anyhow::Result<()> {
    let record = host.order(id, "undo")?;
    let last = record["steps"].as_array().and_then(|steps| {
        let of_objects = |step: &&Value| step["id"].as_str().is_some_and(|id| id.ends_with(".objects"));
        steps.iter().rev().find(of_objects)?["id"]
            .as_str()
            .map(str::to_owned)
    });
    let last = last.context("a step with objects")?;
    host.await_step(id, &last, &["undoing", "undone"], LIMIT)?;
    kill(host.pid()?);
    host.wait_ended().context("the host was killed")?;
    host.restart()?;
    let record = host.await_state(id, &["undone", "undo-incomplete", "succeeded"], LIMIT)?;
    ensure!(record["state"] == "undone", "{record:#}\n{}", host.story(id));
    Ok(())
}
