//! What a preview saw of the objects a plan touches, so that "it has changed since" is a test and not a guess.

use std::collections::HashMap;

use futures::{StreamExt as _, TryStreamExt as _};
use meshery_plugin_api::message::object_ref::ObjectRef;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::object::fingerprint::Fingerprint;
use super::object::mark::operation_of;
use super::plan::stored::Work;
use super::run::Run;
use crate::problem::{Problem, ProblemKind};

/// How many objects are read at a time; the cluster's own limit is the one that counts.
const READS: usize = 16;

/// What a preview saw: nothing of an object that was not there, else digests of its own fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Baseline(HashMap<ObjectRef, Option<Fingerprint>>);

impl Baseline {
    /// Keeps how an object was.
    pub fn saw(&mut self, object: ObjectRef, state: Option<&Value>, is_hidden: bool) {
        let seen = state.map(|state| Fingerprint::of(state, is_hidden));
        self.0.insert(object, seen);
    }

    /// Refuses an object that was not there when the preview was made and is now, made by somebody else.
    pub fn check_absent(&self, object: &ObjectRef, now: &Value, operation: &str) -> Result<(), Problem> {
        if self.0.get(object) == Some(&None) && operation_of(now) != Some(operation) {
            return Err(appeared(object));
        }
        Ok(())
    }

    /// Whether what was seen still holds.
    fn check(&self, object: &ObjectRef, now: Option<&Value>) -> Result<(), Problem> {
        match (self.0.get(object), now) {
            (Some(Some(_)), None) => Err(stale(&format!("{object} was there and is not any more"))),
            (Some(Some(seen)), Some(now)) => match seen.changes(now) {
                Some(changes) => Err(stale(&format!("{object} {changes}"))),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }
}

impl Run {
    /// Looks again at every object that was there when the preview was made, before the first step
    /// and after each pause.
    pub async fn check_baseline(&self) -> Result<(), Problem> {
        let seen = self
            .plan
            .steps
            .iter()
            .flat_map(|step| -> Vec<&ObjectRef> {
                match &step.work {
                    Work::Apply { waves, .. } => waves.iter().flatten().collect(),
                    Work::Delete { waves, .. } => {
                        waves.iter().flatten().map(|target| &target.object).collect()
                    }
                    Work::Record { .. }
                    | Work::TestRuns { .. }
                    | Work::Hooks { .. }
                    | Work::Wait { .. }
                    | Work::Probe { .. }
                    | Work::Restart { .. }
                    | Work::RestartInUndo { .. }
                    | Work::Gate(_)
                    | Work::Expand(_) => Vec::new(),
                }
            })
            .filter(|object| matches!(self.baseline.0.get(*object), Some(Some(_))))
            // What the run itself has changed before it paused is not as the preview saw it, and should not be.
            .filter(|object| !self.history.has_touched(object));
        let looks: Vec<_> = seen
            .map(|object| async move {
                let now = self.cluster.get(object).await?;
                self.baseline.check(object, now.as_ref())
            })
            .collect();
        futures::stream::iter(looks)
            .buffer_unordered(READS)
            .try_collect()
            .await
    }
}

/// Somebody else has made an object that the run was about to make.
pub(super) fn appeared(object: &ObjectRef) -> Problem {
    stale(&format!("{object} was not there and is now"))
}

/// Somebody else has deleted an object that the run was about to change.
pub(super) fn replaced(object: &ObjectRef) -> Problem {
    stale(&format!("{object} was deleted meanwhile"))
}

const STALE: &str = "stale";

pub(super) fn stale(what: &str) -> Problem {
    Problem::new(
        ProblemKind::Conflict,
        STALE,
        format!("the cluster is not as the preview saw it: {what}"),
    )
    .cause("somebody changed it in between")
    .remedy("plan the operation again and look at the new preview")
}

/// Whether a problem says that the plan does not fit the cluster any more.
pub(super) fn is_stale(problem: &Problem) -> bool {
    problem.code == STALE
}

#[cfg(test)]
mod tests {
    use super::super::object::mark::mark;
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_people_set_makes_a_plan_stale() {
        let reference: ObjectRef = "v1/ConfigMap/a/b".parse().unwrap();
        let mut baseline = Baseline::default();
        baseline.saw(
            reference.clone(),
            Some(&json!({"metadata": {"resourceVersion": "1"}, "data": {"k": "1"}})),
            false,
        );
        let touched = json!({"metadata": {"resourceVersion": "2"}, "data": {"k": "1"}, "status": {}});
        baseline.check(&reference, Some(&touched)).unwrap();
        let changed = json!({"metadata": {}, "data": {"k": "2"}});
        assert!(is_stale(&baseline.check(&reference, Some(&changed)).unwrap_err()));
        assert!(is_stale(&baseline.check(&reference, None).unwrap_err()));
    }

    #[test]
    fn what_appeared_since_is_refused_unless_we_made_it() {
        let reference: ObjectRef = "v1/ConfigMap/a/b".parse().unwrap();
        let mut baseline = Baseline::default();
        baseline.saw(reference.clone(), None, false);
        let mut now = json!({"metadata": {"name": "b"}});
        assert!(is_stale(
            &baseline.check_absent(&reference, &now, "op").unwrap_err()
        ));
        mark(&mut now, "op");
        baseline.check_absent(&reference, &now, "op").unwrap();
    }
}
