//! The record of an operation: what was asked, by whom, how far it is, what came of it.

use meshery_plugin_api::message::finding::Finding;
use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_plugin_api::message::plan::Readiness;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::consent::NeededConsent;
use super::policy::Policy;
use super::state::OperationState;
use crate::images::ImageSource;
use crate::problem::Problem;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewOperation {
    /// Name of the adapter.
    pub adapter: String,
    /// Name of one of its operations.
    pub operation: String,
    /// Kubeconfig context; the current one when not given.
    #[serde(default)]
    pub context: Option<String>,
    /// The operation's parameters.
    #[serde(default)]
    pub parameters: Map<String, Value>,
    /// What happens when something goes wrong.
    #[serde(default)]
    pub policy: Policy,
    /// Where images come from; as the engine's settings say when not given.
    #[serde(default)]
    pub images: Option<ImageSource>,
}

/// The record of an operation, as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperationRecord {
    /// Its id; ids sort by time.
    pub id: String,
    /// Who planned it.
    pub adapter: AdapterUsed,
    /// What was asked for.
    pub operation: String,
    /// With which parameters, defaults filled in.
    pub parameters: Map<String, Value>,
    /// Where.
    pub cluster: ClusterUsed,
    /// Who asked.
    pub owner: String,
    /// How far it is.
    pub state: OperationState,
    /// One sentence on what it does.
    pub summary: String,
    /// What people should know before they say yes.
    #[serde(default)]
    pub notes: Vec<String>,
    /// What happens when something goes wrong.
    pub policy: Policy,
    /// Where images come from.
    #[serde(default, skip_serializing_if = "ImageSource::is_usual")]
    pub images: ImageSource,
    /// What it does only on explicit word; it does not run unless its policy has all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs_consent: Vec<NeededConsent>,
    /// Who approved it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<String>,
    /// Its steps, those that prove the result last.
    pub steps: Vec<StepRecord>,
    /// What its steps have left.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<OutputRecord>,
    /// What the adapter found when it was asked to check.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Problem>,
    /// What stays in the cluster on purpose or because it could not be taken back.
    #[serde(default)]
    pub left: Vec<LeftByStep>,
    /// Which host has run it last, as in the cluster's Lease; nothing before it was run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// What it waits for before it may change the cluster; nothing when it does not wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_up: Option<HeldUp>,
    /// The set that it is a member of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// When it was planned, RFC 3339 in UTC.
    pub created: String,
    /// When something last happened to it.
    pub updated: String,
    /// Number of the last entry in its journal.
    pub seq: u64,
}

/// What keeps an operation from its turn.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HeldUp {
    /// How many operations of this host come before it; none when it waits for another host.
    pub before: usize,
    /// For people.
    pub reason: String,
}

/// The plugin that planned an operation.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AdapterUsed {
    /// Name.
    pub name: String,
    /// Version of the plugin.
    pub version: String,
    /// SHA-256 of its file.
    pub sha256: String,
}

/// The cluster of an operation.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ClusterUsed {
    /// The uid of its kube-system namespace.
    pub uid: String,
    /// The context it was reached by.
    pub context: String,
    /// Address of its API server.
    pub server: String,
}

/// How far a step is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Unique within the operation.
    pub id: String,
    /// For people.
    pub title: String,
    /// `apply`, `delete`, `release`, `remove-release`, `test-release`, `wait`, `probe`, `restart`,
    /// `gate`, `material` or `expand`.
    pub kind: String,
    /// Steps that come before it.
    #[serde(default)]
    pub after: Vec<String>,
    /// How far it is.
    pub state: StepState,
    /// How well it can be taken back.
    pub undo: UndoKind,
    /// Why it cannot be taken back exactly.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub because: String,
    /// How many objects or conditions it has.
    pub total: usize,
    /// How many of them are done.
    pub done: usize,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Problem>,
    /// What it waits for, when it is a gate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<GateRecord>,
}

/// What a step has left for later ones.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct OutputRecord {
    /// The step.
    pub step: String,
    /// The output's name.
    pub name: String,
    /// What it is; nothing when it is a secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
}

/// What a gate waits for.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct GateRecord {
    /// Why it is there, for whoever decides.
    pub reason: String,
    /// Whether somebody has to say yes.
    pub approval: bool,
    /// Who did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<String>,
    /// What has to hold in the cluster.
    #[serde(rename = "for", skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Readiness>,
    /// RFC 3339: not before this moment.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub not_before: String,
}

/// How far a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepState {
    /// Not begun.
    Pending,
    /// Begun.
    Running,
    /// Done.
    Done,
    /// Failed.
    Failed,
    /// Not begun, or not brought to its end, because another one failed or the operation was cancelled.
    Skipped,
    /// Being taken back.
    Undoing,
    /// Taken back.
    Undone,
    /// Taken back in part.
    UndoIncomplete,
}

/// How well a step can be taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UndoKind {
    /// The cluster is as before.
    Exact,
    /// Made good again, but not the same: objects get new uids.
    Compensating,
    /// Not at all, or nothing to take back.
    None,
}

/// Something that stays in the cluster, and what step left it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftByStep {
    /// What stays.
    #[serde(flatten)]
    pub left: Left,
    /// Id of the step; empty when the operation was given up.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub step: String,
}

/// Something that stays in the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// The object.
    #[serde(rename = "ref")]
    pub object: ObjectRef,
    /// Why it stays.
    pub why: String,
}
