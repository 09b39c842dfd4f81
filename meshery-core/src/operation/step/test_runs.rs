//! The step that says in Helm's record of a release when its tests ran.
//!
//! Tests take minutes, and a plan may be days old: somebody may have upgraded or removed the release meanwhile. So how it
//! stands is nobody's business here, neither in the run nor in the undo.

use meshery_plugin_api::message::object_ref::ObjectRef;

use crate::cluster::release::Standing;
use crate::operation::journal::entry::{Intent, ObjectChange, Reversal, Stored};
use crate::operation::journal::history::ObjectHistory;
use crate::operation::plan::stored::unreadable;
use crate::operation::release::hook_runs::hook_runs;
use crate::operation::run::StepRun;
use crate::operation::undo::{Taken, Undo};
use crate::problem::Problem;

impl StepRun<'_> {
    pub async fn record_tests(&self, secret: &ObjectRef, hooks: &[String]) -> Result<(), Problem> {
        self.go_on()?;
        let run = self.run;
        let history = self.history.and_then(|history| history.object(secret));
        if history.is_some_and(|history| history.outcome.is_some()) {
            return Ok(());
        }
        let read = run.cluster.read_record(secret).await?;
        if let (Some(read), None) = (&read, history) {
            let before = serde_json::to_value(read.standing()).map_err(|error| unreadable(&error))?;
            let intent = Intent {
                object: secret.clone(),
                before: Some(Stored::Plain(before)),
            };
            self.write_intents(vec![intent]).await?;
        }
        let runs = hook_runs(&run.store, run.id(), &run.plan, hooks).await?;
        let recorded = match read {
            Some(read) => run.cluster.set_last_runs(secret, Some(read), &runs).await?,
            None => None,
        };
        // Helm drops the records of old revisions, and those of releases that it removes.
        let (change, uid) = match recorded {
            Some(uid) => (ObjectChange::Updated, uid),
            None => (ObjectChange::Absent, String::new()),
        };
        self.outcome(secret.clone(), change, uid, Stored::Nothing).await
    }
}

impl Undo {
    /// Gives tests back what they had run before, where nobody has run them since.
    pub(in crate::operation) async fn tested(
        &self,
        object: &ObjectHistory,
        hooks: &[String],
    ) -> Result<Taken, Problem> {
        let secret = &object.object;
        let unchanged = Ok(Taken::Back(Reversal::Unchanged, None));
        let Some(Stored::Plain(before)) = &object.before else {
            return unchanged;
        };
        let before: Standing = serde_json::from_value(before.clone()).map_err(|error| unreadable(&error))?;
        let runs = hook_runs(&self.store, self.live.id(), &self.plan, hooks).await?;
        let Some(read) = self.cluster.read_record(secret).await? else {
            return unchanged;
        };
        if !read.says_any(&runs) {
            return unchanged;
        }
        self.cluster
            .restore_last_runs(secret, Some(read), (&runs, &before))
            .await?;
        Ok(Taken::Back(Reversal::Restored, None))
    }
}
