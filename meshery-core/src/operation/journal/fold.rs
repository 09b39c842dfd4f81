//! The record as it follows from the journal.

use super::entry::{Entry, Reversal, Stored, Timed};
use crate::operation::record::{OperationRecord, OutputRecord, StepRecord, StepState};
use crate::operation::state::OperationState;

impl OperationRecord {
    /// Takes in the journal's next entry.
    pub(in crate::operation) fn fold(&mut self, seq: u64, entry: &Timed) {
        self.seq = seq;
        self.updated.clone_from(&entry.time);
        match &entry.entry {
            Entry::State { state, error, .. } => {
                if *state == OperationState::Running {
                    // Why it was interrupted before is in the journal.
                    self.error = None;
                }
                self.state = *state;
                if *state == OperationState::AwaitingApproval {
                    // What was approved was another preview.
                    self.approved_by = None;
                }
                match (state, error) {
                    (_, Some(error)) => self.error = Some(error.clone()),
                    // It goes on: what stopped it is over.
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
            Entry::Left { left, .. } => {
                self.left.retain(|other| other.object != left.object);
                self.left.push(left.clone());
            }
            // Another step that has nothing to take back of an object says nothing of what the first one left.
            Entry::Reverted { object, result, .. } if *result != Reversal::Unchanged => {
                self.left.retain(|left| left.object != *object);
            }
            Entry::Reverted { .. }
            | Entry::CancelRequested { .. }
            | Entry::Intent { .. }
            | Entry::Discarded { .. }
            | Entry::Note { .. } => {}
        }
    }

    pub(super) fn step_mut(&mut self, id: &str) -> Option<&mut StepRecord> {
        self.steps.iter_mut().find(|step| step.id == id)
    }
}

#[cfg(test)]
mod tests {
    use meshery_plugin_api::message::object_ref::ObjectRef;
    use serde_json::json;

    use super::*;
    use crate::operation::record::Left;

    #[test]
    fn what_one_step_has_left_stays_listed_when_another_has_nothing_to_take_back_of_it() {
        let mut record: OperationRecord = serde_json::from_value(json!({
            "id": "x", "adapter": {"name": "a", "version": "1", "sha256": ""}, "operation": "install",
            "parameters": {}, "cluster": {"uid": "u", "context": "c", "server": "s"}, "owner": "o",
            "state": "undoing", "summary": "", "policy": {}, "steps": [], "created": "", "updated": "", "seq": 0,
        }))
        .unwrap();
        let object: ObjectRef = "v1/Secret/a/b".parse().unwrap();
        let timed = |entry| Timed {
            time: String::new(),
            entry,
        };
        let reverted = |result| {
            timed(Entry::Reverted {
                step: "record".into(),
                object: object.clone(),
                result,
                why: None,
                uid: None,
            })
        };
        let left = Left {
            object: object.clone(),
            why: "somebody has changed it since".into(),
        };
        record.fold(
            1,
            &timed(Entry::Left {
                step: "end".into(),
                left,
            }),
        );
        record.fold(2, &reverted(Reversal::Unchanged));
        assert_eq!(record.left.len(), 1);
        record.fold(3, &reverted(Reversal::Removed));
        assert_eq!(record.left, []);
    }
}
