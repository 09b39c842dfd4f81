//! Uploaded clusters: not replaced unasked, and not lost without a word when the host's key is.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use libtest_mimic::Trial;
use meshery_tests::host::Host;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::bad_input::kubeconfig;
use crate::trial;

pub fn trials() -> Vec<Trial> {
    vec![
        trial(
            "host::a_cluster_is_replaced_only_when_asked_for",
            replaced_when_asked_for,
        ),
        trial("host::a_lost_key_is_said_until_it_is_back_or_accepted", lost_key),
        trial(
            "host::a_key_that_is_changed_on_purpose_is_the_right_one_however_the_change_ended",
            interrupted_rotation,
        ),
    ]
}

/// A cluster where nobody listens.
fn upload(name: &str, port: u16) -> Value {
    let text = kubeconfig(&format!("server: \"https://127.0.0.1:{port}\""), "token: hunter2");
    json!({"name": name, "kubeconfig": text})
}

fn listed(host: &Host, name: &str) -> anyhow::Result<Value> {
    let list = host.get("/api/v1/clusters")?.expect(200)?;
    let items = list["items"].as_array().context("a list")?;
    let found = items.iter().find(|item| item["context"] == name);
    Ok(found.with_context(|| format!("no {name} in {list:#}"))?.clone())
}

fn replaced_when_asked_for() -> anyhow::Result<()> {
    let host = Host::builder().start()?;
    host.post("/api/v1/clusters", &upload("up", 1))?.expect(201)?;
    let problem = host
        .post("/api/v1/clusters", &upload("up", 2))?
        .problem(409, "cluster-exists")?;
    ensure!(
        problem["remedy"]
            .as_str()
            .is_some_and(|remedy| remedy.contains("--replace")),
        "{problem:#}"
    );
    ensure!(listed(&host, "up")?["server"] == "https://127.0.0.1:1");
    let mut asked = upload("up", 2);
    asked["replace"] = true.into();
    host.post("/api/v1/clusters", &asked)?.expect(201)?;
    ensure!(listed(&host, "up")?["server"] == "https://127.0.0.1:2");
    Ok(())
}

fn lost_key() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let start = || Host::builder().data(&data).start();
    let notes = |host: &Host| -> anyhow::Result<String> {
        Ok(host.get("/readyz")?.expect(200)?["notes"].to_string())
    };
    let host = start()?;
    host.post("/api/v1/clusters", &upload("up", 1))?.expect(201)?;
    host.get("/api/v1/documents/host-key/current")?
        .problem(403, "reserved-kind")?;
    drop(host);
    fs::rename(data.join("host.key"), data.join("lost.key"))?;

    for _ in 0..2 {
        let host = start()?;
        let item = listed(&host, "up")?;
        ensure!(item["problem"]["code"] == "cluster-sealed", "{item:#}");
        ensure!(
            item["problem"]["remedy"]
                .as_str()
                .is_some_and(|text| text.contains("host.key")),
            "{item:#}"
        );
        host.get("/api/v1/clusters/up")?
            .problem(503, "cluster-unusable")?;
        let ready = notes(&host)?;
        ensure!(
            ready.contains("the host's key (id ") && ready.contains("cannot be used: 1"),
            "{ready}"
        );
        let report = host.report();
        for words in [
            "[host-key-changed]",
            "unusable  up: ",
            "what to do: ",
            "--accept-key",
        ] {
            ensure!(report.contains(words), "no {words} in {report}");
        }
        host.post("/api/v1/clusters", &upload("up", 2))?
            .problem(409, "cluster-exists")?;
    }

    // Put back, it opens again.
    let new = data.join("new.key");
    fs::rename(data.join("host.key"), &new)?;
    fs::copy(data.join("lost.key"), data.join("host.key"))?;
    let host = start()?;
    ensure!(listed(&host, "up")?["server"] == "https://127.0.0.1:1");
    ensure!(notes(&host)? == "[]", "{}", notes(&host)?);
    ensure!(!host.report().contains("warning"), "{}", host.report());
    drop(host);

    // Or the new one is accepted, and the cluster uploaded again.
    fs::rename(&new, data.join("host.key"))?;
    let host = Host::builder().data(&data).arg("--accept-key").start()?;
    ensure!(!host.report().contains("host-key-changed"), "{}", host.report());
    let mut again = upload("up", 2);
    again["replace"] = true.into();
    host.post("/api/v1/clusters", &again)?.expect(201)?;
    drop(host);
    let host = start()?;
    ensure!(listed(&host, "up")?["server"] == "https://127.0.0.1:2");
    ensure!(notes(&host)? == "[]", "{}", notes(&host)?);
    Ok(())
}

/// A key that is changed on purpose is the right one at the next start, also where the provider was not there to hear of
/// it, or the host was killed before it could say so.
fn interrupted_rotation() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let key = data.join("host.key");
    let in_order = || -> anyhow::Result<()> {
        let host = Host::builder().data(&data).start()?;
        ensure!(listed(&host, "up")?["server"] == "https://127.0.0.1:1");
        let notes = host.get("/readyz")?.expect(200)?["notes"].to_string();
        ensure!(
            notes == "[]" && !host.report().contains("host-key-changed"),
            "{notes}"
        );
        Ok(())
    };
    let host = Host::builder().data(&data).start()?;
    host.post("/api/v1/clusters", &upload("up", 1))?.expect(201)?;
    drop(host);

    let before = fs::read(&key)?;
    drop(
        Host::builder()
            .data(&data)
            .own_plugins(&[])
            .arg("--rotate-key")
            .start()?,
    );
    ensure!(fs::read(&key)? != before, "the key is the old one");
    in_order().context("after a change without a provider")?;

    let before = fs::read(&key)?;
    let killed = std::thread::scope(|scope| {
        let killer = scope.spawn(|| kill_when_changed(&data, &key, &before));
        let started = Host::builder().data(&data).arg("--rotate-key").start();
        ensure!(started.is_err(), "it was not killed in time");
        killer.join().expect("the killer does not panic")
    });
    killed?;
    ensure!(fs::read(&key)? != before, "the key is the old one");
    in_order().context("after a kill in the middle of a change")
}

/// Kills the host of this data folder as soon as its key is another one.
fn kill_when_changed(data: &Path, key: &Path, before: &[u8]) -> anyhow::Result<()> {
    let end = Instant::now() + Duration::from_secs(20);
    while fs::read(key)? == before {
        ensure!(Instant::now() < end, "the key does not change");
        std::thread::sleep(Duration::from_micros(200));
    }
    let lock: Value = serde_json::from_slice(&fs::read(data.join("lock"))?)?;
    let pid = lock["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
    let pid = pid.and_then(Pid::from_raw).context("the lock names a process")?;
    Ok(kill_process(pid, Signal::KILL)?)
}
