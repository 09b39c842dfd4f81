//! Objects that a release takes over with the fields of whoever made them: what it has no more goes, nothing is in the way
//! of later upgrades, and undos give back all of it to the last field.

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::forced::managed;
use super::{Ground, accepting, config, id, previewed};
use crate::invented::LIMIT;

const THERE: &str = "ConfigMap/release-taken-over/there";

/// An object that somebody has made, and of which another one owns a field.
fn made(ground: &Ground, object: &Value, mode: &[&str]) -> anyhow::Result<()> {
    let file = ground.cluster.dir().join("taken-over.json");
    std::fs::write(&file, object.to_string())?;
    let apply = ["apply", "--filename", &file.to_string_lossy()];
    ground.kubectl(&[&apply[..], mode].concat())?;
    let own = json!({"data": {"own": "stays"}}).to_string();
    let patch = ["patch", "configmap", "there", "--field-manager=somebody"];
    ground.kubectl(&[&patch[..], &["--type=merge", "--patch", &own]].concat())?;
    Ok(())
}

/// What a preview says of the object.
fn shown(ground: &Ground, request: &Value) -> anyhow::Result<Value> {
    let preview = ground.preview(&ground.host.plan(request)?)?;
    Ok(previewed(&preview, THERE)?.clone())
}

pub fn for_good() -> anyhow::Result<()> {
    let ground = Ground::new("release-taken-over")?;
    let theirs = json!({"a": "theirs", "gone": "x"});
    for (maker, mode) in [
        ("kubectl-client-side-apply", &["--server-side=false"][..]),
        ("kubectl", &["--server-side"][..]),
        ("pipeline", &["--server-side", "--field-manager=pipeline"][..]),
    ] {
        made(&ground, &config("there", theirs.clone()), mode)?;
        let before = (managed(&ground)?, ground.get("configmap", "there")?);
        let wanted = accepting(
            ground.pieces(&[config("there", json!({"a": "ours"}))]),
            &["adopt"],
        );
        let look = shown(&ground, &wanted)?;
        let diff = look["diff"].to_string();
        ensure!(
            look["change"] == "update"
                && look["note"].to_string().contains(maker)
                && diff.contains("data.gone"),
            "{look:#}"
        );
        let adopted = ground.perform(&wanted, "succeeded")?;
        ensure!(
            ground.data("there")? == json!({"a": "ours", "own": "stays"}),
            "{maker}"
        );
        let taken = ground.get("configmap", "there")?.context("it is there")?;
        let annotations = &taken["metadata"]["annotations"];
        ensure!(
            annotations["meshery.io/adopted-from"] == maker
                && annotations["kubectl.kubernetes.io/last-applied-configuration"].is_null(),
            "{taken:#}"
        );
        let owned = managed(&ground)?;
        ensure!(!owned.to_string().contains(&format!("\"{maker}\"")), "{owned:#}");

        // Nothing is to be said again in later upgrades.
        let upgraded = ground.perform(
            &ground.pieces(&[config("there", json!({"b": "new"}))]),
            "succeeded",
        )?;
        ensure!(
            ground.data("there")? == json!({"b": "new", "own": "stays"}),
            "{maker}"
        );
        ground.host.take_back(id(&upgraded)?, "undone", LIMIT)?;
        ensure!(
            managed(&ground)? == owned,
            "{maker}: {:#}, not {owned:#}",
            managed(&ground)?
        );
        ground.host.take_back(id(&adopted)?, "undone", LIMIT)?;
        let now = (managed(&ground)?, ground.get("configmap", "there")?);
        let same = |object: &Option<Value>| {
            object
                .as_ref()
                .map(|object| (object["data"].clone(), object["metadata"]["annotations"].clone()))
        };
        ensure!(
            now.0 == before.0 && same(&now.1) == same(&before.1),
            "{maker}: {now:#?}, not {before:#?}"
        );
        ground.kubectl(&["delete", "configmap", "there"])?;
    }

    // A field that goes may be in the way of one that comes: the server can be asked only when it has gone.
    let service = |port: u16| {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "door"},
            "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": port}]}})
    };
    let ports = || -> anyhow::Result<Value> {
        let found = ground.get("service", "door")?.context("it is there")?;
        let ports = found["spec"]["ports"].as_array().into_iter().flatten();
        Ok(ports.map(|port| port["port"].clone()).collect())
    };
    let file = ground.cluster.dir().join("taken-over-door.json");
    std::fs::write(&file, service(80).to_string())?;
    ground.kubectl(&["apply", "--filename", &file.to_string_lossy()])?;
    let wanted = accepting(ground.pieces(&[service(81)]), &["adopt"]);
    let planned = ground.host.plan(&wanted)?;
    let look = previewed(&ground.preview(&planned)?, "Service/release-taken-over/door")?.clone();
    ensure!(
        look["certainty"] == "decided-later" && look["change"] == "update" && look["error"].is_null(),
        "{look:#}"
    );
    let adopted = ground.perform(&wanted, "succeeded")?;
    ensure!(ports()? == json!([81]), "{}", ports()?);
    ground.host.take_back(id(&adopted)?, "undone", LIMIT)?;
    ensure!(ports()? == json!([80]), "{}", ports()?);

    // What Argo CD minds takes its own word, and the one for what is of no release; that it has written it is enough, as its
    // label may be any.
    let argo = &["--server-side", "--field-manager=argocd-controller"];
    made(&ground, &config("there", theirs.clone()), argo)?;
    let before = managed(&ground)?;
    let wanted = ground.pieces(&[config("there", json!({"a": "ours"}))]);
    for (given, missing) in [
        ("adopt", "Argo CD (Application unknown)"),
        ("foreign", "no part of release demo"),
    ] {
        let wanted = accepting(wanted.clone(), &[given]);
        let look = shown(&ground, &wanted)?;
        ensure!(
            look["error"]["code"] == "consent-required"
                && look["error"]["message"].to_string().contains(missing),
            "{look:#}"
        );
        let refused = ground.perform(&wanted, "undone")?;
        ensure!(refused["error"]["code"] == "consent-required", "{refused:#}");
        ensure!(managed(&ground)? == before && ground.data("there")?["a"] == "theirs");
    }
    let adopted = ground.perform(&accepting(wanted, &["adopt", "foreign"]), "succeeded")?;
    ensure!(!managed(&ground)?.to_string().contains("argocd-controller"));
    ensure!(ground.data("there")? == json!({"a": "ours", "own": "stays"}));
    ground.host.take_back(id(&adopted)?, "undone", LIMIT)?;
    ensure!(
        managed(&ground)? == before,
        "{:#}, not {before:#}",
        managed(&ground)?
    );
    Ok(())
}
