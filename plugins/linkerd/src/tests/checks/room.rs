//! Nodes and quotas.

use meshery_plugin_api::message::finding::Severity;
use serde_json::{Value, json};

use super::{NOW, codes};
use crate::tests::cluster::Cluster;

#[test]
fn high_availability_asks_for_a_node_for_each_replica() {
    let warned = |nodes: usize, ha: bool| {
        let node = |at: usize| {
            format!(
                "- {{apiVersion: v1, kind: Node, metadata: {{name: n{at}}}, status: {{conditions: [{{type: Ready, status: \
                 \"True\"}}]}}}}\n"
            )
        };
        let nodes: String = (0..nodes).map(node).collect();
        let findings = Cluster::with("given", &nodes)
            .now(NOW)
            .check("install", json!({"ha": ha}));
        codes(&findings, Severity::Warning).contains(&"linkerd-ha-nodes")
    };
    assert!(warned(1, true) && warned(2, true));
    assert!(!warned(3, true) && !warned(1, false));
    assert!(!warned(0, true), "they may come when pods ask");
}

#[test]
fn a_quota_is_held_against_all_pods_of_its_namespace() {
    let said = |in_namespace: &'static str, hard: Value, operation: &str, given| {
        let cluster = Cluster::of("given").now(NOW).change("shop", move |object| {
            *object = json!({"apiVersion": "v1", "kind": "ResourceQuota",
                "metadata": {"name": "few", "namespace": in_namespace},
                "spec": {"hard": hard}, "status": {"hard": hard}});
        });
        codes(&cluster.check(operation, given), Severity::Warning).contains(&"quota-exceeded")
    };
    let pods = |hard: &str| json!({"pods": hard});
    assert!(said("linkerd", pods("2"), "install", json!({})));
    assert!(!said("linkerd", pods("3"), "install", json!({})));
    let ha = || json!({"ha": true});
    assert!(said("linkerd", pods("8"), "install", ha()));
    assert!(!said("linkerd", pods("9"), "install", ha()));
    let cpu = |hard: &str| json!({"requests.cpu": hard});
    assert!(said("linkerd", cpu("2"), "install", ha()));
    assert!(!said("linkerd", cpu("2100m"), "install", ha()));
    assert!(said("linkerd-viz", pods("4"), "install-viz", json!({})));
    assert!(!said("linkerd-viz", pods("5"), "install-viz", json!({})));
}
