//! A plan as it is stored and run: charts rendered, removals resolved, objects in waves.
//!
//! A small document plus content: what was previewed is what runs, whatever has become of the adapter, the chart or
//! the values since. Objects that may hold secrets are sealed in it.

use std::collections::{BTreeMap, HashSet};

use meshery_plugin_api::message::expansion::{Expand, Output};
use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_plugin_api::message::plan::{Condition, Gate, Readiness};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::operation::journal::entry::Stored;
use crate::operation::preview::PreviewedObject;
use crate::operation::record::{GateRecord, Left, StepRecord, StepState};
use crate::operation::secret::reference::References;
use crate::operation::secret::seal::HostKey;
use crate::operation::step::hooks::HookPlan;
use crate::problem::{Problem, ProblemKind};
use crate::provider::{BlobRef, Store};

/// A plan, ready to run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(in crate::operation) struct StoredPlan {
    /// In the plan's order.
    pub steps: Vec<StoredStep>,
    /// What the placeholders in the objects stand for.
    #[serde(default, skip_serializing_if = "References::is_empty")]
    pub references: References,
    /// Objects that are no Secrets, and hold what references lead to: they are kept sealed and not shown either. Those
    /// without a namespace are meant in whichever they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exposed: Vec<ObjectRef>,
}

/// One step of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::operation) struct StoredStep {
    pub id: String,
    pub title: String,
    /// Word of the adapter's step, for people.
    pub kind: String,
    pub after: Vec<String>,
    pub deadline_s: u32,
    /// Whether it proves the result instead of making it.
    pub verify: bool,
    /// What it leaves for later steps.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, Output>,
    /// When it cannot be taken back as a whole, what it comes after stays as well.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub holds_back: bool,
    pub work: Work,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::operation) enum Work {
    /// Objects to apply; the manifests are in the content, wave by wave.
    Apply {
        manager: String,
        content: BlobRef,
        waves: Vec<Vec<ObjectRef>>,
        /// The release they are part of.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        release: Option<ReleaseName>,
        /// Outputs of earlier steps that belong into the manifests.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        uses: Vec<String>,
    },
    /// Helm's records of a release: one to make, others that get another status.
    Record {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        makes: Option<NewSecret>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        changes: Vec<StatusChange>,
    },
    /// Helm's record of a release, told when these steps have run its tests; how the release stands is left as it is.
    TestRuns {
        secret: ObjectRef,
        hooks: Vec<String>,
    },
    /// Hooks of a chart, one after the other; the manifests are in the content, one wave of them.
    Hooks {
        event: String,
        content: BlobRef,
        hooks: Vec<HookPlan>,
        /// The release whose hooks they are.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        release: Option<ReleaseName>,
    },
    /// Objects to delete, wave by wave.
    Delete {
        waves: Vec<Vec<DeleteTarget>>,
        kept: Vec<Left>,
        /// The release that is removed by it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        removes: Option<ReleaseName>,
    },
    Wait {
        conditions: Vec<Readiness>,
    },
    Probe {
        #[serde(rename = "ref")]
        reference: ObjectRef,
        object: Stored<Value>,
        expect: BTreeMap<String, String>,
    },
    Restart {
        workloads: Vec<ObjectRef>,
    },
    /// Workloads to restart when what follows has been taken back.
    RestartInUndo {
        workloads: Vec<ObjectRef>,
    },
    Gate(Gate),
    /// Steps that the adapter is asked for when the operation has come here.
    Expand(Expand),
}

/// Which Helm release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::operation) struct ReleaseName {
    pub name: String,
    pub namespace: String,
}

/// A record to make.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::operation) struct NewSecret {
    pub release: ReleaseName,
    pub revision: u32,
    pub secret: ObjectRef,
    /// The record, packed and sealed: it holds the values and whatever Secrets the chart makes.
    pub content: BlobRef,
    /// Helm's word.
    pub status: String,
    pub description: String,
    /// Labels of the release's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// A record that gets another status.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::operation) struct StatusChange {
    pub secret: ObjectRef,
    /// Helm's word.
    pub status: String,
    pub description: String,
    /// Steps whose hooks it is told of: when they ran, and how that ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<String>,
}

/// One object to delete.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::operation) struct DeleteTarget {
    #[serde(rename = "ref")]
    pub object: ObjectRef,
    pub when: Condition,
    /// The one that was found when the plan was made; another of the same name stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// The set as a member of which it was found, as its label has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<String>,
}

impl StoredStep {
    /// How many objects or conditions it has.
    pub fn total(&self) -> usize {
        match &self.work {
            Work::Apply { waves, .. } => waves.iter().map(Vec::len).sum(),
            Work::Delete { waves, .. } => waves.iter().map(Vec::len).sum(),
            Work::Record { makes, changes } => usize::from(makes.is_some()) + changes.len(),
            Work::Hooks { hooks, .. } => hooks.len(),
            Work::Wait { conditions } => conditions.len(),
            Work::Probe { .. } | Work::TestRuns { .. } => 1,
            Work::Restart { workloads } => workloads.len(),
            Work::RestartInUndo { .. } | Work::Gate(_) | Work::Expand(_) => 0,
        }
    }

    /// The step's line in the record, before it begins.
    pub fn record(&self) -> StepRecord {
        let (undo, because) = self.undo();
        StepRecord {
            id: self.id.clone(),
            title: self.title.clone(),
            kind: self.kind.clone(),
            after: self.after.clone(),
            state: StepState::Pending,
            undo,
            because: because.to_owned(),
            total: self.total(),
            done: 0,
            error: None,
            gate: match &self.work {
                Work::Gate(gate) => Some(GateRecord {
                    reason: gate.reason.clone(),
                    approval: gate.approval,
                    approved_by: None,
                    conditions: gate.conditions.clone(),
                    not_before: gate.not_before.clone(),
                }),
                _ => None,
            },
        }
    }
}

impl StoredPlan {
    /// Whether an object holds what may be in no record and no answer.
    pub fn hides(&self, object: &ObjectRef) -> bool {
        holds_secrets(object)
            || self.exposed.iter().any(|exposed| {
                let same_place = exposed.namespace.is_empty() || exposed.namespace == object.namespace;
                same_place
                    && (&exposed.group, &exposed.kind, &exposed.name)
                        == (&object.group, &object.kind, &object.name)
            })
    }

    /// The steps that wait for this one, directly or by others.
    pub fn followers(&self, id: &str) -> HashSet<&str> {
        let mut followers: HashSet<&str> = HashSet::new();
        loop {
            let more: Vec<&str> = self
                .steps
                .iter()
                .filter(|step| !followers.contains(step.id.as_str()))
                .filter(|step| {
                    let waits_for = |before: &String| before == id || followers.contains(before.as_str());
                    step.after.iter().any(waits_for)
                })
                .map(|step| step.id.as_str())
                .collect();
            if more.is_empty() {
                return followers;
            }
            followers.extend(more);
        }
    }

    /// What a preview may tell of an object: of one with a secret in the open, which of its fields change.
    pub fn shown(&self, mut previewed: PreviewedObject) -> PreviewedObject {
        let object = &previewed.object;
        if holds_secrets(object) || !self.hides(object) {
            return previewed;
        }
        for field in &mut previewed.diff {
            (field.before, field.after) = (None, None);
        }
        previewed.error = previewed
            .error
            .map(|problem| self.veiled(&previewed.object, problem));
        let note = "a secret would be in it in the open: which fields change is shown, and not how";
        previewed.note = Some(match previewed.note {
            Some(other) => format!("{other}; {note}"),
            None => note.to_owned(),
        });
        previewed
    }

    /// What went wrong with an object, without what the server says of its fields when they hold a secret in the open.
    pub fn veiled(&self, object: &ObjectRef, problem: Problem) -> Problem {
        let by_server = matches!(problem.kind, ProblemKind::Invalid | ProblemKind::Forbidden);
        if !by_server || holds_secrets(object) || !self.hides(object) {
            return problem;
        }
        Problem {
            message: format!(
                "the server refuses {object}; what it says is not shown, because a secret is in the object"
            ),
            cause: String::new(),
            remedy: "plan it with a value in the place of the reference to see what the server says".into(),
            ..problem
        }
    }

    /// Whether one of its steps makes something that the server asks before it takes objects.
    pub fn installs_webhooks(&self) -> bool {
        self.steps.iter().any(|step| match &step.work {
            Work::Apply { waves, .. } => waves
                .iter()
                .flatten()
                .any(|object| object.group == "admissionregistration.k8s.io"),
            _ => false,
        })
    }

    /// Whether one of its steps makes this release so.
    pub fn has_release(&self, name: &str, namespace: &str) -> bool {
        self.steps.iter().any(|step| match &step.work {
            Work::Apply {
                release: Some(release),
                ..
            } => release.name == name && release.namespace == namespace,
            _ => false,
        })
    }

    /// Whether one of its steps takes this release away.
    pub fn removes_release(&self, name: &str, namespace: &str) -> bool {
        self.steps.iter().any(|step| match &step.work {
            Work::Delete {
                removes: Some(release),
                ..
            } => release.name == name && release.namespace == namespace,
            _ => false,
        })
    }

    /// Bytes of what its steps write.
    pub fn content(&self) -> u64 {
        self.steps
            .iter()
            .map(|step| match &step.work {
                Work::Apply { content, .. } | Work::Hooks { content, .. } => content.size,
                _ => 0,
            })
            .sum()
    }

    /// The plan with what one of its steps has become; what comes after that step comes after all of it.
    pub fn with_expansion(mut self, step: &str, expansion: Self) -> Result<Self, Problem> {
        let ids: Vec<String> = expansion.steps.iter().map(|step| step.id.clone()).collect();
        if let Some(twice) = ids.iter().find(|id| self.step(id).is_some()) {
            return Err(Problem::new(
                ProblemKind::Invalid,
                "bad-plan",
                format!("two steps have the id \"{twice}\""),
            )
            .remedy("report this to the adapter's author"));
        }
        let at = self.steps.iter().position(|other| other.id == step);
        for other in &mut self.steps {
            if other.after.iter().any(|after| after == step) {
                other.after.extend(ids.iter().cloned());
            }
        }
        let at = at.map_or(self.steps.len(), |at| at + 1);
        self.steps.splice(at..at, expansion.steps);
        self.exposed.extend(expansion.exposed);
        Ok(self)
    }

    /// One of its steps.
    pub fn step(&self, id: &str) -> Option<&StoredStep> {
        self.steps.iter().find(|step| step.id == id)
    }

    /// Whether it makes this record.
    pub fn makes(&self, secret: &ObjectRef) -> bool {
        let mut works = self.steps.iter().map(|step| &step.work);
        works.any(|work| matches!(work, Work::Record { makes: Some(new), .. } if new.secret == *secret))
    }

    /// How many objects it touches.
    pub fn objects(&self) -> usize {
        self.steps.iter().map(StoredStep::total).sum()
    }
}

/// Whether objects of this kind may hold secrets, so that they are stored sealed only.
pub(super) fn holds_secrets(object: &ObjectRef) -> bool {
    object.group.is_empty() && object.kind == "Secret"
}

/// Whether it is an object whose data is secret.
pub(in crate::operation) fn is_secret(object: &Value) -> bool {
    object["apiVersion"] == "v1" && object["kind"] == "Secret"
}

/// What sealed content of an operation is bound to.
fn purpose(operation: &str) -> String {
    format!("operation {operation}")
}

/// Seals a value if the object it belongs to may hold secrets.
pub(in crate::operation) fn store_value<T: Serialize>(
    key: &HostKey,
    operation: &str,
    object: &ObjectRef,
    value: T,
) -> Result<Stored<T>, Problem> {
    if holds_secrets(object) {
        seal_value(key, operation, value)
    } else {
        Ok(Stored::Plain(value))
    }
}

/// Seals a value.
pub(in crate::operation) fn seal_value<T: Serialize>(
    key: &HostKey,
    operation: &str,
    value: T,
) -> Result<Stored<T>, Problem> {
    let text = serde_json::to_vec(&value).map_err(|error| unreadable(&error))?;
    key.seal(&purpose(operation), &text).map(Stored::Sealed)
}

/// Seals bytes into content of an operation.
pub(in crate::operation) fn seal_bytes(
    key: &HostKey,
    operation: &str,
    bytes: &[u8],
) -> Result<Vec<u8>, Problem> {
    key.seal(&purpose(operation), bytes).map(String::into_bytes)
}

/// The bytes again.
pub(in crate::operation) async fn load_sealed(
    store: &Store,
    key: &HostKey,
    operation: &str,
    content: &BlobRef,
) -> Result<Vec<u8>, Problem> {
    let bytes = store.content(content).await?;
    key.open(&purpose(operation), &String::from_utf8_lossy(&bytes))
}

/// The value again.
pub(in crate::operation) fn open_value<T: serde::de::DeserializeOwned + Default>(
    key: &HostKey,
    operation: &str,
    stored: Stored<T>,
) -> Result<T, Problem> {
    match stored {
        Stored::Plain(value) => Ok(value),
        Stored::Nothing => Ok(T::default()),
        Stored::Sealed(text) => {
            let opened = key.open(&purpose(operation), &text)?;
            serde_json::from_slice(&opened).map_err(|error| unreadable(&error))
        }
    }
}

/// The manifests of a step, wave by wave.
pub(in crate::operation) async fn load_waves(
    store: &Store,
    key: &HostKey,
    operation: &str,
    content: &BlobRef,
) -> Result<Vec<Vec<Value>>, Problem> {
    let bytes = store.content(content).await?;
    let waves: Vec<Vec<Stored<Value>>> =
        serde_json::from_slice(&bytes).map_err(|error| unreadable(&error))?;
    waves
        .into_iter()
        .map(|wave| {
            wave.into_iter()
                .map(|stored| open_value(key, operation, stored))
                .collect()
        })
        .collect()
}

/// What is stored of an operation is not what this version wrote.
pub(in crate::operation) fn unreadable(error: &serde_json::Error) -> Problem {
    Problem::new(
        ProblemKind::Internal,
        "store-corrupt",
        format!("what is stored of the operation cannot be read: {error}"),
    )
    .cause("the provider's data was changed, or was written by a newer host")
    .remedy("restore the provider's data from a backup, or use the newer host")
}

/// A stored object is not one.
pub(in crate::operation) fn nameless() -> Problem {
    Problem::new(
        ProblemKind::Internal,
        "store-corrupt",
        "an object of the stored plan has no name",
    )
    .remedy("restore the provider's data from a backup")
}
