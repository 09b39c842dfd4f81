//! Whether facts are the whole truth: a forbidden or cut list must never look like an empty one.

use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::facts::{Facts, KindFacts, Need, Readability};
use meshery_plugin_api::message::finding::Finding;

/// Whether all there is was read. A kind that the server does not serve has no objects.
pub fn is_whole(kind: &KindFacts) -> bool {
    matches!(
        kind.state,
        Readability::Present | Readability::Absent | Readability::NotServed
    )
}

/// Whether every need of this kind was read as a whole, and there was at least one.
pub fn kind_is_whole(facts: &Facts, group: &str, kind: &str) -> bool {
    let mut asked = false;
    for facts in facts
        .kinds
        .iter()
        .filter(|k| k.need.group == group && k.need.kind == kind)
    {
        asked = true;
        if !is_whole(facts) {
            return false;
        }
    }
    asked
}

/// An error unless every need of this kind was read as a whole: for what nothing can be said without.
pub fn demand(facts: &Facts, group: &str, kind: &str) -> Result<(), PluginError> {
    let partial = facts
        .kinds
        .iter()
        .find(|k| k.need.group == group && k.need.kind == kind && !is_whole(k));
    partial.map_or(Ok(()), |partial| {
        Err(PluginError::new("facts-incomplete", what(partial))
            .cause(partial.reason.clone())
            .remedy(format!("use an identity that may list {}", place(&partial.need))))
    })
}

/// A warning for each need that was not read as a whole.
pub fn gaps(facts: &Facts) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for kind in facts.kinds.iter().filter(|kind| !is_whole(kind)) {
        let mut message = what(kind);
        if !kind.reason.is_empty() {
            message = format!("{message}: {}", kind.reason);
        }
        if findings.iter().any(|finding| finding.message == message) {
            continue;
        }
        findings.push(Finding::warning("facts-incomplete", message).remedy(format!(
            "use an identity that may list {}, or look there yourself before going on",
            place(&kind.need)
        )));
    }
    findings
}

fn what(kind: &KindFacts) -> String {
    let place = place(&kind.need);
    match kind.state {
        Readability::Forbidden => format!("{place} may not be read"),
        Readability::Truncated => format!("there are more {place} than were read"),
        _ => format!("{place} were not read"),
    }
}

fn place(need: &Need) -> String {
    let mut place = if need.group.is_empty() {
        format!("{} objects", need.kind)
    } else {
        format!("{}.{} objects", need.kind, need.group)
    };
    if !need.namespace.is_empty() {
        place = format!("{place} in namespace \"{}\"", need.namespace);
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(state: Readability) -> Facts {
        Facts {
            kinds: vec![KindFacts {
                need: Need {
                    group: "apps".into(),
                    kind: "Deployment".into(),
                    namespace: "shop".into(),
                    ..Need::default()
                },
                state,
                reason: "user \"eve\" cannot list deployments".into(),
                ..KindFacts::default()
            }],
            ..Facts::default()
        }
    }

    #[test]
    fn a_forbidden_or_cut_list_is_a_gap_and_an_empty_one_is_not() {
        for state in [
            Readability::Forbidden,
            Readability::Truncated,
            Readability::Unknown,
        ] {
            let facts = facts(state);
            assert!(!kind_is_whole(&facts, "apps", "Deployment"));
            let error = demand(&facts, "apps", "Deployment").unwrap_err();
            assert!(
                error.cause.contains("eve") && error.remedy.contains("\"shop\""),
                "{error:?}"
            );
            assert_eq!(gaps(&facts).len(), 1);
        }
        for state in [Readability::Present, Readability::Absent, Readability::NotServed] {
            let facts = facts(state);
            assert!(demand(&facts, "apps", "Deployment").is_ok() && gaps(&facts).is_empty());
        }
    }

    #[test]
    fn what_nobody_asked_for_is_not_whole() {
        assert!(!kind_is_whole(&facts(Readability::Absent), "", "Secret"));
    }
}
