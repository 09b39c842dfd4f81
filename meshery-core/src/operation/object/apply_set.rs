//! Sets of objects: what belongs together is marked, so that what fell away since can be found and deleted.
//!
//! The mark is a label with the adapter's name and the set's, given with the apply that makes the object. A label is
//! copied easily, so it decides nothing alone: what goes has to have been made by us, its mark to be written by us, and
//! nobody else may apply the object. All of that is looked at when the plan is made and once more before it is deleted,
//! by its uid; what does not fit stays and is named.

use std::collections::BTreeSet;

use futures::{StreamExt as _, TryStreamExt as _};
use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_plugin_api::message::plan::{Apply, Condition};
use serde_json::{Map, Value};

use super::mark::{operation_of, text};
use crate::cluster::diff::LAST_APPLIED;
use crate::cluster::release::marks::is_kept;
use crate::operation::plan::resolve::{MANAGER, Resolved, Resolver};
use crate::operation::plan::rights;
use crate::operation::plan::stored::{DeleteTarget, Work};
use crate::operation::record::Left;
use crate::operation::release::removal::in_waves;
use crate::problem::{Problem, ProblemKind};

/// Label with the adapter and the set that an object belongs to.
pub(super) const SET: &str = "meshery.io/set";
/// Characters of a label's value.
const LONGEST: usize = 63;
/// How many objects fall away at a time: each is written down before it is deleted.
const MOST: usize = 2_000;
const AT_A_TIME: usize = 16;
/// How many sets are named where one that is asked for is not there.
const NAMED: usize = 10;

/// What of a set is there and not wanted: what goes, and what stays and why.
#[derive(Debug, Default)]
pub(in crate::operation) struct Fallen {
    pub targets: Vec<DeleteTarget>,
    pub kept: Vec<Left>,
}

impl Resolver<'_> {
    /// Marks the objects of a step as those of its set. What has the mark of another one already, in a manifest that was
    /// copied from a cluster perhaps, loses it.
    pub(in crate::operation) fn mark_set(
        &self,
        step: &str,
        apply: &Apply,
        objects: &mut [Value],
    ) -> Result<(), Problem> {
        let label = if apply.set.is_empty() {
            None
        } else {
            Some(self.label_of(step, &apply.set)?)
        };
        for object in objects {
            set_label(object, label.as_deref());
        }
        Ok(())
    }

    fn label_of(&self, step: &str, set: &str) -> Result<String, Problem> {
        let label = format!("{}.{set}", self.adapter);
        if label.len() > LONGEST {
            return Err(Problem::new(
                ProblemKind::Invalid,
                "bad-plan",
                format!("step {step}: the set \"{set}\" has too long a name: with the adapter's own it is \"{label}\""),
            )
            .remedy("choose a shorter one"));
        }
        Ok(label)
    }

    /// What of a set is in the cluster, apart from what is wanted.
    pub(in crate::operation) async fn fallen(
        &self,
        step: &str,
        set: &str,
        wanted: &[Vec<ObjectRef>],
        resolved: &mut Resolved,
    ) -> Result<Fallen, Problem> {
        let label = self.label_of(step, set)?;
        let found = self.cluster.marked(&format!("{SET}={label}")).await?;
        resolved.notes.extend(found.unreadable.iter().map(|kind| {
            format!(
                "set {set}: {} of {} could not be looked at ({}); if the set has some, they stay",
                kind.kind, kind.api_version, kind.reason
            )
        }));
        let is_wanted = |object: &ObjectRef| {
            // Whichever version it is listed by.
            let key = |of: &ObjectRef| {
                (
                    of.group.clone(),
                    of.kind.clone(),
                    of.namespace.clone(),
                    of.name.clone(),
                )
            };
            wanted.iter().flatten().any(|wanted| key(wanted) == key(object))
        };
        let looks: Vec<_> = found
            .objects
            .into_iter()
            // What has a controller got its labels from it, and goes with it.
            .filter(|found| !found.deleting && !found.owners.iter().any(|owner| owner.controller))
            .filter(|found| !is_wanted(&found.object))
            .map(|found| async move {
                let now = self.cluster.get_if_served(&found.object).await?;
                Ok::<_, Problem>(now.map(|now| (found.object, now)))
            })
            .collect();
        let looked: Vec<Option<(ObjectRef, Value)>> = futures::stream::iter(looks)
            .buffered(AT_A_TIME)
            .try_collect()
            .await?;
        let mut fallen = Fallen::default();
        for (object, now) in looked.into_iter().flatten() {
            if let Some(why) = reason_to_stay(&now, &label) {
                fallen.kept.push(Left { object, why });
                continue;
            }
            rights::check(self.adapter, step, &object, &Value::Null, &self.bounds)?;
            fallen.targets.push(DeleteTarget {
                when: condition(&object),
                object,
                uid: Some(text(&now, "/metadata/uid").to_owned()),
                set: Some(label.clone()),
            });
        }
        if fallen.targets.len() > MOST {
            return Err(Problem::new(
                ProblemKind::TooLarge,
                "too-many-fallen",
                format!(
                    "step {step} would delete {} objects of set {set}; {MOST} is the limit",
                    fallen.targets.len()
                ),
            )
            .remedy("take it down in parts, or apply it without pruning"));
        }
        Ok(fallen)
    }

    /// That nothing is there of a set, and of which sets something is.
    pub(in crate::operation) async fn no_such_set(&self, set: &str) -> Result<String, Problem> {
        let found = self.cluster.marked(SET).await?;
        let ours = format!("{}.", self.adapter);
        let labels = found.objects.iter().filter_map(|object| object.labels.get(SET));
        let sets: BTreeSet<&str> = labels.filter_map(|label| label.strip_prefix(&ours)).collect();
        let mut there: Vec<&str> = sets.iter().copied().take(NAMED).collect();
        if there.is_empty() {
            there.push("none");
        } else if sets.len() > NAMED {
            there.push("and others");
        }
        Ok(format!(
            "Nothing of set \"{set}\" is in the cluster; sets of {} that are: {}.",
            self.adapter,
            there.join(", ")
        ))
    }
}

impl Fallen {
    /// The step that deletes it; nothing when there is nothing to say.
    pub fn work(self) -> Option<Work> {
        if self.targets.is_empty() && self.kept.is_empty() {
            return None;
        }
        Some(Work::Delete {
            waves: in_waves(self.targets),
            kept: self.kept,
            removes: None,
        })
    }
}

/// What holds others' objects goes only when they are gone.
fn condition(object: &ObjectRef) -> Condition {
    match (object.group.as_str(), object.kind.as_str()) {
        ("", "Namespace") | ("apiextensions.k8s.io", "CustomResourceDefinition") => Condition::OursAndEmpty,
        _ => Condition::Ours,
    }
}

/// Why an object with a set's mark is not ours to delete with it; nothing when it is.
pub(in crate::operation) fn reason_to_stay(now: &Value, label: &str) -> Option<String> {
    let metadata = &now["metadata"];
    if metadata["labels"][SET] != label {
        return Some("it does not belong to the set any more".into());
    }
    if operation_of(now).is_none() {
        return Some("it was not made by Meshery".into());
    }
    if is_kept(&metadata["annotations"]) {
        return Some("it asks to be kept (helm.sh/resource-policy)".into());
    }
    let entries: Vec<&Value> = metadata["managedFields"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|entry| entry.get("subresource").is_none())
        .collect();
    let marks = |entry: &&&Value| {
        let labels = &entry["fieldsV1"]["f:metadata"]["f:labels"];
        labels.get(format!("f:{SET}")).is_some()
    };
    if !entries
        .iter()
        .any(|entry| entry["manager"] == MANAGER && marks(&entry))
    {
        let by = entries.iter().find(marks).map(|entry| text(entry, "/manager"));
        return Some(match by {
            Some(by) => format!("{by} has taken it over: the mark of the set is by {by} and not by Meshery"),
            None => "nobody knows who has written the mark of the set".into(),
        });
    }
    if let Some(other) = entries
        .iter()
        .find(|entry| entry["operation"] == "Apply" && entry["manager"] != MANAGER)
    {
        let by = text(other, "/manager");
        return Some(format!("{by} has taken it over: it applies it as well"));
    }
    if metadata["annotations"].get(LAST_APPLIED).is_some() {
        return Some("kubectl has taken it over: it applies it as well".into());
    }
    None
}

fn set_label(object: &mut Value, label: Option<&str>) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
        return;
    };
    let Some(label) = label else {
        if let Some(labels) = metadata.get_mut("labels").and_then(Value::as_object_mut) {
            labels.remove(SET);
        }
        return;
    };
    let labels = metadata.entry("labels").or_insert(Value::Null);
    if labels.is_null() {
        *labels = Value::Object(Map::new());
    }
    if let Some(labels) = labels.as_object_mut() {
        labels.insert(SET.to_owned(), label.into());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::mark::OPERATION;
    use super::*;

    const LABEL: &str = "demo.shop";

    fn entry(manager: &str, operation: &str, labels: Value) -> Value {
        json!({"manager": manager, "operation": operation, "fieldsV1": {"f:metadata": {"f:labels": labels}}})
    }

    fn member() -> Value {
        json!({"metadata": {
        "labels": {SET: LABEL}, "annotations": {OPERATION: "x"},
        "managedFields": [
            entry(MANAGER, "Apply", json!({"f:meshery.io/set": {}})),
            entry("kubectl-edit", "Update", json!({"f:other": {}})),
        ]}})
    }

    #[test]
    fn what_we_made_and_marked_goes_although_others_have_changed_fields_of_it() {
        assert_eq!(reason_to_stay(&member(), LABEL), None);
        let mut made_again = member();
        made_again["metadata"]["managedFields"][0]["operation"] = "Update".into();
        assert_eq!(reason_to_stay(&made_again, LABEL), None);
    }

    #[test]
    fn what_others_have_made_copied_or_taken_over_stays() {
        let changed = |change: &dyn Fn(&mut Value)| {
            let mut object = member();
            change(&mut object["metadata"]);
            reason_to_stay(&object, LABEL).expect("a reason")
        };
        for (why, word) in [
            (changed(&|metadata| metadata["labels"] = json!({})), "any more"),
            (
                changed(&|metadata| metadata["labels"][SET] = "demo.other".into()),
                "any more",
            ),
            (
                changed(&|metadata| metadata["annotations"] = json!({})),
                "not made by Meshery",
            ),
            (
                changed(&|metadata| {
                    metadata["annotations"]["helm.sh/resource-policy"] = "keep".into();
                }),
                "asks to be kept",
            ),
            (
                changed(&|metadata| {
                    metadata["managedFields"][0]["manager"] = "kubectl-create".into();
                }),
                "by kubectl-create and not by Meshery",
            ),
            (
                changed(&|metadata| metadata["managedFields"] = json!([])),
                "nobody knows",
            ),
            (
                changed(&|metadata| {
                    metadata["managedFields"][1] = entry("gitops", "Apply", json!({"f:other": {}}));
                }),
                "gitops has taken it over",
            ),
            (
                changed(&|metadata| metadata["annotations"][LAST_APPLIED] = "{}".into()),
                "kubectl has taken it over",
            ),
        ] {
            assert!(why.contains(word), "{word}: {why}");
        }
    }

    #[test]
    fn the_mark_is_added_beside_other_labels_and_one_that_was_copied_is_not_kept() {
        let mut object = json!({"metadata": {"labels": {"app": "x", SET: "other.one"}}});
        set_label(&mut object, Some(LABEL));
        assert_eq!(object["metadata"]["labels"], json!({"app": "x", SET: LABEL}));
        set_label(&mut object, None);
        assert_eq!(object["metadata"]["labels"], json!({"app": "x"}));
        let mut bare = json!({"metadata": {"labels": null}});
        set_label(&mut bare, Some(LABEL));
        assert_eq!(bare["metadata"]["labels"], json!({SET: LABEL}));
    }

    #[test]
    fn what_may_hold_objects_of_others_goes_only_when_it_is_empty() {
        let of = |text: &str| condition(&text.parse().unwrap());
        assert_eq!(of("v1/Namespace//a"), Condition::OursAndEmpty);
        assert_eq!(
            of("apiextensions.k8s.io/v1/CustomResourceDefinition//a"),
            Condition::OursAndEmpty
        );
        assert_eq!(of("v1/ConfigMap/a/b"), Condition::Ours);
    }
}
