//! The record as it follows from the journal.

use super::entry::{Entry, Timed};
use super::record::{OperationRecord, StepRecord, StepState};
use super::state::OperationState;

impl OperationRecord {
    /// Takes in the journal's next entry.
    pub(super) fn fold(&mut self, seq: u64, entry: &Timed) {
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
            Entry::Left { left, .. } => {
                self.left.retain(|other| other.object != left.object);
                self.left.push(left.clone());
            }
            Entry::Reverted { object, .. } => self.left.retain(|left| left.object != *object),
            Entry::CancelRequested { .. } | Entry::Intent { .. } | Entry::Note { .. } => {}
        }
    }

    pub(super) fn step_mut(&mut self, id: &str) -> Option<&mut StepRecord> {
        self.steps.iter_mut().find(|step| step.id == id)
    }
}
