//! What Helm's records are told when an operation has failed and everything stays as it is.

use super::history::History;
use super::stored_plan::{StatusChange, StoredPlan, StoredStep, Work};
use super::undo::of_plan;
use crate::cluster::release::Status;

/// The records that are to change: those of releases that were being brought further have failed; where tests have, it is said
/// of the tests.
pub(super) fn failures(plan: &StoredPlan, history: &History) -> Vec<StatusChange> {
    let mut failures = Vec::new();
    for step in &plan.steps {
        let Work::Record { makes, changes } = &step.work else {
            continue;
        };
        if let Some(new) = makes
            && history.created(&new.secret)
        {
            failures.push(StatusChange {
                secret: new.secret.clone(),
                status: Status::Failed.to_string(),
                description: String::new(),
                hooks: hooks_of(plan, step),
            });
        }
        let of_tests = changes
            .iter()
            .filter(|change| !change.hooks.is_empty() && !plan.makes(&change.secret))
            .filter(|change| change.hooks.iter().any(|step| history.step(step).is_some()));
        failures.extend(of_tests.cloned());
    }
    failures
}

/// The steps of the same release that run hooks.
fn hooks_of(plan: &StoredPlan, of: &StoredStep) -> Vec<String> {
    plan.steps
        .iter()
        .filter(|step| of_plan(&step.id) == of_plan(&of.id))
        .filter(|step| matches!(step.work, Work::Hooks { .. }))
        .map(|step| step.id.clone())
        .collect()
}
