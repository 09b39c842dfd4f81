//! The step that runs a chart's hooks as Helm does: one after the other by weight, each awaited, and removed when its
//! policy says so.

use std::time::Instant;

use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_plugin_api::message::plan::{Readiness, Rule};
use serde_json::Value;

use super::entry::{Entry, Intent, ObjectChange, Stored};
use super::mark::{mark, operation_of, text};
use super::relied::appeared;
use super::run::StepRun;
use super::stored_plan::{HookPlan, load_waves};
use crate::cluster::apply::{ApplyOptions, Guard};
use crate::cluster::object::Preconditions;
use crate::cluster::release::MANAGER;
use crate::problem::{Problem, ProblemKind};
use crate::provider::BlobRef;

impl StepRun<'_> {
    pub async fn hooks(&self, event: &str, content: &BlobRef, hooks: &[HookPlan]) -> Result<(), Problem> {
        let run = self.run;
        let waves = load_waves(&run.store, &run.key, run.id(), content).await?;
        let manifests: Vec<Value> = waves.into_iter().flatten().collect();
        for (hook, manifest) in hooks.iter().zip(manifests) {
            let result = self.hook(hook, manifest).await;
            let Err(problem) = result else { continue };
            if hook.deletes("hook-failed") && !super::run::is_halt(&problem) {
                self.discard(&hook.object).await?;
            }
            return Err(failed(event, hook, problem));
        }
        // Helm lets them stay until all of the event have succeeded.
        for hook in hooks.iter().filter(|hook| hook.deletes("hook-succeeded")) {
            self.discard(&hook.object).await?;
        }
        Ok(())
    }

    async fn hook(&self, hook: &HookPlan, mut manifest: Value) -> Result<(), Problem> {
        self.go_on()?;
        let run = self.run;
        let object = &hook.object;
        let history = self.history.and_then(|history| history.object(object));
        if history.is_some_and(|history| history.outcome.is_some()) {
            return Ok(());
        }
        let mut now = run.cluster.get_if_served(object).await?;
        if history.is_none() {
            if let Some(there) = &now {
                if !hook.deletes("before-hook-creation") {
                    return Err(in_the_way(object));
                }
                let note = Entry::Note {
                    step: Some(self.step.id.clone()),
                    message: format!(
                        "{object} was there from an earlier run, and is removed before it is made again"
                    ),
                };
                run.journal.note(note).await?;
                self.remove(object, text(there, "/metadata/uid")).await?;
                now = None;
            }
            let intent = Intent {
                object: object.clone(),
                before: None,
            };
            self.write_intents(vec![intent]).await?;
        }
        let made = match now {
            Some(now) if operation_of(&now) == Some(run.id()) => now,
            Some(_) => return Err(appeared(object)),
            None => {
                mark(&mut manifest, run.id());
                let options = ApplyOptions {
                    manager: MANAGER.into(),
                    guard: Some(Guard::absent()),
                    ..ApplyOptions::default()
                };
                run.cluster.apply(&manifest, &options).await?.object
            }
        };
        if let Some(rule) = awaited(object) {
            let condition = Readiness {
                object: object.clone(),
                rule,
            };
            if let Err(problem) = self.await_ready(&[condition]).await {
                return Err(self.with_reason(object, problem).await);
            }
        }
        self.outcome(
            object.clone(),
            ObjectChange::Created,
            text(&made, "/metadata/uid").to_owned(),
            Stored::Nothing,
        )
        .await
    }

    /// A failure together with what the hook's pods say.
    async fn with_reason(&self, object: &ObjectRef, mut problem: Problem) -> Problem {
        if super::run::is_halt(&problem) {
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

    /// Removes a hook's object if it is the one of this run.
    async fn discard(&self, object: &ObjectRef) -> Result<(), Problem> {
        match self.run.cluster.get_if_served(object).await? {
            Some(now) if operation_of(&now) == Some(self.run.id()) => {
                self.remove(object, text(&now, "/metadata/uid")).await
            }
            _ => Ok(()),
        }
    }

    async fn remove(&self, object: &ObjectRef, uid: &str) -> Result<(), Problem> {
        let preconditions = Preconditions {
            uid: Some(uid.to_owned()),
            resource_version: None,
        };
        let cluster = &self.run.cluster;
        cluster.delete(object, &preconditions, false).await?;
        let gone = cluster.wait_gone(object, Some(uid), self.deadline.max(Instant::now()), |_| {});
        Ok(self.until_halted(gone).await??)
    }
}

impl HookPlan {
    fn deletes(&self, policy: &str) -> bool {
        self.delete_policies.iter().any(|given| given == policy)
    }
}

/// What Helm waits for: what runs to an end has to come to it, everything else only has to be there.
fn awaited(object: &ObjectRef) -> Option<Rule> {
    match (object.group.as_str(), object.kind.as_str()) {
        ("batch", "Job") | ("", "Pod") => Some(Rule::Complete),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => Some(Rule::Ready),
        _ => None,
    }
}

fn failed(event: &str, hook: &HookPlan, problem: Problem) -> Problem {
    if super::run::is_halt(&problem) {
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
        "hook-in-the-way",
        format!("{object} is there already"),
    )
    .cause("an earlier run has left it, and the chart's policy does not let it be removed")
    .remedy("delete it, and try again")
}
