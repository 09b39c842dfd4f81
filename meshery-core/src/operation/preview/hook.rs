//! What the preview says of a hook: that it runs, and whose place it takes.

use serde_json::Value;

use super::previewing::{Found, Previewing, noted};
use super::{Certainty, Change};
use crate::operation::plan::stored::{ReleaseName, StoredStep};
use crate::operation::step::hooks::HookPlan;
use crate::problem::Problem;

impl Previewing<'_> {
    pub(in crate::operation) async fn hook(
        &self,
        step: &StoredStep,
        (event, release): (&str, Option<&ReleaseName>),
        hook: &HookPlan,
        manifest: Value,
    ) -> Result<Found, Problem> {
        let now = self.cluster.get_if_served(&hook.object).await?;
        let (change, beside) = match now {
            None => (Change::Create, ""),
            Some(_) => (Change::Recreate, "; one is there already and makes room for it"),
        };
        let note = format!("it runs as a {event} hook of the chart ({}){beside}", hook.source);
        let mut found = noted(step, &hook.object, change, Certainty::DecidedLater, note);
        if let Some(now) = &now {
            let accept = self.record.policy.accept;
            if let Some(refusal) = hook.refusal(self.cluster, now, release, accept).await? {
                found.previewed.change = Change::Error;
                found.previewed.certainty = Certainty::Verified;
                found.previewed.note = None;
                found.previewed.error = Some(refusal);
            }
        }
        (found.wanted, found.now) = (Some(manifest), now);
        Ok(found)
    }
}
