//! `kill -9` of the host in a step of the two operations that wait for people, on the real charts: Istio's canary and the
//! rotation of Linkerd's anchor. They go on, or all is as before.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use meshery_tests::cluster::Cluster;
use meshery_tests::host::Host;
use meshery_tests::istiod::Istiod;
use meshery_tests::linkerd::Linkerd;
use meshery_tests::snapshot::Snapshot;
use serde_json::{Value, json};

use super::meshes::await_as_before;
use super::{SEED, Seeded, is_long, kill, setting};
use crate::invented::LIMIT;
use crate::namespace::{eventually, succeeded};
use crate::{istio, linkerd};

const NEWER: &str = "1.30.3";

pub fn canary(charts: &Path) -> anyhow::Result<()> {
    let mut bench = istio::Bench::new(charts)?;
    let old = Istiod::start(&bench.cluster, istio::SYSTEM)?;
    let new = Istiod::start_revision(&bench.cluster, istio::SYSTEM, "1-30-3")?;
    bench.perform("install", &json!({"version": istio::VERSION}))?;
    succeeded(bench.cluster.kubectl(&["create", "namespace", "shop"]))?;
    bench.perform("inject", &json!({"namespace": "shop"}))?;
    with_proxies(&bench.cluster)?;
    let upgrade =
        json!({"adapter": "istio", "operation": "upgrade-canary", "parameters": {"version": NEWER}});
    in_steps(&bench.cluster, &mut bench.host, &upgrade)?;
    old.trouble()?;
    new.trouble()
}

pub fn rotation(charts: &Path) -> anyhow::Result<()> {
    let mut bench = linkerd::Bench::new(charts)?;
    bench.perform("linkerd", "make-trust", &json!({}))?;
    let linkerd = Linkerd::start(&bench.cluster, linkerd::SYSTEM)?;
    bench.perform("linkerd", "install", &json!({}))?;
    succeeded(bench.cluster.kubectl(&["create", "namespace", "shop"]))?;
    bench.perform("linkerd", "inject", &json!({"namespace": "shop"}))?;
    with_proxies(&bench.cluster)?;
    let rotate = json!({"adapter": "linkerd", "operation": "rotate-anchor",
        "parameters": {"keep_anchor_key": true}});
    in_steps(&bench.cluster, &mut bench.host, &rotate)?;
    linkerd.trouble()
}

/// A workload in the namespace that is in the mesh, with a proxy in its one pod.
fn with_proxies(cluster: &Cluster) -> anyhow::Result<()> {
    let create = ["create", "deployment", "web", "--image=web", "--namespace=shop"];
    succeeded(cluster.kubectl(&create))?;
    eventually(|| {
        let pods = succeeded(cluster.kubectl(&["get", "pods", "--namespace=shop", "--output=json"]))?;
        ensure!(pods.contains("-proxy\""), "{pods}");
        Ok(())
    })
}

fn in_steps(cluster: &Cluster, host: &mut Host, request: &Value) -> anyhow::Result<()> {
    let before = Snapshot::take(cluster)?;
    let planned = host.plan(request)?;
    let planned = host.record(&planned)?;
    let steps: Vec<&str> = planned["steps"]
        .as_array()
        .context("steps")?
        .iter()
        .filter_map(|step| step["id"].as_str())
        .collect();
    ensure!(!steps.is_empty(), "{planned:#}");
    let seed = setting("MESHERY_TEST_SEED", SEED);
    println!("{} steps; MESHERY_TEST_SEED={seed}", steps.len());
    let mut seeded = Seeded::new(seed);
    let chosen = if is_long() {
        steps
    } else {
        vec![steps[usize::try_from(seeded.below(steps.len() as u64))?]]
    };
    for step in chosen {
        let policy = ["resume", "undo"][usize::try_from(seeded.below(2))?];
        println!("killed in step {step}, policy {policy}");
        one_kill(host, request, step, policy)
            .and_then(|()| await_as_before(cluster, &before))
            .with_context(|| format!("killed in step {step}, policy {policy}, seed {seed}"))?;
    }
    Ok(())
}

fn one_kill(host: &mut Host, request: &Value, step: &str, policy: &str) -> anyhow::Result<()> {
    let mut request = request.clone();
    request["policy"] = json!({"on_interruption": policy});
    let id = host.plan(&request)?;
    host.order(&id, "run")?;
    let mut approved = Vec::new();
    let reached = |record: &Value| {
        let mut steps = record["steps"].as_array().into_iter().flatten();
        steps.any(|found| found["id"] == step && (found["state"] == "running" || found["state"] == "done"))
    };
    let so_far = approving(host, &id, &mut approved, reached)?;
    kill(host.pid()?);
    host.wait_ended().context("the host was killed")?;
    ensure!(
        !has_ended(&so_far),
        "it had ended before the host was killed: {so_far:#}"
    );
    host.restart()?;
    // At a gate nothing is under way, so that it waits on whatever the policy is.
    let waits = host.record(&id)?["state"] == "paused";
    let record = approving(host, &id, &mut approved, |_| false)?;
    let state = record["state"].as_str().unwrap_or_default();
    let expected = match policy {
        "undo" if !waits => "undone",
        _ => "succeeded",
    };
    ensure!(
        state == expected,
        "it should be {expected}: {record:#}\n{}",
        host.story(&id)
    );
    if state == "succeeded" {
        host.take_back(&id, "undone", LIMIT)?;
    }
    Ok(())
}

fn has_ended(record: &Value) -> bool {
    ["succeeded", "undone", "undo-incomplete", "failed"]
        .iter()
        .any(|end| record["state"] == *end)
}

/// Says yes at each gate until the operation is so far, or at its end.
fn approving(
    host: &Host,
    id: &str,
    approved: &mut Vec<String>,
    so_far: impl Fn(&Value) -> bool,
) -> anyhow::Result<Value> {
    let end = Instant::now() + LIMIT;
    loop {
        let record = host.record(id)?;
        let state = record["state"].as_str().unwrap_or_default();
        if so_far(&record) || has_ended(&record) {
            return Ok(record);
        }
        let steps = record["steps"].as_array().into_iter().flatten();
        let gate = steps
            .filter(|step| step["state"] == "running" && step["kind"] == "gate")
            .filter_map(|step| step["id"].as_str())
            .find(|gate| !approved.iter().any(|known| known == gate));
        if let ("paused", Some(gate)) = (state, gate) {
            // As late as a person: moments in the cluster have seconds, and a pod of the rollout's own second counts as older.
            std::thread::sleep(Duration::from_millis(1_100));
            host.order(id, "approve")?;
            approved.push(gate.to_owned());
        }
        ensure!(
            Instant::now() < end,
            "it does not go on: {record:#}\n{}",
            host.story(id)
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}
