//! What the preview says of an object that is to be deleted.

use meshery_plugin_api::message::plan::Condition;
use serde_json::Value;

use super::previewing::{Found, Previewing, blank};
use super::{Certainty, Change};
use crate::cluster::object::{Deletion, Preconditions};
use crate::operation::consent::Consent;
use crate::operation::object::apply_set::reason_to_stay;
use crate::operation::object::mark::{operation_of, text};
use crate::operation::object::ownership::objection_to_deletion;
use crate::operation::plan::stored::{DeleteTarget, StoredStep};
use crate::problem::Problem;

impl Previewing<'_> {
    pub(in crate::operation) async fn delete(
        &self,
        step: &StoredStep,
        target: &DeleteTarget,
    ) -> Result<Found, Problem> {
        let mut previewed = blank(step, &target.object, Change::Delete, Certainty::Verified);
        let now = self.cluster.get_if_served(&target.object).await?;
        let Some(now) = now else {
            previewed.change = Change::Unchanged;
            previewed.note = Some("it is not there".into());
            return Ok(Found {
                previewed,
                wanted: None,
                now: None,
            });
        };
        let is_ours = operation_of(&now).is_some();
        let kept = match target.when {
            Condition::Ours | Condition::OursAndEmpty if !is_ours => Some("it was not made by Meshery"),
            Condition::Unknown => Some("the plan's condition is not known to this host"),
            _ => None,
        };
        let kept = match (kept, &target.set) {
            (Some(why), _) => Some(why.to_owned()),
            (None, Some(set)) => match reason_to_stay(&now, set) {
                Some(why) => Some(why),
                None => self
                    .objection(target, &now)
                    .await?
                    .map(|(consent, why)| consent.stays_without(&why)),
            },
            (None, None) => None,
        };
        if let Some(why) = kept {
            previewed.change = Change::Keep;
            previewed.note = Some(why);
        } else if let Some(refusal) = self.refusal(target, &now).await? {
            previewed.change = Change::Error;
            previewed.error = Some(refusal);
        } else if matches!(
            target.when,
            Condition::OursAndEmpty | Condition::Empty | Condition::WithInstances
        ) {
            previewed.certainty = Certainty::DecidedLater;
            previewed.note = Some("it goes if nothing of others is left in it".into());
        } else {
            let preconditions = Preconditions {
                uid: Some(text(&now, "/metadata/uid").to_owned()),
                resource_version: None,
            };
            match self.cluster.delete(&target.object, &preconditions, true).await {
                Ok(Deletion::Gone | Deletion::Pending) => {}
                Ok(Deletion::Absent) => previewed.change = Change::Unchanged,
                Err(error) if error.is_connection() => return Err(error.into()),
                Err(error) => {
                    previewed.change = Change::Error;
                    previewed.error = Some(error.into());
                }
            }
        }
        Ok(Found {
            previewed,
            wanted: None,
            now: Some(now),
        })
    }

    /// What others have against it, unless it was agreed to.
    async fn objection(
        &self,
        target: &DeleteTarget,
        now: &Value,
    ) -> Result<Option<(Consent, String)>, Problem> {
        let objection = objection_to_deletion(self.cluster, now, target, self.plan).await?;
        Ok(objection.filter(|(consent, _)| !self.record.policy.accept.has(*consent)))
    }

    async fn refusal(&self, target: &DeleteTarget, now: &Value) -> Result<Option<Problem>, Problem> {
        let objection = self.objection(target, now).await?;
        Ok(objection.map(|(consent, why)| consent.required(format!("{}: {why}", target.object))))
    }
}
