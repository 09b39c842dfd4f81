//! An installation that is no Helm release: a mesh's own installer made objects and left labels on them, by which they
//! can be removed on explicit word.

use std::collections::BTreeMap;

use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::facts::{Detail, Facts, Need};
use meshery_plugin_api::message::finding::Finding;
use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_plugin_api::message::plan::{Condition, PlanRequest, Target};
use serde_json::Value;

use crate::object::{name, namespace};
use crate::ownership::{is_ours, release_of};
use crate::{adoption, need};

/// The kinds that installers of meshes make, by group, version and kind, in the order in which they go: what intercepts
/// requests first, what workloads run under last. Not definitions, which hold what others made, and not Secrets, with the
/// keys that a mesh cannot get back.
const KINDS: [(&str, &str, &str); 16] = [
    (
        "admissionregistration.k8s.io",
        "v1",
        "MutatingWebhookConfiguration",
    ),
    (
        "admissionregistration.k8s.io",
        "v1",
        "ValidatingWebhookConfiguration",
    ),
    ("policy", "v1", "PodDisruptionBudget"),
    ("autoscaling", "v2", "HorizontalPodAutoscaler"),
    ("batch", "v1", "CronJob"),
    ("apps", "v1", "Deployment"),
    ("apps", "v1", "DaemonSet"),
    ("networking.k8s.io", "v1", "NetworkPolicy"),
    ("", "v1", "Service"),
    ("", "v1", "ConfigMap"),
    ("rbac.authorization.k8s.io", "v1", "RoleBinding"),
    ("rbac.authorization.k8s.io", "v1", "Role"),
    ("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding"),
    ("rbac.authorization.k8s.io", "v1", "ClusterRole"),
    ("", "v1", "ResourceQuota"),
    ("", "v1", "ServiceAccount"),
];

/// What has to be seen to find them, by a label that all of them have.
pub fn needs(selector: &str) -> impl Iterator<Item = Need> {
    KINDS
        .iter()
        .map(move |(group, _, kind)| need::everywhere(group, kind, selector, Detail::Metadata))
}

/// The objects of no release and not ours that `part` says to be of one, each once: by part, and in the order in which they go.
pub fn by_part<'a, P: Ord>(
    facts: &'a Facts,
    part: impl Fn(&'a Value) -> Option<P>,
) -> BTreeMap<P, Vec<ObjectRef>> {
    let mut parts = BTreeMap::<P, Vec<ObjectRef>>::new();
    for (group, version, kind) in KINDS {
        for object in facts.objects(group, kind) {
            if release_of(object).is_some() || is_ours(object) {
                continue;
            }
            let Some(part) = part(object) else { continue };
            let object = ObjectRef {
                group: group.into(),
                version: version.into(),
                kind: kind.into(),
                namespace: namespace(object).into(),
                name: name(object).into(),
            };
            let of_part = parts.entry(part).or_default();
            // Whichever needs asked for it.
            if !of_part.contains(&object) {
                of_part.push(object);
            }
        }
    }
    parts
}

/// Deletes them, whoever made them: that they may go was said before.
pub fn targets(objects: Vec<ObjectRef>) -> Vec<Target> {
    let target = |object| Target {
        object,
        when: Condition::Always,
    };
    objects.into_iter().map(target).collect()
}

/// What is to be said of so many objects of an installer in a removal; nothing when there are none.
pub fn finding(
    request: &PlanRequest,
    installer: &str,
    objects: usize,
) -> Result<Option<Finding>, PluginError> {
    if objects == 0 {
        return Ok(None);
    }
    let (fate, remedy) = if adoption::takes_others(request)? {
        ("go", adoption::NOBODY_ELSE)
    } else {
        let remedy = "say that they are to go (parameter of-others), or remove them with what made them";
        ("stay", remedy)
    };
    Ok(Some(
        Finding::warning(
            "installation-of-others",
            format!("{objects} objects that {installer} has made {fate}"),
        )
        .remedy(remedy),
    ))
}

#[cfg(test)]
mod tests {
    use meshery_plugin_api::message::facts::KindFacts;
    use serde_json::json;

    use super::*;

    fn facts(kinds: &[(&str, &str, Vec<Value>)]) -> Facts {
        let kinds = kinds.iter().map(|(group, kind, objects)| KindFacts {
            need: need::everywhere(group, kind, "part", Detail::Metadata),
            objects: objects.clone(),
            ..KindFacts::default()
        });
        Facts {
            kinds: kinds.collect(),
            ..Facts::default()
        }
    }

    #[test]
    fn what_has_the_mark_and_is_of_no_release_goes_once_and_in_order() {
        let object = |name: &str, part: &str| json!({"metadata": {"name": name, "namespace": "mesh", "labels": {"part": part}}});
        let mut released = object("released", "a");
        released["metadata"]["labels"]["app.kubernetes.io/managed-by"] = "Helm".into();
        released["metadata"]["annotations"] =
            json!({"meta.helm.sh/release-name": "r", "meta.helm.sh/release-namespace": "mesh"});
        let facts = facts(&[
            (
                "",
                "ServiceAccount",
                vec![object("account", "a"), object("unmarked", "")],
            ),
            ("apps", "Deployment", vec![object("web", "a"), released]),
            (
                "apps",
                "Deployment",
                vec![object("web", "a"), object("gate", "b")],
            ),
        ]);
        let found = by_part(&facts, |object| {
            crate::object::label(object, "part").filter(|part| !part.is_empty())
        });
        let shown: Vec<(&str, Vec<String>)> = found
            .iter()
            .map(|(part, objects)| (*part, objects.iter().map(ToString::to_string).collect()))
            .collect();
        assert_eq!(
            shown,
            [
                (
                    "a",
                    vec![
                        "apps/v1/Deployment/mesh/web".to_owned(),
                        "v1/ServiceAccount/mesh/account".to_owned()
                    ]
                ),
                ("b", vec!["apps/v1/Deployment/mesh/gate".to_owned()]),
            ]
        );
    }
}
