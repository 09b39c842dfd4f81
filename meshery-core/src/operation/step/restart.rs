//! The step that restarts workloads, as `kubectl rollout restart` does: by an annotation on the pod template.

use meshery_plugin_api::message::object_ref::ObjectRef;
use serde_json::json;

use crate::cluster::object::Patch;
use crate::operation::clock;
use crate::operation::journal::entry::{Intent, ObjectChange, Stored};
use crate::operation::object::mark::text;
use crate::operation::run::StepRun;
use crate::problem::{Problem, ProblemKind};

/// Where kubectl writes it, so that both see each other's restarts.
const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

/// Field manager of the annotation: were it that of what is applied, the next application would take it away, and
/// restart the workload once more.
pub(in crate::operation) const RESTARTER: &str = "meshery-restart";

/// What restarts a workload, or would.
pub(in crate::operation) fn patch_of(moment: &str) -> Patch {
    Patch::Merge(json!({
        "spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: moment}}}}
    }))
}

impl StepRun<'_> {
    pub async fn restart(&self, workloads: &[ObjectRef]) -> Result<(), Problem> {
        // A moment of the step's own, for a workload that is restarted more than once; and the same one after a crash,
        // so that what was restarted is not restarted again.
        let steps = &self.run.plan.steps;
        let place = steps.iter().position(|step| step.id == self.step.id);
        let place = place.and_then(|place| i64::try_from(place).ok()).unwrap_or(0);
        let moment = clock::later(&self.run.live.record().created, place);
        for workload in workloads {
            self.go_on()?;
            let history = self.history.and_then(|history| history.object(workload));
            if history.is_some_and(|history| history.outcome.is_some()) {
                continue;
            }
            let now = self.run.cluster.get(workload).await?.ok_or_else(|| {
                Problem::new(
                    ProblemKind::NotFound,
                    "object-not-found",
                    format!("{workload} is not there and cannot be restarted"),
                )
                .cause("it was deleted since the operation was planned")
                .remedy("plan the operation again")
            })?;
            if history.is_none() {
                let intent = Intent {
                    object: workload.clone(),
                    before: Some(Stored::Nothing),
                };
                self.write_intents(vec![intent]).await?;
            }
            self.run
                .cluster
                .patch(workload, &patch_of(&moment), RESTARTER, false)
                .await?;
            self.outcome(
                workload.clone(),
                ObjectChange::Restarted,
                text(&now, "/metadata/uid").to_owned(),
                Stored::Nothing,
            )
            .await?;
        }
        Ok(())
    }
}
