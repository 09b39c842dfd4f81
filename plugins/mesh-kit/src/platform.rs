//! Platforms whose nodes are not as others are: where the network's plugins lie, and what pods may do.

use meshery_plugin_api::message::facts::{Detail, Facts, Need};
use serde_json::Value;

use crate::need;
use crate::object::{label, text};

/// API groups that only `OpenShift` serves.
const OPENSHIFT: [&str; 2] = ["security.openshift.io/", "config.openshift.io/"];
/// Labels that a platform gives to its nodes.
const LABELS: [(&str, &str); 2] = [
    ("cloud.google.com/gke-nodepool", "gke"),
    ("microk8s.io/cluster", "microk8s"),
];

/// What has to be read for it beside what is known of every cluster.
pub fn need() -> Need {
    need::everywhere("", "Node", "", Detail::Full)
}

/// What the kinds of a server and its nodes give away. The nodes' word counts more than the server's version, which may be that
/// of a control plane of its own (a virtual cluster's) on nodes of others.
pub fn recognised(facts: &Facts) -> Option<&'static str> {
    let serves = |group: &&str| facts.cluster.apis.iter().any(|api| api.starts_with(*group));
    if OPENSHIFT.iter().any(serves) {
        return Some("openshift");
    }
    let mut nodes = facts
        .objects("", "Node")
        .filter(|node| !kubelet(node).is_empty())
        .peekable();
    if nodes.peek().is_some() {
        return nodes.find_map(of_node);
    }
    of_version(&facts.cluster.version)
}

fn kubelet(node: &Value) -> &str {
    text(node, "/status/nodeInfo/kubeletVersion")
}

fn of_node(node: &Value) -> Option<&'static str> {
    if let Some((_, platform)) = LABELS.iter().find(|(key, _)| label(node, key).is_some()) {
        return Some(platform);
    }
    match of_version(kubelet(node)) {
        // k3d is k3s in containers whose own image is the node's.
        Some("k3s") if text(node, "/status/nodeInfo/osImage").starts_with("K3s") => Some("k3d"),
        found => found,
    }
}

fn of_version(version: &str) -> Option<&'static str> {
    if version.contains("-gke.") {
        Some("gke")
    } else if version.contains("+k3s") {
        Some("k3s")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use meshery_plugin_api::message::facts::{ClusterFacts, KindFacts};
    use serde_json::json;

    use super::*;

    fn of(version: &str, apis: &[&str], nodes: Vec<Value>) -> Option<&'static str> {
        recognised(&Facts {
            cluster: ClusterFacts {
                version: version.into(),
                apis: apis.iter().map(ToString::to_string).collect(),
                ..ClusterFacts::default()
            },
            kinds: vec![KindFacts {
                need: need(),
                objects: nodes,
                ..KindFacts::default()
            }],
            ..Facts::default()
        })
    }

    #[test]
    fn a_platform_is_recognised_by_what_its_server_says() {
        assert_eq!(of("v1.36.3", &[], vec![]), None);
        assert_eq!(of("v1.36.3-gke.1080000", &[], vec![]), Some("gke"));
        assert_eq!(of("v1.36.3+k3s1", &[], vec![]), Some("k3s"));
        for kind in [
            "security.openshift.io/v1/SecurityContextConstraints",
            "config.openshift.io/v1/ClusterVersion",
        ] {
            assert_eq!(of("v1.36.3+k3s1", &[kind], vec![]), Some("openshift"));
        }
    }

    #[test]
    fn what_the_nodes_say_counts_more() {
        let node = |kubelet: &str, image: &str, labels: Value| {
            json!({"metadata": {"name": "a", "labels": labels},
                "status": {"nodeInfo": {"kubeletVersion": kubelet, "osImage": image}}})
        };
        let by = |node: Value| of("v1.36.3", &[], vec![json!({"metadata": {"name": "new"}}), node]);
        assert_eq!(by(node("v1.36.3+k3s1", "Ubuntu 24.04", json!({}))), Some("k3s"));
        assert_eq!(
            by(node("v1.36.3+k3s1", "K3s v1.36.3+k3s1", json!({}))),
            Some("k3d")
        );
        assert_eq!(
            by(node("v1.36.3-gke.1", "Container-Optimized OS", json!({}))),
            Some("gke")
        );
        assert_eq!(
            by(node(
                "v1.36.3",
                "Ubuntu",
                json!({"cloud.google.com/gke-nodepool": "pool"})
            )),
            Some("gke")
        );
        assert_eq!(
            by(node("v1.36.3", "Ubuntu", json!({"microk8s.io/cluster": "true"}))),
            Some("microk8s")
        );
        let virtual_cluster = of("v1.36.3+k3s1", &[], vec![node("v1.36.3", "Ubuntu", json!({}))]);
        assert_eq!(virtual_cluster, None);
    }
}
