//! What is awaited after a release has gone back: what the revision gone back to has, which the engine alone has read.

use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_plugin_api::message::plan::{Readiness, Rule, Wait};

use crate::operation::plan::stored::{StoredStep, Work};
use crate::operation::undo::of_plan;

/// Kinds whose pods are rolled out.
const WORKLOADS: [&str; 3] = ["Deployment", "StatefulSet", "DaemonSet"];

/// The conditions of a wait, by the steps before it; nothing when it names one that takes no release back.
pub(in crate::operation) fn conditions(wait: Wait, steps: &[StoredStep]) -> Option<Vec<Readiness>> {
    if wait.of_revision.is_empty() {
        return Some(wait.conditions);
    }
    let mut is_release = false;
    let mut has: Vec<&ObjectRef> = Vec::new();
    for step in steps.iter().filter(|step| of_plan(&step.id) == wait.of_revision) {
        if let Work::Apply {
            waves,
            release: Some(_),
            ..
        } = &step.work
        {
            is_release = true;
            has.extend(waves.iter().flatten());
        }
    }
    let workloads = has
        .iter()
        .filter(|object| object.group == "apps" && WORKLOADS.contains(&object.kind.as_str()))
        .map(|object| Readiness {
            object: (*object).clone(),
            rule: Rule::Ready,
        });
    let mut conditions: Vec<Readiness> = workloads.collect();
    for condition in wait.conditions {
        if has.iter().any(|object| same(object, &condition.object)) && !conditions.contains(&condition) {
            conditions.push(condition);
        }
    }
    is_release.then_some(conditions)
}

/// The same object, in whichever version of its group.
fn same(one: &ObjectRef, other: &ObjectRef) -> bool {
    let key = |of: &ObjectRef| [&of.group, &of.kind, &of.namespace, &of.name].map(String::clone);
    key(one) == key(other)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::operation::plan::stored::ReleaseName;
    use crate::provider::BlobRef;

    fn object(kind: &str, name: &str) -> ObjectRef {
        let group = if kind == "Service" { "v1" } else { "apps/v1" };
        ObjectRef::new(group, kind, "space", name)
    }

    fn applies(id: &str, objects: Vec<ObjectRef>, release: Option<ReleaseName>) -> StoredStep {
        StoredStep {
            id: id.into(),
            title: String::new(),
            kind: String::new(),
            after: Vec::new(),
            deadline_s: 0,
            verify: false,
            outputs: BTreeMap::new(),
            holds_back: false,
            work: Work::Apply {
                manager: String::new(),
                content: BlobRef::of(b""),
                waves: vec![objects],
                release,
                uses: Vec::new(),
            },
        }
    }

    #[test]
    fn the_workloads_of_the_revision_are_awaited_and_nothing_that_it_lacks() {
        let release = Some(ReleaseName {
            name: "demo".into(),
            namespace: "space".into(),
        });
        let steps = [
            applies(
                "back.objects",
                vec![
                    object("Service", "served"),
                    object("DaemonSet", "of-nodes"),
                    object("Deployment", "under-its-own-name"),
                ],
                release.clone(),
            ),
            applies("other.objects", vec![object("Deployment", "elsewhere")], release),
            applies("plain", vec![object("Deployment", "plain")], None),
        ];
        let condition = |kind: &str, name: &str, rule| Readiness {
            object: object(kind, name),
            rule,
        };
        let wait = |of_revision: &str| Wait {
            conditions: vec![
                condition("Service", "served", Rule::Endpoints),
                condition("Service", "newer", Rule::Endpoints),
                condition("DaemonSet", "of-nodes", Rule::Ready),
                condition("Deployment", "elsewhere", Rule::Ready),
            ],
            of_revision: of_revision.into(),
        };
        assert_eq!(
            conditions(wait("back"), &steps).unwrap(),
            [
                condition("DaemonSet", "of-nodes", Rule::Ready),
                condition("Deployment", "under-its-own-name", Rule::Ready),
                condition("Service", "served", Rule::Endpoints),
            ]
        );
        assert_eq!(conditions(wait(""), &steps).unwrap(), wait("").conditions);
        assert_eq!(conditions(wait("plain"), &steps), None);
        assert_eq!(conditions(wait("unknown"), &steps), None);
    }
}
