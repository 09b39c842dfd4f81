//! Operations as users live through them: seen first, run, watched, cancelled, taken back, and what happens when
//! others have a hand in the same cluster.

mod guessed;
mod interrupted;
mod many;
mod removal;
mod rights;
mod unchangeable;
mod undo_preview;
mod without_adapter;

use std::time::Duration;

use anyhow::{Context as _, ensure};
use libtest_mimic::Trial;
use meshery_tests::cluster::Cluster;
use meshery_tests::host::Host;
use meshery_tests::snapshot::Snapshot;
use serde_json::{Value, json};

use crate::invented::{LIMIT, invented_host, request};
use crate::namespace::succeeded;
use crate::{cluster, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial(
            "operations::what_is_previewed_is_what_runs_and_is_taken_back",
            whole_life,
        ),
        trial(
            "operations::a_removal_leaves_the_cluster_as_before_the_installation",
            removal::leaves_as_before,
        ),
        trial(
            "operations::what_never_becomes_ready_is_undone_at_the_deadline",
            never_ready,
        ),
        trial(
            "operations::objects_of_others_inside_are_kept_and_reported",
            others_inside,
        ),
        trial(
            "operations::fields_that_others_changed_since_stay_theirs",
            others_fields,
        ),
        trial(
            "operations::a_cancelled_operation_takes_back_what_it_did",
            cancelled,
        ),
        trial(
            "operations::two_operations_on_one_cluster_run_one_after_the_other",
            queued,
        ),
        trial("operations::a_plan_goes_stale_when_the_cluster_changes", stale),
        trial(
            "operations::a_user_who_may_not_write_what_comes_is_told_before_anything_is_begun",
            rights::told,
        ),
        trial(
            "operations::a_preview_says_when_nobody_tells_what_is_allowed",
            rights::not_known,
        ),
        trial("operations::an_approval_is_asked_for_and_given", approval),
        trial("operations::a_restart_is_what_kubectl_would_do", restart),
        trial(
            "operations::what_no_server_lets_be_changed_is_made_again_on_explicit_word_only",
            unchangeable::made_again,
        ),
        trial(
            "operations::what_an_undo_would_do_is_shown_and_changes_nothing",
            undo_preview::shown,
        ),
        trial(
            "operations::five_thousand_objects_are_applied_and_taken_back",
            many::five_thousand,
        ),
        trial(
            "operations::an_object_that_appears_after_many_were_looked_for_is_taken_as_it_is",
            guessed::found,
        ),
        trial(
            "operations::what_a_controller_has_made_again_before_the_undo_stands",
            guessed::made_again_by_a_controller,
        ),
        trial(
            "operations::a_restarted_api_server_is_outlasted",
            interrupted::api_server_restart,
        ),
        trial(
            "operations::what_an_adapter_has_done_is_undone_without_it",
            without_adapter::undone,
        ),
        trial(
            "operations::what_an_adapter_has_planned_goes_on_without_it",
            without_adapter::goes_on,
        ),
        trial("operations::events_are_replayed_from_any_point", events),
        trial(
            "operations::a_host_that_is_stopped_goes_on_after_its_next_start",
            interrupted::stopped,
        ),
    ]
}

fn host(cluster: &Cluster) -> anyhow::Result<Host> {
    invented_host(cluster, cluster.kubeconfig())?.start()
}

fn id(record: &Value) -> anyhow::Result<&str> {
    record["id"].as_str().context("a record has an id")
}

fn install(namespace: &str) -> Value {
    request("install", json!({"namespace": namespace}))
}

fn objects(preview: &Value) -> Vec<&Value> {
    preview["objects"]
        .as_array()
        .map(|all| all.iter().collect())
        .unwrap_or_default()
}

fn whole_life() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let host = host(&cluster)?;
    let before = Snapshot::take(&cluster)?;
    let planned = host.plan(&install("life"))?;
    let preview = host
        .post(&format!("/api/v1/operations/{planned}/preview"), &json!({}))?
        .expect(200)?;
    before.await_same(&cluster).context("a preview writes nothing")?;
    let fate = |reference: &str| -> anyhow::Result<(String, String)> {
        let object = objects(&preview)
            .into_iter()
            .find(|object| object["ref"] == reference)
            .with_context(|| format!("{reference} is not in {preview:#}"))?;
        let word = |field: &str| object[field].as_str().unwrap_or_default().to_owned();
        Ok((word("change"), word("certainty")))
    };
    let expected = |change: &str, certainty: &str| (change.to_owned(), certainty.to_owned());
    ensure!(fate("v1/Namespace//life")? == expected("create", "verified"));
    // Its namespace, and its kind, come with the plan: the server cannot dry-run them.
    ensure!(fate("apps/v1/Deployment/life/invented-controller")? == expected("create", "local"));
    let webhook = "admissionregistration.k8s.io/v1/ValidatingWebhookConfiguration//invented-life";
    ensure!(fate(webhook)? == expected("create", "verified"));
    let waits = objects(&preview)
        .iter()
        .filter(|o| o["certainty"] == "decided-later")
        .count();
    ensure!(waits > 0, "what is waited for is decided later: {preview:#}");
    ensure!(
        preview["risks"].as_array().is_some_and(|risks| !risks.is_empty()),
        "{preview:#}"
    );

    host.order(&planned, "run")?;
    let record = host.await_end(&planned, LIMIT)?;
    ensure!(record["state"] == "succeeded", "{record:#}");
    let added: Vec<String> = before.differences(&Snapshot::take(&cluster)?);
    for object in objects(&preview)
        .iter()
        .filter(|object| object["change"] == "create")
    {
        let parts: Vec<&str> = object["ref"].as_str().unwrap_or_default().split('/').collect();
        let name = parts.last().copied().unwrap_or_default();
        ensure!(
            added
                .iter()
                .any(|line| line.starts_with("+ ") && line.ends_with(&format!("/{name}"))),
            "{} was previewed and is not there: {added:#?}",
            object["ref"]
        );
    }
    let status = succeeded(cluster.kubectl(&[
        "get",
        "configmap",
        "--namespace",
        "life",
        "--selector",
        "app.kubernetes.io/managed-by=Helm",
        "--output",
        "jsonpath={.items[*].metadata.annotations.meta\\.helm\\.sh/release-name}",
    ]))?;
    ensure!(
        status.contains("invented"),
        "objects of a release carry Helm's marks: {status}"
    );

    host.take_back(&planned, "undone", LIMIT)?;
    before.await_same(&cluster)
}

fn never_ready() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let host = host(&cluster)?;
    let before = Snapshot::take(&cluster)?;
    for (what, words) in [
        ("webhook", "invented-never"),
        ("deployment", "invented-controller"),
    ] {
        let request = request(
            "never-ready",
            json!({"namespace": "never", "what": what, "deadline": 3}),
        );
        let record = host.perform(&request, "undone", LIMIT)?;
        let message = record["error"]["message"].as_str().unwrap_or_default();
        ensure!(record["error"]["code"] == "not-ready", "{record:#}");
        ensure!(message.contains(words), "the error names the object: {message}");
        before
            .await_same(&cluster)
            .with_context(|| format!("{what} never ready"))?;
    }
    Ok(())
}

fn others_inside() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let host = host(&cluster)?;
    let record = host.perform(&install("shared"), "succeeded", LIMIT)?;
    succeeded(cluster.kubectl(&["create", "configmap", "theirs", "--namespace", "shared"]))?;
    let undone = host.take_back(id(&record)?, "undo-incomplete", LIMIT)?;
    let left = undone["left"].as_array().context("left")?;
    ensure!(
        left.iter().any(|left| left["ref"] == "v1/Namespace//shared"
            && left["why"]
                .as_str()
                .is_some_and(|why| why.contains("v1/ConfigMap/shared/theirs"))),
        "{undone:#}"
    );
    succeeded(cluster.kubectl(&["get", "configmap", "theirs", "--namespace", "shared"]))?;
    // Once it is out of the way, the rest goes.
    succeeded(cluster.kubectl(&["delete", "configmap", "theirs", "--namespace", "shared"]))?;
    let undone = host.take_back(id(&record)?, "undone", LIMIT)?;
    ensure!(undone["left"].as_array().is_some_and(Vec::is_empty), "{undone:#}");
    Ok(())
}

fn config(cluster: &Cluster, namespace: &str, manager: &str, data: &Value) -> anyhow::Result<()> {
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "contested", "namespace": namespace}, "data": data});
    let file = cluster.dir().join(format!("{namespace}-{manager}.json"));
    std::fs::write(&file, object.to_string())?;
    succeeded(cluster.kubectl(&[
        "apply",
        "--server-side",
        "--force-conflicts",
        "--field-manager",
        manager,
        "-f",
        &file.to_string_lossy(),
    ]))?;
    Ok(())
}

fn data(cluster: &Cluster, namespace: &str) -> anyhow::Result<Value> {
    let text = succeeded(cluster.kubectl(&[
        "get",
        "configmap",
        "contested",
        "--namespace",
        namespace,
        "--output",
        "jsonpath={.data}",
    ]))?;
    Ok(serde_json::from_str(&text)?)
}

/// Who owns which field, without the moments.
pub fn owners(cluster: &Cluster, kind: &str, name: &str, namespace: &str) -> anyhow::Result<Vec<String>> {
    let output = "jsonpath={.metadata.managedFields}";
    let text = succeeded(cluster.kubectl(&[
        "get",
        kind,
        name,
        "--namespace",
        namespace,
        "--show-managed-fields",
        "--output",
        output,
    ]))?;
    let mut entries: Vec<Value> = serde_json::from_str(&text)?;
    for entry in &mut entries {
        entry["time"] = Value::Null;
    }
    let mut owners: Vec<String> = entries.iter().map(Value::to_string).collect();
    owners.sort();
    Ok(owners)
}

fn others_fields() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let host = host(&cluster)?;
    let space = crate::namespace::Namespace::new("fields")?;
    config(
        &cluster,
        &space.name,
        "them",
        &json!({"value": "theirs", "other": "1"}),
    )?;
    let mut request = request("conflict", json!({"namespace": space.name, "value": "ours"}));

    // Who owns the field is named, in the preview and by the run, and nothing is changed.
    let planned = host.plan(&request)?;
    let preview = host
        .post(&format!("/api/v1/operations/{planned}/preview"), &json!({}))?
        .expect(200)?;
    ensure!(preview["counts"]["conflict"] == 1, "{preview:#}");
    let conflict = &objects(&preview)[0]["conflicts"][0];
    ensure!(
        conflict["manager"]
            .as_str()
            .is_some_and(|manager| manager.contains("them"))
            && conflict["field"]
                .as_str()
                .is_some_and(|field| field.contains("value")),
        "{preview:#}"
    );
    let failed = host.perform(&request, "undone", LIMIT)?;
    ensure!(failed["error"]["code"] == "apply-conflict", "{failed:#}");
    ensure!(data(&cluster, &space.name)? == json!({"value": "theirs", "other": "1"}));

    // By force, and back again: the values, and who owns them.
    request["policy"] = json!({"force_conflicts": true});
    let before = owners(&cluster, "configmap", "contested", &space.name)?;
    let planned = host.plan(&request)?;
    let preview = host
        .post(&format!("/api/v1/operations/{planned}/preview"), &json!({}))?
        .expect(200)?;
    let taken = &objects(&preview)[0];
    ensure!(
        taken["change"] == "update" && taken["conflicts"][0] == *conflict,
        "from whom it is taken is shown: {preview:#}"
    );
    let forced = host.perform(&request, "succeeded", LIMIT)?;
    ensure!(data(&cluster, &space.name)? == json!({"value": "ours", "other": "1"}));
    let after = owners(&cluster, "configmap", "contested", &space.name)?;
    ensure!(after != before, "{after:#?}");
    host.take_back(id(&forced)?, "undone", LIMIT)?;
    ensure!(data(&cluster, &space.name)? == json!({"value": "theirs", "other": "1"}));
    let after = owners(&cluster, "configmap", "contested", &space.name)?;
    ensure!(after == before, "{after:#?} instead of {before:#?}");

    // What an operation owned is its own again after the next one was taken back.
    let first = host.perform(&request, "succeeded", LIMIT)?;
    let before = owners(&cluster, "configmap", "contested", &space.name)?;
    request["parameters"]["value"] = "ours again".into();
    let second = host.perform(&request, "succeeded", LIMIT)?;
    host.take_back(id(&second)?, "undone", LIMIT)?;
    let after = owners(&cluster, "configmap", "contested", &space.name)?;
    ensure!(after == before, "{after:#?} instead of {before:#?}");
    host.take_back(id(&first)?, "undone", LIMIT)?;
    request["parameters"]["value"] = "ours".into();

    // What somebody changes after the run is not overwritten by its undo.
    let forced = host.perform(&request, "succeeded", LIMIT)?;
    config(
        &cluster,
        &space.name,
        "them",
        &json!({"value": "newer", "other": "1"}),
    )?;
    let undone = host.take_back(id(&forced)?, "undo-incomplete", LIMIT)?;
    let why = undone["left"][0]["why"].as_str().unwrap_or_default();
    ensure!(why.contains("data.value"), "{undone:#}");
    ensure!(data(&cluster, &space.name)? == json!({"value": "newer", "other": "1"}));
    Ok(())
}

fn cancelled() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let host = host(&cluster)?;
    let before = Snapshot::take(&cluster)?;
    let id = host.plan(&request(
        "install",
        json!({"namespace": "cancel", "ready": "never"}),
    ))?;
    host.order(&id, "run")?;
    let waiting = |record: &Value| {
        record["steps"].as_array().is_some_and(|steps| {
            steps
                .iter()
                .any(|step| step["id"] == "ready" && step["state"] == "running")
        })
    };
    let end = std::time::Instant::now() + LIMIT;
    while !waiting(&host.record(&id)?) {
        ensure!(std::time::Instant::now() < end, "it never came to the wait");
        std::thread::sleep(Duration::from_millis(50));
    }
    host.order(&id, "cancel")?;
    let record = host.await_state(&id, &["undone", "undo-incomplete"], LIMIT)?;
    ensure!(record["state"] == "undone", "{record:#}");
    let events = host
        .get(&format!("/api/v1/operations/{id}/record"))?
        .expect(200)?;
    let states: Vec<&str> = events["events"]
        .as_array()
        .map(|events| {
            events
                .iter()
                .filter(|e| e["kind"] == "state")
                .filter_map(|e| e["state"].as_str())
                .collect()
        })
        .unwrap_or_default();
    ensure!(
        states == ["planned", "queued", "running", "cancelled", "undoing", "undone"],
        "{states:?}"
    );
    before.await_same(&cluster)
}

fn queued() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let host = host(&cluster)?;
    let first = host.plan(&request(
        "install",
        json!({"namespace": "first", "ready": "after-3s"}),
    ))?;
    let second = host.plan(&request("many", json!({"namespace": "second", "objects": 10})))?;
    host.order(&first, "run")?;
    let record = host.order(&second, "run")?;
    ensure!(record["state"] == "queued", "{record:#}");
    let first_ended = host.await_end(&first, LIMIT)?;
    let second_ended = host.await_end(&second, LIMIT)?;
    ensure!(first_ended["state"] == "succeeded" && second_ended["state"] == "succeeded");
    let events = host
        .get(&format!("/api/v1/operations/{second}/record"))?
        .expect(200)?;
    let began = events["events"]
        .as_array()
        .and_then(|events| events.iter().find(|event| event["state"] == "running"))
        .and_then(|event| event["time"].as_str())
        .context("the second one ran")?
        .to_owned();
    let ended = first_ended["updated"].as_str().unwrap_or_default();
    ensure!(
        began.as_str() >= ended,
        "the second began at {began}, before the first ended at {ended}"
    );
    host.take_back(&second, "undone", LIMIT)?;
    host.take_back(&first, "undone", LIMIT)?;
    Ok(())
}

fn stale() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let host = host(&cluster)?;
    let space = crate::namespace::Namespace::new("stale")?;
    config(&cluster, &space.name, "meshery", &json!({"value": "old"}))?;
    let planned = host.plan(&request(
        "conflict",
        json!({"namespace": space.name, "value": "ours"}),
    ))?;
    host.post(&format!("/api/v1/operations/{planned}/preview"), &json!({}))?
        .expect(200)?;
    config(&cluster, &space.name, "meshery", &json!({"value": "changed"}))?;
    host.order(&planned, "run")?;
    let record = host.await_end(&planned, LIMIT)?;
    ensure!(record["state"] == "stale", "{record:#}");
    let message = record["error"]["message"].as_str().unwrap_or_default();
    ensure!(
        message.contains("contested"),
        "the error names what changed: {message}"
    );
    ensure!(data(&cluster, &space.name)? == json!({"value": "changed"}));
    host.post(&format!("/api/v1/operations/{planned}/run"), &json!({}))?
        .problem(409, "not-runnable")?;
    Ok(())
}

fn approval() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let host = host(&cluster)?;
    let mut request = request("many", json!({"namespace": "approved", "objects": 3}));
    request["policy"] = json!({"approval": true});
    let planned = host.plan(&request)?;
    let run = format!("/api/v1/operations/{planned}/run");
    host.post(&run, &json!({}))?.problem(409, "approval-required")?;
    host.post(&format!("/api/v1/operations/{planned}/approve"), &json!({}))?
        .problem(409, "not-awaiting-approval")?;
    host.post(&format!("/api/v1/operations/{planned}/preview"), &json!({}))?
        .expect(200)?;
    ensure!(host.record(&planned)?["state"] == "awaiting-approval");
    host.post(&run, &json!({}))?.problem(409, "approval-required")?;
    let record = host.order(&planned, "approve")?;
    ensure!(record["approved_by"] == "meshery", "{record:#}");
    host.order(&planned, "run")?;
    let record = host.await_end(&planned, LIMIT)?;
    ensure!(record["state"] == "succeeded", "{record:#}");
    host.take_back(&planned, "undone", LIMIT)?;
    Ok(())
}

fn restart() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let host = host(&cluster)?;
    let installed = host.perform(&install("restart"), "succeeded", LIMIT)?;
    let revision = || {
        succeeded(cluster.kubectl(&[
            "get",
            "deployment",
            "invented-controller",
            "--namespace",
            "restart",
            "--output",
            "jsonpath={.metadata.annotations.deployment\\.kubernetes\\.io/revision}",
        ]))
    };
    let first = revision()?;
    host.perform(
        &request("restart", json!({"namespace": "restart"})),
        "succeeded",
        LIMIT,
    )?;
    ensure!(first != revision()?, "a restart makes a new revision");
    host.take_back(id(&installed)?, "undone", LIMIT)?;
    Ok(())
}

fn events() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let host = host(&cluster)?;
    let id = host.plan(&request("many", json!({"namespace": "heard", "objects": 30})))?;
    let early = host.client()?.events(&id, 0)?;
    host.order(&id, "run")?;
    let (frames, _) = early.until_end(LIMIT)?;
    let numbers: Vec<u64> = frames.iter().filter_map(|frame| frame.id.parse().ok()).collect();
    ensure!(
        numbers.windows(2).all(|pair| pair[0] < pair[1]),
        "events come in order: {numbers:?}"
    );
    let created = frames
        .iter()
        .filter(|frame| frame.data["change"] == "created")
        .count();
    ensure!(created == 31, "30 objects and their namespace, not {created}");
    // The same again later, and from the middle.
    let (again, _) = host.client()?.events(&id, 0)?.until_end(LIMIT)?;
    ensure!(again.len() == frames.len());
    let middle = numbers[numbers.len() / 2];
    let (rest, _) = host.client()?.events(&id, middle)?.until_end(LIMIT)?;
    ensure!(
        rest.len() == frames.len() - numbers.len() / 2 - 1,
        "{} of {}",
        rest.len(),
        frames.len()
    );
    host.take_back(&id, "undone", LIMIT)?;
    Ok(())
}
