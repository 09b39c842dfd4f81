//! The step that runs a chart's hooks as Helm does: one after the other by weight, each awaited, and removed when its
//! policy says so.

use std::time::Instant;

use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_plugin_api::message::plan::{Readiness, Rule};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cluster::Cluster;
use crate::cluster::apply::{ApplyOptions, Guard};
use crate::cluster::release::MANAGER;
use crate::operation::consent::{CONSENT_REQUIRED, Consents};
use crate::operation::journal::entry::{Entry, Intent, ObjectChange, Reversal, Stored};
use crate::operation::journal::history::ObjectHistory;
use crate::operation::object::mark::{mark, mark_hook, operation_of, text};
use crate::operation::plan::stored::{ReleaseName, load_waves};
use crate::operation::release::hook_ownership::objection_to_hook;
use crate::operation::run::{StepRun, is_halt};
use crate::operation::staleness::appeared;
use crate::operation::undo::{Taken, Undo};
use crate::problem::{Problem, ProblemKind};
use crate::provider::BlobRef;

/// A hook to run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::operation) struct HookPlan {
    #[serde(rename = "ref")]
    pub object: ObjectRef,
    /// The file of the chart that it comes from.
    pub source: String,
    pub delete_policies: Vec<String>,
}

/// The code of the error of a hook that finds something in its place which its policy does not let go.
const IN_THE_WAY: &str = "hook-in-the-way";

/// A hook that is in its place.
struct Placed {
    uid: String,
    change: ObjectChange,
}

impl StepRun<'_> {
    pub async fn hooks(
        &self,
        event: &str,
        content: &BlobRef,
        release: Option<&ReleaseName>,
        hooks: &[HookPlan],
    ) -> Result<(), Problem> {
        let run = self.run;
        let waves = load_waves(&run.store, &run.key, run.id(), content).await?;
        let manifests: Vec<Value> = waves.into_iter().flatten().collect();
        for (number, (hook, manifest)) in hooks.iter().zip(manifests).enumerate() {
            let (made, result) = match self.place(release, hook, manifest).await {
                Ok(None) => continue,
                Ok(Some(placed)) => (true, self.await_end(hook, placed).await),
                Err(problem) => (false, Err(problem)),
            };
            let Err(mut problem) = result else { continue };
            if is_halt(&problem) {
                return Err(problem);
            }
            let succeeded = hooks[..number]
                .iter()
                .filter(|hook| hook.deletes("hook-succeeded"))
                .map(|hook| (hook, true));
            for (gone, made) in succeeded.chain(hook.deletes("hook-failed").then_some((hook, made))) {
                // What cannot be removed is no reason not to say why the hook has failed.
                if let Err(stays) = self.discard(&gone.object, made).await {
                    problem.message =
                        format!("{}; {} stays: {}", problem.message, gone.object, stays.message);
                }
            }
            return Err(failed(event, hook, problem));
        }
        // Helm lets them stay until all of the event have succeeded.
        for hook in hooks.iter().filter(|hook| hook.deletes("hook-succeeded")) {
            self.discard(&hook.object, true).await?;
        }
        Ok(())
    }

    /// Puts a hook in its place; nothing when it was there, and came to its end, before an interruption.
    async fn place(
        &self,
        release: Option<&ReleaseName>,
        hook: &HookPlan,
        mut manifest: Value,
    ) -> Result<Option<Placed>, Problem> {
        self.go_on()?;
        let run = self.run;
        let object = &hook.object;
        let history = self.history.and_then(|history| history.object(object));
        if history.is_some_and(|history| history.outcome.is_some()) {
            return Ok(None);
        }
        let now = run.cluster.get_if_served(object).await?;
        let before: Option<Value> = match history {
            None => now.clone(),
            Some(history) => match history.before.clone() {
                None => None,
                Some(stored) => Some(run.opened(stored)?),
            },
        };
        if history.is_none() {
            if let Some(now) = &now
                && let Some(refusal) = hook
                    .refusal(&run.cluster, now, release, run.policy.accept)
                    .await?
            {
                return Err(refusal);
            }
            let stored = match &before {
                None => None,
                Some(before) => Some(run.stored(object, before.clone())?),
            };
            let intent = Intent {
                object: object.clone(),
                before: stored,
            };
            self.write_intents(vec![intent]).await?;
        }
        if let Some(history) = history.filter(|history| history.discarded) {
            // It was gone again before the interruption, and is not once it was made anew.
            let intent = Intent {
                object: object.clone(),
                before: history.before.clone(),
            };
            self.write_intents(vec![intent]).await?;
        }
        if let Some(release) = release {
            mark_hook(&mut manifest, &release.namespace, &release.name);
        }
        let made = match now {
            // What an earlier run has left makes room, also one at an earlier moment of this operation.
            Some(now)
                if before
                    .as_ref()
                    .is_some_and(|before| uid_of(before) == uid_of(&now)) =>
            {
                self.remove(object, uid_of(&now)).await?;
                self.make(manifest).await?
            }
            Some(now) if operation_of(&now) == Some(run.id()) => now,
            Some(_) => return Err(appeared(object)),
            None => self.make(manifest).await?,
        };
        let change = if before.is_some() {
            ObjectChange::Recreated
        } else {
            ObjectChange::Created
        };
        Ok(Some(Placed {
            uid: uid_of(&made).to_owned(),
            change,
        }))
    }

    /// Waits until a hook has come to its end.
    async fn await_end(&self, hook: &HookPlan, placed: Placed) -> Result<(), Problem> {
        let object = &hook.object;
        if let Some(rule) = hook.awaited() {
            let condition = Readiness {
                object: object.clone(),
                rule,
            };
            if let Err(problem) = self.await_ready(&[condition]).await {
                return Err(self.with_reason(object, problem).await);
            }
        }
        self.outcome(object.clone(), placed.change, placed.uid, Stored::Nothing)
            .await
    }

    async fn make(&self, mut manifest: Value) -> Result<Value, Problem> {
        mark(&mut manifest, self.run.id());
        let options = ApplyOptions {
            manager: MANAGER.into(),
            guard: Some(Guard::absent()),
            ..ApplyOptions::default()
        };
        Ok(self.run.cluster.apply(&manifest, &options).await?.object)
    }

    /// A failure together with what the hook's pods say.
    async fn with_reason(&self, object: &ObjectRef, mut problem: Problem) -> Problem {
        if is_halt(&problem) {
            return problem;
        }
        if let Ok(Some(now)) = self.run.cluster.get_if_served(object).await
            && let Some(reason) = self.run.cluster.explain(object, &now).await
            && !problem.message.contains(&reason)
        {
            problem.message = format!("{}; {reason}", problem.message);
        }
        problem
    }

    /// Removes a hook's object if it is the one of this run, which may have `made` it just now.
    async fn discard(&self, object: &ObjectRef, made: bool) -> Result<(), Problem> {
        let history = self.history.and_then(|history| history.object(object));
        match self.run.cluster.get_if_served(object).await? {
            Some(now) if operation_of(&now) == Some(self.run.id()) => {
                self.remove(object, uid_of(&now)).await?;
            }
            // Somebody else's, which is none of our business.
            Some(_) => return Ok(()),
            None if is_known_gone(history, made) => return Ok(()),
            // It was removed just before the host was killed, or by somebody else: it is gone either way.
            None => {}
        }
        let gone = Entry::Discarded {
            step: self.step.id.clone(),
            object: object.clone(),
        };
        self.run.journal.note(gone).await
    }

    async fn remove(&self, object: &ObjectRef, uid: &str) -> Result<(), Problem> {
        let gone = self.run.cluster.delete_and_wait(object, uid, self.deadline);
        Ok(self.until_halted(gone).await??)
    }
}

impl Undo {
    /// Takes back what a hook was: its own object goes, and what made room for it is there again, unless that would
    /// run once more.
    pub(in crate::operation) async fn hook(
        &self,
        object: &ObjectHistory,
        deadline: Instant,
    ) -> Result<Taken, Problem> {
        let Some(before) = object.before.clone() else {
            return self.applied(object, None, deadline).await;
        };
        let before: Value = self.opened(before)?;
        let now = self.cluster.get_if_served(&object.object).await?;
        if now.as_ref().is_some_and(|now| uid_of(now) == uid_of(&before)) {
            return Ok(Taken::Back(Reversal::Unchanged, None));
        }
        if now
            .as_ref()
            .is_some_and(|now| operation_of(now) != Some(self.live.id()))
        {
            let why = "what is there now was made by somebody else";
            return Ok(Taken::Back(Reversal::Unchanged, Some(why.into())));
        }
        if let Some(now) = &now {
            self.cluster
                .delete_and_wait(&object.object, uid_of(now), deadline)
                .await?;
        }
        // It was one of an earlier moment of this operation, and goes with that.
        if operation_of(&before) == Some(self.live.id()) {
            return Ok(Taken::Back(Reversal::Removed, None));
        }
        if runs(&object.object) {
            let why = "the one before it has run, and would run again if it were made again";
            return Ok(Taken::Back(Reversal::Removed, Some(why.into())));
        }
        self.deleted(object, deadline).await
    }
}

impl HookPlan {
    /// Whether it is a program that runs to its end.
    pub fn runs(&self) -> bool {
        runs(&self.object)
    }

    /// What Helm waits for: what runs to an end has to come to it, everything else only has to be there.
    fn awaited(&self) -> Option<Rule> {
        match (self.object.group.as_str(), self.object.kind.as_str()) {
            _ if self.runs() => Some(Rule::Complete),
            ("apiextensions.k8s.io", "CustomResourceDefinition") => Some(Rule::Ready),
            _ => None,
        }
    }

    /// Why what is there does not make room for it.
    pub async fn refusal(
        &self,
        cluster: &Cluster,
        now: &Value,
        release: Option<&ReleaseName>,
        given: Consents,
    ) -> Result<Option<Problem>, Problem> {
        if !self.deletes("before-hook-creation") {
            return Ok(Some(in_the_way(&self.object)));
        }
        let objection = objection_to_hook(cluster, &self.object, now, release, given).await?;
        Ok(objection.map(|(consent, why)| consent.required(format!("{}: {why}", self.object))))
    }

    fn deletes(&self, policy: &str) -> bool {
        self.delete_policies.iter().any(|given| given == policy)
    }
}

/// Whether nothing is to be said of a hook that is not there: it never was, or the journal has it already.
fn is_known_gone(history: Option<&ObjectHistory>, made: bool) -> bool {
    match history {
        None => !made,
        Some(history) => history.discarded && (!made || history.outcome.is_some()),
    }
}

fn uid_of(object: &Value) -> &str {
    text(object, "/metadata/uid")
}

/// Whether it is a program that runs to its end.
fn runs(object: &ObjectRef) -> bool {
    matches!(
        (object.group.as_str(), object.kind.as_str()),
        ("batch", "Job") | ("", "Pod")
    )
}

fn failed(event: &str, hook: &HookPlan, problem: Problem) -> Problem {
    // It has not run at all.
    if [IN_THE_WAY, CONSENT_REQUIRED].contains(&problem.code.as_str()) {
        return problem;
    }
    Problem::new(
        problem.kind,
        "hook-failed",
        format!(
            "the {event} hook {} ({}) failed: {}",
            hook.object, hook.source, problem.message
        ),
    )
    .cause(problem.cause)
    .remedy("look at its pods, or render the chart without this hook")
}

fn in_the_way(object: &ObjectRef) -> Problem {
    Problem::new(
        ProblemKind::Conflict,
        IN_THE_WAY,
        format!("{object} is there already"),
    )
    .cause("it takes the place of a hook, whose policy in the chart does not let anything be removed for it")
    .remedy("look at what it is; if nobody needs it, delete it and try again")
}
