//! Namespaces whose PodSecurity would refuse pods, because of what Istio gives them.

use meshery_mesh_kit::namespace;
use meshery_plugin_api::message::facts::Facts;
use meshery_plugin_api::message::finding::{Finding, Severity};

use crate::nodes;

/// Of what is on the nodes: it reaches into them.
pub fn of_nodes(facts: &Facts, in_namespace: &str) -> Option<Finding> {
    let level = namespace::pod_security(facts, in_namespace)?;
    let why = "the CNI plugin, and the nodes' proxies of ambient mode, reach into their node";
    Some(finding(Severity::Error, in_namespace, level, why))
}

/// Of pods with a sidecar: without the CNI plugin, its first container sets up the pod's network, for which it needs rights that the
/// two stricter levels refuse.
pub fn of_sidecars(facts: &Facts, in_namespace: &str) -> Option<Finding> {
    let with_plugin = nodes::redirect_for_sidecars(facts);
    let level = namespace::refuses_proxies(facts, in_namespace, with_plugin)?;
    let why = if with_plugin {
        "a sidecar has no seccompProfile by itself: pods need one for all their containers"
    } else {
        "a sidecar's first container sets up the pod's network, unless Istio's CNI plugin does"
    };
    Some(finding(Severity::Warning, in_namespace, level, why))
}

fn finding(severity: Severity, in_namespace: &str, level: &str, why: &str) -> Finding {
    Finding::new(
        severity,
        "pod-security",
        format!("namespace \"{in_namespace}\" enforces PodSecurity \"{level}\": {why}"),
    )
    .about(namespace::reference(in_namespace))
    .remedy(format!(
        "`kubectl label namespace {in_namespace} {}=privileged --overwrite`, if that is wanted; see \
         https://kubernetes.io/docs/concepts/security/pod-security-admission/",
        namespace::ENFORCED
    ))
}
