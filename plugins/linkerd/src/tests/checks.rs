//! What is told before an operation, by subject; here whether there may be an installation at all, and what a removal costs.

mod extension;
mod injection;
mod of_others;
mod room;
mod trust;

use meshery_plugin_api::message::finding::{Finding, Severity};
use serde_json::json;

use super::cluster::Cluster;

const NOW: &str = "2026-06-01T12:00:00Z";

fn codes(findings: &[Finding], severity: Severity) -> Vec<&str> {
    let of_severity = findings.iter().filter(|finding| finding.severity == severity);
    of_severity.map(|finding| finding.code.as_str()).collect()
}

fn install(cluster: Cluster) -> Vec<Finding> {
    cluster.check("install", json!({}))
}

#[test]
fn a_cluster_with_anchors_and_issuer_is_ready_and_one_without_is_not() {
    assert!(install(Cluster::of("given").now(NOW)).is_empty());
    let findings = install(Cluster::of("empty").now(NOW));
    assert_eq!(
        codes(&findings, Severity::Error),
        ["linkerd-trust-missing", "linkerd-trust-missing"]
    );
    let issuer = Cluster::of("given")
        .now(NOW)
        .change("linkerd-identity-issuer", |secret| {
            secret["type"] = "Opaque".into();
        });
    assert_eq!(codes(&install(issuer), Severity::Error), ["linkerd-issuer-type"]);
}

#[test]
fn what_is_installed_already_is_told_from_what_is_in_the_way() {
    let check = |operation: &str, version: &str| {
        Cluster::of("installed")
            .now(NOW)
            .check(operation, json!({"version": version}))
    };
    assert_eq!(
        codes(&check("install", "edge-25.10.7"), Severity::Info),
        ["linkerd-installed"]
    );
    assert_eq!(
        codes(&check("install", "edge-26.8.3"), Severity::Error),
        ["linkerd-other-version"]
    );
    assert!(codes(&check("upgrade", "edge-26.8.3"), Severity::Error).is_empty());
    let down = Cluster::of("installed")
        .now(NOW)
        .check("upgrade", json!({"version": "stable-2.14.10"}));
    assert!(
        codes(&down, Severity::Error).contains(&"linkerd-downgrade"),
        "{down:?}"
    );
    let elsewhere = Cluster::of("installed")
        .now(NOW)
        .check("install", json!({"namespace": "mesh"}));
    assert!(
        codes(&elsewhere, Severity::Error).contains(&"linkerd-installed"),
        "{elsewhere:?}"
    );
}

#[test]
fn missing_definitions_of_the_gateway_api_are_an_error_when_nobody_brings_them() {
    let findings = Cluster::of("given")
        .now(NOW)
        .check("install", json!({"gateway_api": "none"}));
    assert_eq!(codes(&findings, Severity::Error), ["linkerd-gateway-api-missing"]);
    assert!(findings[0].message.contains("httproutes.gateway"), "{findings:?}");
}

#[test]
fn what_is_cut_off_by_a_removal_is_listed_first() {
    let findings = Cluster::of("installed").check("remove", json!({}));
    let all: Vec<&str> = findings.iter().map(|finding| finding.code.as_str()).collect();
    assert_eq!(all[..2], ["workloads-cut-off", "namespaces-in-mesh"]);
    assert!(findings[0].message.contains("Pod shop/web-1"), "{findings:?}");
    assert!(findings[1].message.contains("shop"), "{findings:?}");
}

#[test]
fn on_openshift_the_plugin_is_asked_for_and_put_where_its_nodes_look() {
    let check = |given| Cluster::of("given").now(NOW).check("install", given);
    let without = check(json!({"platform": "openshift"}));
    assert_eq!(codes(&without, Severity::Warning), ["linkerd-openshift"]);
    assert!(without[0].remedy.contains("parameter cni"), "{without:?}");
    let with = check(json!({"platform": "openshift", "cni": true}));
    assert!(with[0].remedy.contains("add-scc-to-user"), "{with:?}");
    let plan = |given| {
        format!(
            "{:?}",
            Cluster::of("given").now(NOW).plan("install", given).unwrap()
        )
    };
    assert!(plan(json!({"platform": "openshift", "cni": true})).contains("/var/lib/cni/bin"));
    assert!(!plan(json!({"cni": true})).contains("destCNIBinDir"));
    let k3s = Cluster::of("given").now(NOW).version("v1.36.3+k3s1");
    let plan = format!("{:?}", k3s.plan("install", json!({"cni": true})).unwrap());
    assert!(plan.contains("/var/lib/rancher/k3s/data/cni"), "{plan}");
}
