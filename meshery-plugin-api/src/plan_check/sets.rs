//! Sets of objects: each is applied by one step, with the core's own field manager, so that what belongs to it is clear.

use std::collections::HashSet;

use super::fault;
use crate::error::PluginError;
use crate::message::plan::{Action, Step};

/// The most characters of a set's name: together with the adapter's it is the value of a label.
const LONGEST: usize = 40;

/// Checks that steps say which sets they mean, and that no two apply the same.
pub(super) fn check(steps: &[&Step]) -> Result<(), PluginError> {
    let mut applied: HashSet<&str> = HashSet::new();
    for step in steps {
        let set = match &step.action {
            Action::Apply(apply) => {
                if apply.set.is_empty() && apply.prune {
                    return Err(fault(format!("step {} is to prune, but names no set", step.id)));
                }
                if !apply.set.is_empty() && !apply.manager.is_empty() {
                    return Err(fault(format!(
                        "step {} applies a set with a field manager of its own",
                        step.id
                    )));
                }
                if !apply.set.is_empty() && !applied.insert(&apply.set) {
                    return Err(fault(format!(
                        "step {} applies set {}, which another step applies",
                        step.id, apply.set
                    )));
                }
                &apply.set
            }
            Action::Delete(delete) => &delete.set,
            _ => continue,
        };
        if !set.is_empty() && !is_name(set) {
            return Err(fault(format!(
                "\"{}\" in step {} is no name of a set: lower-case letters, digits and dashes, with a letter or digit at \
                 both ends, at most {LONGEST}",
                set.escape_debug(),
                step.id
            )));
        }
    }
    Ok(())
}

/// Whether steps of an expansion stay away from sets: nobody could say before what they would prune.
pub(super) fn check_expansion(steps: &[&Step]) -> Result<(), PluginError> {
    let names_set = |step: &&&Step| match &step.action {
        Action::Apply(apply) => !apply.set.is_empty(),
        Action::Delete(delete) => !delete.set.is_empty(),
        _ => false,
    };
    match steps.iter().find(names_set) {
        Some(step) => Err(fault(format!("step {} of an expansion names a set", step.id))),
        None => Ok(()),
    }
}

fn is_name(set: &str) -> bool {
    set.len() <= LONGEST
        && !set.starts_with('-')
        && !set.ends_with('-')
        && set
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn checked(steps: Value) -> Result<(), String> {
        let steps: Vec<Step> = serde_json::from_value(steps).unwrap();
        let steps: Vec<&Step> = steps.iter().collect();
        check(&steps).map_err(|error| error.message)
    }

    #[test]
    fn a_set_has_a_name_and_is_applied_once_and_with_the_cores_own_manager() {
        let apply = |id: &str, set: &str| json!({"id": id, "kind": "apply", "objects": [], "set": set});
        checked(json!([apply("a", "shop"), apply("b", "other"), apply("c", "")])).unwrap();
        checked(json!([{"id": "a", "kind": "delete", "set": "shop"}])).unwrap();
        let mut managed = apply("a", "shop");
        managed["manager"] = "someone".into();
        for (steps, word) in [
            (json!([apply("a", "shop"), apply("b", "shop")]), "another step"),
            (json!([apply("a", "Shop")]), "\"Shop\""),
            (json!([{"id": "a", "kind": "delete", "set": "-x"}]), "\"-x\""),
            (json!([apply("a", &"x".repeat(41))]), "at most 40"),
            (json!([managed]), "manager of its own"),
            (
                json!([{"id": "a", "kind": "apply", "prune": true}]),
                "names no set",
            ),
        ] {
            let message = checked(steps).unwrap_err();
            assert!(message.contains(word), "{word}: {message}");
        }
    }

    #[test]
    fn an_expansion_names_no_set() {
        let step: Step = serde_json::from_value(json!({"id": "a", "kind": "apply", "set": "x"})).unwrap();
        assert!(check_expansion(&[&step]).is_err());
    }
}
