//! What goes wrong around an operation: no rights, no chart, no helm, no network, a plan beyond its rights, a provider
//! that hangs and dies, a full disk. Each ends with an error that says what and what to do, and nothing half-done.

mod full_disk;
mod provider;

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use libtest_mimic::Trial;
use meshery_tests::host::Host;
use meshery_tests::proxy::FaultProxy;
use meshery_tests::snapshot::Snapshot;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::invented::{LIMIT, invented_host, request};
use crate::namespace::succeeded;
use crate::{cluster, trial};

pub fn trials() -> Vec<Trial> {
    let mut trials = vec![
        trial(
            "faults::a_user_without_rights_is_told_verb_resource_and_namespace",
            no_rights,
        ),
        trial(
            "faults::a_chart_that_cannot_be_had_or_rendered_changes_nothing",
            charts,
        ),
        trial(
            "faults::without_internet_and_mirror_nothing_begins_and_it_is_said_why",
            no_internet,
        ),
        trial(
            "faults::a_disk_that_fills_up_meanwhile_blocks_neither_undo_nor_host",
            full_disk::meanwhile,
        ),
        trial("faults::on_a_full_disk_nothing_is_begun", full_disk::before),
        trial(
            "faults::objects_that_are_too_large_for_the_disk_are_not_touched",
            full_disk::of_large_objects,
        ),
        trial("faults::a_plan_beyond_its_rights_is_refused", beyond_rights),
        trial(
            "faults::nothing_is_written_while_the_provider_is_away",
            provider_away,
        ),
        trial(
            "faults::an_order_that_was_not_answered_in_time_is_carried_out_all_the_same",
            late_answer,
        ),
        trial("faults::an_operation_that_cannot_be_is_refused", impossible),
    ];
    trials.extend(provider::trials());
    trials
}

const OPERATIONS: &str = "/api/v1/operations";

fn no_rights() -> anyhow::Result<()> {
    let cluster = cluster()?;
    // What is refused here is not the lease.
    let host = invented_host(&cluster, cluster.limited_kubeconfig())?
        .env("MESHERY_CLUSTER_LEASE", "when-allowed")
        .start()?;
    let many = request("many", json!({"namespace": "forbidden", "objects": 3}));
    // Without any right, not even the cluster's identity can be read.
    let problem = host.post(OPERATIONS, &many)?.problem(403, "forbidden")?;
    let detail = problem["detail"].as_str().unwrap_or_default();
    ensure!(
        detail.contains("get") && detail.contains("kube-system"),
        "{problem:#}"
    );

    // One who may read is told what may not be written, before and by the run.
    let rule = [
        "create",
        "clusterrole",
        "faults-reader",
        "--verb=get,list",
        "--resource=namespaces,configmaps",
    ];
    succeeded(cluster.kubectl(&rule))?;
    let grant = [
        "create",
        "clusterrolebinding",
        "faults-reader",
        "--clusterrole=faults-reader",
        "--user=limited",
    ];
    succeeded(cluster.kubectl(&grant))?;
    let result = (|| {
        let id = host.plan(&many)?;
        let preview = host
            .post(&format!("{OPERATIONS}/{id}/preview"), &json!({}))?
            .expect(200)?;
        ensure!(preview["counts"]["error"] != 0, "{preview:#}");
        host.order(&id, "run")?;
        let record = host.await_end(&id, LIMIT)?;
        let message = record["error"]["message"].as_str().unwrap_or_default();
        ensure!(record["error"]["code"] == "forbidden", "{record:#}");
        ensure!(
            message.contains("patch") && message.contains("namespaces") && message.contains("forbidden"),
            "verb, resource and name are in it: {message}"
        );
        ensure!(
            record["error"]["remedy"]
                .as_str()
                .is_some_and(|remedy| remedy.contains("Role")),
            "{record:#}"
        );
        // The same inside a namespace, which is named.
        let inside = host.plan(&request("many", json!({"namespace": "default", "objects": 1})))?;
        host.order(&inside, "run")?;
        let record = host.await_end(&inside, LIMIT)?;
        let message = record["error"]["message"].as_str().unwrap_or_default();
        ensure!(record["error"]["code"] == "forbidden", "{record:#}");
        ensure!(
            ["patch", "configmaps", "default"]
                .iter()
                .all(|word| message.contains(word)),
            "verb, resource and namespace are in it: {message}"
        );
        Ok(())
    })();
    for kind in ["clusterrolebinding", "clusterrole"] {
        succeeded(cluster.kubectl(&["delete", kind, "faults-reader"]))?;
    }
    result
}

fn charts() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let before = Snapshot::take(&cluster)?;
    let install = request("install", json!({"namespace": "charts"}));
    let broken = request("broken-chart", json!({"namespace": "default", "how": "required"}));
    let told = |problem: &Value, words: &[&str]| {
        let text = problem.to_string();
        words.iter().all(|word| text.contains(word))
            && problem["remedy"].as_str().is_some_and(|r| !r.is_empty())
    };

    let host = invented_host(&cluster, cluster.kubeconfig())?.start()?;
    let answer = host.post(OPERATIONS, &broken)?;
    ensure!((400..500).contains(&answer.status), "{}", answer.text());
    ensure!(
        told(&answer.json(), &["broken", "trustDomain"]),
        "{}",
        answer.text()
    );
    drop(host);

    let host = invented_host(&cluster, cluster.kubeconfig())?
        .helm("/nonexistent/helm")
        .start()?;
    let answer = host.post(OPERATIONS, &install)?;
    ensure!(
        answer.status >= 400 && told(&answer.json(), &["helm"]),
        "{}",
        answer.text()
    );
    drop(host);

    let empty = cluster.dir().join("no-charts");
    std::fs::create_dir_all(&empty)?;
    let host = invented_host(&cluster, cluster.kubeconfig())?
        .mirror(&empty)
        .start()?;
    let answer = host.post(OPERATIONS, &install)?;
    ensure!(
        answer.status >= 400 && told(&answer.json(), &["demo", "mirror"]),
        "{}",
        answer.text()
    );
    before.await_same(&cluster)
}

fn no_internet() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let before = Snapshot::take(&cluster)?;
    let install = request("install", json!({"namespace": "offline"}));
    let folder = tempfile::tempdir()?;
    // Whoever asks for a name asks this machine, where nobody answers.
    let resolver = folder.path().join("resolv.conf");
    std::fs::write(&resolver, "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")?;
    let refused = |host: &Host, status: u16, code: &str, words: &[&str]| -> anyhow::Result<()> {
        let began = Instant::now();
        let problem = host.post(OPERATIONS, &install)?.problem(status, code)?;
        let took = began.elapsed();
        ensure!(took < Duration::from_secs(40), "only after {took:?}: {problem:#}");
        let text = problem.to_string();
        for word in words {
            ensure!(text.contains(word), "no {word} in {problem:#}");
        }
        ensure!(problem["remedy"].to_string().contains("mirror"), "{problem:#}");
        let planned = host.get(OPERATIONS)?.expect(200)?;
        ensure!(planned["items"] == json!([]), "{planned:#}");
        Ok(())
    };
    let connected = invented_host(&cluster, cluster.kubeconfig())?.mirror("");
    let host = connected
        .clone()
        .env("MESHERY_OFFLINE", "false")
        .file_over(&resolver, "/etc/resolv.conf")
        .start()?;
    refused(
        &host,
        503,
        "chart-repository-unreachable",
        &["charts.invented.example", "there is no mirror"],
    )?;
    drop(host);
    let host = connected.start()?;
    refused(&host, 404, "chart-not-found", &["offline", "there is no mirror"])?;
    before.await_same(&cluster)
}

fn beyond_rights() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let host = invented_host(&cluster, cluster.kubeconfig())?.start()?;
    for beyond in [
        "cluster-role",
        "secret",
        "privileged-pod",
        "cluster-wide",
        "cluster-wide-removal",
    ] {
        let request = request("overreach", json!({"namespace": "default", "beyond": beyond}));
        host.post(OPERATIONS, &request)?
            .problem(403, "beyond-rights")
            .with_context(|| beyond)?;
    }
    Ok(())
}

fn impossible() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let host = invented_host(&cluster, cluster.kubeconfig())?.start()?;
    for (body, status, code) in [
        (
            json!({"adapter": "nobody", "operation": "install"}),
            404,
            "unknown-adapter",
        ),
        (request("fly", json!({})), 404, "unknown-adapter-operation"),
        (request("many", json!({"objects": "three"})), 400, "bad-parameter"),
        (request("many", json!({"objects": -1})), 400, "bad-parameter"),
        (request("many", json!({"colour": "red"})), 400, "bad-parameter"),
        (
            request("many", json!({"namespace": "Not_A_Name"})),
            400,
            "bad-parameter",
        ),
        (request("install", json!({"refuse": true})), 409, "refused"),
    ] {
        host.post(OPERATIONS, &body)?
            .problem(status, code)
            .with_context(|| body.to_string())?;
    }
    let mut elsewhere = request("many", json!({}));
    elsewhere["context"] = "nowhere".into();
    host.post(OPERATIONS, &elsewhere)?
        .problem(404, "unknown-context")?;
    let real = Host::builder().kubeconfig(cluster.kubeconfig()).start()?;
    let version = json!({"adapter": "istio", "operation": "install", "parameters": {"version": "1.99.0"}});
    let problem = real.post(OPERATIONS, &version)?;
    ensure!((400..500).contains(&problem.status), "{}", problem.text());
    let problem = problem.problem(problem.status, "unknown-version")?;
    ensure!(problem["detail"].to_string().contains("1.99.0"), "{problem:#}");
    for what in ["run", "undo", "cancel", "resume", "approve", "preview"] {
        host.post(
            &format!("{OPERATIONS}/01ARZ3NDEKTSV4RRFFQ69G5FAV/{what}"),
            &json!({}),
        )?
        .problem(404, "unknown-operation")?;
    }
    Ok(())
}

fn signal(pid: i32, signal: Signal) -> anyhow::Result<()> {
    Ok(kill_process(
        Pid::from_raw(pid).context("a pid is not 0")?,
        signal,
    )?)
}

/// The process of the provider, as long as it has one.
fn provider_process(host: &Host) -> anyhow::Result<Option<i32>> {
    let plugins = host.get("/api/v1/plugins")?.expect(200)?;
    let pid = plugins["items"]
        .as_array()
        .and_then(|plugins| plugins.iter().find(|plugin| plugin["name"] == "local"))
        .and_then(|plugin| plugin["pid"].as_i64());
    Ok(pid.map(i32::try_from).transpose()?)
}

fn provider_away() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let proxy = FaultProxy::start(&cluster)?;
    let host = invented_host(&cluster, &proxy.kubeconfig(cluster.dir()))?
        .settings("[isolation_of]\nlocal = \"child\"\n")
        .start()?;
    let before = Snapshot::take(&cluster)?;
    let pid = provider_process(&host)?.context("the provider has a process")?;

    let id = host.plan(&request(
        "many",
        json!({"namespace": "away", "objects": 500, "steps": 20}),
    ))?;
    proxy.forget_mutations();
    host.order(&id, "run")?;
    while proxy.mutations().len() < 100 {
        std::thread::sleep(Duration::from_millis(5));
    }
    signal(pid, Signal::STOP)?;
    host.await_state(&id, &["paused", "interrupted"], Duration::from_secs(30))?;
    let written = proxy.mutations().len();
    ensure!(written < 500, "it was over before the provider was stopped");
    std::thread::sleep(Duration::from_millis(500));
    let state = host.record(&id)?["state"].clone();
    ensure!(
        proxy.mutations().len() == written || (state != "paused" && state != "interrupted"),
        "{} writes while nobody kept the journal",
        proxy.mutations().len() - written
    );
    // Away for long: stopped again as often as the host, which gives up waiting, starts it anew.
    let end = Instant::now() + LIMIT;
    while host.record(&id)?["state"] != "interrupted" {
        ensure!(Instant::now() < end, "{:#}", host.record(&id)?);
        if let Some(pid) = provider_process(&host)? {
            let _ = signal(pid, Signal::STOP);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let written = proxy.mutations().len();
    ensure!(written < 500, "it was over before it was interrupted");
    // Killed, by us or by the host, it is started again, and the operation goes on.
    if let Some(pid) = provider_process(&host)? {
        let _ = signal(pid, Signal::KILL);
    }
    let began = Instant::now();
    let record = host.await_state(&id, &["succeeded", "failed", "undone"], LIMIT)?;
    ensure!(
        record["state"] == "succeeded",
        "after {:?}: {record:#}",
        began.elapsed()
    );
    host.take_back(&id, "undone", LIMIT)?;
    before.await_same(&cluster)
}

fn late_answer() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let host = invented_host(&cluster, cluster.kubeconfig())?
        .settings("[isolation_of]\nlocal = \"child\"\n[limits]\nrequest_seconds = 2\n")
        .start()?;
    let before = Snapshot::take(&cluster)?;
    let id = host.plan(&request("many", json!({"namespace": "late", "objects": 5})))?;
    for (order, ends) in [("run", "succeeded"), ("undo", "undone")] {
        let pid = provider_process(&host)?.context("the provider has a process")?;
        signal(pid, Signal::STOP)?;
        let answer = host.post(&format!("{OPERATIONS}/{id}/{order}"), &json!({}));
        signal(pid, Signal::CONT)?;
        answer?.problem(504, "request-timeout")?;
        let record = host.await_state(&id, &[ends, "failed", "undo-incomplete"], LIMIT)?;
        ensure!(record["state"] == ends, "{record:#}");
    }
    before.await_same(&cluster)
}
