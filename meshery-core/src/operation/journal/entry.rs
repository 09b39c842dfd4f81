//! The entries of an operation's journal.
//!
//! The journal is what everything else follows from: how far an operation is, what its undo has to do, what
//! listeners hear. An entry is durable before anybody acts on it.

use meshery_plugin_api::message::object_ref::ObjectRef;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::event::{Event, EventKind};
use crate::operation::object::field::Field;
use crate::operation::record::{Left, StepRecord, StepState};
use crate::operation::state::OperationState;
use crate::problem::Problem;
use crate::provider::BlobRef;

/// An entry with the moment it was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::operation) struct Timed {
    /// RFC 3339 in UTC with milliseconds.
    pub time: String,
    #[serde(flatten)]
    pub entry: Entry,
}

/// One thing that happened, or is about to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "kebab-case")]
pub(in crate::operation) enum Entry {
    /// The operation changed its state.
    State {
        state: OperationState,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<Problem>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    },
    /// Somebody said yes.
    Approved { by: String },
    /// Somebody said yes to a gate.
    GateApproved { step: String, by: String },
    /// Somebody wants it to stop; durable before it is answered, so that a crash does not forget it.
    CancelRequested { by: String },
    /// A step changed its state.
    Step {
        step: String,
        state: StepState,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<Problem>,
    },
    /// These objects are about to be changed; this is how they are before.
    Intent { step: String, objects: Vec<Intent> },
    /// An object was changed, or found to need no change.
    Outcome {
        step: String,
        object: ObjectRef,
        change: ObjectChange,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        uid: String,
        /// What the run changed in an object that was there before; sealed for kinds that hold secrets.
        #[serde(default, skip_serializing_if = "Stored::is_empty")]
        fields: Stored<Vec<Field>>,
        done: usize,
        total: usize,
    },
    /// A hook's own object is gone again, as its delete policy says.
    Discarded { step: String, object: ObjectRef },
    /// A step has left something for later ones; sealed when it comes from an object that holds secrets.
    Output {
        step: String,
        name: String,
        value: Stored<Value>,
    },
    /// A step became these, which are part of the plan from now on.
    Expanded {
        step: String,
        plan: BlobRef,
        steps: Vec<StepRecord>,
        notes: Vec<String>,
    },
    /// Something was taken back, or could not be.
    Reverted {
        step: String,
        object: ObjectRef,
        result: Reversal,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
        /// The uid of what was made again, so that earlier steps know it when they are taken back.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        uid: Option<String>,
    },
    /// A step waits.
    Waiting {
        step: String,
        object: ObjectRef,
        reason: String,
        done: usize,
        total: usize,
    },
    /// Something stays in the cluster, and why.
    Left { step: String, left: Left },
    /// Something worth knowing.
    Note {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<String>,
        message: String,
    },
}

/// An object that is about to be changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::operation) struct Intent {
    #[serde(rename = "ref")]
    pub object: ObjectRef,
    /// The object as it is; nothing when it is not there.
    pub before: Option<Stored<Value>>,
}

/// A value in the journal: as it is, or sealed when it may hold secrets.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::operation) enum Stored<T> {
    Plain(T),
    Sealed(String),
    #[default]
    Nothing,
}

impl<T> Stored<T> {
    fn is_empty(&self) -> bool {
        matches!(self, Self::Nothing)
    }
}

/// What became of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::operation) enum ObjectChange {
    Created,
    Updated,
    /// Deleted and made again, because it could not be changed.
    Recreated,
    Unchanged,
    Deleted,
    Absent,
    Kept,
    Ready,
    Accepted,
    Restarted,
}

impl ObjectChange {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Recreated => "recreated",
            Self::Unchanged => "unchanged",
            Self::Deleted => "deleted",
            Self::Absent => "absent",
            Self::Kept => "kept",
            Self::Ready => "ready",
            Self::Accepted => "accepted",
            Self::Restarted => "restarted",
        }
    }
}

/// What became of taking something back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::operation) enum Reversal {
    /// What the run created is gone.
    Removed,
    /// What the run changed is as before.
    Restored,
    /// What the run deleted was made again.
    Recreated,
    /// It was restarted, so that its pods are made of what there is again.
    Restarted,
    /// There was nothing to take back.
    Unchanged,
    /// It was left as it is; [`Entry::Left`] says why.
    Left,
}

impl Reversal {
    fn as_str(self) -> &'static str {
        match self {
            Self::Removed => "removed",
            Self::Restored => "restored",
            Self::Recreated => "recreated",
            Self::Restarted => "restarted",
            Self::Unchanged => "unchanged",
            Self::Left => "left",
        }
    }
}

impl Timed {
    /// What listeners hear of it; nothing for what only the engine needs.
    pub fn event(&self, operation: &str, seq: u64) -> Option<Event> {
        let mut event = Event {
            operation: operation.to_owned(),
            seq,
            time: self.time.clone(),
            kind: EventKind::Note,
            step: None,
            state: None,
            object: None,
            change: None,
            reason: None,
            done: None,
            total: None,
            message: None,
            error: None,
        };
        match self.entry.clone() {
            Entry::Intent { .. } => return None,
            Entry::State {
                state,
                error,
                message,
            } => {
                event.kind = EventKind::State;
                event.state = Some(state.to_string());
                event.error = error;
                event.message = message;
            }
            Entry::Approved { by } => event.message = Some(format!("approved by {by}")),
            Entry::GateApproved { step, by } => {
                event.message = Some(format!("gate {step} approved by {by}"));
                event.step = Some(step);
            }
            Entry::CancelRequested { by } => event.message = Some(format!("cancelled by {by}")),
            Entry::Step { step, state, error } => {
                event.kind = EventKind::Step;
                event.step = Some(step);
                event.state = serde_json::to_value(state)
                    .ok()
                    .and_then(|word| word.as_str().map(str::to_owned));
                event.error = error;
            }
            Entry::Outcome {
                step,
                object,
                change,
                done,
                total,
                ..
            } => {
                event.kind = EventKind::Object;
                event.step = Some(step);
                event.object = Some(object);
                event.change = Some(change.as_str().to_owned());
                (event.done, event.total) = (Some(done), Some(total));
            }
            Entry::Discarded { step, object } => {
                event.kind = EventKind::Object;
                event.step = Some(step);
                event.object = Some(object);
                event.change = Some(ObjectChange::Deleted.as_str().to_owned());
                event.reason = Some("as its delete policy says".to_owned());
            }
            Entry::Output { step, name, value } => {
                event.message = Some(match value {
                    Stored::Plain(value) => format!("{step}.{name} is {value}"),
                    Stored::Sealed(_) | Stored::Nothing => format!("{step}.{name} is there, a secret"),
                });
                event.step = Some(step);
            }
            Entry::Expanded {
                step, steps, notes, ..
            } => {
                let titles: Vec<String> = steps.into_iter().map(|step| step.title).collect();
                let mut parts = vec![match titles.len() {
                    0 => "nothing is to be done here".to_owned(),
                    _ => format!("it has become: {}", titles.join("; ")),
                }];
                parts.extend(notes);
                event.message = Some(parts.join(". "));
                event.step = Some(step);
            }
            Entry::Reverted {
                step,
                object,
                result,
                why,
                uid: _,
            } => {
                event.kind = EventKind::Object;
                event.step = Some(step);
                event.object = Some(object);
                event.change = Some(result.as_str().to_owned());
                event.reason = why;
            }
            Entry::Waiting {
                step,
                object,
                reason,
                done,
                total,
            } => {
                event.kind = EventKind::Waiting;
                event.step = Some(step);
                event.object = Some(object);
                event.reason = Some(reason);
                (event.done, event.total) = (Some(done), Some(total));
            }
            Entry::Left { step, left } => {
                event.kind = EventKind::Object;
                event.step = Some(step);
                event.object = Some(left.object);
                event.change = Some("left".to_owned());
                event.reason = Some(left.why);
            }
            Entry::Note { step, message } => {
                event.step = step;
                event.message = Some(message);
            }
        }
        Some(event)
    }
}
