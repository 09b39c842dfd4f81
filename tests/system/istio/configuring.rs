//! Gateways, policies and filters on an installation with everything that a profile can have: they come and go.

use std::path::Path;

use anyhow::{Context as _, ensure};
use meshery_tests::istiod::Istiod;
use meshery_tests::snapshot::Snapshot;
use meshery_tests::trust::Trust;
use serde_json::json;

use super::{Bench, SYSTEM, VERSION};

pub fn come_and_go(charts: &Path) -> anyhow::Result<()> {
    let bench = Bench::new(charts)?;
    let istiod = Istiod::start(&bench.cluster, SYSTEM)?;
    bench.perform("install", &json!({"version": VERSION, "profile": "demo"}))?;
    let found = bench.installations()?;
    let components = found[0]["components"].as_array().context("components")?;
    ensure!(
        components.len() == 3,
        "istiod, and a gateway for each direction: {found:#?}"
    );
    bench.kubectl(&["create", "namespace", "shop"])?;
    let before = Snapshot::take(&bench.cluster)?;

    let edge = json!({"gateway_namespace": "edge", "service_type": "NodePort"});
    let removed = json!({"gateway_namespace": "edge"});
    bench.perform("add-gateway", &edge)?;
    let service = bench.get(&["service", "istio-ingressgateway", "--namespace", "edge"])?;
    ensure!(service["spec"]["type"] == "NodePort", "{service:#}");
    bench.perform("remove-gateway", &removed)?;
    before.await_same(&bench.cluster).context("a gateway")?;
    bench.there_and_back(("add-gateway", &edge), ("remove-gateway", &removed))?;
    let egress = json!({"kind": "egress", "gateway_namespace": "edge"});
    bench.perform("add-gateway", &egress)?;
    let service = bench.get(&["service", "istio-egressgateway", "--namespace", "edge"])?;
    ensure!(service["spec"]["type"] == "ClusterIP", "{service:#}");
    bench.perform("remove-gateway", &egress)?;
    before.await_same(&bench.cluster).context("a way out")?;
    on_each_node(&bench)?;
    before
        .await_same(&bench.cluster)
        .context("a gateway on each node")?;

    for policy in ["permissive", "disable", "deny-all"] {
        let of_shop = json!({"policy": policy, "namespace": "shop"});
        bench.perform("set-policy", &of_shop).context(policy)?;
        bench.perform("remove-policy", &of_shop).context(policy)?;
    }
    let of_mesh = json!({"policy": "strict"});
    bench.perform("set-policy", &of_mesh)?;
    let set = bench.get(&["peerauthentication", "default", "--namespace", SYSTEM])?;
    ensure!(set["spec"]["mtls"]["mode"] == "STRICT", "{set:#}");
    bench.perform("remove-policy", &of_mesh)?;
    before.await_same(&bench.cluster).context("policies")?;
    let strict = json!({"policy": "strict", "namespace": "shop"});
    bench.there_and_back(("set-policy", &strict), ("remove-policy", &strict))?;

    added_and_ended(&bench)?;
    before.await_same(&bench.cluster).context("an add-on")?;

    for sample in ["httpbin", "emojivoto"] {
        exposed(&bench, &istiod, sample)?;
        bench.perform(&format!("remove-{sample}"), &json!({}))?;
    }
    before.await_same(&bench.cluster).context("samples")?;
    exposed(&bench, &istiod, "imagehub")?;
    bench.perform("add-imagehub-filter", &json!({"per_minute": 5}))?;
    let filters = bench.get(&["envoyfilters.networking.istio.io", "--namespace", "imagehub"])?;
    ensure!(
        filters["items"].as_array().map(Vec::len) == Some(1),
        "{filters:#}"
    );
    bench.perform("remove-imagehub-filter", &json!({}))?;
    let filter = json!({"per_minute": 5});
    bench.there_and_back(
        ("add-imagehub-filter", &filter),
        ("remove-imagehub-filter", &json!({})),
    )?;
    bench.perform("remove-imagehub", &json!({}))?;
    before.await_same(&bench.cluster).context("a filter")?;
    istiod.trouble()?;
    bench.perform("remove", &json!({"purge": true}))?;
    ensure!(bench.installations()?.is_empty());
    Ok(())
}

/// A gateway as a DaemonSet without a Service is awaited as what it is, also when nobody says so again.
fn on_each_node(bench: &Bench) -> anyhow::Result<()> {
    let edge = json!({"gateway_namespace": "edge"});
    let mut as_wished = edge.clone();
    as_wished["values"] = json!({"gateway": {"kind": "DaemonSet", "service": {"type": "None"}}});
    for given in [&as_wished, &edge] {
        bench.perform("add-gateway", given)?;
        bench.get(&["daemonset", "istio-ingressgateway", "--namespace", "edge"])?;
        let there = bench.kubectl(&[
            "get",
            "services,deployments",
            "--namespace",
            "edge",
            "--output=name",
        ])?;
        ensure!(there.trim().is_empty(), "{there}");
    }
    bench.perform("remove-gateway", &edge)?;
    Ok(())
}

/// Deploys a sample with its way in, which the definitions and the validator take.
fn exposed(bench: &Bench, istiod: &Istiod, sample: &str) -> anyhow::Result<()> {
    bench.perform(&format!("deploy-{sample}"), &json!({"expose": true}))?;
    let validated = istiod.validated();
    let gateway = format!("{sample}-gateway");
    for (kind, name) in [("Gateway", gateway.as_str()), ("VirtualService", sample)] {
        let asked = format!("{kind} {sample}/{name}");
        ensure!(validated.contains(&asked), "no {asked} in {validated:?}");
        let resource = format!("{}s.networking.istio.io", kind.to_lowercase());
        bench.get(&[&resource, name, "--namespace", sample])?;
    }
    Ok(())
}

/// What detection says of an add-on, of a namespace that is out of the mesh, and of a plugged-in authority that has ended.
fn added_and_ended(bench: &Bench) -> anyhow::Result<()> {
    let of_shop = json!({"namespace": "shop"});
    bench.perform("add-grafana", &of_shop)?;
    let ended = Trust::until(2020)?.values();
    let file = bench.cluster.dir().join("ended.pem");
    std::fs::write(
        &file,
        ended["identityTrustAnchorsPEM"].as_str().context("an anchor")?,
    )?;
    let file = format!("--from-file=ca-cert.pem={}", file.display());
    let in_system = format!("--namespace={SYSTEM}");
    bench.kubectl(&["create", "secret", "generic", "cacerts", &in_system, &file])?;

    let found = &bench.installations()?[0];
    let named = |list: &str, wanted: &str| {
        let mut all = found[list].as_array().into_iter().flatten();
        all.find(|one| one.to_string().contains(wanted)).cloned()
    };
    let grafana = named("components", "Deployment/shop/grafana").with_context(|| format!("{found:#}"))?;
    ensure!(
        grafana["installed_by"] == "meshery" && grafana["version"] != "",
        "{grafana:#}"
    );
    ensure!(
        found["health"] == "degraded" && named("findings", "istio-ca-expired").is_some(),
        "{found:#}"
    );
    let mut namespaces = found["members"]["namespaces"].as_array().into_iter().flatten();
    let shop = namespaces.find(|of| of["namespace"] == "shop").context("shop")?;
    ensure!(
        shop["joined"] == "nothing" && shop["out"]["names"] == json!(["Deployment/grafana"]),
        "{shop:#}"
    );

    bench.kubectl(&["delete", "secret", "cacerts", &in_system])?;
    bench.perform("remove-grafana", &of_shop)?;
    Ok(())
}
