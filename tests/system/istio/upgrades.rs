//! Other profiles, and other versions: what was set stays, and what was done can be taken back.

use std::path::Path;

use anyhow::{Context as _, ensure};
use meshery_tests::istiod::Istiod;
use meshery_tests::snapshot::Snapshot;
use serde_json::{Value, json};

use super::{Bench, LIMIT, SYSTEM, VERSION, text};
use crate::namespace::eventually;

const NEWER: &str = "1.30.3";

/// The image of a Deployment's first container.
pub fn image(bench: &Bench, deployment: &str) -> anyhow::Result<String> {
    let object = bench.get(&["deployment", deployment, "--namespace", SYSTEM])?;
    Ok(text(&object["spec"]["template"]["spec"]["containers"][0]["image"]).to_owned())
}

fn access_log(bench: &Bench) -> anyhow::Result<bool> {
    let config = bench.get(&["configmap", "istio", "--namespace", SYSTEM])?;
    Ok(text(&config["data"]["mesh"]).contains("/dev/fd/7"))
}

/// Upgraded in place: the values that were set are still there; taken back, so is everything.
pub fn in_place(charts: &Path) -> anyhow::Result<()> {
    let bench = Bench::new(charts)?;
    let istiod = Istiod::start(&bench.cluster, SYSTEM)?;
    // A webhook that values have switched off is awaited by nobody, here and in the upgrade.
    let wish = json!({"version": VERSION, "profile": "minimal",
        "values": {"istiod": {"meshConfig": {"accessLogFile": "/dev/fd/7"}, "global": {"configValidation": false}}}});
    bench.perform("install", &wish)?;
    istiod.trouble()?;
    ensure!(access_log(&bench)?);
    let before = Snapshot::take(&bench.cluster)?;

    let refused = bench.host.post(
        "/api/v1/operations",
        &super::request("install", &json!({"version": NEWER, "profile": "minimal"})),
    )?;
    let said = refused.text();
    ensure!(said.contains("operation upgrade"), "the way is named: {said}");

    let record = bench.perform("upgrade", &json!({"version": NEWER}))?;
    istiod.trouble()?;
    ensure!(image(&bench, "istiod")?.ends_with(NEWER), "{record:#}");
    ensure!(access_log(&bench)?, "what was set stays");
    let own = ["validatingwebhookconfiguration", "istio-validator-istio-system"];
    ensure!(bench.get(&own).is_err(), "it is switched off");
    let found = bench.installations()?;
    ensure!(found.len() == 1 && found[0]["version"] == NEWER, "{found:#?}");

    bench.host.take_back(text(&record["id"]), "undone", LIMIT)?;
    ensure!(image(&bench, "istiod")?.ends_with(VERSION));
    ensure!(access_log(&bench)?);
    // Kubernetes counts the rollouts of a Deployment and keeps what they were made of.
    let rolled_out = |difference: &String| {
        ["ReplicaSet/", "v1/Pod/"]
            .iter()
            .any(|kind| difference.contains(kind))
            || difference.starts_with("~ apps/v1/Deployment/istio-system/istiod")
    };
    eventually(|| {
        let differences = before.differences(&Snapshot::take(&bench.cluster)?);
        ensure!(differences.iter().all(rolled_out), "{}", differences.join("\n"));
        Ok(())
    })
}

/// Ambient: no sidecars, a plugin and a proxy on each node, upgraded with the rest, removed in reverse, and all of it taken back.
pub fn ambient(charts: &Path) -> anyhow::Result<()> {
    let bench = Bench::new(charts)?;
    let before = Snapshot::take(&bench.cluster)?;
    let istiod = Istiod::start(&bench.cluster, SYSTEM)?;
    let record = bench.perform("install", &json!({"version": VERSION, "profile": "ambient"}))?;
    istiod.trouble()?;
    let found = bench.installations()?;
    let components = found.first().and_then(|found| found["components"].as_array());
    let names: Vec<&str> = components
        .into_iter()
        .flatten()
        .map(|component| text(&component["ref"]))
        .collect();
    for name in [
        "Deployment/istio-system/istiod",
        "DaemonSet/istio-system/istio-cni-node",
        "DaemonSet/istio-system/ztunnel",
    ] {
        ensure!(
            names.iter().any(|found| found.ends_with(name)),
            "{name}: {names:?}"
        );
    }
    let steps: Vec<&str> = record["steps"]
        .as_array()
        .context("steps")?
        .iter()
        .map(|step| text(&step["id"]))
        .filter(|id| !id.contains('.'))
        .collect();
    let at = |id: &str| steps.iter().position(|step| *step == id);
    ensure!(at("istiod") < at("cni") && at("cni") < at("ztunnel"), "{steps:?}");
    into_ambient(&bench)?;
    upgraded_ambient(&bench)?;
    removed_ambient(&bench)?;
    istiod.trouble()?;
    bench.host.take_back(text(&record["id"]), "undone", LIMIT)?;
    before.await_same(&bench.cluster)
}

/// The images of istiod, of the CNI plugin and of the nodes' proxies.
fn images(bench: &Bench) -> anyhow::Result<Vec<String>> {
    let pods = bench.get(&["deployments,daemonsets", "--namespace", SYSTEM])?;
    let pods = pods["items"].as_array().into_iter().flatten();
    Ok(pods
        .map(|workload| text(&workload["spec"]["template"]["spec"]["containers"][0]["image"]).to_owned())
        .collect())
}

/// All three parts go to another version, each when the one that it needs is there, and back.
fn upgraded_ambient(bench: &Bench) -> anyhow::Result<()> {
    let are = |version: &str| -> anyhow::Result<()> {
        let images = images(bench)?;
        // Some are of a variant, which follows the version.
        let tag = format!(":{version}");
        let all = images.iter().all(|image| image.contains(&tag));
        ensure!(images.len() == 3 && all, "{version}: {images:?}");
        Ok(())
    };
    are(VERSION)?;
    let before = Snapshot::take(&bench.cluster)?;
    let record = bench.perform("upgrade", &json!({"version": NEWER}))?;
    ensure!(record["notes"].to_string().contains("node by node"), "{record:#}");
    are(NEWER)?;
    let found = bench.installations()?;
    ensure!(
        found.len() == 1 && found[0]["version"] == NEWER && found[0]["health"] == "healthy",
        "{found:#?}"
    );
    bench.host.take_back(text(&record["id"]), "undone", LIMIT)?;
    are(VERSION)?;
    before.await_remade(&bench.cluster).context("the upgrade undone")
}

/// Removed in reverse, given back by the undo, and healthy.
fn removed_ambient(bench: &Bench) -> anyhow::Result<()> {
    let whole = Snapshot::take(&bench.cluster)?;
    let record = bench.perform("remove", &json!({"purge": true}))?;
    ensure!(bench.installations()?.is_empty());
    let steps: Vec<&str> = record["steps"]
        .as_array()
        .context("steps")?
        .iter()
        .map(|step| text(&step["id"]))
        .collect();
    let at = |part: &str| steps.iter().position(|step| step.contains(part));
    ensure!(
        at("ztunnel").is_some() && at("ztunnel") < at("cni") && at("cni") < at("istiod"),
        "{steps:?}"
    );
    bench.host.take_back(text(&record["id"]), "undone", LIMIT)?;
    whole.await_remade(&bench.cluster).context("the removal undone")?;
    let found = bench.installations()?;
    ensure!(found.len() == 1 && found[0]["health"] == "healthy", "{found:#?}");
    Ok(())
}

/// A namespace is taken in without sidecars, and out again, by its removal and by an undo.
fn into_ambient(bench: &Bench) -> anyhow::Result<()> {
    bench.kubectl(&["create", "namespace", "shop"])?;
    bench.kubectl(&["create", "deployment", "web", "--image=web", "--namespace=shop"])?;
    bench.kubectl(&[
        "rollout",
        "status",
        "deployment/web",
        "--namespace=shop",
        "--timeout=60s",
    ])?;
    let outside = eventually(|| {
        let outside = Snapshot::take(&bench.cluster)?;
        let mut names = outside.names();
        let whole = names.any(|known| known == "v1/ConfigMap/shop/kube-root-ca.crt");
        drop(names);
        ensure!(whole && bench.containers("shop")?.len() == 1);
        Ok(outside)
    })?;
    let wish = json!({"namespace": "shop", "mode": "ambient"});
    let taken_in = || -> anyhow::Result<Value> {
        let record = bench.perform("inject", &wish)?;
        let labels = bench.get(&["namespace", "shop"])?["metadata"]["labels"].clone();
        ensure!(labels["istio.io/dataplane-mode"] == "ambient", "{labels:#}");
        let pods = bench.containers("shop")?;
        ensure!(pods.values().all(|containers| containers.len() == 1), "{pods:?}");
        let found = bench.installations()?;
        ensure!(
            found[0]["findings"].to_string().contains("ambient mode: shop"),
            "{found:#?}"
        );
        Ok(record)
    };
    taken_in()?;
    bench.perform("uninject", &json!({"namespace": "shop"}))?;
    outside.await_same(&bench.cluster).context("uninject")?;
    let record = taken_in()?;
    bench.host.take_back(text(&record["id"]), "undone", LIMIT)?;
    outside.await_same(&bench.cluster).context("undo")?;
    bench.kubectl(&["delete", "namespace", "shop"])?;
    Ok(())
}

/// A key that a chart does not know is named with the one that was meant.
pub fn mistyped_values(charts: &Path) -> anyhow::Result<()> {
    let bench = Bench::new(charts)?;
    let wish = json!({"version": VERSION, "profile": "minimal",
        "values": {"istiod": {"meshConfg": {"accessLogFile": "/dev/stdout"}}}});
    let id = bench.host.plan(&super::request("install", &wish))?;
    let record: Value = bench.host.record(&id)?;
    let notes = format!("{}", record["notes"]);
    ensure!(
        notes.contains("meshConfg") && notes.contains("did you mean \\\"meshConfig\\\""),
        "{notes}"
    );
    Ok(())
}

/// The default one goes, and configuration is still taken, by the one that stays; and it comes back.
fn default_goes(bench: &Bench, stays: &str) -> anyhow::Result<()> {
    let calls = |service: &str| -> anyhow::Result<()> {
        let validator = bench.get(&["validatingwebhookconfiguration", "istiod-default-validator"])?;
        let called = &validator["webhooks"][0]["clientConfig"]["service"]["name"];
        ensure!(called == service, "{called} is called, not {service}");
        Ok(())
    };
    let route = json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {"name": "route", "namespace": "shop"},
        "spec": {"hosts": ["web"], "http": [{"route": [{"destination": {"host": "web"}}]}]}});
    let file = tempfile::NamedTempFile::with_suffix(".json")?;
    std::fs::write(file.path(), route.to_string())?;
    let path = file.path().to_string_lossy();
    calls("istiod")?;
    let removed = bench.perform("remove", &json!({"revision": "default"}))?;
    calls(&format!("istiod-{stays}"))?;
    let found = bench.installations()?;
    ensure!(
        found.len() == 1 && found[0]["revision"] == stays && found[0]["health"] == "healthy",
        "{found:#?}"
    );
    bench
        .kubectl(&["create", "--filename", &path])
        .context("configuration is refused")?;
    bench.kubectl(&["delete", "--filename", &path])?;
    bench.host.take_back(text(&removed["id"]), "undone", LIMIT)?;
    calls("istiod")
}

/// A second control plane beside the first one; a namespace moves to it and back.
pub fn by_revision(charts: &Path) -> anyhow::Result<()> {
    const REVISION: &str = "1-30-3";
    let bench = Bench::new(charts)?;
    let _old = Istiod::start(&bench.cluster, SYSTEM)?;
    bench.perform("install", &json!({"version": VERSION, "profile": "minimal"}))?;
    bench.kubectl(&["create", "namespace", "shop"])?;
    bench.perform("inject", &json!({"namespace": "shop"}))?;
    bench.perform("deploy-httpbin", &json!({"namespace": "shop"}))?;
    ensure!(bench.revisions("shop")? == ["default"]);

    let _new = Istiod::start_revision(&bench.cluster, SYSTEM, REVISION)?;
    let beside = json!({"version": NEWER, "profile": "minimal", "revision": REVISION});
    bench.perform("install", &beside)?;
    let found = bench.installations()?;
    ensure!(found.len() == 2, "one beside the other: {found:#?}");
    ensure!(
        found.iter().all(|found| found["health"] == "healthy"),
        "{found:#?}"
    );

    let wish = json!({"namespace": "shop", "revision": REVISION, "restart": true});
    let moved = bench.perform("inject", &wish)?;
    eventually(|| {
        let there = bench.revisions("shop")?;
        ensure!(there == [REVISION], "{there:?}");
        Ok(())
    })?;
    let labels = bench.get(&["namespace", "shop"])?["metadata"]["labels"].clone();
    ensure!(
        labels["istio-injection"].is_null() && labels["istio.io/rev"] == REVISION,
        "{labels:#}"
    );

    bench.host.take_back(text(&moved["id"]), "undone", LIMIT)?;
    let labels = bench.get(&["namespace", "shop"])?["metadata"]["labels"].clone();
    ensure!(
        labels["istio-injection"] == "enabled" && labels["istio.io/rev"].is_null(),
        "{labels:#}"
    );
    eventually(|| {
        let there = bench.revisions("shop")?;
        ensure!(there == ["default"], "{there:?}");
        Ok(())
    })?;

    default_goes(&bench, REVISION)?;

    // Of the two, one is removed, and nothing of the other.
    bench.perform("remove", &json!({"revision": REVISION}))?;
    let found = bench.installations()?;
    ensure!(
        found.len() == 1 && found[0]["revision"] == "default" && found[0]["health"] == "healthy",
        "{found:#?}"
    );
    let kinds = "deployments,services,serviceaccounts,configmaps,mutatingwebhookconfigurations,\
                 validatingwebhookconfigurations,clusterroles,clusterrolebindings";
    let selector = format!("--selector=istio.io/rev={REVISION}");
    let left = bench.kubectl(&["get", kinds, "--all-namespaces", "--output=name", &selector])?;
    ensure!(left.trim().is_empty(), "{left}");
    Ok(())
}
