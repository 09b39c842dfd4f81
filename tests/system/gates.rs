//! Operations that pause at a gate: what opens it, what others may do meanwhile, and what becomes of them.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use libtest_mimic::Trial;
use meshery_tests::cluster::Cluster;
use meshery_tests::host::Host;
use meshery_tests::snapshot::Snapshot;
use serde_json::{Value, json};

use crate::invented::{LIMIT, invented_host, request};
use crate::leases::lease;
use crate::namespace::succeeded;
use crate::{cluster, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial(
            "gates::others_may_change_the_cluster_until_somebody_approves",
            approved,
        ),
        trial(
            "gates::a_gate_opens_by_itself_when_its_condition_holds",
            condition,
        ),
        trial("gates::a_gate_opens_at_its_moment", moment),
        trial("gates::a_moment_that_is_none_is_refused", no_moment),
        trial("gates::a_host_killed_at_a_gate_waits_on", killed),
        trial(
            "gates::what_was_done_before_a_gate_is_taken_back_by_a_cancel",
            cancelled,
        ),
        trial("gates::a_paused_operation_can_be_undone", undone),
        trial("gates::a_gate_that_stays_shut_fails_the_operation", stays_shut),
        trial(
            "gates::what_changed_while_it_was_paused_is_named_and_not_written_over",
            stale,
        ),
    ]
}

fn host(cluster: &Cluster) -> anyhow::Result<Host> {
    invented_host(cluster, cluster.kubeconfig())?.start()
}

/// Runs a staged operation up to its gate.
fn paused(host: &Host, parameters: Value) -> anyhow::Result<String> {
    let planned = host.plan(&request("staged", parameters))?;
    host.order(&planned, "run")?;
    host.await_state(&planned, &["paused"], LIMIT)?;
    Ok(planned)
}

fn value(cluster: &Cluster, namespace: &str, name: &str) -> anyhow::Result<String> {
    let output = "jsonpath={.data.value}";
    succeeded(cluster.kubectl(&[
        "get",
        "configmap",
        name,
        "--namespace",
        namespace,
        "--output",
        output,
    ]))
}

fn is_absent(cluster: &Cluster, namespace: &str, name: &str) -> anyhow::Result<bool> {
    let found = cluster.kubectl(&[
        "get",
        "configmap",
        name,
        "--namespace",
        namespace,
        "--ignore-not-found",
        "--output",
        "name",
    ]);
    Ok(succeeded(found)?.is_empty())
}

fn approved() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let host = host(&cluster)?;
    let before = Snapshot::take(&cluster)?;
    let staged = paused(&host, json!({"namespace": "gate-yes", "approval": true}))?;
    ensure!(value(&cluster, "gate-yes", "first")? == "ours");
    ensure!(is_absent(&cluster, "gate-yes", "second")?);
    let record = host.record(&staged)?;
    let reason = record["held_up"]["reason"].as_str().unwrap_or_default();
    ensure!(
        reason.contains("the second ConfigMap follows") && reason.contains("--gate confirm"),
        "{record:#}"
    );

    // The cluster is free meanwhile, for this host and for another.
    let lease = lease(&cluster)?;
    ensure!(lease["spec"]["holderIdentity"] == "", "{lease:#}");
    let elsewhere = self::host(&cluster)?;
    for other in [&host, &elsewhere] {
        let many = request(
            "many",
            json!({"namespace": "gate-other", "objects": 3, "steps": 1}),
        );
        let record = other.perform(&many, "succeeded", LIMIT)?;
        let id = record["id"].as_str().context("a record has an id")?;
        other.take_back(id, "undone", LIMIT)?;
    }
    ensure!(host.record(&staged)?["state"] == "paused");

    let approve = format!("/api/v1/operations/{staged}/approve");
    host.post(&format!("{approve}?gate=other"), &json!({}))?
        .problem(409, "not-at-a-gate")?;
    host.post(&format!("{approve}?gate=confirm"), &json!({}))?
        .expect(202)?;
    let record = host.await_end(&staged, LIMIT)?;
    ensure!(record["state"] == "succeeded", "{record:#}");
    let gate = record["steps"]
        .as_array()
        .and_then(|steps| steps.iter().find(|step| step["id"] == "confirm"));
    let gate = gate.context("the gate is a step of the record")?;
    ensure!(
        gate["state"] == "done" && gate["gate"]["approved_by"] == "meshery",
        "{gate:#}"
    );
    ensure!(value(&cluster, "gate-yes", "second")? == "ours");
    host.post(&approve, &json!({}))?
        .problem(409, "not-awaiting-approval")?;
    host.take_back(&staged, "undone", LIMIT)?;
    before.await_same(&cluster)
}

fn condition() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let host = host(&cluster)?;
    let staged = paused(&host, json!({"namespace": "gate-if", "until": "sign"}))?;
    let record = host.record(&staged)?;
    ensure!(
        record["held_up"]["reason"]
            .as_str()
            .unwrap_or_default()
            .contains("v1/ConfigMap/gate-if/sign"),
        "{record:#}"
    );
    host.post(&format!("/api/v1/operations/{staged}/approve"), &json!({}))?
        .problem(409, "not-at-a-gate")?;
    succeeded(cluster.kubectl(&["create", "configmap", "sign", "--namespace", "gate-if"]))?;
    let record = host.await_end(&staged, LIMIT)?;
    ensure!(record["state"] == "succeeded", "{record:#}");
    succeeded(cluster.kubectl(&["delete", "configmap", "sign", "--namespace", "gate-if"]))?;
    host.take_back(&staged, "undone", LIMIT)?;
    Ok(())
}

fn moment() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let host = host(&cluster)?;
    let at = k8s_openapi::jiff::Timestamp::now() + Duration::from_secs(6);
    let parameters = json!({"namespace": "gate-at", "not-before": at.to_string()});
    let staged = paused(&host, parameters)?;
    let record = host.await_end(&staged, LIMIT)?;
    ensure!(record["state"] == "succeeded", "{record:#}");
    ensure!(
        k8s_openapi::jiff::Timestamp::now() >= at,
        "it went on before its moment"
    );
    host.take_back(&staged, "undone", LIMIT)?;
    Ok(())
}

fn no_moment() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let host = host(&cluster)?;
    let parameters = json!({"namespace": "gate-never", "not-before": "tomorrow"});
    let problem = host
        .post("/api/v1/operations", &request("staged", parameters))?
        .problem(400, "bad-moment")?;
    ensure!(problem.to_string().contains("tomorrow"), "{problem:#}");
    Ok(())
}

fn killed() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let mut host = host(&cluster)?;
    let staged = paused(&host, json!({"namespace": "gate-kill", "approval": true}))?;
    host.kill()?;
    host.restart()?;
    let record = host.await_state(&staged, &["paused"], LIMIT)?;
    ensure!(record["held_up"]["reason"].is_string(), "{record:#}");
    host.kill()?;
    host.restart()?;
    // It may not have come to its operations yet. An answered yes is not forgotten, although the host is killed before it can act on it.
    host.post(&format!("/api/v1/operations/{staged}/approve"), &json!({}))?
        .expect(202)?;
    host.kill()?;
    host.restart()?;
    let record = host.await_end(&staged, LIMIT)?;
    ensure!(record["state"] == "succeeded", "{record:#}");
    host.take_back(&staged, "undone", LIMIT)?;
    Ok(())
}

fn cancelled() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let host = host(&cluster)?;
    let before = Snapshot::take(&cluster)?;
    let staged = paused(&host, json!({"namespace": "gate-no", "approval": true}))?;
    let refused = host
        .get(&format!("/api/v1/operations/{staged}/undo-preview"))?
        .problem(409, "operation-active")?;
    let cancel = format!("take back what it did by `mesheryctl operation cancel {staged}`");
    ensure!(
        refused["remedy"]
            .as_str()
            .is_some_and(|remedy| remedy.contains(&cancel)),
        "{refused:#}"
    );
    host.order(&staged, "cancel")?;
    host.await_state(&staged, &["undone"], LIMIT)?;
    before.await_same(&cluster)
}

fn undone() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let host = host(&cluster)?;
    let before = Snapshot::take(&cluster)?;
    let mut asked = request("staged", json!({"namespace": "gate-back", "approval": true}));
    asked["policy"] = json!({"on_failure": "keep"});
    let staged = host.plan(&asked)?;
    host.order(&staged, "run")?;
    host.await_state(&staged, &["paused"], LIMIT)?;
    host.take_back(&staged, "undone", LIMIT)?;
    before.await_same(&cluster)
}

fn stays_shut() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let host = host(&cluster)?;
    let before = Snapshot::take(&cluster)?;
    let parameters = json!({"namespace": "gate-shut", "approval": true, "gate-deadline": 2});
    let staged = paused(&host, parameters)?;
    let record = host.await_state(&staged, &["undone"], LIMIT)?;
    ensure!(record["error"]["code"] == "gate-deadline", "{record:#}");
    before.await_same(&cluster)
}

fn stale() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let host = host(&cluster)?;
    succeeded(cluster.kubectl(&["create", "namespace", "gate-stale"]))?;
    succeeded(cluster.kubectl(&[
        "create",
        "configmap",
        "second",
        "--namespace",
        "gate-stale",
        "--from-literal",
        "other=1",
    ]))?;
    let planned = host.plan(&request(
        "staged",
        json!({"namespace": "gate-stale", "approval": true}),
    ))?;
    host.post(&format!("/api/v1/operations/{planned}/preview"), &json!({}))?
        .expect(200)?;
    host.order(&planned, "run")?;
    host.await_state(&planned, &["paused"], LIMIT)?;
    let patch = r#"{"data": {"other": "2"}}"#;
    succeeded(cluster.kubectl(&[
        "patch",
        "configmap",
        "second",
        "--namespace",
        "gate-stale",
        "--patch",
        patch,
        "--field-manager",
        "somebody",
    ]))?;
    host.post(&format!("/api/v1/operations/{planned}/approve"), &json!({}))?
        .expect(202)?;
    let record = host.await_state(&planned, &["undone"], LIMIT)?;
    ensure!(record["error"]["code"] == "stale", "{record:#}");
    let message = record["error"].to_string();
    ensure!(
        message.contains("v1/ConfigMap/gate-stale/second")
            && message.contains("/data/other")
            && message.contains("somebody"),
        "what was changed, and by whom: {record:#}"
    );
    ensure!(is_absent(&cluster, "gate-stale", "first")?);
    ensure!(value(&cluster, "gate-stale", "second")?.is_empty());
    succeeded(cluster.kubectl(&["delete", "namespace", "gate-stale"]))?;
    Ok(())
}
