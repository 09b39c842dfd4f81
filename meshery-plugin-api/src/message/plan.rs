//! A plan: data that says what is to be done to a cluster, step by step.
//!
//! An adapter returns one; the core resolves it (renders the charts, resolves what is to be removed), shows it,
//! checks it against what the adapter declared, runs it, records it and takes it back. Steps are few and general.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::expansion::{Expand, Output};
use super::facts::Facts;
use super::material::Material;
use super::object_ref::ObjectRef;

/// What an adapter is asked to plan.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PlanRequest {
    /// Name of one of the adapter's operations.
    pub operation: String,
    /// Parameters, already checked against the operation's JSON Schema and with its defaults filled in.
    pub parameters: serde_json::Map<String, Value>,
    /// What the operation's needs read.
    pub facts: Facts,
    /// Where images come from. The core sees to the pods that a plan has; an adapter sees to those that its mesh
    /// makes later, by whatever its charts take for that.
    #[serde(skip_serializing_if = "Images::is_usual")]
    pub images: Images,
    /// The files of the application that a parameter names, in the order of their names. A parameter names one when
    /// its JSON Schema has the format [`APPLICATION`]; the core looks for it where the host's owner keeps
    /// applications, so an adapter never sees a path.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<TextFile>,
}

/// The format, in an operation's JSON Schema, of a parameter that names an application of the host's owner.
pub const APPLICATION: &str = "application";

/// A file as it comes with a request.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TextFile {
    /// Its name within its folder.
    pub name: String,
    /// What is in it. It may hold secrets: an error says where, and not what stands there.
    pub text: String,
}

/// Where images come from, when not from where they are named.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Images {
    /// Host, and perhaps the beginning of a path, that takes the place of each image's own registry; "" for none.
    pub registry: String,
    /// Secrets that pods pull their images with.
    pub pull_secrets: Vec<String>,
}

impl Images {
    /// Whether images come from where they are named.
    pub fn is_usual(&self) -> bool {
        self.registry.is_empty() && self.pull_secrets.is_empty()
    }
}

impl PlanRequest {
    /// A text parameter, or "" when it was not given.
    pub fn text(&self, name: &str) -> &str {
        self.parameters.get(name).and_then(Value::as_str).unwrap_or("")
    }

    /// A yes-or-no parameter, or `false` when it was not given.
    pub fn flag(&self, name: &str) -> bool {
        self.parameters
            .get(name)
            .and_then(Value::as_bool)
            .unwrap_or(false)
    }
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Plan {
    /// Version of the message schemas it was written with.
    pub schema: String,
    /// One sentence for people: "Install Istio 1.30.2 (profile default)".
    pub summary: String,
    /// The steps. They run in the order of `after`, in parallel where that allows it.
    pub steps: Vec<Step>,
    /// What people should know before they say yes.
    pub notes: Vec<String>,
    /// The steps that prove the result, run last: waits and probes only.
    pub verify: Vec<Step>,
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Unique within the plan; lower-case letters, digits and dashes.
    pub id: String,
    /// For people: "istiod and its configuration".
    #[serde(default)]
    pub title: String,
    /// Steps that must have succeeded before this one starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<String>,
    /// What it does.
    #[serde(flatten)]
    pub action: Action,
    /// Seconds it may take; the core's own limit when zero.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub deadline_s: u32,
    /// What it leaves for later steps, by name: lower-case letters, digits and dashes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, Output>,
    /// When it cannot be taken back as a whole, what it comes after stays as well: the one does not work without the
    /// other.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub holds_back: bool,
}

impl Step {
    /// A step with an id, a title and an action; it may begin at once, and leaves nothing.
    pub fn new(id: impl Into<String>, title: impl Into<String>, action: Action) -> Self {
        Self {
            id: id.into(),
            title: title.into(),
            after: Vec::new(),
            action,
            deadline_s: 0,
            outputs: BTreeMap::new(),
            holds_back: false,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Action {
    /// Makes the objects so, by server-side apply. Undo: exact.
    Apply(Apply),
    /// Deletes objects and waits until they are gone. Undo: compensating (they are made again, with new uids).
    Delete(Delete),
    /// Applies a chart's objects as a Helm release. Undo: exact.
    Release(Release),
    /// Deletes what a Helm release made, found by Helm's marks on the objects. Undo: compensating.
    RemoveRelease(RemoveRelease),
    /// Gives a Helm release back the objects that an earlier revision had, as its record says. Undo: exact.
    RollbackRelease(RollbackRelease),
    /// Runs the tests that a Helm release's chart brings, as `helm test` does. Undo: the tests' objects are removed.
    TestRelease(TestRelease),
    /// Waits until objects are ready. Changes nothing.
    Wait(Wait),
    /// Asks the server whether it would accept an object, without making it. Changes nothing.
    Probe(Probe),
    /// Restarts workloads as `kubectl rollout restart` does. Undo: none, because pods cannot be un-restarted; but the
    /// step may itself be one [of the undo](Restart::in_undo).
    Restart(Restart),
    /// Pauses the operation until it may go on. Changes nothing.
    Gate(Gate),
    /// Makes keys, certificates and random values. Undo: exact.
    Material(Material),
    /// Asks the adapter for the steps that belong here when the operation has come to it. Undo: that of those steps.
    Expand(Expand),
    /// A step that this side does not know. The core refuses a plan that has one.
    #[serde(other)]
    Unknown,
}

/// Objects to apply.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Apply {
    /// Complete manifests, one object each. Namespaces are given in the manifest.
    pub objects: Vec<Value>,
    /// Field manager, when not the core's own: one that owns just these fields, so that applying without them
    /// takes only them back.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub manager: String,
    /// Outputs of steps before it, as `step.output`. Wherever `${step.output}` is in a text of the objects, the output
    /// takes its place when the step begins; a text that is nothing else becomes the output as it is, a number
    /// perhaps. What is not named here is text like any other.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub uses: Vec<String>,
    /// Name of the set that the objects make up, one for each adapter: lower-case letters, digits and dashes, at most
    /// 40. They are marked as its members. One step of a plan applies a set, and none of an expansion.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub set: String,
    /// When the objects are applied, members of the set that are not among them are deleted: those that the core has made
    /// and nobody has taken over since. Undo: compensating, as of [`Action::Delete`].
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub prune: bool,
}

/// Objects to delete.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Delete {
    /// What, in the order of deletion.
    pub targets: Vec<Target>,
    /// After them every member of this [set](Apply::set), under the conditions of pruning.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub set: String,
}

/// One object to delete, and when it may be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// The object.
    #[serde(rename = "ref")]
    pub object: ObjectRef,
    /// Under which condition it goes.
    #[serde(default)]
    pub when: Condition,
}

/// Condition under which an object is deleted; when it does not hold, the object is kept and reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// In any case.
    #[default]
    Always,
    /// Only if we made it (it carries our mark).
    Ours,
    /// Only if we made it and nothing of others is left inside: for namespaces and custom resource definitions.
    OursAndEmpty,
    /// Only if nothing of others is left inside: for namespaces and custom resource definitions, whoever made them.
    Empty,
    /// A custom resource definition with the custom resources of it, whoever made them. Those that are there when the
    /// plan is made go first, and an undo brings them back; one that comes later keeps the definition.
    WithInstances,
    /// A condition newer than this side: never holds.
    #[serde(other)]
    Unknown,
}

/// A chart to apply as a Helm release.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Release {
    /// Release name.
    pub name: String,
    /// Namespace of the release. It must exist or be applied by an earlier step.
    pub namespace: String,
    /// The chart.
    pub chart: ChartRef,
    /// Values, over the chart's own defaults.
    pub values: serde_json::Map<String, Value>,
    /// Over the values that the release has now, if there is one, instead of over the chart's own alone: what somebody
    /// has set stays. As `helm upgrade --reset-then-reuse-values`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub keep_values: bool,
    /// While there is no such release: over the values of another one in the same namespace, which has to be there. A
    /// release beside another one starts out as that was set. Nothing when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub values_of: String,
    /// How many revisions of the release are kept, older ones being removed; Helm's own ten when zero. Records of
    /// large charts are large.
    #[serde(skip_serializing_if = "is_zero")]
    pub history: u32,
    /// Who has installed what this release takes over, in a word (`helm`, the name of an installer): objects of it that are
    /// there, and were not made here, get the annotation `meshery.io/adopted-from` with it, and where some of them are there, and
    /// none of its webhooks is missing, the chart is rendered as in an upgrade. That is all it says: whether objects may become
    /// part of this release, and what becomes of their makers' fields, is the policy's to say, and without this word the
    /// annotation names whoever owns most of an object.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub adopted_from: String,
}

/// Which chart, and where it may come from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ChartRef {
    /// Chart name.
    pub name: String,
    /// Exact version.
    pub version: String,
    /// https address of the chart repository, for when no mirror has it.
    pub repository: String,
    /// SHA-256 of the archive in hexadecimal, when it is pinned. Without it, the repository's index must have one.
    pub sha256: String,
}

/// A Helm release to take back to an earlier revision.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RollbackRelease {
    /// Release name.
    pub name: String,
    /// Namespace of the release.
    pub namespace: String,
    /// The revision whose objects are wanted; the one deployed before the present one when zero.
    pub revision: u32,
}

/// A Helm release whose tests are to be run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TestRelease {
    /// Release name.
    pub name: String,
    /// Namespace of the release.
    pub namespace: String,
}

/// A Helm release to take away.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RemoveRelease {
    /// Release name.
    pub name: String,
    /// Namespace of the release.
    pub namespace: String,
}

/// What to wait for.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Wait {
    /// Each of these must hold.
    #[serde(rename = "for")]
    pub conditions: Vec<Readiness>,
    /// The step that takes a release back ([`RollbackRelease`]), when this waits for what the revision gone back to has,
    /// which no adapter sees: each of its workloads must be ready as well, and a condition on an object that it does not have
    /// is left out. Nothing when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub of_revision: String,
}

/// One condition on one object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Readiness {
    /// The object.
    #[serde(rename = "ref")]
    pub object: ObjectRef,
    /// What must hold.
    pub rule: Rule,
}

/// What must hold of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// The kind's own idea of ready: a Deployment rolled out, a CRD established, a Job complete, ...
    Ready,
    /// A Job or a Pod: it has run to its end and succeeded.
    Complete,
    /// It exists.
    Exists,
    /// A webhook configuration: every webhook that calls a Service has a CA bundle.
    CaBundle,
    /// A webhook configuration: CA bundles are there, and each Service called has a ready endpoint.
    Serving,
    /// A webhook configuration: every webhook fails closed (`failurePolicy: Fail`).
    FailsClosed,
    /// A Service or Ingress: it has an external address.
    Address,
    /// A Service: at least one endpoint is ready.
    Endpoints,
    /// A rule newer than this side. The core refuses a plan that has one.
    #[serde(other)]
    Unknown,
}

/// A question to the API server: would it take this object?
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Probe {
    /// Sent as a dry-run create; never stored.
    pub object: Value,
    /// JSON pointers that must lead to something in the answer, by what that proves: an injected container, say.
    pub expect: BTreeMap<String, String>,
}

/// Workloads to restart.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Restart {
    /// Deployments, StatefulSets, DaemonSets.
    pub workloads: Vec<ObjectRef>,
    /// It does nothing in the run. When what follows this step has been taken back, it restarts these workloads and
    /// waits, for [`Step::deadline_s`] at most, until they are rolled out: for pods that hold on to what they were
    /// made with, such as a sidecar. It belongs before the step that it makes good.
    pub in_undo: bool,
}

/// What has to be so before the operation goes on. Each part that is given must hold.
///
/// While it waits, the operation is `paused`: it gives back the cluster, so that others may change it meanwhile.
/// Before it goes on, what its plan relied on is looked at again. A gate has days, not minutes:
/// [`Step::deadline_s`], or seven days when that is zero.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Gate {
    /// For whoever has to decide or to wait: "Traffic of namespace shop goes over to the new revision next".
    pub reason: String,
    /// Somebody has to say yes.
    pub approval: bool,
    /// Each of these must hold.
    #[serde(rename = "for", skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Readiness>,
    /// RFC 3339: not before this moment, by the host's clock.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub not_before: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_written_flat_and_an_unknown_kind_is_recognised_as_such() {
        let step: Step = serde_json::from_str(
            r#"{"id":"ready","kind":"wait","after":["istiod"],"deadline_s":300,
                "for":[{"ref":"apps/v1/Deployment/istio-system/istiod","rule":"ready"}]}"#,
        )
        .unwrap();
        assert!(matches!(&step.action, Action::Wait(w) if w.conditions[0].rule == Rule::Ready));
        assert_eq!(serde_json::to_value(&step).unwrap()["kind"], "wait");

        let newer: Step = serde_json::from_str(r#"{"id":"x","kind":"teleport","where":"moon"}"#).unwrap();
        assert_eq!(newer.action, Action::Unknown);
    }
}
