//! What a run has done so far, read from its journal: what resuming and undoing go by, and nothing else.

use std::collections::{BTreeMap, HashMap, HashSet};

use meshery_plugin_api::message::object_ref::ObjectRef;
use serde_json::Value;

use super::entry::{Entry, ObjectChange, Reversal, Stored, Timed};
use crate::operation::clock;
use crate::operation::object::field::Field;
use crate::operation::plan::stored::unreadable;
use crate::operation::record::StepState;
use crate::problem::Problem;
use crate::provider::{BlobRef, Store};

/// What a run has done so far.
#[derive(Debug, Default)]
pub(in crate::operation) struct History {
    /// In the order in which the steps began.
    pub steps: Vec<StepHistory>,
    /// Whether it had begun to take back what was done.
    pub undoing: bool,
    /// Whether somebody cancelled it.
    pub cancelled: bool,
    /// Whether it has paused since it last did anything: what it relies on may have changed.
    pub has_paused: bool,
    /// What steps have left for later ones, as `step.output`.
    pub outputs: BTreeMap<String, Stored<Value>>,
    /// Objects that the undo has made again, with their new uids.
    pub remade: HashMap<ObjectRef, String>,
    /// Steps of which the undo has given something back.
    pub given_back: HashSet<String>,
    /// What steps have become, in the order in which they did.
    pub expansions: Vec<(String, BlobRef)>,
}

/// The longest time between two entries that counts as work, in milliseconds. After a longer one nobody can tell a wait from
/// a host that was stopped and went on, or a clock that was set; the step rather has too much time than none.
const LONGEST_SILENCE: i64 = 30_000;

/// What one step has done so far.
#[derive(Debug, Default)]
pub(in crate::operation) struct StepHistory {
    pub id: String,
    pub state: Option<StepState>,
    /// Whether somebody said yes to it.
    pub approved: bool,
    /// In the order in which they were written.
    pub objects: Vec<ObjectHistory>,
    /// What the undo has restarted already.
    pub restarted: HashSet<ObjectRef>,
    /// What the undo is done with, in whichever attempt.
    pub settled: HashSet<ObjectRef>,
    index: HashMap<ObjectRef, usize>,
    first_began: Option<i64>,
    /// When it was last heard of.
    latest: Option<i64>,
    /// How long it has been at work, in milliseconds.
    worked: i64,
}

/// What a step was about to do to an object, and what came of it.
#[derive(Debug, Clone)]
pub(in crate::operation) struct ObjectHistory {
    pub object: ObjectRef,
    /// How it was before; nothing when it was not there.
    pub before: Option<Stored<Value>>,
    /// Nothing when the host was killed before it could say.
    pub outcome: Option<ObjectOutcome>,
    /// Whether it is gone again, as the delete policy of a hook says.
    pub discarded: bool,
}

/// What became of an object.
#[derive(Debug, Clone)]
pub(in crate::operation) struct ObjectOutcome {
    pub change: ObjectChange,
    pub uid: String,
    pub fields: Stored<Vec<Field>>,
}

impl History {
    /// Reads an operation's journal.
    pub async fn read(store: &Store, operation: &str) -> Result<Self, Problem> {
        let mut history = Self::default();
        for entry in store.read(operation, 0).await? {
            let timed: Timed = serde_json::from_value(entry.entry).map_err(|error| unreadable(&error))?;
            history.add(timed);
        }
        Ok(history)
    }

    /// What a step has done.
    pub fn step(&self, id: &str) -> Option<&StepHistory> {
        self.steps.iter().find(|step| step.id == id)
    }

    /// Whether anything was, or may have been, written to the cluster.
    pub fn has_written(&self) -> bool {
        self.steps.iter().any(|step| !step.objects.is_empty())
    }

    /// Whether the run has changed this object, or was about to.
    pub fn has_touched(&self, object: &ObjectRef) -> bool {
        self.steps.iter().any(|step| step.object(object).is_some())
    }

    /// Whether the run made this object.
    pub fn created(&self, object: &ObjectRef) -> bool {
        self.steps
            .iter()
            .filter_map(|step| step.object(object))
            .any(|object| object.before.is_none())
    }

    /// How steps have found this object.
    pub fn before(&self, object: &ObjectRef) -> impl Iterator<Item = &Stored<Value>> {
        self.steps
            .iter()
            .filter_map(|step| step.object(object))
            .filter_map(|object| object.before.as_ref())
    }

    /// Whether the run deleted this object, or was killed before it could say.
    pub fn deleted(&self, object: &ObjectRef) -> bool {
        self.steps
            .iter()
            .filter_map(|step| step.object(object))
            .any(|object| {
                let change = object.outcome.as_ref().map(|outcome| outcome.change);
                matches!(change, None | Some(ObjectChange::Deleted))
            })
    }

    fn step_mut(&mut self, id: &str) -> &mut StepHistory {
        let position = self.steps.iter().position(|step| step.id == id);
        let position = position.unwrap_or_else(|| {
            self.steps.push(StepHistory {
                id: id.to_owned(),
                ..StepHistory::default()
            });
            self.steps.len() - 1
        });
        &mut self.steps[position]
    }

    fn add(&mut self, timed: Timed) {
        use crate::operation::state::OperationState;
        let moment = clock::millis(&timed.time);
        match timed.entry {
            Entry::State { state, .. } => match state {
                OperationState::Undoing => self.undoing = true,
                OperationState::Cancelled => self.cancelled = true,
                OperationState::Paused => self.has_paused = true,
                // The next undo may give back what this one could not: its restarts are its own.
                OperationState::UndoIncomplete => {
                    self.steps.iter_mut().for_each(|step| step.restarted.clear());
                }
                _ => {}
            },
            Entry::CancelRequested { .. } => self.cancelled = true,
            Entry::GateApproved { step, .. } => self.step_mut(&step).approved = true,
            Entry::Step { step, state, .. } => {
                let step = self.step_mut(&step);
                step.state = Some(state);
                if state == StepState::Running {
                    step.first_began = step.first_began.or(moment);
                    step.latest = moment;
                }
                step.heard(moment);
            }
            Entry::Intent { step, objects } => {
                self.has_paused = false;
                let step = self.step_mut(&step);
                step.heard(moment);
                for intent in objects {
                    // Written again: it was changed by others before the step came to it, or is a hook that is made once more.
                    if let Some(&at) = step.index.get(&intent.object) {
                        step.objects[at].before = intent.before;
                        step.objects[at].discarded = false;
                        continue;
                    }
                    step.index.insert(intent.object.clone(), step.objects.len());
                    step.objects.push(ObjectHistory {
                        object: intent.object,
                        before: intent.before,
                        outcome: None,
                        discarded: false,
                    });
                }
            }
            Entry::Outcome {
                step,
                object,
                change,
                uid,
                fields,
                ..
            } => {
                let step = self.step_mut(&step);
                step.heard(moment);
                if let Some(&at) = step.index.get(&object) {
                    step.objects[at].outcome = Some(ObjectOutcome { change, uid, fields });
                }
            }
            Entry::Discarded { step, object } => {
                let step = self.step_mut(&step);
                step.heard(moment);
                if let Some(&at) = step.index.get(&object) {
                    step.objects[at].discarded = true;
                }
            }
            Entry::Output { step, name, value } => {
                self.outputs.insert(format!("{step}.{name}"), value);
            }
            Entry::Expanded { step, plan, .. } => self.expansions.push((step, plan)),
            Entry::Reverted {
                step,
                object,
                result: Reversal::Restarted,
                ..
            } => {
                self.step_mut(&step).restarted.insert(object);
            }
            Entry::Reverted {
                step,
                object,
                uid,
                result,
                ..
            } => {
                let history = self.step(&step).and_then(|step| step.object(&object));
                if history.is_some_and(|history| history.is_given_back(result)) {
                    self.given_back.insert(step.clone());
                }
                self.step_mut(&step).settled.insert(object.clone());
                if let Some(uid) = uid {
                    self.remade.insert(object, uid);
                }
            }
            Entry::Waiting { step, .. } => self.step_mut(&step).heard(moment),
            Entry::Approved { .. } | Entry::Left { .. } | Entry::Note { .. } => {}
        }
    }
}

impl ObjectHistory {
    /// Whether an undo with this result has given anything back. Of what the run is known to have changed, that it is as before
    /// is enough: the host may have been killed before it could say that it gave it back.
    pub fn is_given_back(&self, result: Reversal) -> bool {
        match result {
            Reversal::Removed | Reversal::Restored | Reversal::Recreated => true,
            Reversal::Unchanged => self.outcome.as_ref().is_some_and(|outcome| {
                matches!(
                    outcome.change,
                    ObjectChange::Created
                        | ObjectChange::Updated
                        | ObjectChange::Recreated
                        | ObjectChange::Deleted
                )
            }),
            Reversal::Restarted | Reversal::Left => false,
        }
    }
}

impl StepHistory {
    /// What was to be done to an object.
    pub fn object(&self, object: &ObjectRef) -> Option<&ObjectHistory> {
        self.index.get(object).map(|&at| &self.objects[at])
    }

    /// When it was begun for the first time, in milliseconds since 1970.
    pub fn reached(&self) -> Option<i64> {
        self.first_began
    }

    /// How long it has been at work, in milliseconds; times at which no host ran, or the host stood still, do not count.
    pub fn worked(&self) -> i64 {
        self.worked
    }

    /// Counts the time since it was last heard of.
    fn heard(&mut self, moment: Option<i64>) {
        if let (Some(before), Some(now)) = (self.latest, moment) {
            self.worked += (now - before).clamp(0, LONGEST_SILENCE);
        }
        self.latest = moment;
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::Intent;
    use super::*;

    fn at(second: u32, entry: Entry) -> Timed {
        Timed {
            time: clock::later("2026-11-22T10:00:00.000Z", i64::from(second) * 1000),
            entry,
        }
    }

    fn step(state: StepState) -> Entry {
        Entry::Step {
            step: "s".into(),
            state,
            error: None,
        }
    }

    #[test]
    fn an_intent_without_an_outcome_is_known_as_such() {
        let object: ObjectRef = "v1/ConfigMap/a/b".parse().unwrap();
        let mut history = History::default();
        assert!(!history.has_written());
        history.add(at(0, step(StepState::Running)));
        history.add(at(
            0,
            Entry::Intent {
                step: "s".into(),
                objects: vec![Intent {
                    object: object.clone(),
                    before: None,
                }],
            },
        ));
        assert!(history.has_written());
        let of_step = history.step("s").unwrap();
        assert!(of_step.object(&object).unwrap().outcome.is_none());

        history.add(at(
            1,
            Entry::Outcome {
                step: "s".into(),
                object: object.clone(),
                change: ObjectChange::Created,
                uid: "u".into(),
                fields: Stored::Nothing,
                done: 1,
                total: 1,
            },
        ));
        let outcome = history
            .step("s")
            .unwrap()
            .object(&object)
            .unwrap()
            .outcome
            .clone();
        assert_eq!(outcome.unwrap().uid, "u");
    }

    #[test]
    fn an_undo_that_was_cut_short_knows_what_it_has_restarted_and_the_next_one_restarts_again() {
        use crate::operation::state::OperationState;
        let workload: ObjectRef = "apps/v1/Deployment/a/b".parse().unwrap();
        let is_known = |history: &History| history.step("s").unwrap().restarted.contains(&workload);
        let state = |state| Entry::State {
            state,
            error: None,
            message: None,
        };
        let mut history = History::default();
        history.add(at(0, step(StepState::Done)));
        history.add(at(1, state(OperationState::Undoing)));
        history.add(at(
            2,
            Entry::Reverted {
                step: "s".into(),
                object: workload.clone(),
                result: Reversal::Restarted,
                why: None,
                uid: None,
            },
        ));
        history.add(at(3, state(OperationState::Interrupted)));
        history.add(at(4, state(OperationState::Undoing)));
        assert!(is_known(&history));
        history.add(at(5, state(OperationState::UndoIncomplete)));
        history.add(at(6, state(OperationState::Undoing)));
        assert!(!is_known(&history));
    }

    #[test]
    fn what_was_never_changed_is_not_given_back_by_being_as_before() {
        let object: ObjectRef = "v1/Namespace//a".parse().unwrap();
        let reverted = |change: Option<ObjectChange>, result| {
            let mut history = History::default();
            history.add(at(
                0,
                Entry::Intent {
                    step: "s".into(),
                    objects: vec![Intent {
                        object: object.clone(),
                        before: None,
                    }],
                },
            ));
            if let Some(change) = change {
                history.add(at(
                    1,
                    Entry::Outcome {
                        step: "s".into(),
                        object: object.clone(),
                        change,
                        uid: "u".into(),
                        fields: Stored::Plain(Vec::new()),
                        done: 1,
                        total: 1,
                    },
                ));
            }
            history.add(at(
                2,
                Entry::Reverted {
                    step: "s".into(),
                    object: object.clone(),
                    result,
                    why: None,
                    uid: None,
                },
            ));
            history.given_back.contains("s")
        };
        assert!(reverted(None, Reversal::Restored));
        assert!(
            !reverted(None, Reversal::Unchanged),
            "the server refused to change it"
        );
        assert!(!reverted(Some(ObjectChange::Unchanged), Reversal::Unchanged));
        assert!(reverted(Some(ObjectChange::Updated), Reversal::Unchanged));
        assert!(!reverted(Some(ObjectChange::Updated), Reversal::Left));
    }

    #[test]
    fn what_an_undo_has_given_back_of_a_step_is_known_whatever_cut_it_short() {
        use crate::operation::state::OperationState;
        let object: ObjectRef = "v1/ConfigMap/a/b".parse().unwrap();
        let state = |state| Entry::State {
            state,
            error: None,
            message: None,
        };
        let mut history = History::default();
        history.add(at(0, step(StepState::Done)));
        history.add(at(1, state(OperationState::Undoing)));
        assert!(!history.step("s").unwrap().settled.contains(&object));
        history.add(at(
            2,
            Entry::Reverted {
                step: "s".into(),
                object: object.clone(),
                result: Reversal::Restored,
                why: None,
                uid: None,
            },
        ));
        for next in [
            OperationState::Interrupted,
            OperationState::Undoing,
            OperationState::UndoIncomplete,
        ] {
            history.add(at(3, state(next)));
            assert!(history.step("s").unwrap().settled.contains(&object), "{next}");
        }
    }

    #[test]
    fn time_in_which_no_host_ran_does_not_count_as_work() {
        let mut history = History::default();
        history.add(at(0, step(StepState::Running)));
        history.add(at(
            5,
            Entry::Waiting {
                step: "s".into(),
                object: "v1/Pod/a/b".parse().unwrap(),
                reason: "not yet".into(),
                done: 0,
                total: 1,
            },
        ));
        // The host is killed at 5 and back at 40.
        history.add(at(40, step(StepState::Running)));
        assert_eq!(history.step("s").unwrap().worked(), 5_000);
        history.add(at(43, step(StepState::Failed)));
        assert_eq!(history.step("s").unwrap().worked(), 8_000);
    }

    #[test]
    fn time_in_which_the_host_stood_still_or_its_clock_was_set_uses_up_no_deadline() {
        let mut history = History::default();
        let mut worked = |second, state| {
            history.add(at(second, step(state)));
            history.step("s").unwrap().worked()
        };
        worked(0, StepState::Running);
        // It is stopped for an hour, goes on, and says so before it hears that it lost the cluster.
        assert_eq!(worked(3_600, StepState::Failed), LONGEST_SILENCE);
        worked(3_610, StepState::Running);
        // The clock is set back, and forth again.
        assert_eq!(worked(10, StepState::Failed), LONGEST_SILENCE);
        assert_eq!(worked(3_612, StepState::Failed), 2 * LONGEST_SILENCE);
    }
}
