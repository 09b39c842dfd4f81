//! Steps that an adapter computes when the operation comes to them, and what steps leave for later ones.

use anyhow::{Context as _, ensure};
use libtest_mimic::Trial;
use meshery_tests::artifacts;
use meshery_tests::cluster::Cluster;
use meshery_tests::host::Host;
use meshery_tests::snapshot::Snapshot;
use serde_json::{Value, json};

use crate::invented::{LIMIT, invented_host, request};
use crate::namespace::{eventually, succeeded};
use crate::{cluster, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial(
            "expansion::is_computed_when_the_operation_comes_to_it_and_hands_on_outputs",
            computed,
        ),
        trial("expansion::beyond_what_the_plan_declared_is_taken_back", beyond),
        trial(
            "expansion::pods_are_made_anew_when_what_they_were_made_with_is_back",
            restarted,
        ),
        trial(
            "expansion::by_another_plugin_than_the_one_that_planned_is_stale",
            exchanged,
        ),
    ]
}

const NAMESPACE: &str = "expansion";

fn config_map(cluster: &Cluster, verb: &str, name: &str) -> anyhow::Result<()> {
    succeeded(cluster.kubectl(&[verb, "configmap", name, "--namespace", NAMESPACE])).map(drop)
}

fn text(cluster: &Cluster, kind: &str, name: &str, path: &str) -> anyhow::Result<String> {
    let output = format!("jsonpath={path}");
    succeeded(cluster.kubectl(&["get", kind, name, "--namespace", NAMESPACE, "--output", &output]))
}

fn host(cluster: &Cluster) -> anyhow::Result<Host> {
    invented_host(cluster, cluster.kubeconfig())?.start()
}

fn of_steps(record: &Value) -> Vec<(&str, &str)> {
    record["steps"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|step| Some((step["id"].as_str()?, step["state"].as_str()?)))
        .collect()
}

fn computed() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let host = host(&cluster)?;
    succeeded(cluster.kubectl(&["create", "namespace", NAMESPACE]))?;
    let before = Snapshot::take(&cluster)?;
    let id = host.plan(&request(
        "spread",
        json!({"namespace": NAMESPACE, "approval": true}),
    ))?;
    let preview = host
        .post(&format!("/api/v1/operations/{id}/preview"), &json!({}))?
        .expect(200)?;
    let notes = preview["notes"].to_string();
    ensure!(
        notes.contains("what step each (a copy of each) does is decided when it begins; it may change objects of expansion"),
        "{preview:#}"
    );
    let last = preview["objects"]
        .as_array()
        .and_then(|objects| objects.iter().find(|object| object["step"] == "last"))
        .context("the last object is in the preview")?;
    ensure!(last["certainty"] == "decided-later", "{last:#}");

    host.order(&id, "run")?;
    host.await_state(&id, &["paused"], LIMIT)?;
    // Nobody could know of these when the plan was made.
    for name in ["spread-a", "spread-b", "other"] {
        config_map(&cluster, "create", name)?;
    }
    host.post(&format!("/api/v1/operations/{id}/approve"), &json!({}))?
        .expect(202)?;
    let record = host.await_end(&id, LIMIT)?;
    ensure!(record["state"] == "succeeded", "{record:#}\n{}", host.story(&id));
    let done = [
        "source",
        "confirm",
        "each",
        "each-spread-a",
        "each-spread-b",
        "last",
    ];
    ensure!(
        of_steps(&record) == done.map(|id| (id, "done")),
        "{:?}",
        of_steps(&record)
    );
    let address = text(&cluster, "service", "spread-address", "{.spec.clusterIP}")?;
    ensure!(!address.is_empty());
    for copy in ["copy-of-spread-a", "copy-of-spread-b", "spread-last"] {
        let value = text(&cluster, "configmap", copy, "{.data.value}")?;
        ensure!(value == format!("{address}:8443"), "{copy} has {value}");
    }
    let outputs = json!([
        {"step": "source", "name": "address", "value": address},
        {"step": "source", "name": "port", "value": 8443},
    ]);
    ensure!(record["outputs"] == outputs, "{:#}", record["outputs"]);
    ensure!(
        record["notes"].to_string().contains("the address is"),
        "{:#}",
        record["notes"]
    );

    host.take_back(&id, "undone", LIMIT)?;
    for name in ["spread-a", "spread-b", "other"] {
        config_map(&cluster, "delete", name)?;
    }
    before.await_same(&cluster)?;
    succeeded(cluster.kubectl(&["delete", "namespace", NAMESPACE])).map(drop)
}

fn beyond() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let host = host(&cluster)?;
    succeeded(cluster.kubectl(&["create", "namespace", NAMESPACE]))?;
    config_map(&cluster, "create", "spread-a")?;
    let before = Snapshot::take(&cluster)?;
    for (fault, code) in [
        ("beyond", "beyond-rights"),
        ("unknown-output", "bad-plan"),
        ("error", "asked-for"),
    ] {
        let id = host.plan(&request(
            "spread",
            json!({"namespace": NAMESPACE, "fault": fault}),
        ))?;
        host.order(&id, "run")?;
        let record = host.await_end(&id, LIMIT)?;
        ensure!(
            record["state"] == "undone" && record["error"]["code"] == code,
            "{fault}: {record:#}"
        );
        before.await_same(&cluster).context(fault)?;
    }
    succeeded(cluster.kubectl(&["delete", "namespace", NAMESPACE])).map(drop)
}

fn restarted() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let mut host = host(&cluster)?;
    succeeded(cluster.kubectl(&["create", "namespace", NAMESPACE]))?;
    let image = "--image=example.test/shop:1";
    succeeded(cluster.kubectl(&["create", "deployment", "shop", image, "--namespace", NAMESPACE]))?;
    let path = r"{.spec.template.metadata.annotations.kubectl\.kubernetes\.io/restartedAt}";
    let moment = || text(&cluster, "deployment", "shop", path);
    for (restart, held) in [("shop", false), ("gone", false), ("shop", true)] {
        let id = host.plan(&request(
            "spread",
            json!({"namespace": NAMESPACE, "restart": restart}),
        ))?;
        let preview = host
            .post(&format!("/api/v1/operations/{id}/preview"), &json!({}))?
            .expect(200)?;
        let said =
            format!("if it is taken back, step again restarts apps/v1/Deployment/{NAMESPACE}/{restart}");
        ensure!(preview["notes"].to_string().contains(&said), "{preview:#}");
        host.order(&id, "run")?;
        let record = host.await_end(&id, LIMIT)?;
        ensure!(record["state"] == "succeeded", "{record:#}");
        let before = moment()?;
        let hold = |pods: &str| {
            let pause = json!({"spec": {"paused": pods == "held"}}).to_string();
            succeeded(cluster.kubectl(&[
                "patch",
                "deployment",
                "shop",
                "--namespace",
                NAMESPACE,
                "--patch",
                &pause,
            ]))
        };
        if held {
            hold("held")?;
            host.order(&id, "undo")?;
            host.await_state(&id, &["undoing"], LIMIT)?;
            eventually(|| {
                ensure!(moment()? != before, "not restarted yet");
                Ok(())
            })?;
            host.kill()?;
            hold("let go")?;
            let once = moment()?;
            host.restart()?;
            let record = host.await_end(&id, LIMIT)?;
            ensure!(record["state"] == "undone", "{record:#}");
            ensure!(moment()? == once, "it was restarted twice");
        } else {
            host.take_back(&id, "undone", LIMIT)?;
            ensure!(
                (moment()? != before) == (restart == "shop"),
                "{restart}: {before}"
            );
        }
    }
    succeeded(cluster.kubectl(&["delete", "namespace", NAMESPACE])).map(drop)
}

/// The plugin is built anew while the operation waits: what it would say now is nothing that anybody has agreed to.
fn exchanged() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let folder = tempfile::tempdir()?;
    let plugin = folder.path().join("libfixture_invented_mesh.so");
    std::fs::copy(artifacts::build()?.library("fixture_invented_mesh")?, &plugin)?;
    let mut host = Host::builder()
        .own_plugins(&["meshery_local_provider"])
        .plugins(folder.path())
        .kubeconfig(cluster.kubeconfig())
        .helm(cluster.helm())
        .env("MESHERY_OFFLINE", "true")
        .start()?;
    let before = Snapshot::take(&cluster)?;
    let id = host.plan(&request(
        "spread",
        json!({"namespace": NAMESPACE, "approval": true}),
    ))?;
    host.order(&id, "run")?;
    host.await_state(&id, &["paused"], LIMIT)?;
    host.kill()?;
    let mut bytes = std::fs::read(&plugin)?;
    // Behind the end of what the loader reads.
    bytes.extend_from_slice(b"another build");
    std::fs::write(&plugin, bytes)?;
    host.restart()?;
    host.await_state(&id, &["paused"], LIMIT)?;
    host.post(&format!("/api/v1/operations/{id}/approve"), &json!({}))?
        .expect(202)?;
    let record = host.await_end(&id, LIMIT)?;
    ensure!(
        record["state"] == "undone" && record["error"]["code"] == "stale",
        "{record:#}"
    );
    let error = record["error"].to_string();
    ensure!(
        error.contains("the adapter invented is another one now"),
        "{error}"
    );
    before.await_same(&cluster)
}
