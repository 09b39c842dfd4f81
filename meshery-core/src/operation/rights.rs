//! Whether a plan stays within what its adapter has declared: its real power is the plan it returns.

use meshery_plugin_api::message::descriptor::{RbacScope, Rights};
use meshery_plugin_api::message::object_ref::ObjectRef;
use serde_json::Value;

use crate::cluster::wave;
use crate::problem::{Problem, ProblemKind};

/// Refuses an object that is to be written and lies outside of the rights. `object` is its manifest, or nothing more
/// than kind and metadata when it is to be deleted.
pub(super) fn check(
    adapter: &str,
    step: &str,
    reference: &ObjectRef,
    object: &Value,
    rights: &Rights,
) -> Result<(), Problem> {
    match missing(reference, object, rights) {
        None => Ok(()),
        Some(right) => Err(Problem::new(
            ProblemKind::Forbidden,
            "beyond-rights",
            format!("step {step} of {adapter}'s plan would write {reference}, which needs {right}"),
        )
        .cause(
            "the adapter has not declared that right in its descriptor, or a chart holds more than expected",
        )
        .remedy("nothing was changed; report this to the adapter's author")),
    }
}

fn missing(reference: &ObjectRef, object: &Value, rights: &Rights) -> Option<String> {
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

/// What a workload's pods may do beyond their container: `privileged`, `host namespaces`, `hostPath`.
pub(super) fn risky_pod(object: &Value) -> Vec<&'static str> {
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
    let containers = ["containers", "initContainers"]
        .iter()
        .filter_map(|list| pod.get(list).and_then(Value::as_array))
        .flatten();
    if containers
        .into_iter()
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

/// Whether the object is one of those that can refuse others.
pub(super) fn is_admission(reference: &ObjectRef) -> bool {
    let object = serde_json::json!({"apiVersion": reference.api_version(), "kind": reference.kind});
    wave::wave(&object, &std::collections::HashSet::new()) == wave::ADMISSION
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

    fn check_ref(reference: &str, object: &Value, rights: &Rights) -> Result<(), Problem> {
        check("demo", "s", &reference.parse().unwrap(), object, rights)
    }

    #[test]
    fn what_is_not_declared_is_refused_and_named() {
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
            let problem = check_ref(reference, &json!({}), &rights()).unwrap_err();
            assert_eq!(problem.code, "beyond-rights");
            assert!(problem.message.contains(right), "{reference}: {problem}");
        }
        check_ref("v1/ConfigMap/mesh/a", &json!({}), &rights()).unwrap();
    }

    #[test]
    fn a_pod_that_reaches_into_its_host_needs_a_right_of_its_own() {
        let daemon = json!({"spec": {"template": {"spec": {"hostNetwork": true, "containers": [
            {"securityContext": {"privileged": true}}], "volumes": [{"hostPath": {"path": "/"}}]}}}});
        assert_eq!(risky_pod(&daemon).len(), 3);
        let problem = check_ref("apps/v1/DaemonSet/mesh/cni", &daemon, &rights()).unwrap_err();
        assert!(problem.message.contains("privileged pods"), "{problem}");
        let allowed = Rights {
            privileged_pods: true,
            ..rights()
        };
        check_ref("apps/v1/DaemonSet/mesh/cni", &daemon, &allowed).unwrap();
    }
}
