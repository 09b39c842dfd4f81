//! Whether something that a plan would write lies within the rights that its adapter has declared.
//!
//! A plugin's real power is the plan it returns. The engine holds every object of a plan against the rights, those
//! that a chart rendered too; an adapter's own tests can do the same.

use serde_json::Value;

use crate::message::descriptor::{RbacScope, Rights};
use crate::message::object_ref::ObjectRef;

/// The right that is missing to write an object, in words; nothing when the rights cover it. `object` is the
/// manifest, or null when the object is to be deleted or restarted.
///
/// ```
/// use meshery_plugin_api::message::descriptor::Rights;
/// use meshery_plugin_api::rights::missing;
/// use serde_json::Value;
///
/// let rights = Rights { namespaces: vec!["mesh".into()], ..Rights::default() };
/// assert_eq!(missing(&"v1/ConfigMap/mesh/a".parse().unwrap(), &Value::Null, &rights), None);
/// assert!(missing(&"v1/ConfigMap/other/a".parse().unwrap(), &Value::Null, &rights).is_some());
/// ```
pub fn missing(reference: &ObjectRef, object: &Value, rights: &Rights) -> Option<String> {
    let namespace_allowed = |namespace: &str| {
        rights
            .namespaces
            .iter()
            .any(|allowed| allowed == "*" || allowed == namespace)
    };
    match (reference.group.as_str(), reference.kind.as_str()) {
        ("", "Namespace") => {
            return (!rights.create_namespaces || !namespace_allowed(&reference.name))
                .then(|| format!("the right to write the namespace {}", reference.name));
        }
        ("apiextensions.k8s.io", _) => {
            return (!rights.crds).then(|| "the right to write custom resource definitions".into());
        }
        ("admissionregistration.k8s.io", _) => {
            return (!rights.webhooks).then(|| "the right to write webhooks and admission policies".into());
        }
        ("rbac.authorization.k8s.io", "ClusterRole" | "ClusterRoleBinding") => {
            return (rights.rbac != RbacScope::Cluster)
                .then(|| "the right to write cluster roles and their bindings".into());
        }
        ("rbac.authorization.k8s.io", _) if rights.rbac == RbacScope::None => {
            return Some("the right to write roles and their bindings".into());
        }
        ("", "Secret") if !rights.secrets => return Some("the right to write Secrets".into()),
        _ => {}
    }
    if reference.namespace.is_empty() {
        let allowed = |group: &String| group == "*" || *group == reference.group;
        return (!rights.cluster_groups.iter().any(allowed)).then(|| {
            format!(
                "the right to write cluster-wide objects of the group \"{}\"",
                reference.group
            )
        });
    }
    if !namespace_allowed(&reference.namespace) {
        return Some(format!(
            "the right to write to the namespace {}",
            reference.namespace
        ));
    }
    (!rights.privileged_pods && !risky_pod(object).is_empty())
        .then(|| "the right to run privileged pods".into())
}

/// What a workload's pods may do beyond their container, in words: run privileged, use namespaces or paths of their
/// host.
pub fn risky_pod(object: &Value) -> Vec<&'static str> {
    let pointers = [
        "/spec/template/spec",
        "/spec/jobTemplate/spec/template/spec",
        "/spec",
    ];
    let Some(pod) = pointers
        .iter()
        .filter_map(|pointer| object.pointer(pointer))
        .find(|pod| pod.get("containers").is_some_and(Value::is_array))
    else {
        return Vec::new();
    };
    let mut risks = Vec::new();
    let mut containers = ["containers", "initContainers"]
        .iter()
        .filter_map(|list| pod.get(list).and_then(Value::as_array))
        .flatten();
    if containers
        .any(|container| container.pointer("/securityContext/privileged") == Some(&Value::Bool(true)))
    {
        risks.push("privileged containers");
    }
    if ["hostNetwork", "hostPID", "hostIPC"]
        .iter()
        .any(|field| pod.get(field) == Some(&Value::Bool(true)))
    {
        risks.push("the host's namespaces");
    }
    let volumes = pod.get("volumes").and_then(Value::as_array);
    if volumes.is_some_and(|volumes| volumes.iter().any(|volume| volume.get("hostPath").is_some())) {
        risks.push("paths of the host");
    }
    risks
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rights() -> Rights {
        Rights {
            namespaces: vec!["mesh".into()],
            ..Rights::default()
        }
    }

    #[test]
    fn what_is_not_declared_is_missing_and_named() {
        for (reference, right) in [
            ("v1/Namespace//mesh", "the namespace mesh"),
            ("v1/ConfigMap/other/a", "the namespace other"),
            ("v1/Secret/mesh/a", "Secrets"),
            ("rbac.authorization.k8s.io/v1/Role/mesh/a", "roles"),
            ("rbac.authorization.k8s.io/v1/ClusterRole//a", "cluster roles"),
            (
                "admissionregistration.k8s.io/v1/MutatingWebhookConfiguration//a",
                "webhooks",
            ),
            (
                "apiextensions.k8s.io/v1/CustomResourceDefinition//a",
                "definitions",
            ),
            ("storage.k8s.io/v1/StorageClass//a", "storage.k8s.io"),
        ] {
            let missing = missing(&reference.parse().unwrap(), &Value::Null, &rights()).unwrap();
            assert!(missing.contains(right), "{reference}: {missing}");
        }
        let allowed = "v1/ConfigMap/mesh/a".parse().unwrap();
        assert_eq!(missing(&allowed, &Value::Null, &rights()), None);
    }

    #[test]
    fn a_pod_that_reaches_into_its_host_needs_a_right_of_its_own() {
        let daemon = json!({"spec": {"template": {"spec": {"hostNetwork": true, "containers": [
            {"securityContext": {"privileged": true}}], "volumes": [{"hostPath": {"path": "/"}}]}}}});
        assert_eq!(risky_pod(&daemon).len(), 3);
        let reference = "apps/v1/DaemonSet/mesh/cni".parse().unwrap();
        assert!(
            missing(&reference, &daemon, &rights())
                .unwrap()
                .contains("privileged")
        );
        let allowed = Rights {
            privileged_pods: true,
            ..rights()
        };
        assert_eq!(missing(&reference, &daemon, &allowed), None);
    }
}
