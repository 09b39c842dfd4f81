//! One operation on several clusters: each has its turn, what fails on one is told to the others, and all of it can be
//! taken back.

use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use libtest_mimic::Trial;
use meshery_tests::cluster::Cluster;
use meshery_tests::host::Host;
use meshery_tests::snapshot::Snapshot;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::invented::{LIMIT, invented_host, request};
use crate::mesheryctl::{ctl, has};
use crate::namespace::{eventually, succeeded};
use crate::{cluster, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial(
            "sets::clusters_have_their_turns_a_kill_changes_nothing_and_all_is_taken_back",
            turns,
        ),
        trial(
            "sets::a_failure_on_one_stops_the_others_or_takes_them_back_or_does_not",
            failures,
        ),
        trial("sets::what_cannot_be_a_set_leaves_nothing_planned", refused),
        trial("sets::mesheryctl_does_it_with_several_contexts", commands),
    ]
}

/// The other cluster, shared by the trials here and stopped after the last of them.
static OTHER: LazyLock<Mutex<Option<Arc<Cluster>>>> = LazyLock::new(Mutex::default);

/// Two clusters, and a host that reaches them by the contexts `one` and `two`.
struct Ground {
    one: Arc<Cluster>,
    two: Arc<Cluster>,
    host: Host,
    space: &'static str,
    _folder: TempDir,
}

impl Ground {
    fn new(space: &'static str) -> anyhow::Result<Self> {
        let one = cluster()?;
        let two = {
            let mut other = OTHER.lock().unwrap_or_else(PoisonError::into_inner);
            match other.as_ref() {
                Some(cluster) => cluster.clone(),
                None => other.insert(Arc::new(Cluster::start_second()?)).clone(),
            }
        };
        let folder = TempDir::new()?;
        let kubeconfig = kubeconfig(&folder, &[("one", &one), ("two", &two)])?;
        let host = invented_host(&one, &kubeconfig)?.start()?;
        for cluster in [&one, &two] {
            succeeded(cluster.kubectl(&["create", "namespace", space]))?;
            crate::namespace::eventually(|| {
                let here = ["--namespace", space];
                succeeded(
                    cluster.kubectl(
                        &[
                            &["get", "serviceaccount/default", "configmap/kube-root-ca.crt"][..],
                            &here,
                        ]
                        .concat(),
                    ),
                )
            })?;
        }
        Ok(Self {
            one,
            two,
            host,
            space,
            _folder: folder,
        })
    }

    fn snapshots(&self) -> anyhow::Result<[Snapshot; 2]> {
        Ok([Snapshot::take(&self.one)?, Snapshot::take(&self.two)?])
    }

    fn same(&self, before: &[Snapshot; 2]) -> anyhow::Result<()> {
        before[0].await_same(&self.one).context("cluster one")?;
        before[1].await_same(&self.two).context("cluster two")
    }

    fn plan(&self, operation: &str, parameters: Value, more: Value) -> anyhow::Result<String> {
        let mut asked = request(operation, parameters);
        asked["parameters"]["namespace"] = self.space.into();
        if let (Some(asked), Value::Object(more)) = (asked.as_object_mut(), more) {
            asked.extend(more);
        }
        let set = self.host.post("/api/v1/operation-sets", &asked)?.expect(201)?;
        Ok(set["id"].as_str().context("an id")?.to_owned())
    }

    fn order(&self, id: &str, what: &str) -> anyhow::Result<()> {
        self.host
            .post(&format!("/api/v1/operation-sets/{id}/{what}"), &json!({}))?
            .expect(202)
            .map(drop)
    }

    fn set(&self, id: &str) -> anyhow::Result<Value> {
        self.host
            .get(&format!("/api/v1/operation-sets/{id}"))?
            .expect(200)
    }

    /// Waits until the set and its members are in these states.
    fn await_states(&self, id: &str, state: &str, members: &[&str]) -> anyhow::Result<Value> {
        let end = Instant::now() + LIMIT;
        loop {
            let set = self.set(id)?;
            if set["state"] == state && of_members(&set) == members {
                return Ok(set);
            }
            if Instant::now() > end {
                bail!("not {state} with {members:?}: {set:#}\n{}", self.host.log());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn approve(&self, set: &Value, member: usize) -> anyhow::Result<()> {
        let id = set["members"][member]["operation"].as_str().context("an id")?;
        self.host
            .post(&format!("/api/v1/operations/{id}/approve"), &json!({}))?
            .expect(202)
            .map(drop)
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        for cluster in [&self.one, &self.two] {
            cluster.kubectl(&[
                "delete",
                "namespace",
                self.space,
                "--wait=false",
                "--ignore-not-found",
            ]);
        }
    }
}

/// Statics are never dropped.
pub fn stop_cluster() {
    drop(OTHER.lock().unwrap_or_else(PoisonError::into_inner).take());
}

/// One file with a context for each cluster.
fn kubeconfig(folder: &TempDir, clusters: &[(&str, &Cluster)]) -> anyhow::Result<PathBuf> {
    let mut merged = json!({"apiVersion": "v1", "kind": "Config", "current-context": clusters[0].0});
    for (name, cluster) in clusters {
        let raw = succeeded(cluster.kubectl(&[
            "config",
            "view",
            "--raw",
            "--minify",
            "--flatten",
            "--output=json",
        ]))?;
        let config: Value = serde_json::from_str(&raw)?;
        for (list, content) in [("clusters", "cluster"), ("users", "user")] {
            let entry = json!({"name": name, content: config[list][0][content]});
            let entries = merged
                .as_object_mut()
                .context("an object")?
                .entry(list)
                .or_insert(json!([]));
            entries.as_array_mut().context("a list")?.push(entry);
        }
        let entries = merged
            .as_object_mut()
            .context("an object")?
            .entry("contexts")
            .or_insert(json!([]));
        entries
            .as_array_mut()
            .context("a list")?
            .push(json!({"name": name, "context": {"cluster": name, "user": name}}));
    }
    let file = folder.path().join("kubeconfig");
    std::fs::write(&file, merged.to_string())?;
    Ok(file)
}

fn of_members(set: &Value) -> Vec<&str> {
    set["members"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|member| member["state"].as_str())
        .collect()
}

fn turns() -> anyhow::Result<()> {
    let mut ground = Ground::new("set-turns")?;
    let before = ground.snapshots()?;
    let contexts = json!({"contexts": ["one", "two"]});
    let id = ground.plan("staged", json!({"value": "x", "approval": true}), contexts)?;
    let previews = ground
        .host
        .post(&format!("/api/v1/operation-sets/{id}/preview"), &json!({}))?
        .expect(200)?;
    for (number, context) in ["one", "two"].iter().enumerate() {
        let preview = &previews["items"][number];
        ensure!(
            preview["context"] == *context && preview["preview"]["counts"]["create"] == 2,
            "{previews:#}"
        );
    }
    ground.same(&before)?;
    ensure!(ground.set(&id)?["state"] == "previewed");

    ground.order(&id, "run")?;
    let set = ground.await_states(&id, "paused", &["paused", "previewed"])?;
    let member = ground
        .host
        .record(set["members"][0]["operation"].as_str().context("an id")?)?;
    ensure!(member["parent"] == id.as_str(), "{member:#}");
    ground.host.kill()?;
    ground.host.restart()?;
    ground.await_states(&id, "paused", &["paused", "previewed"])?;
    ground.approve(&set, 0)?;
    ground.await_states(&id, "paused", &["succeeded", "paused"])?;
    // Killed while the last one waits, and nobody had seen the first one's end.
    ground.host.kill()?;
    ground.host.restart()?;
    ground.await_states(&id, "paused", &["succeeded", "paused"])?;
    ground.approve(&set, 1)?;
    ground.await_states(&id, "succeeded", &["succeeded", "succeeded"])?;
    let again = ground
        .host
        .post(&format!("/api/v1/operation-sets/{id}/run"), &json!({}))?
        .problem(409, "not-runnable")?;
    ensure!(
        again["detail"].to_string().contains("nothing of it waits"),
        "{again:#}"
    );

    ground.order(&id, "undo")?;
    ground.await_states(&id, "undone", &["undone", "undone"])?;
    ground.same(&before)?;
    ground
        .host
        .post(&format!("/api/v1/operation-sets/{id}/undo"), &json!({}))?
        .problem(409, "nothing-to-undo")?;

    // Both at a time, and stopped at their gates.
    let contexts = json!({"contexts": ["one", "two"], "at_a_time": 2});
    let id = ground.plan("staged", json!({"value": "y", "approval": true}), contexts)?;
    ground.order(&id, "run")?;
    ground.await_states(&id, "paused", &["paused", "paused"])?;
    ground.order(&id, "cancel")?;
    ground.await_states(&id, "cancelled", &["undone", "undone"])?;
    ground.same(&before)
}

fn failures() -> anyhow::Result<()> {
    let ground = Ground::new("set-failures")?;
    // Somebody else's field on cluster two: there the operation fails.
    let theirs = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "contested"},
        "data": {"value": "theirs"}});
    let file = ground.two.dir().join("contested.json");
    std::fs::write(&file, theirs.to_string())?;
    succeeded(ground.two.kubectl(&[
        "apply",
        "--server-side",
        "--field-manager=them",
        "--namespace",
        ground.space,
        "-f",
        &file.to_string_lossy(),
    ]))?;
    let before = ground.snapshots()?;
    let conflict = |contexts: &[&str], policy: &str| {
        let more = json!({"contexts": contexts, "on_member_failure": policy});
        ground.plan("conflict", json!({"value": "ours"}), more)
    };

    let id = conflict(&["two", "one"], "stop")?;
    ground.order(&id, "run")?;
    let set = ground.await_states(&id, "failed", &["undone", "planned"])?;
    ensure!(set["members"][0]["error"]["code"] == "apply-conflict", "{set:#}");
    // Somebody has looked at it, and lets the other have its turn.
    ground.order(&id, "run")?;
    ground.await_states(&id, "failed", &["undone", "succeeded"])?;
    ground.order(&id, "undo")?;
    ground.await_states(&id, "undone", &["undone", "undone"])?;
    ground.same(&before)?;

    let id = conflict(&["two", "one"], "go-on")?;
    ground.order(&id, "run")?;
    ground.await_states(&id, "failed", &["undone", "succeeded"])?;
    ground.order(&id, "undo")?;
    ground.await_states(&id, "undone", &["undone", "undone"])?;

    let id = conflict(&["one", "two"], "undo")?;
    ground.order(&id, "run")?;
    ground.await_states(&id, "undone", &["undone", "undone"])?;
    ground.same(&before)
}

fn refused() -> anyhow::Result<()> {
    let ground = Ground::new("set-refused")?;
    let conflict = |more: Value| {
        let mut asked = request("conflict", json!({"namespace": ground.space}));
        if let (Some(asked), Value::Object(more)) = (asked.as_object_mut(), more) {
            asked.extend(more);
        }
        ground.host.post("/api/v1/operation-sets", &asked)
    };
    let many: Vec<String> = (0..101).map(|number| format!("c{number}")).collect();
    for (more, status, code, words) in [
        (json!({"contexts": []}), 400, "bad-operation-set", "1 to 100"),
        (json!({"contexts": many}), 400, "bad-operation-set", "101"),
        (
            json!({"contexts": ["one", "one"]}),
            400,
            "bad-operation-set",
            "named twice",
        ),
        (
            json!({"contexts": ["one"], "at_a_time": 0}),
            400,
            "bad-operation-set",
            "at_a_time",
        ),
        (
            json!({"contexts": ["one", "nowhere"]}),
            404,
            "unknown-context",
            "context nowhere",
        ),
        (
            json!({"contexts": ["one", "two"], "adapter": "none"}),
            404,
            "unknown-adapter",
            "context one",
        ),
    ] {
        let problem = conflict(more.clone())?
            .problem(status, code)
            .with_context(|| more.to_string())?;
        ensure!(problem["detail"].to_string().contains(words), "{problem:#}");
    }
    ground
        .host
        .get("/api/v1/operation-sets/01J00000000000000000000000")?
        .problem(404, "unknown-operation-set")?;
    ensure!(ground.host.get("/api/v1/operation-sets")?.expect(200)?["items"] == json!([]));
    // With a key, the same request twice is one set.
    let asked = json!({"adapter": "invented", "operation": "many", "contexts": ["one", "two"],
        "parameters": {"namespace": ground.space, "objects": 1, "steps": 1}});
    let client = ground.host.client()?;
    let keyed = |asked: &Value| {
        client.send(
            "POST",
            "/api/v1/operation-sets",
            &[("idempotency-key", "once")],
            Some(asked),
        )
    };
    let first = keyed(&asked)?.expect(201)?;
    ensure!(keyed(&asked)?.expect(200)?["id"] == first["id"]);
    let mut other = asked.clone();
    other["at_a_time"] = 2.into();
    keyed(&other)?.problem(409, "idempotency-key-reused")?;
    let sets = ground.host.get("/api/v1/operation-sets")?.expect(200)?;
    ensure!(sets["items"].as_array().map(Vec::len) == Some(1), "{sets:#}");
    let cancel = format!(
        "/api/v1/operation-sets/{}/cancel",
        first["id"].as_str().context("an id")?
    );
    ground.host.post(&cancel, &json!({}))?.expect(202)?;

    // What had been planned on the clusters that could be reached is not left for somebody to run.
    eventually(|| {
        let left = ground.host.get("/api/v1/operations?state=planned")?.expect(200)?;
        ensure!(left["items"] == json!([]), "{left:#}");
        Ok(())
    })
}

fn commands() -> anyhow::Result<()> {
    let ground = Ground::new("set-commands")?;
    let before = ground.snapshots()?;
    let run = "adapter run invented many --set namespace=set-commands --set objects=3 --set steps=1";
    let (said, told) = ctl(
        &ground.host,
        0,
        &format!("{run} --context one --context two --yes"),
    )?;
    has(&told, &["one: succeeded"])?;
    has(&said, &["succeeded: many of invented on 2 clusters"])?;
    let (listed, _) = ctl(&ground.host, 0, "operation-set list -o json")?;
    let listed: Value = serde_json::from_str(&listed)?;
    let id = listed["items"][0]["id"].as_str().context("an id")?;
    let (said, _) = ctl(&ground.host, 0, &format!("operation-set view {id}"))?;
    for context in ["one", "two"] {
        has(&said, &[context])?;
    }
    let (said, _) = ctl(&ground.host, 0, &format!("operation-set undo {id} --yes"))?;
    has(&said, &["undone: many of invented on 2 clusters"])?;
    ground.same(&before)?;
    let (_, told) = ctl(&ground.host, 1, &format!("operation-set run {id} --yes"))?;
    has(&told, &["not-runnable"])?;
    let (_, told) = ctl(
        &ground.host,
        1,
        &format!("{run} --context one --context nowhere --yes"),
    )?;
    has(&told, &["unknown-context"])?;
    Ok(())
}
