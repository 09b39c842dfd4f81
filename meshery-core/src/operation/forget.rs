//! Giving an operation up that can never be brought to an end: its cluster is gone, or what it would take back cannot be.
//!
//! What it has left behind is listed for good, and the cluster is free for others again.

use std::collections::{BTreeMap, HashSet};

use meshery_plugin_api::message::object_ref::ObjectRef;

use super::journal::entry::{Entry, ObjectChange, Reversal, Timed};
use super::operations::Operations;
use super::plan::stored::unreadable;
use super::record::{Left, OperationRecord};
use super::state::OperationState;
use crate::problem::{Problem, ProblemKind};
use crate::provider::Store;

/// How many objects a refusal names.
const NAMED: usize = 10;

impl Operations {
    /// Gives up an operation that was interrupted or could not be taken back whole. Refused with the list of what it
    /// leaves behind unless `accept` says that this was understood.
    pub async fn forget(&self, id: &str, accept: bool) -> Result<OperationRecord, Problem> {
        let (this, id) = (self.clone(), id.to_owned());
        self.to_its_end(async move { this.forget_now(&id, accept).await })
            .await
    }

    async fn forget_now(&self, id: &str, accept: bool) -> Result<OperationRecord, Problem> {
        let engine = &self.engine;
        let _claim = engine.claim(id).await?;
        let stored = engine.load(id).await?;
        let state = stored.record.state;
        if !matches!(
            state,
            OperationState::Interrupted | OperationState::UndoIncomplete
        ) {
            return Err(Problem::new(
                ProblemKind::Conflict,
                "not-forgettable",
                format!("operation {id} is {state}; only what cannot be brought to an end is given up"),
            )
            .remedy("cancel what runs, take back what has ended; old operations go by themselves"));
        }
        let left = left_behind(&engine.store, id).await?;
        if !accept && !left.is_empty() {
            return Err(leaves(id, &left));
        }
        let by = engine.store.user().await?.name;
        let mut entries: Vec<Entry> = left
            .into_iter()
            .map(|left| Entry::Left {
                step: String::new(),
                left,
            })
            .collect();
        entries.push(Entry::State {
            state: OperationState::Forgotten,
            error: None,
            message: Some(format!("given up by {by}")),
        });
        let record = self.write(stored.record, entries).await?;
        super::stored::Stored::update(&engine.store, id, |stored| stored.record = record.clone()).await?;
        engine.store.reserve(id, 0).await?;
        Ok(record)
    }
}

fn leaves(id: &str, left: &[Left]) -> Problem {
    let mut named: Vec<String> = left
        .iter()
        .take(NAMED)
        .map(|left| format!("{} ({})", left.object, left.why))
        .collect();
    if left.len() > NAMED {
        named.push(format!("{} more", left.len() - NAMED));
    }
    Problem::new(
        ProblemKind::Conflict,
        "leaves-behind",
        format!("operation {id} leaves behind: {}", named.join(", ")),
    )
    .remedy(
        "resume or undo it; if that cannot be done, say that this is accepted, and look after these yourself",
    )
}

/// What an operation did to the cluster and did not take back, as far as its journal knows.
async fn left_behind(store: &Store, id: &str) -> Result<Vec<Left>, Problem> {
    let mut entries = Vec::new();
    for entry in store.read(id, 0).await? {
        let timed: Timed = serde_json::from_value(entry.entry).map_err(|error| unreadable(&error))?;
        entries.push(timed.entry);
    }
    Ok(left_by(entries))
}

/// The same, by the entries in their order.
fn left_by(entries: impl IntoIterator<Item = Entry>) -> Vec<Left> {
    let mut left: BTreeMap<ObjectRef, &str> = BTreeMap::new();
    // What was there before.
    let mut before: HashSet<ObjectRef> = HashSet::new();
    for entry in entries {
        match entry {
            Entry::Intent { objects, .. } => {
                for intent in objects {
                    if intent.before.is_some() {
                        before.insert(intent.object.clone());
                    }
                    left.insert(
                        intent.object,
                        "it may have been changed: nobody could say any more",
                    );
                }
            }
            Entry::Outcome { object, change, .. } => match change {
                ObjectChange::Created => drop(left.insert(object, "made")),
                ObjectChange::Updated => drop(left.insert(object, "changed")),
                ObjectChange::Recreated => drop(left.insert(object, "made anew")),
                ObjectChange::Deleted => drop(left.insert(object, "deleted")),
                ObjectChange::Restarted => drop(left.insert(object, "restarted")),
                ObjectChange::Unchanged
                | ObjectChange::Absent
                | ObjectChange::Kept
                | ObjectChange::Ready
                | ObjectChange::Accepted => drop(left.remove(&object)),
            },
            // One that made room for it does not come back.
            Entry::Discarded { object, .. } if before.contains(&object) => {
                left.insert(object, "deleted");
            }
            Entry::Discarded { object, .. } => drop(left.remove(&object)),
            Entry::Reverted { object, result, .. }
                if !matches!(result, Reversal::Left | Reversal::Unchanged | Reversal::Restarted) =>
            {
                left.remove(&object);
            }
            _ => {}
        }
    }
    left.into_iter()
        .map(|(object, why)| Left {
            object,
            why: why.to_owned(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::journal::entry::{Intent, Stored};
    use super::*;

    #[test]
    fn a_hook_that_is_gone_again_is_not_left_behind_unless_it_took_the_place_of_another() {
        let object = |name: &str| ObjectRef::new("batch/v1", "Job", "space", name);
        let intent = |name: &str, before| Entry::Intent {
            step: "s".into(),
            objects: vec![Intent {
                object: object(name),
                before,
            }],
        };
        let outcome = |name: &str, change| Entry::Outcome {
            step: "s".into(),
            object: object(name),
            change,
            uid: "u".into(),
            fields: Stored::Nothing,
            done: 1,
            total: 1,
        };
        let discarded = |name: &str| Entry::Discarded {
            step: "s".into(),
            object: object(name),
        };
        let there = Some(Stored::Plain(serde_json::json!({})));
        let left = left_by([
            intent("stays", None),
            outcome("stays", ObjectChange::Created),
            intent("goes", None),
            outcome("goes", ObjectChange::Created),
            intent("in-place", there),
            outcome("in-place", ObjectChange::Recreated),
            intent("unknown", None),
            discarded("goes"),
            discarded("in-place"),
        ]);
        let told: Vec<(&str, &str)> = left
            .iter()
            .map(|left| (left.object.name.as_str(), left.why.split(':').next().unwrap()))
            .collect();
        assert_eq!(
            told,
            [
                ("in-place", "deleted"),
                ("stays", "made"),
                ("unknown", "it may have been changed")
            ]
        );
    }
}
