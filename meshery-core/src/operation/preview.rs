//! A preview: what a plan would change, object by object, and how risky each change is.

mod deletion;
mod field_takeover;
mod hook;
mod introduced;
pub(super) mod previewing;
mod rights;
mod risk;

use meshery_plugin_api::message::finding::{Finding, Severity};
use meshery_plugin_api::message::object_ref::ObjectRef;
use serde::{Deserialize, Serialize};

use super::consent::NeededConsent;
use crate::cluster::diff::FieldChange;
use crate::cluster::error::FieldConflict;
use crate::problem::Problem;

/// What a plan would change. Making one writes nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Preview {
    /// The operation.
    pub operation: String,
    /// When it was made, RFC 3339 in UTC.
    pub time: String,
    /// One sentence on what the operation does.
    pub summary: String,
    /// Every object that the plan touches, in the order of the steps.
    pub objects: Vec<PreviewedObject>,
    /// What to think about, the worst first.
    pub risks: Vec<Risk>,
    /// What the adapter found when it was asked to check.
    pub findings: Vec<Finding>,
    /// How many objects would be created, changed and so on.
    pub counts: Counts,
    /// The first step that does something for good, if there is one: pods are replaced, a program runs, data goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub point_of_no_return: Option<String>,
    /// What people should know before they say yes.
    pub notes: Vec<String>,
    /// What it does only on explicit word, and was not agreed to: it does not run so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs_consent: Vec<NeededConsent>,
}

/// What would become of one object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PreviewedObject {
    /// The object.
    #[serde(rename = "ref")]
    pub object: ObjectRef,
    /// The step that does it.
    pub step: String,
    /// What would happen.
    pub change: Change,
    /// How sure that is.
    pub certainty: Certainty,
    /// Field by field.
    #[serde(default)]
    pub diff: Vec<FieldChange>,
    /// Fields that another manager owns; they are taken from it where the change is no conflict.
    #[serde(default)]
    pub conflicts: Vec<FieldConflict>,
    /// Why it would fail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Problem>,
    /// What the server warns of.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Why it is not certain, or why it is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What would happen to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// It would be made.
    Create,
    /// It would be changed.
    Update,
    /// It would be deleted and made again, because it cannot be changed.
    Recreate,
    /// It is so already.
    Unchanged,
    /// It would be deleted.
    Delete,
    /// It would be kept on purpose.
    Keep,
    /// Another manager owns fields that it would set.
    Conflict,
    /// The server would refuse it.
    Error,
    /// It is waited for.
    Wait,
    /// The server is asked about it.
    Probe,
    /// Its pods would be made anew.
    Restart,
}

/// How sure a preview is of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Certainty {
    /// The server was asked, by a dry run.
    Verified,
    /// The server cannot dry-run it yet, because its namespace, its kind or a webhook comes with this plan; its
    /// form was checked as far as that goes.
    Local,
    /// It depends on what the run finds.
    DecidedLater,
}

/// Something to think about before saying yes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Risk {
    /// How bad it may become.
    pub severity: Severity,
    /// Stable code.
    pub code: String,
    /// What it is.
    pub message: String,
    /// The object it is about.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectRef>,
}

/// How many objects meet which fate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Would be made.
    pub create: usize,
    /// Would be changed.
    pub update: usize,
    /// Are so already.
    pub unchanged: usize,
    /// Would be deleted.
    pub delete: usize,
    /// Would be kept.
    pub keep: usize,
    /// Have fields that another manager owns.
    pub conflict: usize,
    /// Would be refused.
    pub error: usize,
    /// Would be restarted.
    pub restart: usize,
    /// Would be deleted and made again.
    pub recreate: usize,
}
