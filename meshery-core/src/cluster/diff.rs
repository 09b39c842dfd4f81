//! What differs between two states of an object, field by field.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A field that differs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FieldChange {
    /// Path: `spec.template.spec.containers[name=app].image`.
    pub path: String,
    /// What becomes of it.
    pub change: Change,
    /// Value before; never given for the data of a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// Value after; never given for the data of a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// What becomes of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// It was not there.
    Added,
    /// It is not there any more.
    Removed,
    /// It has another value.
    Changed,
}

/// An object without what the server writes: identity, bookkeeping and status.
pub fn strip(object: &Value) -> Value {
    let _ = object;
    todo!()
}

/// What differs between two states of one object, both stripped first. `Null` stands for an object that is absent.
pub fn diff(before: &Value, after: &Value) -> Vec<FieldChange> {
    let _ = (before, after);
    todo!()
}
