//! Deploying and removing applications, the same for every mesh: samples with the mesh's own around them.
//!
//! A mesh adds how a namespace is taken in, and perhaps objects of its own kinds that lead to the application; all else is
//! here. What was there before, or was made by others, stays.

use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::SCHEMA;
use meshery_plugin_api::message::facts::Facts;
use meshery_plugin_api::message::finding::{Finding, Severity};
use meshery_plugin_api::message::plan::{Plan, PlanRequest, Step, Target};
use serde_json::Value;

use crate::namespace::{self, State};
use crate::parameter;
use crate::sample::Sample;
use crate::schema;
use crate::step::{apply, delete, in_a_row, wait};

/// Seconds that an application has until it runs, unless somebody says otherwise.
const DEADLINE_S: u64 = 300;
const LONGEST_DEADLINE_S: u64 = 3600;

/// The parameter of every operation about a sample.
pub fn namespace_parameter(sample: &Sample, description: &str) -> (&'static str, Value) {
    ("namespace", schema::namespace(description, sample.name))
}

/// The parameter that says how long to wait.
pub fn deadline_parameter() -> (&'static str, Value) {
    let description = "Seconds to wait until it runs; the host's own limit when 0";
    (
        "deadline",
        schema::count(description, DEADLINE_S, LONGEST_DEADLINE_S),
    )
}

/// The deadline of a request.
pub fn deadline(request: &PlanRequest) -> Result<u32, PluginError> {
    let deadline = parameter::count(request, "deadline", DEADLINE_S, LONGEST_DEADLINE_S)?;
    Ok(u32::try_from(deadline).unwrap_or(u32::MAX))
}

/// The plan that deploys a sample: its namespace, what `into_mesh` says, the sample, and what else leads to it.
pub fn deploy(
    request: &PlanRequest,
    sample: &Sample,
    into_mesh: Vec<Step>,
    more: Vec<Step>,
) -> Result<Plan, PluginError> {
    let target = parameter::namespace(request, "namespace", sample.name)?;
    let mut steps = Vec::new();
    let missing = namespace::missing(&request.facts, &[target]);
    if !missing.is_empty() {
        steps.push(apply("namespace", format!("namespace {target}"), missing));
    }
    steps.extend(into_mesh);
    steps.push(apply(
        sample.name,
        "services and workloads",
        sample.manifests(target)?,
    ));
    steps.extend(more);
    let ready = wait(
        "ready",
        "every workload runs, every service answers",
        deadline(request)?,
        sample.ready(target)?,
    );
    Ok(plan(
        format!("Deploy {} in namespace {target}", sample.title),
        steps,
        vec![ready],
        Vec::new(),
    ))
}

/// The plan that removes a sample as far as we made it: `more` first, then the sample, then what `out_of_mesh` says, and
/// the namespace when it is ours and empty.
pub fn remove(
    request: &PlanRequest,
    sample: &Sample,
    more: Vec<Target>,
    out_of_mesh: Vec<Step>,
) -> Result<Plan, PluginError> {
    let facts = &request.facts;
    let target = parameter::namespace(request, "namespace", sample.name)?;
    let mut targets = more;
    targets.extend(sample.targets(facts, target)?);
    if targets.is_empty() && out_of_mesh.is_empty() {
        return Err(PluginError::new(
            format!("{}-not-deployed", sample.name),
            format!("there is nothing of {} in namespace \"{target}\"", sample.title),
        )
        .remedy("name the namespace it is in, if there is another"));
    }
    let mut steps = Vec::new();
    if !targets.is_empty() {
        steps.push(delete(sample.name, "what Meshery made of it", targets));
    }
    steps.extend(out_of_mesh);
    if namespace::state(facts, target) != State::Absent {
        steps.push(delete(
            "namespace",
            "the namespace, if it is ours and empty",
            vec![namespace::removal(target)],
        ));
    }
    let others = sample.of_others(facts, target)?;
    let notes = others
        .iter()
        .map(|object| format!("{object} was made by somebody else and stays."))
        .collect();
    Ok(plan(
        format!("Remove {} from namespace {target}", sample.title),
        steps,
        Vec::new(),
        notes,
    ))
}

/// What of others has the names that a sample's objects get.
pub fn clashes(facts: &Facts, sample: &Sample, target: &str) -> Result<Vec<Finding>, PluginError> {
    let others = sample.of_others(facts, target)?;
    let clash = |object| Finding {
        code: "sample-of-others".into(),
        severity: Severity::Warning,
        message: format!("{object} is there already, made by somebody else"),
        object: Some(object),
        remedy: "choose another namespace, or its fields may conflict".into(),
    };
    Ok(others.into_iter().map(clash).collect())
}

fn plan(summary: String, steps: Vec<Step>, verify: Vec<Step>, notes: Vec<String>) -> Plan {
    Plan {
        schema: SCHEMA.into(),
        summary,
        steps: in_a_row(steps),
        notes,
        verify,
    }
}
