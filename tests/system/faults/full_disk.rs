//! The provider's disk is full: a small one of its own, and somebody else takes the rest of it.

use anyhow::{Context as _, ensure};
use http::Method;
use meshery_tests::artifacts;
use meshery_tests::host::{Filler, Host};
use meshery_tests::proxy::strike::{Strike, all};
use meshery_tests::proxy::{Action, FaultProxy, RequestInfo};
use meshery_tests::snapshot::Snapshot;
use serde_json::{Value, json};

use super::OPERATIONS;
use crate::cluster;
use crate::invented::{LIMIT, invented_host, invented_host_with, request};
use crate::namespace::{Namespace, succeeded};

const MEBIBYTES: u32 = 64;

fn many(namespace: &str, objects: usize) -> Value {
    request(
        "many",
        json!({"namespace": namespace, "objects": objects, "steps": 10}),
    )
}

fn is_full(problem: &Value) -> bool {
    problem["code"] == "store-full"
        && problem["remedy"]
            .as_str()
            .is_some_and(|remedy| remedy.contains("make room"))
}

fn refuses_plans(host: &Host) -> anyhow::Result<()> {
    let answer = host.post(OPERATIONS, &many("refused", 5000))?;
    ensure!(
        answer.status == 507 && is_full(&answer.json()),
        "{}",
        answer.text()
    );
    Ok(())
}

pub fn meanwhile() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let proxy = FaultProxy::start(&cluster)?;
    let host = invented_host(&cluster, &proxy.kubeconfig(cluster.dir()))?
        .provider_disk(MEBIBYTES)
        .start()?;
    let before = Snapshot::take(&cluster)?;
    let disk = host.provider_folder()?;

    // Full at the 50th write, and cancelled at the 100th: what is left of the run and the whole undo must fit.
    let id = host.plan(&many("filled", 300))?;
    let (fill, filled) = std::sync::mpsc::channel();
    let (halt, halted) = std::sync::mpsc::channel();
    proxy.forget_mutations();
    let folder = disk.clone();
    proxy.on(
        move |request: &RequestInfo| match (request.mutating, request.mutations) {
            (true, 50) => {
                let (folder, fill) = (folder.clone(), fill.clone());
                Action::run(move || {
                    let _ = fill.send(Filler::fill(&folder));
                })
            }
            (true, 100) => {
                let halt = halt.clone();
                Action::run(move || {
                    let _ = halt.send(());
                })
            }
            _ => Action::Forward,
        },
    );
    host.order(&id, "run")?;
    let filler = filled.recv_timeout(LIMIT).context("50 writes")??;
    filler.again()?;
    refuses_plans(&host)?;
    halted.recv_timeout(LIMIT).context("100 writes")?;
    filler.again()?;
    host.order(&id, "cancel")?;
    filler.again()?;
    let record = host.await_state(
        &id,
        &["undone", "undo-incomplete", "succeeded", "interrupted"],
        LIMIT,
    )?;
    ensure!(record["state"] == "undone", "{record:#}\n{}", host.story(&id));
    before.await_same(&cluster)?;
    filler.again()?;
    refuses_plans(&host)?;

    // With room again it is as if nothing had been.
    drop(filler);
    proxy.clear();
    let record = host.perform(&many("filled", 30), "succeeded", LIMIT)?;
    host.take_back(record["id"].as_str().context("an id")?, "undone", LIMIT)?;
    ensure!(
        host.record(&id)?["state"] == "undone",
        "what was recorded is lost"
    );
    before.await_same(&cluster)
}

pub fn before() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let proxy = FaultProxy::start(&cluster)?;
    let host = invented_host(&cluster, &proxy.kubeconfig(cluster.dir()))?
        .provider_disk(MEBIBYTES)
        .start()?;
    let before = Snapshot::take(&cluster)?;
    let id = host.plan(&many("never", 300))?;
    let done = host.perform(&many("done", 5), "succeeded", LIMIT)?;
    let done = done["id"].as_str().context("an id")?;
    proxy.forget_mutations();

    let filler = Filler::fill(&host.provider_folder()?)?;
    refuses_plans(&host)?;
    // Either it is refused at once, or it is begun and ends for lack of room before its first step.
    let answer = host.post(&format!("{OPERATIONS}/{id}/run"), &json!({}))?;
    if answer.status == 202 {
        let record = host.await_state(&id, &["failed", "interrupted"], LIMIT)?;
        ensure!(is_full(&record["error"]), "{record:#}");
    } else {
        ensure!(
            answer.status == 507 && is_full(&answer.json()),
            "{}",
            answer.text()
        );
    }
    // An undo by hand needs room as well.
    let answer = host.post(&format!("{OPERATIONS}/{done}/undo"), &json!({}))?;
    ensure!(
        answer.status == 507 && is_full(&answer.json()),
        "{}",
        answer.text()
    );
    ensure!(proxy.mutations().is_empty(), "{:#?}", proxy.mutations());

    drop(filler);
    host.take_back(done, "undone", LIMIT)?;
    before.await_same(&cluster)?;
    ensure!(host.record(&id)?["state"] == "planned", "it was begun");
    let record = host.perform(&many("never", 30), "succeeded", LIMIT)?;
    host.take_back(record["id"].as_str().context("an id")?, "undone", LIMIT)?;
    before.await_same(&cluster)
}

/// What a removal finds may be far larger than its plan: there must be room to write it down before any of it goes.
pub fn of_large_objects() -> anyhow::Result<()> {
    const NUMBER: usize = 5;
    const SIZE: usize = 900 << 10;
    let cluster = cluster()?;
    let space = Namespace::new("faults-large")?;
    let here = ["--namespace", &space.name];
    let names: Vec<String> = (0..NUMBER).map(|number| format!("large-{number}")).collect();
    for name in &names {
        let file = cluster.dir().join("large.json");
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
            "data": {"a": "x".repeat(SIZE)}});
        std::fs::write(&file, object.to_string())?;
        succeeded(cluster.kubectl(&[&["create", "-f", &file.to_string_lossy()], &here[..]].concat()))?;
    }
    let proxy = FaultProxy::start(&cluster)?;
    let plugins = cluster.dir().join("scripted-plugins");
    std::fs::create_dir_all(&plugins)?;
    std::fs::copy(
        artifacts::build()?.library("fixture_scripted_mesh")?,
        plugins.join("libfixture_scripted_mesh.so"),
    )?;
    let host = invented_host_with(&plugins, &cluster, &proxy.kubeconfig(cluster.dir()))?
        .provider_disk(MEBIBYTES)
        .start()?;
    let before = Snapshot::take(&cluster)?;
    let small = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "small", "namespace": space.name}, "data": {"a": "1"}});
    let targets: Vec<Value> = names
        .iter()
        .map(|name| json!({"ref": format!("v1/ConfigMap/{}/{name}", space.name), "when": "always"}))
        .collect();
    let removal = json!({"adapter": "scripted", "operation": "script", "parameters": {"steps": [
        {"id": "first", "kind": "apply", "objects": [small]},
        {"id": "large", "kind": "delete", "targets": targets, "after": ["first"]},
    ]}});

    let id = host.plan(&removal)?;
    let folder = host.provider_folder()?;
    let (fill, filled) = std::sync::mpsc::channel();
    let strike = Strike::at(Method::PATCH, "/configmaps/small", move || {
        let (folder, fill) = (folder.clone(), fill.clone());
        Action::run(move || {
            let _ = fill.send(Filler::fill(&folder));
        })
    });
    proxy.on(all(vec![strike]));
    host.order(&id, "run")?;
    let filler = filled.recv_timeout(LIMIT).context("a first write")??;
    let record = host.await_state(
        &id,
        &["undone", "undo-incomplete", "succeeded", "interrupted"],
        LIMIT,
    )?;
    ensure!(
        record["state"] == "undone" && is_full(&record["error"]),
        "{record:#}\n{}",
        host.story(&id)
    );
    before.await_same(&cluster)?;

    drop(filler);
    proxy.clear();
    let record = host.perform(&removal, "succeeded", LIMIT)?;
    host.take_back(record["id"].as_str().context("an id")?, "undone", LIMIT)?;
    before.await_remade(&cluster)
}
