//! The step that deletes objects: what can refuse others first, each wave gone before the next begins.

use futures::{StreamExt as _, TryStreamExt as _};
use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_plugin_api::message::plan::Condition;
use serde_json::Value;

use crate::cluster::ClusterError;
use crate::cluster::object::{Deletion, Preconditions};
use crate::operation::journal::entry::{Entry, Intent, ObjectChange, Stored};
use crate::operation::object::apply_set::reason_to_stay;
use crate::operation::object::left_inside::left_inside;
use crate::operation::object::mark::{operation_of, text};
use crate::operation::object::ownership::objection_to_deletion;
use crate::operation::plan::stored::DeleteTarget;
use crate::operation::record::Left;
use crate::operation::run::{StepRun, failure_of, halted};
use crate::problem::Problem;

/// Objects looked at and deleted at a time; the cluster's own limit is the one that counts.
const AT_A_TIME: usize = 16;
/// How often an object that changes under our hands is read again.
const ATTEMPTS: usize = 8;

impl StepRun<'_> {
    pub async fn delete(&self, waves: &[Vec<DeleteTarget>], kept: &[Left]) -> Result<(), Problem> {
        for left in kept {
            self.left(left.object.clone(), left.why.clone()).await?;
        }
        for wave in waves {
            self.go_on()?;
            let looks: Vec<_> = wave.iter().map(|target| self.look_at(target)).collect();
            let looked: Vec<Option<(Value, &DeleteTarget)>> = futures::stream::iter(looks)
                .buffered(AT_A_TIME)
                .try_collect()
                .await?;
            let present: Vec<(Value, &DeleteTarget)> = looked.into_iter().flatten().collect();
            let intents = present
                .iter()
                .filter(|(_, target)| self.history.and_then(|h| h.object(&target.object)).is_none())
                .map(|(object, target)| {
                    Ok(Intent {
                        object: target.object.clone(),
                        before: Some(self.run.stored(&target.object, object.clone())?),
                    })
                })
                .collect::<Result<Vec<Intent>, Problem>>()?;
            self.write_intents(intents).await?;
            self.go_on()?;
            let deletions: Vec<_> = present
                .into_iter()
                .map(|(object, target)| self.delete_one(object, target))
                .collect();
            // What is under way is not dropped when one fails: nobody would know what came of it.
            let results: Vec<Result<(), Problem>> = futures::stream::iter(deletions)
                .buffer_unordered(AT_A_TIME)
                .collect()
                .await;
            failure_of(results)?;
        }
        Ok(())
    }

    /// The object to delete; nothing when it is gone already, or stays.
    async fn look_at<'t>(
        &self,
        target: &'t DeleteTarget,
    ) -> Result<Option<(Value, &'t DeleteTarget)>, Problem> {
        let object = &target.object;
        let history = self.history.and_then(|history| history.object(object));
        if history.is_some_and(|history| history.outcome.is_some()) {
            return Ok(None);
        }
        let now = self.run.cluster.get_if_served(object).await?;
        let Some(now) = now else {
            let change = if history.is_some() {
                ObjectChange::Deleted
            } else {
                ObjectChange::Absent
            };
            self.outcome(object.clone(), change, String::new(), Stored::Nothing)
                .await?;
            return Ok(None);
        };
        // Decided and written down before an interruption.
        if let Some(history) = history {
            let before: Value = match history.before.clone() {
                Some(stored) => self.run.opened(stored)?,
                None => Value::Null,
            };
            if text(&before, "/metadata/uid") == text(&now, "/metadata/uid") {
                return Ok(Some((now, target)));
            }
            self.keep(object, "it was made again by somebody since".into())
                .await?;
            return Ok(None);
        }
        match self.reason_to_keep(target, &now).await? {
            None => {
                self.may_delete(target, &now).await?;
                Ok(Some((now, target)))
            }
            Some(why) => {
                self.keep(object, why).await?;
                Ok(None)
            }
        }
    }

    async fn reason_to_keep(&self, target: &DeleteTarget, now: &Value) -> Result<Option<String>, Problem> {
        if target
            .uid
            .as_deref()
            .is_some_and(|uid| uid != text(now, "/metadata/uid"))
        {
            return Ok(Some(
                "it is not the object that the plan was made for; it was made again since".into(),
            ));
        }
        if text(now, "/metadata/namespace") != target.object.namespace {
            return Ok(Some(
                "it lives in no namespace, which was not known when the plan was made; plan it again".into(),
            ));
        }
        if let Some(why) = self.reason_of_set(target, now).await? {
            return Ok(Some(why));
        }
        let ours = operation_of(now).is_some();
        Ok(match target.when {
            Condition::Ours | Condition::OursAndEmpty if !ours => Some("it was not made by Meshery".into()),
            Condition::Always | Condition::Ours => None,
            Condition::OursAndEmpty | Condition::Empty | Condition::WithInstances => {
                left_inside(&self.run.cluster, &target.object, self.run.id(), self.deadline).await?
            }
            Condition::Unknown => Some("the plan's condition is not known to this host".into()),
        })
    }

    /// Why a member of a set stays when the set goes on without it. Others' word on it stops nothing.
    async fn reason_of_set(&self, target: &DeleteTarget, now: &Value) -> Result<Option<String>, Problem> {
        let Some(set) = &target.set else { return Ok(None) };
        if let Some(why) = reason_to_stay(now, set) {
            return Ok(Some(why));
        }
        let run = self.run;
        let objection = objection_to_deletion(&run.cluster, now, target, &run.plan).await?;
        Ok(objection
            .filter(|(consent, _)| !run.policy.accept.has(*consent))
            .map(|(consent, why)| consent.stays_without(&why)))
    }

    /// Refuses what others mind, unless it was agreed to.
    async fn may_delete(&self, target: &DeleteTarget, now: &Value) -> Result<(), Problem> {
        let run = self.run;
        match objection_to_deletion(&run.cluster, now, target, &run.plan).await? {
            Some((consent, why)) if !run.policy.accept.has(consent) => {
                Err(consent.required(format!("{}: {why}", target.object)))
            }
            _ => Ok(()),
        }
    }

    async fn keep(&self, object: &ObjectRef, why: String) -> Result<(), Problem> {
        self.left(object.clone(), why).await?;
        self.outcome(object.clone(), ObjectChange::Kept, String::new(), Stored::Nothing)
            .await
    }

    async fn left(&self, object: ObjectRef, why: String) -> Result<(), Problem> {
        let entry = Entry::Left {
            step: self.step.id.clone(),
            left: Left { object, why },
        };
        self.run.journal.note(entry).await
    }

    async fn delete_one(&self, mut object: Value, target: &DeleteTarget) -> Result<(), Problem> {
        let uid = text(&object, "/metadata/uid").to_owned();
        let mut attempts = 0;
        loop {
            let preconditions = Preconditions {
                uid: Some(uid.clone()),
                resource_version: Some(text(&object, "/metadata/resourceVersion").to_owned()),
            };
            match self
                .run
                .cluster
                .delete(&target.object, &preconditions, false)
                .await
            {
                Ok(Deletion::Gone | Deletion::Absent) => break,
                Ok(Deletion::Pending) => {
                    self.gone(&target.object, &uid).await?;
                    break;
                }
                // Its controllers write to it all the time; that is no reason to give up, another uid is.
                Err(ClusterError::ObjectChanged { .. }) if attempts < ATTEMPTS => {
                    attempts += 1;
                    match self.run.cluster.get(&target.object).await? {
                        Some(now) if text(&now, "/metadata/uid") == uid => object = now,
                        _ => break,
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.outcome(target.object.clone(), ObjectChange::Deleted, uid, Stored::Nothing)
            .await
    }

    async fn gone(&self, object: &ObjectRef, uid: &str) -> Result<(), Problem> {
        let (say, mut said) = tokio::sync::watch::channel(String::new());
        let gone = self
            .run
            .cluster
            .wait_gone(object, Some(uid), self.deadline, move |reason| {
                say.send_replace(reason.to_owned());
            });
        tokio::pin!(gone);
        let mut told = 0;
        loop {
            tokio::select! {
                result = &mut gone => return Ok(result?),
                () = self.run.halt.cancelled() => return Err(halted()),
                Ok(()) = said.changed(), if told < super::wait::MOST_ENTRIES => {
                    told += 1;
                    let reason = said.borrow_and_update().clone();
                    let waiting = Entry::Waiting {
                        step: self.step.id.clone(),
                        object: object.clone(),
                        reason,
                        done: self.progress.done(),
                        total: self.progress.total,
                    };
                    self.run.journal.note(waiting).await?;
                }
            }
        }
    }
}
