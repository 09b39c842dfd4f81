//! Expansion: steps that an adapter computes when the operation comes to them, and outputs, which later steps use.
//!
//! A plan is made before anything has happened. What depends on what will be there by then (the workloads of a
//! namespace after a week at a gate, the address that a Service was given) cannot be in it. A step of the kind
//! `expand` asks the adapter again at that moment, with facts of that moment; the answer is written down before any
//! of it runs, and must stay inside what the plan declared.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::descriptor::Rights;
use super::facts::{Facts, Need};
use super::object_ref::ObjectRef;
use super::plan::{Images, Step};
use crate::error::PluginError;

/// A step whose steps are computed when the operation comes to it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Expand {
    /// What is to be computed: a name of the adapter's own.
    pub what: String,
    /// What it takes; given back as it is. It is kept in the plan as it is, too: no place for secrets.
    pub with: Map<String, Value>,
    /// What has to be read for it. There are no braces to fill in.
    pub needs: Vec<Need>,
    /// The most that the steps may do, shown before the operation runs. Nothing when not given.
    pub within: Rights,
}

/// What an adapter is asked when an operation has come to an [`Expand`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ExpandRequest {
    /// Name of the operation.
    pub operation: String,
    /// As in [`Expand::what`].
    pub what: String,
    /// As in [`Expand::with`].
    pub with: Map<String, Value>,
    /// What [`Expand::needs`] read, at this moment.
    pub facts: Facts,
    /// The outputs of the steps before, as `step.output`. Those that are secrets are not among them; steps may use them
    /// all the same, in Secrets.
    pub outputs: BTreeMap<String, Value>,
    /// Where images come from, as in [`PlanRequest::images`](super::plan::PlanRequest::images).
    #[serde(skip_serializing_if = "Images::is_usual")]
    pub images: Images,
}

impl ExpandRequest {
    /// A text of [`ExpandRequest::with`], or "" when it was not given.
    pub fn text(&self, name: &str) -> &str {
        self.with.get(name).and_then(Value::as_str).unwrap_or("")
    }

    /// The error of an adapter that has no such expansion.
    pub fn unknown(&self) -> PluginError {
        PluginError::new(
            "unknown-expansion",
            format!(
                "the adapter has no expansion \"{}\" of operation \"{}\"",
                self.what, self.operation
            ),
        )
        .cause(
            "another version of the adapter has made the plan, or its plan has a step that it does not know",
        )
        .remedy(
            "run the operation again, so that the adapter makes a new plan; if that ends here too, tell its \
             maker",
        )
    }
}

/// The answer to it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Expansion {
    /// The steps; perhaps none. Their ids are theirs alone: they follow the id of the `expand` and a dash.
    /// What comes after the `expand` comes after all of them. There is no `expand` among them.
    pub steps: Vec<Step>,
    /// What people should know.
    pub notes: Vec<String>,
}

/// Something that a step leaves for later ones, read from the cluster when the step has come to its end.
///
/// Later steps name it in [`Apply::uses`](super::plan::Apply::uses). What is read from a Secret is sealed, and goes
/// into Secrets only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// The object that has it.
    #[serde(rename = "ref")]
    pub object: ObjectRef,
    /// JSON pointer to it: `/status/loadBalancer/ingress/0/ip`. It is an error when nothing is there.
    pub path: String,
}

impl Output {
    /// Whether it is a secret.
    pub fn is_secret(&self) -> bool {
        self.object.group.is_empty() && self.object.kind == "Secret"
    }
}
