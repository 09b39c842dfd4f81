//! Samples, add-ons and what people bring, as the real API server takes them; none of them needs Istio.

use std::path::Path;

use anyhow::{Context as _, ensure};
use meshery_tests::snapshot::Snapshot;
use serde_json::json;

use super::{Bench, LIMIT, request, text};

/// Deployed, proven and removed; of none is anything left.
pub fn come_and_go(charts: &Path) -> anyhow::Result<()> {
    let bench = Bench::new(charts)?;
    let before = Snapshot::take(&bench.cluster)?;
    for sample in ["imagehub", "emojivoto"] {
        bench.perform(&format!("deploy-{sample}"), &json!({}))?;
        bench.perform(&format!("remove-{sample}"), &json!({}))?;
    }
    before.await_same(&bench.cluster).context("samples")?;
    bench.there_and_back(("deploy-httpbin", &json!({})), ("remove-httpbin", &json!({})))?;

    let place = json!({"namespace": "shop"});
    for addon in ["prometheus", "grafana", "kiali", "jaeger"] {
        bench.perform(&format!("add-{addon}"), &place)?;
    }
    let services = bench.get(&["services", "--namespace", "shop"])?;
    let public = services["items"].as_array().context("items")?.iter();
    ensure!(public.clone().count() == 6, "{services:#}");
    ensure!(
        public
            .clone()
            .all(|service| service["spec"]["type"] == "ClusterIP"),
        "{services:#}"
    );
    let clash = bench
        .host
        .post("/api/v1/operations", &request("add-zipkin", &place))?;
    ensure!(
        clash.text().contains("v1/Service/shop/tracing"),
        "{}",
        clash.text()
    );
    for addon in ["jaeger", "kiali", "grafana", "prometheus"] {
        bench.perform(&format!("remove-{addon}"), &place)?;
    }
    before.await_same(&bench.cluster).context("add-ons")?;
    bench.there_and_back(("add-zipkin", &place), ("remove-zipkin", &place))?;

    let yaml = "{apiVersion: v1, kind: ConfigMap, metadata: {name: mine}, data: {host: 'a.{namespace}'}}";
    let brought = bench.perform("apply-custom", &json!({"yaml": yaml, "namespace": "shop"}))?;
    let there = bench.get(&["configmap", "mine", "--namespace", "shop"])?;
    ensure!(there["data"]["host"] == "a.shop", "{there:#}");
    bench.host.take_back(text(&brought["id"]), "undone", LIMIT)?;
    before.await_same(&bench.cluster).context("what was brought")?;
    let brought = json!({"yaml": yaml, "namespace": "shop"});
    bench.there_and_back(("apply-custom", &brought), ("remove-custom", &brought))
}

/// Each of them, and its removal, is taken back.
pub fn taken_back(charts: &Path) -> anyhow::Result<()> {
    let bench = Bench::new(charts)?;
    for sample in ["bookinfo", "imagehub", "emojivoto"] {
        let (deploy, remove) = (format!("deploy-{sample}"), format!("remove-{sample}"));
        bench.there_and_back((&deploy, &json!({})), (&remove, &json!({})))?;
    }
    let place = json!({"namespace": "shop"});
    for addon in ["prometheus", "grafana", "kiali", "jaeger"] {
        let (add, remove) = (format!("add-{addon}"), format!("remove-{addon}"));
        bench.there_and_back((&add, &place), (&remove, &place))?;
    }
    Ok(())
}
