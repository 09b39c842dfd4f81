//! What has become of releases since an operation made a revision of them, or removed them. Where somebody has brought one
//! further, or installed it anew, nothing of it is taken back: its objects are as that revision has them, and helm relies on it.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::lineage::Lineage;
use super::of_plan;
use super::outage::is_outage;
use crate::cluster::release::Revision;
use crate::cluster::{Cluster, ClusterError};
use crate::operation::journal::history::History;
use crate::operation::plan::stored::{NewSecret, ReleaseName, StoredPlan, StoredStep, Work, open_value};
use crate::operation::secret::seal::HostKey;
use crate::problem::Problem;
use crate::provider::Store;

/// What tells the revisions that an operation, or its undo, has made from those of others.
pub(super) struct ReleasesSince<'a> {
    pub operation: &'a str,
    pub plan: &'a StoredPlan,
    pub history: &'a History,
    pub lineage: &'a Lineage,
    pub cluster: &'a Cluster,
    pub store: &'a Store,
    pub key: &'a HostKey,
}

impl<'a> ReleasesSince<'a> {
    /// Steps of the plan whose release is another one since, and what is to be said of it.
    pub async fn overtaken(&self) -> Result<HashMap<&'a str, String>, Problem> {
        let mut overtaken = HashMap::new();
        for step in &self.plan.steps {
            let release = match &step.work {
                Work::Record { makes: Some(new), .. } if self.history.created(&new.secret) => &new.release,
                Work::Delete {
                    removes: Some(release),
                    ..
                } if self.history.step(&step.id).is_some() => release,
                _ => continue,
            };
            let ReleaseName { name, namespace } = release;
            let why = match self.cluster.revisions(namespace, name).await {
                Ok(revisions) => self.why(step, name, &revisions).await,
                // Whoever may not see the others gives back what is its own.
                Err(ClusterError::Forbidden { .. }) => continue,
                Err(error) => Err(error.into()),
            };
            let why = match why {
                Ok(why) => why,
                Err(problem) if is_outage(self.cluster, &problem).await => return Err(problem),
                Err(problem) => Some(format!(
                    "whether release {name} was brought further since cannot be told: {problem}"
                )),
            };
            overtaken.extend(why.map(|why| (of_plan(&step.id), why)));
        }
        Ok(overtaken)
    }

    /// Why nothing of what a step has done to a release is taken back.
    async fn why(
        &self,
        step: &StoredStep,
        name: &str,
        revisions: &[Revision],
    ) -> Result<Option<String>, Problem> {
        if let Work::Record { makes: Some(new), .. } = &step.work {
            return Ok(self.further(new, revisions).map(|last| {
                format!(
                    "release {name} has been brought to revision {} since; roll that back or remove it first",
                    last.number
                )
            }));
        }
        let anew = self.anew(step, revisions).await?;
        Ok(anew.map(|last| {
            format!(
                "release {name} has been installed anew since, as revision {}; remove it first",
                last.number
            )
        }))
    }

    /// The last revision, if somebody has brought the release further than the operation.
    fn further<'r>(&self, new: &NewSecret, revisions: &'r [Revision]) -> Option<&'r Revision> {
        // What the operation itself has made of it later is taken back before.
        let of_others = |revision: &&Revision| !self.history.created(&revision.secret);
        let last = revisions.iter().rev().find(of_others);
        last.filter(|last| last.number > new.revision)
    }

    /// The last of the revisions that were not there when the release was removed, and that no undo has made again.
    async fn anew<'r>(
        &self,
        step: &StoredStep,
        revisions: &'r [Revision],
    ) -> Result<Option<&'r Revision>, Problem> {
        let removed = self.removed(step);
        // Whoever could not see the records when it was planned makes none again.
        if removed.is_empty() {
            return Ok(None);
        }
        for revision in revisions.iter().rev() {
            if !removed.contains(revision.uid.as_str()) && !self.is_made_again(revision).await? {
                return Ok(Some(revision));
            }
        }
        Ok(None)
    }

    /// The records that go with a removal, by their uids.
    fn removed(&self, step: &StoredStep) -> HashSet<&'a str> {
        let whole = self
            .plan
            .step(of_plan(&step.id))
            .filter(|whole| whole.id != step.id);
        let Some(Work::Delete { waves, .. }) = whole.map(|whole| &whole.work) else {
            return HashSet::new();
        };
        let targets = waves.iter().flatten();
        targets.filter_map(|target| target.uid.as_deref()).collect()
    }

    /// Whether the operation has made a record, or an undo has made it again.
    async fn is_made_again(&self, revision: &Revision) -> Result<bool, Problem> {
        let Revision { secret, uid, .. } = revision;
        if self.history.created(secret)
            || self.history.remade.get(secret) == Some(uid)
            || self.lineage.has(self.store, self.cluster, secret, uid).await?
        {
            return Ok(true);
        }
        // The host may have been killed before it could say so: nobody else makes the very same.
        let Some(now) = self.cluster.get(secret).await? else {
            return Ok(true);
        };
        for before in self.history.before(secret) {
            let before: Value = open_value(self.key, self.operation, before.clone())?;
            if before["data"].is_object() && before["data"] == now["data"] {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
