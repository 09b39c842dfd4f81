//! What listeners hear of an operation.

use meshery_plugin_api::message::object_ref::ObjectRef;
use serde::{Deserialize, Serialize};

use crate::problem::Problem;

/// Something that happened to an operation. Events are its journal as listeners see it: kept with it, numbered,
/// and replayed from any point for any number of listeners. Numbers grow, with gaps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// The operation.
    pub operation: String,
    /// Number of the journal's entry.
    pub seq: u64,
    /// When, RFC 3339 in UTC with milliseconds.
    pub time: String,
    /// What sort of event it is.
    pub kind: EventKind,
    /// The step it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// The state the operation or the step has now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// The object it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectRef>,
    /// What became of the object: `created`, `updated`, `unchanged`, `deleted`, `kept`, `restored`, ...
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<String>,
    /// Why it is waiting, or why something was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How many objects or conditions of the step are done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done: Option<usize>,
    /// How many the step has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<usize>,
    /// A sentence for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Problem>,
}

/// What sort of event it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// The operation's state changed.
    State,
    /// A step's state changed.
    Step,
    /// Something was done to an object.
    Object,
    /// A step waits for an object.
    Waiting,
    /// Something worth knowing.
    Note,
}
