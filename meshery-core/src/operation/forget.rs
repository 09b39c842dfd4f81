//! Giving an operation up that can never be brought to an end: its cluster is gone, or what it would take back cannot be.
//!
//! What it has left behind is listed for good, and the cluster is free for others again.

use std::collections::BTreeMap;

use meshery_plugin_api::message::object_ref::ObjectRef;

use super::entry::{Entry, ObjectChange, Reversal, Timed};
use super::operations::Operations;
use super::record::{Left, OperationRecord};
use super::state::OperationState;
use super::stored_plan::unreadable;
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
    let mut left: BTreeMap<ObjectRef, &str> = BTreeMap::new();
    for entry in store.read(id, 0).await? {
        let timed: Timed = serde_json::from_value(entry.entry).map_err(|error| unreadable(&error))?;
        match timed.entry {
            Entry::Intent { objects, .. } => {
                for intent in objects {
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
            Entry::Reverted { object, result, .. }
                if !matches!(result, Reversal::Left | Reversal::Unchanged | Reversal::Restarted) =>
            {
                left.remove(&object);
            }
            _ => {}
        }
    }
    Ok(left
        .into_iter()
        .map(|(object, why)| Left {
            object,
            why: why.to_owned(),
        })
        .collect())
}
