//! Whether a plan stays within what its adapter has declared: its real power is the plan it returns.

use meshery_plugin_api::message::descriptor::{RbacScope, Rights};
use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_plugin_api::rights::missing;
use serde_json::Value;

use crate::problem::{Problem, ProblemKind};

/// What a plan, or a part of it, has to stay within.
#[derive(Debug, Clone, Copy)]
pub(in crate::operation) struct Bounds<'a> {
    /// What the adapter has declared.
    pub declared: &'a Rights,
    /// What the plan has declared of this part.
    pub within: Option<&'a Rights>,
}

/// Refuses an object that is to be written and lies outside of the rights. `object` is its manifest, or null when it
/// is to be deleted or restarted.
pub(in crate::operation) fn check(
    adapter: &str,
    step: &str,
    reference: &ObjectRef,
    object: &Value,
    bounds: &Bounds<'_>,
) -> Result<(), Problem> {
    let rights = [Some(bounds.declared), bounds.within];
    let Some(right) = rights
        .into_iter()
        .flatten()
        .find_map(|rights| missing(reference, object, rights))
    else {
        return Ok(());
    };
    Err(Problem::new(
        ProblemKind::Forbidden,
        "beyond-rights",
        format!("step {step} of {adapter}'s plan would write {reference}, which needs {right}"),
    )
    .cause("the adapter has not declared that right in its descriptor or its plan, or a chart holds more than expected")
    .remedy("nothing was changed; report this to the adapter's author"))
}

/// The most that a part of a plan may do, for people.
pub(in crate::operation) fn in_words(rights: &Rights) -> String {
    let mut may = Vec::new();
    match rights.namespaces.as_slice() {
        [] => {}
        [all] if all == "*" => may.push("objects of any namespace".to_owned()),
        some => may.push(format!("objects of {}", some.join(", "))),
    }
    let mut also = |allowed: bool, what: &str| {
        if allowed {
            may.push(what.to_owned());
        }
    };
    also(rights.create_namespaces, "namespaces");
    also(rights.secrets, "Secrets");
    also(rights.crds, "custom resource definitions");
    also(rights.webhooks, "webhooks and admission policies");
    also(rights.rbac != RbacScope::None, "roles and bindings");
    also(rights.privileged_pods, "privileged pods");
    if !rights.cluster_groups.is_empty() {
        may.push(format!(
            "cluster-wide objects of {}",
            rights.cluster_groups.join(", ")
        ));
    }
    if may.is_empty() {
        return "it only waits or looks".into();
    }
    format!("it may change {}", may.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bounds_of_a_part_are_told_in_words() {
        let mut rights = Rights {
            namespaces: vec!["shop".into(), "mesh".into()],
            ..Rights::default()
        };
        assert_eq!(in_words(&rights), "it may change objects of shop, mesh");
        rights.secrets = true;
        assert!(in_words(&rights).ends_with("; Secrets"));
        assert_eq!(in_words(&Rights::default()), "it only waits or looks");
    }
}
