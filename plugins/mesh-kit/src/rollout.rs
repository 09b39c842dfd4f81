//! Making the pods of a namespace anew, so that they take up what is different since they were made.

use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::expansion::ExpandRequest;
use meshery_plugin_api::message::facts::{Detail, Facts, Need};
use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_plugin_api::message::plan::{PlanRequest, Rule, Step};
use serde_json::Value;

use crate::object::{name, namespace as namespace_of};
use crate::readable::demand;
use crate::step::{holds, wait};
use crate::{need, parameter, schema};

/// The kinds whose pods can be made anew.
pub const WORKLOADS: [&str; 3] = ["Deployment", "StatefulSet", "DaemonSet"];
/// Seconds that a rollout may take where nobody says otherwise, and at most.
const ROLLOUT_S: u32 = 300;
const LONGEST_ROLLOUT_S: u32 = 3600;
/// The parameter that says otherwise, also as an expansion carries it.
pub const DEADLINE: &str = "deadline";
/// The parameter that asks for it.
const RESTART: &str = "restart";

/// What has to be read to know the workloads of a namespace.
pub fn needs(namespace: &str) -> [Need; 3] {
    WORKLOADS.map(|kind| need::within(namespace, "apps", kind, "", Detail::Metadata))
}

/// The workloads of a namespace; an error when they could not all be read.
pub fn workloads(facts: &Facts, namespace: &str) -> Result<Vec<ObjectRef>, PluginError> {
    for kind in WORKLOADS {
        demand(facts, "apps", kind)?;
    }
    Ok(known(facts, namespace))
}

/// Those of them that could be read.
fn known(facts: &Facts, namespace: &str) -> Vec<ObjectRef> {
    let mut workloads: Vec<ObjectRef> = WORKLOADS
        .iter()
        .flat_map(|kind| {
            facts
                .objects("apps", kind)
                .filter(|object| namespace_of(object) == namespace)
                .map(|object| ObjectRef::new("apps/v1", kind, namespace, name(object)))
        })
        .collect();
    workloads.sort();
    workloads.dedup();
    workloads
}

/// The step that restarts the workloads of a namespace.
pub fn restart(id: &str, namespace: &str, workloads: Vec<ObjectRef>) -> Step {
    crate::step::restart(id, format!("workloads of namespace {namespace}"), workloads)
}

/// The step that waits, for at most so many seconds, until workloads are rolled out.
pub fn ready(id: &str, title: impl Into<String>, deadline_s: u32, workloads: &[ObjectRef]) -> Step {
    let conditions = workloads
        .iter()
        .map(|object| holds(Rule::Ready, object.clone()))
        .collect();
    wait(id, title, deadline_s, conditions)
}

/// The parameter that says how long each rollout may take.
pub fn deadline_parameter() -> (&'static str, Value) {
    let description = "Seconds that each rollout may take, also in an undo; the host's own limit when 0";
    let schema = schema::count(description, ROLLOUT_S.into(), LONGEST_ROLLOUT_S.into());
    (DEADLINE, schema)
}

/// How long each rollout of a request may take.
pub fn deadline(request: &PlanRequest) -> Result<u32, PluginError> {
    let deadline = parameter::count(request, DEADLINE, ROLLOUT_S.into(), LONGEST_ROLLOUT_S.into())?;
    Ok(u32::try_from(deadline).unwrap_or(LONGEST_ROLLOUT_S))
}

/// The same in an expansion, which has it from its plan.
pub fn carried(request: &ExpandRequest) -> u32 {
    let deadline = request.with.get(DEADLINE).and_then(Value::as_u64);
    deadline
        .and_then(|deadline| deadline.try_into().ok())
        .unwrap_or(ROLLOUT_S)
}

/// The step that restarts the workloads of a namespace when what follows it has been taken back; none when there are none.
pub fn back(facts: &Facts, namespace: &str, deadline_s: u32) -> Result<Option<Step>, PluginError> {
    let workloads = workloads(facts, namespace)?;
    let title = format!("workloads of namespace {namespace}, when what follows is taken back");
    let step = |workloads| crate::step::restart_in_undo("again", title, deadline_s, workloads);
    Ok((!workloads.is_empty()).then(|| step(workloads)))
}

/// The parameter of an operation that changes what new pods of a namespace get.
pub fn parameter() -> (&'static str, Value) {
    let description = "Restart the workloads of the namespace, so that pods that run already change too";
    (RESTART, schema::flag(description, false))
}

/// Whether the restart is asked for.
pub fn is_asked(request: &PlanRequest) -> Result<bool, PluginError> {
    parameter::flag(request, RESTART, false)
}

/// What goes with such a change: the restart, if it was asked for, also of the undo, and what is to hold then; else what people
/// should know.
pub fn as_asked(request: &PlanRequest, namespace: &str) -> Result<AsAsked, PluginError> {
    let mut then = AsAsked::default();
    if !is_asked(request)? {
        let running = known(&request.facts, namespace).len();
        if running > 0 {
            then.notes.push(format!(
                "Pods that run already do not change until they are restarted: {running} workloads (parameter {RESTART})."
            ));
        }
        return Ok(then);
    }
    let workloads = workloads(&request.facts, namespace)?;
    if !workloads.is_empty() {
        let deadline_s = deadline(request)?;
        let ready = ready(
            "rolled-out",
            "the restarted workloads run",
            deadline_s,
            &workloads,
        );
        then.verify.push(ready);
        // Pods that were made with the change do not lose it by themselves.
        let title = format!("workloads of namespace {namespace}, when the change has been taken back");
        then.before.push(crate::step::restart_in_undo(
            "restart-again",
            title,
            deadline_s,
            workloads.clone(),
        ));
        then.steps.push(restart("restart", namespace, workloads));
    }
    Ok(then)
}

/// Parts of a plan.
#[derive(Debug, Default)]
pub struct AsAsked {
    /// Steps that come before the change.
    pub before: Vec<Step>,
    /// Steps that follow it.
    pub steps: Vec<Step>,
    /// What is to hold then.
    pub verify: Vec<Step>,
    /// What people should know.
    pub notes: Vec<String>,
}
