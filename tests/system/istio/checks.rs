//! What detection and checks say of a control plane that is there and does not work, or not with what is on the nodes.

use std::path::Path;

use anyhow::{Context as _, ensure};
use meshery_tests::istiod::Istiod;
use meshery_tests::snapshot::Snapshot;
use serde_json::{Value, json};

use super::{Bench, SYSTEM, VERSION, request};
use crate::namespace::eventually;

/// The Service selects nobody: every pod that is to get a sidecar is refused, although istiod runs and is called healthy by
/// Kubernetes.
pub fn nobody_answers(charts: &Path) -> anyhow::Result<()> {
    const CODE: &str = "istio-webhook-without-endpoints";
    let bench = Bench::new(charts)?;
    let before = Snapshot::take(&bench.cluster)?;
    let istiod = Istiod::start(&bench.cluster, SYSTEM)?;
    bench.perform("install", &json!({"version": VERSION, "profile": "minimal"}))?;
    istiod.trouble()?;
    for namespace in ["shop", "store"] {
        bench.kubectl(&["create", "namespace", namespace])?;
    }
    bench.perform("inject", &json!({"namespace": "shop"}))?;
    let found = || -> anyhow::Result<(Value, Vec<String>)> {
        let found = bench
            .installations()?
            .into_iter()
            .next()
            .context("an installation")?;
        let findings = found["findings"].as_array().into_iter().flatten();
        let said = findings
            .filter(|finding| finding["code"] == CODE)
            .map(|finding| finding["message"].as_str().unwrap_or_default().to_owned())
            .collect();
        Ok((found, said))
    };
    let works = || {
        eventually(|| {
            let (found, said) = found()?;
            ensure!(found["health"] == "healthy" && said.is_empty(), "{found:#}");
            Ok(())
        })
    };
    works()?;

    let select = |who: &Value| {
        let patch = format!("--patch={}", json!({"spec": {"selector": who}}));
        let service = [
            "patch",
            "service",
            "istiod",
            "--namespace",
            SYSTEM,
            "--type=merge",
        ];
        bench.kubectl(&[&service[..], &[&patch]].concat())
    };
    select(&json!({"app": "nobody"}))?;
    drop(istiod);
    eventually(|| {
        let (found, said) = found()?;
        let blocked = format!(
            "nobody answers at Service {SYSTEM}/istiod, which istio-sidecar-injector calls: new pods in shop are refused"
        );
        ensure!(
            found["health"] == "degraded" && said.contains(&blocked) && said.len() == 3,
            "{found:#}"
        );
        Ok(())
    })?;
    // And so they are.
    let pod = [
        "run",
        "web",
        "--image=web",
        "--namespace=shop",
        "--dry-run=server",
    ];
    ensure!(bench.kubectl(&pod).is_err(), "the injector is asked");
    for (operation, parameters) in [
        ("inject", json!({"namespace": "store"})),
        ("deploy-httpbin", json!({"namespace": "store", "inject": true})),
    ] {
        let refused = bench
            .host
            .post("/api/v1/operations", &request(operation, &parameters))?
            .expect(409)?;
        ensure!(
            refused["code"] == CODE
                && refused["detail"]
                    .to_string()
                    .contains("new pods in store are refused"),
            "{operation}: {refused:#}"
        );
    }

    select(&json!({"app": "istiod", "istio": "pilot"}))?;
    let istiod = Istiod::start(&bench.cluster, SYSTEM)?;
    works()?;
    bench.perform("uninject", &json!({"namespace": "shop"}))?;
    bench.perform("remove", &json!({"purge": true, "custom-resources": true}))?;
    drop(istiod);
    bench.kubectl(&["delete", "namespace", "shop", "store"])?;
    before.await_same(&bench.cluster)
}

/// The CNI plugin is one for all control planes, and takes one minor version in either direction.
pub fn far_nodes(charts: &Path) -> anyhow::Result<()> {
    const CODE: &str = "istio-nodes-unsupported";
    let bench = Bench::new(charts)?;
    let before = Snapshot::take(&bench.cluster)?;
    let istiod = Istiod::start(&bench.cluster, SYSTEM)?;
    bench.perform("install", &json!({"version": VERSION, "profile": "minimal"}))?;
    drop(istiod);
    let plugin = |version: &str| {
        let labels = json!({"k8s-app": "istio-cni-node", "app.kubernetes.io/part-of": "istio"});
        let object = json!({"apiVersion": "apps/v1", "kind": "DaemonSet",
            "metadata": {"name": "istio-cni-node", "namespace": SYSTEM, "labels": labels},
            "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels},
                "spec": {"containers": [{"name": "install-cni", "image": format!("x/install-cni:{version}")}]}}}});
        let file = tempfile::NamedTempFile::with_suffix(".json")?;
        std::fs::write(file.path(), object.to_string())?;
        bench.kubectl(&["apply", "--filename", &file.path().to_string_lossy()])
    };
    let is = |version: &str| {
        let image = format!("discovery=x/pilot:{version}");
        bench.kubectl(&["set", "image", "deployment/istiod", &image, "--namespace", SYSTEM])
    };
    let asked = || {
        let wish = request("upgrade", &json!({"version": "1.30.3"}));
        Ok::<_, anyhow::Error>(bench.host.post("/api/v1/operations", &wish)?.text())
    };
    is("1.29.1")?;
    plugin("1.28.1")?;
    let said = asked()?;
    ensure!(
        said.contains(CODE) && said.contains("CNI plugin 1.28.1 with revision default of Istio 1.30.3"),
        "{said}"
    );
    let found = bench.installations()?;
    ensure!(
        !found[0]["findings"].to_string().contains(CODE),
        "as it is they go together: {found:#?}"
    );
    plugin("1.29.1")?;
    let said = asked()?;
    ensure!(!said.contains(CODE), "{said}");
    is("1.31.0")?;
    let found = bench.installations()?;
    ensure!(found[0]["findings"].to_string().contains(CODE), "{found:#?}");

    bench.kubectl(&["delete", "daemonset", "istio-cni-node", "--namespace", SYSTEM])?;
    bench.perform("remove", &json!({"purge": true}))?;
    before.await_same(&bench.cluster)
}
