//! The record as it follows from the journal.

use meshery_plugin_api::message::object_ref::ObjectRef;

use super::entry::{Entry, Reversal, Stored, Timed};
use crate::operation::record::{LeftByStep, OperationRecord, OutputRecord, StepRecord, StepState};
use crate::operation::state::OperationState;

impl OperationRecord {
    /// Takes in the journal's next entry.
    pub(in crate::operation) fn fold(&mut self, seq: u64, entry: &Timed) {
        self.seq = seq;
        self.updated.clone_from(&entry.time);
        match &entry.entry {
            Entry::State { state, error, .. } => {
                if *state == OperationState::Undoing && !self.undo_has_begun() {
                    // What the run has left stays no more than what it has made: the undo says what it leaves itself.
                    self.left.clear();
                }
                self.state = *state;
                if *state == OperationState::AwaitingApproval {
                    // What was approved was another preview.
                    self.approved_by = None;
                }
                match (state, error) {
                    (_, Some(error)) => self.error = Some(error.clone()),
                    // It goes on: what stopped it is over, and in the journal.
                    (OperationState::Running | OperationState::Verifying, None) => self.error = None,
                    _ => {}
                }
            }
            Entry::GateApproved { step, by } => {
                let gate = self.step_mut(step).and_then(|step| step.gate.as_mut());
                if let Some(gate) = gate {
                    gate.approved_by = Some(by.clone());
                }
            }
            Entry::Approved { by } => self.approved_by = Some(by.clone()),
            Entry::Step { step, state, error } => {
                if let Some(step) = self.step_mut(step) {
                    step.state = *state;
                    if error.is_some() {
                        step.error.clone_from(error);
                    }
                    if *state == StepState::Done {
                        step.done = step.total;
                    }
                }
            }
            Entry::Outcome {
                step, done, total, ..
            }
            | Entry::Waiting {
                step, done, total, ..
            } => {
                if let Some(step) = self.step_mut(step) {
                    (step.done, step.total) = (*done, *total);
                }
            }
            Entry::Output { step, name, value } => {
                let output = OutputRecord {
                    step: step.clone(),
                    name: name.clone(),
                    value: match value {
                        Stored::Plain(value) => Some(value.clone()),
                        Stored::Sealed(_) | Stored::Nothing => None,
                    },
                };
                self.outputs
                    .retain(|other| (&other.step, &other.name) != (step, name));
                self.outputs.push(output);
            }
            Entry::Expanded {
                step, steps, notes, ..
            } => {
                let ids: Vec<String> = steps.iter().map(|step| step.id.clone()).collect();
                for other in &mut self.steps {
                    if other.after.contains(step) {
                        other.after.extend(ids.iter().cloned());
                    }
                }
                let at = self.steps.iter().position(|other| other.id == *step);
                let at = at.map_or(self.steps.len(), |at| at + 1);
                self.steps.splice(at..at, steps.iter().cloned());
                self.notes.extend(notes.iter().cloned());
            }
            Entry::Left { step, left } => {
                self.settled(step, &left.object);
                self.left.push(LeftByStep {
                    left: left.clone(),
                    step: step.clone(),
                });
            }
            // It is gone, with whatever other steps have left of it.
            Entry::Reverted {
                object,
                result: Reversal::Removed,
                ..
            } => self.settled("", object),
            Entry::Reverted {
                step, object, result, ..
            } if *result != Reversal::Left => {
                self.settled(step, object);
            }
            Entry::Reverted { .. }
            | Entry::CancelRequested { .. }
            | Entry::Intent { .. }
            | Entry::Discarded { .. }
            | Entry::Note { .. } => {}
        }
    }

    /// Whether an undo was under way before, and perhaps interrupted.
    fn undo_has_begun(&self) -> bool {
        use StepState::{UndoIncomplete, Undoing, Undone};
        matches!(
            self.state,
            OperationState::Undoing | OperationState::UndoIncomplete
        ) || self
            .steps
            .iter()
            .any(|step| matches!(step.state, Undoing | Undone | UndoIncomplete))
    }

    /// Nothing of an object is left by a step any more; by none at all if no step is named.
    fn settled(&mut self, step: &str, object: &ObjectRef) {
        // Older records do not say which step has left it.
        let is_of_step = |left: &LeftByStep| step.is_empty() || left.step.is_empty() || left.step == step;
        self.left
            .retain(|left| left.left.object != *object || !is_of_step(left));
    }

    pub(super) fn step_mut(&mut self, id: &str) -> Option<&mut StepRecord> {
        self.steps.iter_mut().find(|step| step.id == id)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::operation::record::Left;

    fn record() -> OperationRecord {
        serde_json::from_value(json!({
            "id": "x", "adapter": {"name": "a", "version": "1", "sha256": ""}, "operation": "install",
            "parameters": {}, "cluster": {"uid": "u", "context": "c", "server": "s"}, "owner": "o",
            "state": "undoing", "summary": "", "policy": {}, "steps": [], "created": "", "updated": "", "seq": 0,
        }))
        .unwrap()
    }

    /// The steps that are listed as having left the object, after entries of these steps: what was left, or taken back.
    fn left_by(entries: &[(&str, Option<Reversal>)]) -> Vec<String> {
        let object: ObjectRef = "v1/Secret/a/b".parse().unwrap();
        let mut record = record();
        for (seq, (step, result)) in (1..).zip(entries) {
            let (step, object) = ((*step).to_owned(), object.clone());
            let entry = match *result {
                None => Entry::Left {
                    step,
                    left: Left {
                        object,
                        why: "somebody has changed it since".into(),
                    },
                },
                Some(result) => Entry::Reverted {
                    step,
                    object,
                    result,
                    why: None,
                    uid: None,
                },
            };
            let time = String::new();
            record.fold(seq, &Timed { time, entry });
        }
        record.left.into_iter().map(|left| left.step).collect()
    }

    #[test]
    fn what_one_step_has_left_stays_listed_whatever_another_takes_back_of_the_same_object() {
        use Reversal::{Recreated, Restored, Unchanged};
        for result in [Unchanged, Restored, Recreated] {
            assert_eq!(
                left_by(&[("end", None), ("record", Some(result))]),
                ["end"],
                "{result:?}"
            );
            assert_eq!(
                left_by(&[("end", Some(result)), ("record", None)]),
                ["record"],
                "{result:?}"
            );
            // In another attempt.
            assert!(
                left_by(&[("end", None), ("end", Some(result))]).is_empty(),
                "{result:?}"
            );
        }
        assert_eq!(left_by(&[("end", None), ("record", None)]), ["end", "record"]);
        assert_eq!(left_by(&[("end", None), ("end", None)]), ["end"]);
    }

    /// The objects' whys that are listed after these entries of an operation with one step.
    fn whys(entries: Vec<Entry>) -> Vec<String> {
        let mut record = record();
        record.state = OperationState::Running;
        let step = json!({"id": "remove", "title": "", "after": [], "kind": "", "state": "running", "undo": "exact",
            "because": "", "total": 1, "done": 0});
        record.steps = vec![serde_json::from_value(step).unwrap()];
        for (seq, entry) in (1..).zip(entries) {
            let time = String::new();
            record.fold(seq, &Timed { time, entry });
        }
        record.left.into_iter().map(|left| left.left.why).collect()
    }

    #[test]
    fn what_the_run_has_left_is_listed_until_the_undo_begins_and_what_the_undo_leaves_stays_listed() {
        let left = |object: &str, why: &str| Entry::Left {
            step: "remove".into(),
            left: Left {
                object: object.parse().unwrap(),
                why: why.into(),
            },
        };
        let state = |state| Entry::State {
            state,
            error: None,
            message: None,
        };
        let of_step = |state| Entry::Step {
            step: "remove".into(),
            state,
            error: None,
        };
        let run = || {
            vec![
                left("v1/Secret/a/b", "the chart asks to keep it"),
                state(OperationState::Succeeded),
            ]
        };
        assert_eq!(whys(run()), ["the chart asks to keep it"]);

        let mut entries = run();
        entries.push(state(OperationState::Undoing));
        assert!(whys(entries.clone()).is_empty());

        entries.extend([
            of_step(StepState::Undoing),
            left("v1/Secret/a/c", "somebody has changed it since"),
            state(OperationState::Interrupted),
            state(OperationState::Undoing),
        ]);
        assert_eq!(whys(entries.clone()), ["somebody has changed it since"]);

        entries.extend([
            state(OperationState::UndoIncomplete),
            state(OperationState::Undoing),
        ]);
        assert_eq!(whys(entries), ["somebody has changed it since"]);
    }

    #[test]
    fn of_an_object_that_is_gone_nothing_is_left() {
        let gone = ("record", Some(Reversal::Removed));
        assert!(left_by(&[("end", None), gone]).is_empty());
        // One that was there before both was to come back.
        assert_eq!(left_by(&[gone, ("before", None)]), ["before"]);
    }

    #[test]
    fn an_operation_that_is_given_up_lists_an_object_once() {
        assert_eq!(left_by(&[("end", None), ("record", None), ("", None)]), [""]);
    }
}
