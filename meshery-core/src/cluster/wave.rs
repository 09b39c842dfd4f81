//! In which order objects are applied: waves, each begun when the one before it is done.
//!
//! What others live in or are made of comes first (namespaces, definitions of kinds), what can stop others comes
//! last: a webhook that refuses everything must not stand while the rest of its own installation is being
//! written. Removal goes the other way round, so webhook configurations go first.
//!
//! Coarser than Helm's list of three dozen kinds: objects of one wave go to the server in parallel, and Kubernetes
//! itself sorts out what is left (a Deployment waits for its ConfigMap, a binding may name a role to come).

use std::collections::HashSet;
use std::hash::BuildHasher;

use serde_json::Value;

/// Namespaces: everything else may live in one.
pub const NAMESPACES: u8 = 0;
/// Definitions of kinds; they must be established before the objects of those kinds.
pub const DEFINITIONS: u8 = 1;
/// What workloads are configured by and run as: accounts, roles, secrets, volumes, quotas, services.
pub const FOUNDATIONS: u8 = 2;
/// What runs, and what scales, exposes or guards it.
pub const WORKLOADS: u8 = 3;
/// Objects of kinds that are not Kubernetes' own, and aggregated APIs.
pub const CUSTOM: u8 = 4;
/// Webhook configurations and admission policies: they can refuse all that would come after them.
pub const ADMISSION: u8 = 5;

const BUILT_IN_GROUPS: &[&str] = &[
    "",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "apiregistration.k8s.io",
    "apps",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "events.k8s.io",
    "extensions",
    "flowcontrol.apiserver.k8s.io",
    "internal.apiserver.k8s.io",
    "networking.k8s.io",
    "node.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "resource.k8s.io",
    "scheduling.k8s.io",
    "storage.k8s.io",
    "storagemigration.k8s.io",
];

/// The wave of one object. `crds_in_plan` holds group and kind of each definition that the same plan applies (see
/// [`defined`]): their objects are custom ones, whatever their group is called.
pub fn wave<S: BuildHasher>(object: &Value, crds_in_plan: &HashSet<(String, String), S>) -> u8 {
    let api_version = object.get("apiVersion").and_then(Value::as_str).unwrap_or("");
    let kind = object.get("kind").and_then(Value::as_str).unwrap_or("");
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    match (group, kind) {
        ("", "Namespace") => NAMESPACES,
        ("apiextensions.k8s.io", _) => DEFINITIONS,
        ("admissionregistration.k8s.io", _) => ADMISSION,
        ("apiregistration.k8s.io", _) => CUSTOM,
        _ if !BUILT_IN_GROUPS.contains(&group) || crds_in_plan.contains(&(group.into(), kind.into())) => {
            CUSTOM
        }
        ("apps" | "batch" | "autoscaling" | "policy" | "extensions", _)
        | ("", "Pod" | "ReplicationController")
        | ("networking.k8s.io", "Ingress") => WORKLOADS,
        _ => FOUNDATIONS,
    }
}

/// Group and kind of the custom resource definitions among the objects.
pub fn defined<'a>(objects: impl IntoIterator<Item = &'a Value>) -> HashSet<(String, String)> {
    let text = |object: &Value, pointer| Some(object.pointer(pointer)?.as_str()?.to_owned());
    objects
        .into_iter()
        .filter(|object| object.get("kind").and_then(Value::as_str) == Some("CustomResourceDefinition"))
        .filter_map(|crd| Some((text(crd, "/spec/group")?, text(crd, "/spec/names/kind")?)))
        .collect()
}

/// Sorts things that carry an object into waves, first wave first; the order within a wave stays. Empty waves are
/// left out. Removal takes the result backwards.
pub fn order<T>(things: Vec<T>, object: impl Fn(&T) -> &Value) -> Vec<Vec<T>> {
    let defined = defined(things.iter().map(&object));
    let mut waves: Vec<Vec<T>> = (0..=ADMISSION).map(|_| Vec::new()).collect();
    for thing in things {
        let wave = wave(object(&thing), &defined);
        waves[usize::from(wave)].push(thing);
    }
    waves.retain(|wave| !wave.is_empty());
    waves
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(api_version: &str, kind: &str, name: &str) -> Value {
        json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}})
    }

    fn wave_of(api_version: &str, kind: &str) -> u8 {
        wave(&object(api_version, kind, "x"), &HashSet::new())
    }

    #[test]
    fn what_can_refuse_others_comes_after_everything_else() {
        for (api_version, kind) in [
            ("v1", "Namespace"),
            ("apps/v1", "Deployment"),
            ("mesh.example/v1", "Route"),
            ("apiregistration.k8s.io/v1", "APIService"),
        ] {
            for admission in [
                "MutatingWebhookConfiguration",
                "ValidatingWebhookConfiguration",
                "ValidatingAdmissionPolicy",
                "ValidatingAdmissionPolicyBinding",
            ] {
                assert!(
                    wave_of(api_version, kind) < wave_of("admissionregistration.k8s.io/v1", admission),
                    "{kind} before {admission}"
                );
            }
        }
    }

    #[test]
    fn accounts_roles_and_services_come_before_workloads_and_those_before_custom_resources() {
        for (api_version, kind) in [
            ("v1", "ServiceAccount"),
            ("v1", "Secret"),
            ("v1", "ConfigMap"),
            ("v1", "Service"),
            ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"),
        ] {
            assert_eq!(wave_of(api_version, kind), FOUNDATIONS, "{kind}");
        }
        for (api_version, kind) in [
            ("apps/v1", "DaemonSet"),
            ("batch/v1", "Job"),
            ("autoscaling/v2", "HorizontalPodAutoscaler"),
        ] {
            assert_eq!(wave_of(api_version, kind), WORKLOADS, "{kind}");
        }
        assert_eq!(wave_of("gateway.networking.k8s.io/v1", "Gateway"), CUSTOM);
    }

    #[test]
    fn a_kind_that_the_plan_defines_is_custom_even_in_a_group_of_kubernetes() {
        let crd = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "things.policy"}, "spec": {"group": "policy", "names": {"kind": "Thing"}}});
        let thing = object("policy/v1", "Thing", "one");
        assert_eq!(wave(&thing, &HashSet::new()), WORKLOADS);
        assert_eq!(wave(&thing, &defined([&crd])), CUSTOM);
    }

    #[test]
    fn ordering_keeps_the_charts_order_within_a_wave_and_leaves_out_empty_waves() {
        let objects = vec![
            object(
                "admissionregistration.k8s.io/v1",
                "MutatingWebhookConfiguration",
                "hook",
            ),
            object("v1", "ConfigMap", "b"),
            object("v1", "Namespace", "ns"),
            object("v1", "ConfigMap", "a"),
        ];
        let names: Vec<Vec<String>> = order(objects, |o| o)
            .iter()
            .map(|wave| {
                wave.iter()
                    .map(|o| o["metadata"]["name"].as_str().unwrap().to_owned())
                    .collect()
            })
            .collect();
        assert_eq!(names, [vec!["ns"], vec!["b", "a"], vec!["hook"]]);
    }
}
