//! Istio's `base` and `istiod`, installed by `helm install --wait` and by an operation that is rendered, previewed,
//! journaled and proved; and both removed again: by helm the releases, by us the releases and then the namespace too. The
//! test plays istiod's part (the CA bundles of its webhooks) at once, for both.
//!
//! `MESHERY_CHARTS=FOLDER cargo bench -p meshery-tests --bench install`; needs the test control plane and Istio's
//! packaged charts.

mod engine;

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::ensure;
use meshery_core::operation::{NewOperation, OperationState, Operations};
use meshery_tests::charts;
use meshery_tests::cluster::Cluster as ControlPlane;
use meshery_tests::istiod::Istiod;
use meshery_tests::reach::Reach;
use serde_json::{Value, json};

const ROUNDS: usize = 3;
const VERSION: &str = "1.30.3";
const SYSTEM: &str = "istio-system";

fn main() -> ExitCode {
    engine::main(bench)
}

fn bench() -> anyhow::Result<()> {
    let Some(charts) = charts() else {
        println!("MESHERY_CHARTS does not name a folder of charts: nothing is measured");
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let plane = ControlPlane::start()?;
    let runtime = tokio::runtime::Runtime::new()?;
    let packages = ["meshery-istio", "meshery-local-provider"];
    let mirrored = charts.clone();
    let engine = engine::engine(&packages, &plane, folder.path(), |builder| {
        builder.mirror(mirrored)
    });
    let meshery = runtime.block_on(engine)?;
    let operations = meshery.operations()?.clone();
    let mut times: [Vec<Duration>; 6] = Default::default();
    println!(
        "seconds: helm install --wait / uninstall; plan with preview / run / removal with its plan, until the releases are \
         gone / until the namespace is\n"
    );
    for round in 1..=ROUNDS {
        let (install, uninstall) = by_helm(&plane, &charts)?;
        let (planned, run, releases, removal) = runtime.block_on(by_us(&plane, &operations))?;
        let all = [install, uninstall, planned, run, releases, removal];
        println!("{round}  {}", seconds(&all));
        for (times, time) in times.iter_mut().zip(all) {
            times.push(time);
        }
    }
    let medians = times.each_mut().map(|times| {
        times.sort_unstable();
        times[times.len() / 2]
    });
    println!("\nmedian  {}", seconds(&medians));
    let [install, uninstall, _, run, releases, _] = medians.map(|time| time.as_secs_f64());
    let mut reach = Reach::default();
    reach.at_most("run / helm install --wait", run / install, 1.0);
    reach.at_most(
        "removal of the releases / helm uninstall",
        releases / uninstall,
        1.0,
    );
    runtime.block_on(meshery.shutdown());
    reach.end()
}

fn seconds(times: &[Duration]) -> String {
    let texts: Vec<String> = times
        .iter()
        .map(|time| format!("{:.2}", time.as_secs_f64()))
        .collect();
    texts.join(" / ")
}

fn by_helm(plane: &ControlPlane, charts: &Path) -> anyhow::Result<(Duration, Duration)> {
    let helm = |arguments: &[&str]| -> anyhow::Result<()> {
        let output = plane.run_helm(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "helm {}: {said}", arguments.join(" "));
        Ok(())
    };
    let chart = |name: &str| {
        let file = charts.join(format!("istio/{name}-{VERSION}.tgz"));
        file.to_string_lossy().into_owned()
    };
    let there = ["--namespace", SYSTEM];
    let istiod = Istiod::start(plane, SYSTEM)?;
    let began = Instant::now();
    let base = [
        "install",
        "istio-base",
        &chart("base"),
        "--create-namespace",
        "--wait",
    ];
    helm(&[&base[..], &there].concat())?;
    let control_plane = ["install", "istiod", &chart("istiod"), "--wait"];
    helm(&[&control_plane[..], &there].concat())?;
    let install = began.elapsed();
    let began = Instant::now();
    helm(&[&["uninstall", "istiod", "--wait"][..], &there].concat())?;
    helm(&[&["uninstall", "istio-base", "--wait"][..], &there].concat())?;
    let uninstall = began.elapsed();
    drop(istiod);
    clean(plane)?;
    Ok((install, uninstall))
}

/// What both leave: definitions that the chart keeps, and the namespace.
fn clean(plane: &ControlPlane) -> anyhow::Result<()> {
    for what in [
        &[
            "customresourcedefinitions",
            "--selector=app.kubernetes.io/part-of=istio",
        ][..],
        &["namespace", SYSTEM, "--ignore-not-found"],
    ] {
        let output = plane.kubectl(&[&["delete"], what].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{what:?}: {said}");
    }
    Ok(())
}

async fn by_us(
    plane: &ControlPlane,
    operations: &Operations,
) -> anyhow::Result<(Duration, Duration, Duration, Duration)> {
    let istiod = tokio::task::block_in_place(|| Istiod::start(plane, SYSTEM))?;
    let began = Instant::now();
    let asked = json!({"version": VERSION, "profile": "minimal"});
    let planned = operations.plan(new("install", &asked)).await?;
    operations.preview(&planned.id).await?;
    let plan = began.elapsed();
    let began = Instant::now();
    ended(operations, &planned.id).await?;
    let run = began.elapsed();
    let began = Instant::now();
    let removal = operations.plan(new("remove", &json!({}))).await?;
    let planned_removal = began.elapsed();
    ended(operations, &removal.id).await?;
    let removed = began.elapsed();
    let releases = planned_removal + until_done(operations, &removal.id, "base").await?;
    tokio::task::block_in_place(|| {
        drop(istiod);
        clean(plane)
    })?;
    Ok((plan, run, releases, removed))
}

/// From an operation's plan to the end of a step.
async fn until_done(operations: &Operations, id: &str, step: &str) -> anyhow::Result<Duration> {
    let events = operations.events_so_far(id, 0).await?;
    let moment = |found: &dyn Fn(&Value) -> bool| -> anyhow::Result<f64> {
        for event in &events {
            let event = serde_json::to_value(event)?;
            if found(&event) {
                // Seconds of the minute, with their fraction.
                let time = event["time"].as_str().unwrap_or_default();
                return Ok(time.get(17..23).unwrap_or_default().parse()?);
            }
        }
        anyhow::bail!("no such event")
    };
    let planned = moment(&|event| event["kind"] == "state" && event["state"] == "planned")?;
    let done = moment(&|event| event["step"] == step && event["state"] == "done")?;
    Ok(Duration::from_secs_f64((done - planned).rem_euclid(60.0)))
}

fn new(operation: &str, parameters: &Value) -> NewOperation {
    NewOperation {
        adapter: "istio".into(),
        operation: operation.into(),
        parameters: parameters.as_object().cloned().unwrap_or_default(),
        ..NewOperation::default()
    }
}

async fn ended(operations: &Operations, id: &str) -> anyhow::Result<()> {
    operations.run(id).await?;
    let ended = operations.wait_ended(id).await?;
    ensure!(ended.state == OperationState::Succeeded, "{ended:?}");
    Ok(())
}
