//! Namespaces: whether one is there, and steps that make or remove it.

use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::facts::Facts;
use meshery_plugin_api::message::finding::Finding;
use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_plugin_api::message::plan::{Condition, PlanRequest, Target};
use serde_json::{Value, json};

use crate::object::{label, name, text};
use crate::parameter;
use crate::readable::{demand, is_whole};

/// What facts say about a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It is not there.
    Absent,
    /// It is there.
    Present,
    /// It is being deleted.
    Terminating,
    /// It cannot be told.
    Unknown,
}

/// The namespace among the facts.
pub fn find<'a>(facts: &'a Facts, namespace: &str) -> Option<&'a Value> {
    facts
        .objects("", "Namespace")
        .find(|object| name(object) == namespace)
}

/// What the facts say about a namespace. Some need must have asked for it by name.
pub fn state(facts: &Facts, namespace: &str) -> State {
    if let Some(object) = find(facts, namespace) {
        let terminating = text(object, "/status/phase") == "Terminating"
            || !text(object, "/metadata/deletionTimestamp").is_empty();
        return if terminating {
            State::Terminating
        } else {
            State::Present
        };
    }
    let asked = facts.kinds.iter().find(|kind| {
        kind.need.group.is_empty() && kind.need.kind == "Namespace" && kind.need.name == namespace
    });
    match asked {
        Some(kind) if is_whole(kind) => State::Absent,
        _ => State::Unknown,
    }
}

/// The namespace that a request names in its parameter of that name, if it can be changed.
pub fn asked(request: &PlanRequest) -> Result<&str, PluginError> {
    let target = parameter::namespace(request, "namespace", "")?;
    demand(&request.facts, "", "Namespace")?;
    match state(&request.facts, target) {
        State::Absent => Err(PluginError::new(
            "namespace-unknown",
            format!("there is no namespace \"{target}\""),
        )
        .remedy("create it first")),
        State::Terminating => Err(PluginError::new(
            "namespace-terminating",
            format!("namespace \"{target}\" is being deleted"),
        )
        .remedy("wait until it is gone, and create it again")),
        State::Present | State::Unknown => Ok(target),
    }
}

/// The reference of a namespace.
pub fn reference(namespace: &str) -> ObjectRef {
    ObjectRef::new("v1", "Namespace", "", namespace)
}

/// The manifest of a namespace.
pub fn manifest(namespace: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
}

/// Manifests of those that are not there. One that is there is left alone: applying it would make us its owner.
pub fn missing(facts: &Facts, namespaces: &[&str]) -> Vec<Value> {
    let mut missing: Vec<&str> = Vec::new();
    for namespace in namespaces {
        if !missing.contains(namespace) && state(facts, namespace) != State::Present {
            missing.push(namespace);
        }
    }
    missing.into_iter().map(manifest).collect()
}

/// The namespace as something to delete if we made it and nothing of others is left inside.
pub fn removal(namespace: &str) -> Target {
    Target {
        object: reference(namespace),
        when: Condition::OursAndEmpty,
    }
}

/// An error finding when the namespace is being deleted: nothing can be made in it.
pub fn terminating(facts: &Facts, namespace: &str) -> Option<Finding> {
    (state(facts, namespace) == State::Terminating).then(|| {
        Finding::error(
            "namespace-terminating",
            format!("namespace \"{namespace}\" is being deleted"),
        )
        .about(reference(namespace))
        .remedy(format!(
            "wait until it is gone; if it stays, `kubectl get namespace {namespace} -o yaml` says \
             what holds it"
        ))
    })
}

/// Label of a namespace with the level of PodSecurity that it enforces.
pub const ENFORCED: &str = "pod-security.kubernetes.io/enforce";

/// What the namespace demands of its pods, if anything.
pub fn pod_security<'a>(facts: &'a Facts, namespace: &str) -> Option<&'a str> {
    label(find(facts, namespace)?, ENFORCED).filter(|level| *level != "privileged")
}

/// The level that a namespace enforces, if pods with a proxy would be refused by it. Without a CNI plugin a container that runs
/// before the others sets up the pod's network, for which it needs rights that both levels refuse; with one `baseline` has nothing
/// against a proxy.
pub fn refuses_proxies<'a>(facts: &'a Facts, namespace: &str, with_plugin: bool) -> Option<&'a str> {
    pod_security(facts, namespace).filter(|level| !with_plugin || *level != "baseline")
}

#[cfg(test)]
mod tests {
    use meshery_plugin_api::message::facts::{KindFacts, Need, Readability};

    use super::*;

    fn facts(state: Readability, objects: Vec<Value>) -> Facts {
        Facts {
            kinds: vec![KindFacts {
                need: Need {
                    kind: "Namespace".into(),
                    name: "shop".into(),
                    ..Need::default()
                },
                state,
                objects,
                ..KindFacts::default()
            }],
            ..Facts::default()
        }
    }

    #[test]
    fn absent_terminating_and_unknown_are_told_apart() {
        assert_eq!(state(&facts(Readability::Absent, vec![]), "shop"), State::Absent);
        assert_eq!(
            state(&facts(Readability::Forbidden, vec![]), "shop"),
            State::Unknown
        );
        assert_eq!(
            state(&facts(Readability::Absent, vec![]), "other"),
            State::Unknown
        );
        let mut object = manifest("shop");
        let there = facts(Readability::Present, vec![object.clone()]);
        assert_eq!(state(&there, "shop"), State::Present);
        object["status"]["phase"] = json!("Terminating");
        let going = facts(Readability::Present, vec![object]);
        assert_eq!(state(&going, "shop"), State::Terminating);
        assert!(terminating(&going, "shop").is_some());
    }

    #[test]
    fn only_what_is_not_there_is_made_and_only_once() {
        let absent = facts(Readability::Absent, vec![]);
        assert_eq!(missing(&absent, &["shop", "shop"]), [manifest("shop")]);
        let there = facts(Readability::Present, vec![manifest("shop")]);
        assert!(missing(&there, &["shop"]).is_empty());
    }
    #[test]
    fn a_plugin_on_the_nodes_lets_proxies_into_baseline_and_not_into_restricted() {
        for (level, without, with) in [
            ("privileged", false, false),
            ("baseline", true, false),
            ("restricted", true, true),
        ] {
            let mut object = manifest("shop");
            object["metadata"]["labels"] = json!({ENFORCED: level});
            let facts = facts(Readability::Present, vec![object]);
            assert_eq!(
                refuses_proxies(&facts, "shop", false).is_some(),
                without,
                "{level}"
            );
            assert_eq!(refuses_proxies(&facts, "shop", true).is_some(), with, "{level}");
        }
    }
}
