//! What Helm's records are told when an operation has failed and everything stays as it is.

use meshery_plugin_api::message::object_ref::ObjectRef;

use crate::operation::journal::history::History;
use crate::operation::plan::stored::{StoredPlan, StoredStep, Work};
use crate::operation::undo::of_plan;

/// A record that is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::operation) struct Failure {
    pub secret: ObjectRef,
    /// The release has failed; else its tests have only run, which says nothing about how it stands.
    pub of_release: bool,
    /// Steps whose hooks it is told of.
    pub hooks: Vec<String>,
}

/// The records of the releases that were being brought further, and of those whose tests have begun.
pub(in crate::operation) fn failures(plan: &StoredPlan, history: &History) -> Vec<Failure> {
    let of = |step: &StoredStep| match &step.work {
        Work::Record { makes, .. } => {
            let new = makes.as_ref().filter(|new| history.created(&new.secret))?;
            Some(Failure {
                secret: new.secret.clone(),
                of_release: true,
                hooks: hooks_of(plan, step),
            })
        }
        Work::TestRuns { secret, hooks } => {
            let have_begun = hooks.iter().any(|step| history.step(step).is_some());
            have_begun.then(|| Failure {
                secret: secret.clone(),
                of_release: false,
                hooks: hooks.clone(),
            })
        }
        Work::Apply { .. }
        | Work::Hooks { .. }
        | Work::Delete { .. }
        | Work::Wait { .. }
        | Work::Probe { .. }
        | Work::Restart { .. }
        | Work::RestartInUndo { .. }
        | Work::Gate(_)
        | Work::Expand(_) => None,
    };
    plan.steps.iter().filter_map(of).collect()
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
