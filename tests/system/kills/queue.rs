//! What waits in the queue when its host is killed: it goes on behind what was half-way, and not at all behind what
//! stays half-way. And a cancel that was answered holds, whatever becomes of the host.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use meshery_tests::host::Host;
use meshery_tests::snapshot::Snapshot;
use serde_json::{Value, json};

use super::boundaries::killing_host;
use super::kill;
use crate::cluster;
use crate::invented::{LIMIT, invented_host, request};

/// An installation that waits for its pods, and one that has to wait for it.
fn two(host: &Host, policy: &str) -> anyhow::Result<(String, String)> {
    let mut first = request("install", json!({"namespace": "first", "ready": "after-5s"}));
    first["policy"] = json!({"on_interruption": policy});
    let first = host.plan(&first)?;
    let second = host.plan(&request("many", json!({"namespace": "second", "objects": 10})))?;
    host.order(&first, "run")?;
    let record = host.order(&second, "run")?;
    ensure!(record["state"] == "queued", "{record:#}");
    // Until it waits for its pods, so that something is written.
    host.await_step(&first, "ready", &["running"], LIMIT)?;
    Ok((first, second))
}

fn killed_and_back(host: &mut Host) -> anyhow::Result<()> {
    kill(host.pid()?);
    host.wait_ended()?;
    host.restart()
}

pub fn behind_what_stays() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let mut host = invented_host(&cluster, cluster.kubeconfig())?.start()?;
    let before = Snapshot::take(&cluster)?;
    let (first, second) = two(&host, "ask")?;
    killed_and_back(&mut host)?;
    let record = host.await_state(&second, &["failed", "succeeded"], LIMIT)?;
    ensure!(record["error"]["code"] == "cluster-blocked", "{record:#}");
    ensure!(
        record["error"]["message"]
            .as_str()
            .is_some_and(|message| message.contains(&first)),
        "{record:#}"
    );
    ensure!(host.record(&first)?["state"] == "interrupted");
    host.order(&first, "undo")?;
    let record = host.await_end(&first, LIMIT)?;
    ensure!(record["state"] == "undone", "{record:#}");
    before.await_same(&cluster)
}

pub fn behind_what_goes_on() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let mut host = invented_host(&cluster, cluster.kubeconfig())?.start()?;
    let before = Snapshot::take(&cluster)?;
    let (first, second) = two(&host, "resume")?;
    killed_and_back(&mut host)?;
    for id in [&second, &first] {
        let record = host.await_state(id, &["succeeded", "failed", "undone"], LIMIT)?;
        ensure!(record["state"] == "succeeded", "{record:#}\n{}", host.story(id));
    }
    let moment = |id: &str, which: fn(&[&str]) -> Option<String>, state: &str| -> anyhow::Result<String> {
        let record = host
            .get(&format!("/api/v1/operations/{id}/record"))?
            .expect(200)?;
        let times: Vec<&str> = record["events"]
            .as_array()
            .context("a record has events")?
            .iter()
            .filter(|event| event["kind"] == "state" && event["state"] == state)
            .filter_map(|event: &Value| event["time"].as_str())
            .collect();
        which(&times).with_context(|| format!("{id} was never {state}"))
    };
    let ended = moment(&first, |times| times.last().map(|t| (*t).to_owned()), "succeeded")?;
    let began = moment(&second, |times| times.last().map(|t| (*t).to_owned()), "running")?;
    ensure!(
        began >= ended,
        "the second began at {began}, before the first ended at {ended}"
    );
    for id in [&second, &first] {
        host.take_back(id, "undone", LIMIT)?;
    }
    before.await_same(&cluster)
}

pub fn after_a_cancel() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let folder = tempfile::tempdir()?;
    let mut host = killing_host(&cluster, folder.path())?;
    let before = Snapshot::take(&cluster)?;
    let wish = json!({"namespace": "cancelled", "what": "deployment", "deadline": 120});
    let id = host.plan(&request("never-ready", wish))?;
    host.order(&id, "run")?;
    host.await_state(&id, &["verifying", "running"], LIMIT)?;
    std::thread::sleep(Duration::from_secs(1));
    std::fs::write(folder.path().join("kill"), "after cancel-requested")?;
    // The host may be gone before it answers.
    let _ = host.order(&id, "cancel");
    host.wait_ended().context("the host was to be killed")?;
    host.restart()?;
    // Its policy would let it go on.
    let record = host.await_state(&id, &["undone", "failed", "undo-incomplete"], LIMIT)?;
    ensure!(record["state"] == "undone", "{record:#}");
    let story = host.story(&id);
    ensure!(story.contains("cancelled by meshery"), "{story}");
    before.await_same(&cluster)
}
