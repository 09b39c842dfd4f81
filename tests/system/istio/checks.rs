//! What detection and checks say of a control plane that is there and does not work.

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
