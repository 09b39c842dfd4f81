//! Whether what steps use is there when they begin: outputs of steps that come before them.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::Value;

use super::{check_id, fault};
use crate::error::PluginError;
use crate::message::expansion::Output;
use crate::message::object_ref::ObjectRef;
use crate::message::plan::{Action, Step};

/// The most that one step may leave.
const OUTPUTS: usize = 50;

/// Outputs that are there, as `step.output`, and whether each is a secret.
pub type KnownOutputs = BTreeMap<String, bool>;

/// Checks the outputs of steps and their uses. `known` are those of steps outside, which have ended before.
pub(super) fn check(steps: &[&Step], known: &KnownOutputs) -> Result<(), PluginError> {
    let by_id: HashMap<&str, &Step> = steps.iter().map(|step| (step.id.as_str(), *step)).collect();
    for step in steps {
        declared(step)?;
        let Action::Apply(apply) = &step.action else {
            continue;
        };
        if apply.uses.is_empty() {
            continue;
        }
        let before = before(step, &by_id);
        for used in &apply.uses {
            let found = used.split_once('.').and_then(|(id, name)| {
                let step = before.get(id).and_then(|id| by_id.get(id))?;
                step.outputs.get(name).map(Output::is_secret)
            });
            let Some(is_secret) = found.or_else(|| known.get(used).copied()) else {
                return Err(fault(format!(
                    "step {} uses \"{}\", which no step before it leaves",
                    step.id,
                    used.escape_debug()
                )));
            };
            if is_secret {
                stays_secret(step, used, &apply.objects)?;
            }
        }
    }
    Ok(())
}

fn declared(step: &Step) -> Result<(), PluginError> {
    if step.outputs.is_empty() {
        return Ok(());
    }
    if matches!(step.action, Action::Gate(_) | Action::Expand(_)) || step.outputs.len() > OUTPUTS {
        return Err(fault(format!(
            "step {} leaves {} outputs; gates and expansions leave none, other steps {OUTPUTS} at most",
            step.id,
            step.outputs.len()
        )));
    }
    for (name, output) in &step.outputs {
        check_id(name)?;
        if !output.path.is_empty() && !output.path.starts_with('/') {
            return Err(fault(format!(
                "step {}: \"{}\" of output {name} is no JSON pointer",
                step.id,
                output.path.escape_debug()
            )));
        }
    }
    Ok(())
}

/// Every step that has ended when this one begins.
fn before<'a>(step: &'a Step, by_id: &HashMap<&'a str, &'a Step>) -> HashSet<&'a str> {
    let mut before = HashSet::new();
    let mut open: Vec<&str> = step.after.iter().map(String::as_str).collect();
    while let Some(id) = open.pop() {
        if before.insert(id)
            && let Some(step) = by_id.get(id)
        {
            open.extend(step.after.iter().map(String::as_str));
        }
    }
    before
}

/// What was read from a Secret goes into Secrets only.
fn stays_secret(step: &Step, used: &str, objects: &[Value]) -> Result<(), PluginError> {
    let place = format!("${{{used}}}");
    for object in objects {
        let is_secret =
            ObjectRef::of(object).is_some_and(|object| object.group.is_empty() && object.kind == "Secret");
        if !is_secret && object.to_string().contains(&place) {
            return Err(fault(format!(
                "step {} puts {used}, which comes from a Secret, into an object that is none",
                step.id
            )));
        }
    }
    Ok(())
}
