//! Clusters with IPv6, and a Linkerd that is not told of it.

use meshery_plugin_api::message::finding::{Finding, Severity};
use serde_json::{Value, json};

use super::cluster::Cluster;

const NODE: &str = "- apiVersion: v1\n  kind: Node\n  metadata: {name: a}\n  spec: {podCIDRs: [RANGES]}\n";
const POD: &str = "- apiVersion: v1\n  kind: Pod\n  metadata: {name: one, namespace: shop}\n  spec: {}\n  \
                   status: {podIP: 10.1.0.1, podIPs: [{ip: 10.1.0.1}, {ip: \"fd00::1\"}]}\n";
const API_SERVER: &str = "- apiVersion: v1\n  kind: Service\n  metadata: {name: kubernetes, namespace: default}\n  \
                          spec: {clusterIPs: [\"fd00:10::1\"]}\n";

fn said(cluster: &Cluster, operation: &str, given: Value) -> Option<Finding> {
    let mut findings = cluster.check(operation, given).into_iter();
    findings.find(|found| found.code == "linkerd-ipv6")
}

fn told(of_cluster: &str, more: &str, given: Value) -> Option<Finding> {
    said(&Cluster::with(of_cluster, more), "install", given)
}

fn node(ranges: &str) -> String {
    NODE.replace("RANGES", ranges)
}

#[test]
fn ipv6_alone_is_an_error_and_beside_ipv4_a_warning() {
    for (more, severity) in [
        (node("10.0.0.0/24"), None),
        (node("\"fd00:1::/64\""), Some(Severity::Error)),
        (node("10.0.0.0/24, \"fd00:1::/64\""), Some(Severity::Warning)),
        (POD.to_owned(), Some(Severity::Warning)),
        (API_SERVER.to_owned(), Some(Severity::Error)),
        (
            format!("{}{API_SERVER}", node("10.0.0.0/24")),
            Some(Severity::Warning),
        ),
    ] {
        let found = told("given", &more, json!({}));
        assert_eq!(found.map(|found| found.severity), severity, "{more}");
    }
}

#[test]
fn whoever_has_said_so_now_or_before_is_left_alone() {
    let node = node("\"fd00:1::/64\"");
    let wish = |disabled: bool| json!({"values": {"linkerd-control-plane": {"disableIPv6": disabled}}});
    assert!(told("given", &node, wish(false)).is_none());
    assert!(told("given", &node, wish(true)).is_some());
    let before = |disabled: bool| {
        Cluster::with("installed", &node).change("linkerd-config", |config| {
            config["data"]["values"] = format!("cniEnabled: false\ndisableIPv6: {disabled}\n").into();
        })
    };
    assert!(said(&before(false), "upgrade", json!({})).is_none());
    assert!(said(&before(true), "upgrade", json!({})).is_some());
    // What is given now lies over it.
    assert!(said(&before(false), "upgrade", wish(true)).is_some());
}

#[test]
fn the_remedy_names_the_values_of_both_charts_and_the_line_that_has_them() {
    let node = node("\"fd00:1::/64\"");
    let found = told("given", &node, json!({"cni": true})).unwrap();
    for part in [
        "\"linkerd-control-plane\": {\"disableIPv6\": false}",
        "\"linkerd2-cni\": {\"disableIPv6\": false}",
    ] {
        assert!(found.remedy.contains(part), "{}", found.remedy);
    }
    let found = told("given", &node, json!({"line": "stable"})).unwrap();
    assert!(found.remedy.contains("line edge"), "{}", found.remedy);
}
