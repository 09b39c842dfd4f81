//! The operations beside a plain installation's life, and its options: run, verified and taken back.

use std::path::Path;

use anyhow::{Context as _, ensure};
use meshery_tests::linkerd::Linkerd;
use meshery_tests::snapshot::Snapshot;
use serde_json::{Value, json};

use super::{Bench, KEPT, LIMIT, NEWER, SYSTEM, text};

/// None of these needs Linkerd; of none is anything left.
pub fn come_and_go(charts: &Path) -> anyhow::Result<()> {
    let bench = Bench::new(charts)?;
    let before = Snapshot::take(&bench.cluster)?;
    for sample in ["bookinfo", "imagehub"] {
        bench.perform("linkerd", &format!("deploy-{sample}"), &json!({}))?;
        let pods = bench.get(&["pods", "--namespace", sample])?;
        ensure!(
            pods["items"].as_array().is_some_and(|pods| !pods.is_empty()),
            "{pods:#}"
        );
        bench.perform("linkerd", &format!("remove-{sample}"), &json!({}))?;
    }
    before.await_same(&bench.cluster).context("samples")?;
    bench.there_and_back(("deploy-httpbin", &json!({})), ("remove-httpbin", &json!({})))?;

    let yaml = |name: &str| {
        format!(
            "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}}}, data: {{host: 'a.{{namespace}}'}}}}"
        )
    };
    let given = json!({"yaml": yaml("mine"), "namespace": "shop"});
    bench.perform("linkerd", "apply-custom", &given)?;
    let there = bench.get(&["configmap", "mine", "--namespace", "shop"])?;
    ensure!(there["data"]["host"] == "a.shop", "{there:#}");
    bench.perform("linkerd", "remove-custom", &given)?;
    bench.there_and_back(("apply-custom", &given), ("remove-custom", &given))?;
    let set = |name: &str| json!({"yaml": yaml(name), "namespace": "default", "set": "mine"});
    bench.perform("linkerd", "apply-custom", &set("first"))?;
    bench.perform("linkerd", "apply-custom", &set("second"))?;
    ensure!(
        bench.get(&["configmap", "first"]).is_err(),
        "it fell out of the set"
    );
    bench.get(&["configmap", "second"])?;
    bench.perform("linkerd", "remove-custom", &json!({"set": "mine"}))?;
    before.await_same(&bench.cluster).context("what was brought")
}

/// Each of them, and its removal, is taken back.
pub fn taken_back(charts: &Path) -> anyhow::Result<()> {
    let bench = Bench::new(charts)?;
    for sample in ["bookinfo", "imagehub", "emojivoto"] {
        let (deploy, remove) = (format!("deploy-{sample}"), format!("remove-{sample}"));
        bench.there_and_back((&deploy, &json!({})), (&remove, &json!({})))?;
    }
    Ok(())
}

/// High availability, and the definitions of the Gateway API brought, there already, and nobody's.
pub fn options(charts: &Path) -> anyhow::Result<()> {
    let bench = Bench::new(charts)?;
    let untouched = Snapshot::take(&bench.cluster)?;
    let before = bench.with_trust()?;
    let linkerd = Linkerd::start(&bench.cluster, SYSTEM)?;
    let none = json!({"adapter": "linkerd", "operation": "install",
        "parameters": {"version": NEWER, "gateway_api": "none"}});
    let refused = bench.host.post("/api/v1/operations", &none)?.expect(409)?;
    ensure!(refused["code"] == "linkerd-gateway-api-missing", "{refused:#}");

    let given = json!({"version": NEWER, "ha": true, "gateway_api": "all"});
    let installed = bench.perform("linkerd", "install", &given)?;
    let destination = bench.get(&["deployment", "linkerd-destination", "--namespace", SYSTEM])?;
    ensure!(
        destination["spec"]["replicas"] == 3 && destination["status"]["availableReplicas"] == 3,
        "{destination:#}"
    );
    let budgets = bench.get(&["poddisruptionbudgets", "--namespace", SYSTEM])?;
    ensure!(
        budgets["items"].as_array().is_some_and(|found| found.len() >= 2),
        "{budgets:#}"
    );
    ensure!(definitions(&bench)? == KEPT);
    linkerd.trouble()?;
    bench.host.take_back(text(&installed["id"]), "undone", LIMIT)?;
    before.await_same(&bench.cluster).context("high availability")?;

    // What a removal keeps is enough for one that brings none.
    bench.perform(
        "linkerd",
        "install",
        &json!({"version": NEWER, "gateway_api": "all"}),
    )?;
    let whole = Snapshot::take(&bench.cluster)?;
    let removed = bench.perform("linkerd", "remove", &json!({}))?;
    ensure!(bench.installation()?.is_none());
    bench.host.take_back(text(&removed["id"]), "undone", LIMIT)?;
    whole.await_remade(&bench.cluster).context("given back")?;
    let found = bench.installation()?.context("an installation")?;
    ensure!(found["health"] == "healthy", "{found:#}");
    bench.perform("linkerd", "remove", &json!({}))?;
    ensure!(definitions(&bench)? == KEPT);
    let kept = Snapshot::take(&bench.cluster)?;
    let record = bench.host.perform(&none, "succeeded", LIMIT)?;
    let found = bench.installation()?.context("an installation")?;
    ensure!(found["health"] == "healthy", "{found:#}");
    bench.host.take_back(text(&record["id"]), "undone", LIMIT)?;
    kept.await_same(&bench.cluster).context("without definitions")?;
    bench.without_gateway_api()?;
    bench.kubectl(&["delete", "namespace", SYSTEM])?;
    untouched.await_same(&bench.cluster)
}

fn definitions(bench: &Bench) -> anyhow::Result<usize> {
    let all = bench.kubectl(&["get", "customresourcedefinitions", "--output=name"])?;
    Ok(all
        .lines()
        .filter(|name| name.ends_with("gateway.networking.k8s.io"))
        .count())
}

/// Extensions and the stable line are not in the mirror, and Jaeger's extension is nowhere any more.
pub fn told(charts: &Path) -> anyhow::Result<()> {
    let bench = Bench::new(charts)?;
    let before = bench.with_trust()?;
    let answer = |operation: &str, parameters: &Value| -> anyhow::Result<Value> {
        let request = json!({"adapter": "linkerd", "operation": operation, "parameters": parameters});
        let answer = bench.host.post("/api/v1/operations", &request)?;
        Ok(serde_json::from_str(&answer.text())?)
    };
    for (operation, parameters, code) in [
        ("jaeger-addon", json!({}), "extension-gone"),
        ("install-smi", json!({}), "linkerd-not-installed"),
        ("install-viz", json!({}), "linkerd-not-installed"),
        ("install-multicluster", json!({}), "linkerd-not-installed"),
        ("remove-viz", json!({}), "extension-not-installed"),
        ("remove-multicluster", json!({}), "extension-not-installed"),
        ("remove-smi", json!({}), "extension-not-installed"),
        // A mirror may have it.
        ("install", json!({"line": "stable"}), "linkerd-stable-ended"),
        ("install", json!({"version": "stable-2.15.0"}), "unknown-version"),
        (
            "install",
            json!({"version": NEWER, "cni": true}),
            "chart-not-found",
        ),
    ] {
        let said = answer(operation, &parameters)?;
        let mut found = said["findings"].as_array().into_iter().flatten();
        let is_told = said["code"] == code || found.any(|finding| finding["code"] == code);
        ensure!(is_told, "{operation} {parameters}: {said:#}");
    }
    // Services have addresses here that the chart takes for somebody else's.
    let install = |networks: &str| {
        let values = json!({"linkerd-control-plane": {"clusterNetworks": networks}});
        answer("install", &json!({"version": NEWER, "values": values}))
    };
    for (networks, is_told) in [("10.0.0.0/8", true), ("10.0.0.0/8,127.0.0.0/8", false)] {
        let said = install(networks)?.to_string();
        ensure!(
            said.contains("(Service default/kubernetes)") == is_told,
            "{networks}: {said}"
        );
    }
    before.await_same(&bench.cluster)
}
