//! Restarts that belong to an undo: pods that hold on to what they were made with are made anew when that is back.

use std::time::{Duration, Instant};

use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_plugin_api::message::plan::{Readiness, Rule};

use super::{Taken, Undo};
use crate::cluster::ClusterError;
use crate::cluster::wait::Waiting;
use crate::operation::clock;
use crate::operation::journal::entry::Reversal;
use crate::operation::plan::stored::StoredStep;
use crate::operation::run::{STEP_DEADLINE, halted};
use crate::operation::step::restart::{RESTARTER, patch_of};
use crate::problem::Problem;

impl Undo {
    /// Restarts workloads and waits until they are rolled out; whether all are.
    pub(super) async fn restarts(&self, step: &StoredStep, workloads: &[ObjectRef]) -> Result<bool, Problem> {
        let deadline = match step.deadline_s {
            0 => STEP_DEADLINE,
            seconds => Duration::from_secs(seconds.into()),
        };
        let deadline = Instant::now() + deadline;
        let mut complete = true;
        let mut restarted = Vec::new();
        for workload in workloads {
            if self.stop.is_cancelled() {
                return Err(halted());
            }
            let already = self
                .history
                .step(&step.id)
                .is_some_and(|history| history.restarted.contains(workload));
            if !already {
                let taken = match self.restart(workload).await {
                    Ok(taken) => taken,
                    Err(problem) => self.gave_up(problem).await?,
                };
                let is_restarted = matches!(taken, Taken::Back(Reversal::Restarted, _));
                complete &= self.tell(step, workload.clone(), taken).await?;
                if !is_restarted {
                    continue;
                }
            }
            restarted.push(Readiness {
                object: workload.clone(),
                rule: Rule::Ready,
            });
        }
        Ok(self.rolled_out(step, &restarted, deadline).await? && complete)
    }

    async fn restart(&self, workload: &ObjectRef) -> Result<Taken, Problem> {
        if self.cluster.get_if_served(workload).await?.is_none() {
            let why = "it is not there any more";
            return Ok(Taken::Back(Reversal::Unchanged, Some(why.into())));
        }
        let patch = patch_of(&clock::now());
        self.cluster.patch(workload, &patch, RESTARTER, false).await?;
        Ok(Taken::Back(Reversal::Restarted, None))
    }

    async fn rolled_out(
        &self,
        step: &StoredStep,
        restarted: &[Readiness],
        deadline: Instant,
    ) -> Result<bool, Problem> {
        let mut progress = |_| ();
        let ready = tokio::select! {
            ready = self.cluster.wait_ready(restarted, deadline, &mut progress) => ready,
            () = self.stop.cancelled() => return Err(halted()),
        };
        let waiting = match ready {
            Ok(()) => return Ok(true),
            Err(ClusterError::NotReady { waiting } | ClusterError::Failed { failed: waiting }) => waiting,
            Err(error) => return Err(error.into()),
        };
        for Waiting { object, reason, .. } in waiting {
            let why = format!("it was restarted and is not ready: {reason}");
            self.tell(step, object, Taken::Left(why)).await?;
        }
        Ok(false)
    }
}
