//! Giving an operation up that can never be brought to an end: its cluster is gone, or what it would take back cannot be.
//!
//! What it has left behind is listed for good, and the cluster is free for others again.

use std::collections::BTreeMap;

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
    let mut left = LeftBehind::default();
    for entry in entries {
        left.take_in(entry);
    }
    left.by_object()
}

/// What was done to each object, step by step in the order in which they began with it.
#[derive(Default)]
struct LeftBehind {
    done: BTreeMap<ObjectRef, Vec<Done>>,
}

struct Done {
    step: String,
    /// Whether it was there before the step.
    was_there: bool,
    /// What was done; nothing when it was nothing, or was taken back.
    what: Option<&'static str>,
}

impl LeftBehind {
    fn take_in(&mut self, entry: Entry) {
        match entry {
            Entry::Intent { step, objects } => {
                for intent in objects {
                    let done = self.done(&step, &intent.object);
                    done.was_there |= intent.before.is_some();
                    done.what = Some("it may have been changed: nobody could say any more");
                }
            }
            Entry::Outcome {
                step, object, change, ..
            } => {
                self.done(&step, &object).what = match change {
                    ObjectChange::Created => Some("made"),
                    ObjectChange::Updated => Some("changed"),
                    ObjectChange::Recreated => Some("made anew"),
                    ObjectChange::Deleted => Some("deleted"),
                    ObjectChange::Restarted => Some("restarted"),
                    ObjectChange::Unchanged
                    | ObjectChange::Absent
                    | ObjectChange::Kept
                    | ObjectChange::Ready
                    | ObjectChange::Accepted => None,
                };
            }
            Entry::Discarded { step, object } => {
                let done = self.done(&step, &object);
                // One that made room for it does not come back.
                done.what = done.was_there.then_some("deleted");
            }
            Entry::Reverted {
                step, object, result, ..
            } => self.reverted(&step, &object, result),
            _ => {}
        }
    }

    /// A step has taken back what it did, and says nothing of what others did to the object; but when that is gone, so is
    /// what later ones have changed in it.
    fn reverted(&mut self, step: &str, object: &ObjectRef, result: Reversal) {
        if matches!(result, Reversal::Left | Reversal::Restarted) {
            return;
        }
        let Some(done) = self.done.get_mut(object) else {
            return;
        };
        let mut steps = done.iter_mut().skip_while(|done| done.step != step);
        if let Some(own) = steps.next() {
            own.what = None;
        }
        if result == Reversal::Removed {
            steps.for_each(|later| later.what = None);
        }
    }

    fn done(&mut self, step: &str, object: &ObjectRef) -> &mut Done {
        let steps = self.done.entry(object.clone()).or_default();
        let at = steps
            .iter()
            .position(|done| done.step == step)
            .unwrap_or_else(|| {
                steps.push(Done {
                    step: step.to_owned(),
                    was_there: false,
                    what: None,
                });
                steps.len() - 1
            });
        &mut steps[at]
    }

    /// Each object once, with all that was done to it.
    fn by_object(self) -> Vec<Left> {
        let why = |done: &[Done]| {
            let mut all: Vec<&str> = done.iter().filter_map(|done| done.what).collect();
            all.dedup();
            (!all.is_empty()).then(|| all.join(", "))
        };
        self.done
            .into_iter()
            .filter_map(|(object, done)| Some((object, why(&done)?)))
            .map(|(object, why)| Left { object, why })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::journal::entry::{Intent, Stored};
    use super::*;

    fn object(name: &str) -> ObjectRef {
        ObjectRef::new("batch/v1", "Job", "space", name)
    }

    fn intent(step: &str, name: &str, before: Option<Stored<serde_json::Value>>) -> Entry {
        Entry::Intent {
            step: step.into(),
            objects: vec![Intent {
                object: object(name),
                before,
            }],
        }
    }

    fn outcome(step: &str, name: &str, change: ObjectChange) -> Entry {
        Entry::Outcome {
            step: step.into(),
            object: object(name),
            change,
            uid: "u".into(),
            fields: Stored::Nothing,
            done: 1,
            total: 1,
        }
    }

    fn reverted(step: &str, name: &str, result: Reversal) -> Entry {
        Entry::Reverted {
            step: step.into(),
            object: object(name),
            result,
            why: None,
            uid: None,
        }
    }

    fn there() -> Stored<serde_json::Value> {
        Stored::Plain(serde_json::json!({}))
    }

    /// What is left behind of one object that two steps have to do with.
    fn left_of_one(entries: Vec<Entry>) -> String {
        let left = left_by(entries);
        left.into_iter().map(|left| left.why).collect()
    }

    #[test]
    fn what_one_step_did_is_left_behind_although_another_took_back_what_it_did_to_the_same_object() {
        let deleted_and_made = || {
            vec![
                intent("first", "a", Some(there())),
                outcome("first", "a", ObjectChange::Deleted),
                intent("second", "a", None),
                outcome("second", "a", ObjectChange::Created),
            ]
        };
        assert_eq!(left_of_one(deleted_and_made()), "deleted, made");
        let mut undone = deleted_and_made();
        undone.push(reverted("second", "a", Reversal::Removed));
        assert_eq!(left_of_one(undone), "deleted");

        let mut changed_twice = vec![
            intent("first", "a", Some(there())),
            outcome("first", "a", ObjectChange::Updated),
            intent("second", "a", Some(there())),
            outcome("second", "a", ObjectChange::Updated),
            reverted("second", "a", Reversal::Restored),
        ];
        assert_eq!(left_of_one(changed_twice.clone()), "changed");
        changed_twice.push(reverted("first", "a", Reversal::Unchanged));
        assert_eq!(left_of_one(changed_twice), "", "it is as before");
    }

    #[test]
    fn of_what_is_gone_nothing_is_left_behind_that_later_steps_have_changed_in_it() {
        let made_and_changed = vec![
            intent("first", "a", None),
            outcome("first", "a", ObjectChange::Created),
            intent("second", "a", Some(there())),
            outcome("second", "a", ObjectChange::Updated),
            reverted("first", "a", Reversal::Removed),
        ];
        assert_eq!(left_of_one(made_and_changed), "");
    }

    #[test]
    fn a_hook_that_is_gone_again_is_not_left_behind_unless_it_took_the_place_of_another() {
        let intent = |name: &str, before| intent("s", name, before);
        let outcome = |name: &str, change| outcome("s", name, change);
        let discarded = |name: &str| Entry::Discarded {
            step: "s".into(),
            object: object(name),
        };
        let left = left_by([
            intent("stays", None),
            outcome("stays", ObjectChange::Created),
            intent("goes", None),
            outcome("goes", ObjectChange::Created),
            intent("in-place", Some(there())),
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
