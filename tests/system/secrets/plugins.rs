//! An adapter that fails with a secret on its lips: what it was given is hidden in whatever it says, wherever it runs.

use anyhow::ensure;
use libtest_mimic::Trial;
use meshery_tests::artifacts;
use meshery_tests::host::Host;
use serde_json::json;

use super::{Marker, search};
use crate::namespace::eventually;
use crate::{cluster, trial};

pub fn trials() -> Vec<Trial> {
    vec![trial(
        "secrets::a_plugin_that_fails_with_a_secret_in_its_message_does_not_make_it_known",
        failing,
    )]
}

fn failing() -> anyhow::Result<()> {
    for isolation in ["in-process", "child"] {
        under(isolation).map_err(|error| error.context(isolation))?;
    }
    Ok(())
}

fn under(isolation: &str) -> anyhow::Result<()> {
    let cluster = cluster()?;
    let folder = cluster.dir().join("scripted-plugins");
    std::fs::create_dir_all(&folder)?;
    let library = artifacts::build()?.library("fixture_scripted_mesh")?;
    std::fs::copy(library, folder.join("libfixture_scripted_mesh.so"))?;
    let mut host = Host::builder()
        .own_plugins(&["meshery_local_provider"])
        .plugins(folder)
        .kubeconfig(cluster.kubeconfig())
        .settings(&format!(
            "isolation_of = {{scripted = \"{isolation}\"}}\n[log]\nlevel = \"trace\"\n"
        ))
        .env("MESHERY_OFFLINE", "true")
        .start()?;
    let secret = Marker::new(isolation);
    // Where the host and the plugin are one process, standard error is the host's own, and nobody stands between.
    let mut faults = vec!["panic", "error", "finding", "log", "title"];
    if isolation == "child" {
        faults.extend(["stderr", "abort"]);
    }
    let mut planned = Vec::new();
    for fault in faults {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "never", "namespace": "default"}});
        let asked = json!({"adapter": "scripted", "operation": "script", "parameters": {
            "steps": [{"id": "never", "kind": "apply", "objects": [object]}],
            "secrets": {"p": secret.text}, "fault": fault}});
        // One that died before is being started again.
        let answer = eventually(|| {
            let answer = host.post("/api/v1/operations", &asked)?;
            let again = answer.json()["retryable"] == true && fault != "abort";
            ensure!(!again, "{}", answer.text());
            Ok(answer)
        })?;
        secret.is_absent(&format!("the answer after {fault}"), &answer.body)?;
        let text = answer.text();
        ensure!(
            fault == "abort" || text.contains("(not shown)"),
            "{fault}: {text}"
        );
        if let Some(id) = answer.json()["id"].as_str().filter(|_| answer.status == 201) {
            planned.push(id.to_owned());
        }
    }
    ensure!(planned.len() >= 2, "{planned:?}");
    // It has said all that, and the host has heard it.
    let said = ["said in a log", "the plugin panicked"];
    let on_stderr = ["said on standard error", "said at its end"];
    for words in said
        .iter()
        .chain(on_stderr.iter().filter(|_| isolation == "child"))
    {
        eventually(|| {
            let log = host.log();
            let line = log
                .lines()
                .find(|line| line.contains(words) && line.contains("(not shown)"));
            ensure!(line.is_some(), "no line has \"{words}\" and what is hidden");
            Ok(())
        })?;
    }
    // Nobody watches what never begins to its end.
    for id in &planned {
        host.order(id, "cancel")?;
    }
    search(&host, &[&secret], &planned)?;
    host.terminate()?;
    host.restart()?;
    search(&host, &[&secret], &planned)
}
