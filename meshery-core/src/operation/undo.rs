//! Taking back what a run did, by its journal alone: what can refuse others first, then step by step in reverse.
//!
//! It is safe to begin again at any point: what the journal says was given back is done with; every other object is looked at,
//! and what is as before already needs nothing.

mod kind;
pub(super) mod lineage;
mod object;
mod outage;
mod previewing;
mod releases_since;
mod restart;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use meshery_plugin_api::message::object_ref::ObjectRef;
use parking_lot::Mutex;
use serde_json::Value;
use std::time::Instant;
use tokio_util::sync::CancellationToken;

use self::lineage::Lineage;
use self::outage::is_outage;
use self::releases_since::ReleasesSince;
use super::journal::Journal;
use super::journal::entry::{Entry, Reversal};
use super::journal::history::{History, ObjectHistory};
use super::live::Live;
use super::plan::resolve::{MANAGER, wave_of};
use super::plan::stored::{StoredPlan, StoredStep, Work, load_waves};
use super::record::{Left, StepState};
use super::run::halted;
use super::secret::seal::HostKey;
use super::step::outputs::Outputs;
use crate::cluster::{Cluster, wave};
use crate::problem::Problem;
use crate::provider::Store;

/// How long an object that was deleted may take to be gone.
pub(super) const GONE: Duration = Duration::from_mins(2);
/// Objects taken back at a time; the cluster's own limit is the one that counts.
const AT_A_TIME: usize = 16;

/// An undo at work.
pub(super) struct Undo {
    pub live: Arc<Live>,
    pub journal: Journal,
    pub store: Store,
    pub cluster: Arc<Cluster>,
    pub key: Arc<HostKey>,
    pub plan: Arc<StoredPlan>,
    pub history: History,
    /// Objects that were made again by this undo, with their new uids.
    pub remade: Mutex<HashMap<ObjectRef, String>>,
    /// Steps of which something was given back, by this undo or before it was interrupted.
    pub given_back: Mutex<HashSet<String>>,
    /// Objects that other undos on the cluster have made again.
    pub lineage: Lineage,
    /// Whether the run was allowed to delete objects and make them again.
    pub recreate: bool,
    /// The host is being stopped.
    pub stop: CancellationToken,
}

/// What became of one object.
pub(super) enum Taken {
    Back(Reversal, Option<String>),
    /// It stays, and why.
    Left(String),
}

/// The step of the plan that a step of a release's chain belongs to.
pub(super) fn of_plan(step: &str) -> &str {
    step.split_once('.').map_or(step, |(step, _)| step)
}

/// Why a step stays: one that comes after it does, and does not work without it.
pub(super) fn held_by(plan: &StoredPlan, step: &str, holding: &[&str]) -> Option<String> {
    if holding.is_empty() {
        return None;
    }
    let followers = plan.followers(step);
    let held = holding.iter().find(|held| followers.contains(*held))?;
    Some(format!(
        "step {held} could not be taken back, and does not work without it"
    ))
}

/// Whether an object is taken back before everything else: one that the run made and that can refuse others.
fn goes_first(object: &ObjectHistory) -> bool {
    object.before.is_none() && wave_of(&object.object) == wave::ADMISSION
}

/// Whether nobody knows what came of changing an object.
fn is_unknown(object: &ObjectHistory) -> bool {
    object.outcome.is_none() && object.before.is_some()
}

/// What a step did to its objects, and with what.
struct Done<'a> {
    step: &'a StoredStep,
    objects: Vec<&'a ObjectHistory>,
    /// What was applied, by object; only needed where a crash hid what came of it.
    manifests: Result<HashMap<ObjectRef, Value>, String>,
    /// Why nothing of it is taken back.
    stays: Option<String>,
}

impl Undo {
    /// Takes back everything; whether the cluster is as before.
    pub async fn everything(&self) -> Result<bool, Problem> {
        let since = ReleasesSince {
            operation: self.live.id(),
            plan: &self.plan,
            history: &self.history,
            lineage: &self.lineage,
            cluster: &self.cluster,
            store: &self.store,
            key: &self.key,
        };
        let overtaken = since.overtaken().await?;
        let mut done = Vec::new();
        for history in self.history.steps.iter().rev() {
            let Some(step) = self.plan.step(&history.id) else {
                continue;
            };
            let idle = match step.work {
                Work::Restart { .. } => true,
                Work::RestartInUndo { .. } => false,
                _ => history.objects.is_empty(),
            };
            if idle {
                continue;
            }
            let manifests = match self.manifests(step, &history.objects).await {
                Ok(manifests) => Ok(manifests),
                Err(problem) if is_outage(&self.cluster, &problem).await => return Err(problem),
                Err(problem) => Err(format!("what was applied cannot be told: {problem}")),
            };
            done.push(Done {
                step,
                objects: history.objects.iter().rev().collect(),
                manifests,
                stays: overtaken.get(of_plan(&step.id)).cloned(),
            });
        }
        let mut complete = true;
        // A webhook whose program is gone must not stand in the way of taking back the rest.
        for step in &done {
            let admission: Vec<&ObjectHistory> = step
                .objects
                .iter()
                .copied()
                .filter(|object| goes_first(object))
                .collect();
            if !admission.is_empty() {
                complete &= self.wave(step, admission).await?;
            }
        }
        // Steps that could not be taken back, and without which those before them do not work.
        let mut holding: Vec<&str> = Vec::new();
        for step in &mut done {
            if step.stays.is_none() {
                step.stays = held_by(&self.plan, &step.step.id, &holding);
            }
            let whole = self.step(step).await?;
            if !whole && step.step.holds_back {
                holding.push(&step.step.id);
            }
            complete &= whole;
        }
        Ok(complete)
    }

    async fn step(&self, done: &Done<'_>) -> Result<bool, Problem> {
        self.state(done.step, StepState::Undoing, None).await?;
        let mut complete = match &done.step.work {
            Work::RestartInUndo { workloads }
                if done.stays.is_none() && self.has_given_back_after(&done.step.id) =>
            {
                self.restarts(done.step, workloads).await?
            }
            _ => true,
        };
        // The journal has the order in which objects were written; one wave of it is taken back at a time.
        let objects: Vec<&ObjectHistory> = done
            .objects
            .iter()
            .copied()
            .filter(|object| !goes_first(object))
            .collect();
        let mut rest = objects.as_slice();
        while let Some(first) = rest.first() {
            let wave = wave_of(&first.object);
            let length = rest
                .iter()
                .take_while(|object| wave_of(&object.object) == wave)
                .count();
            let (now, later) = rest.split_at(length);
            complete &= self.wave(done, now.to_vec()).await?;
            rest = later;
        }
        let state = if complete {
            StepState::Undone
        } else {
            StepState::UndoIncomplete
        };
        self.state(done.step, state, None).await?;
        Ok(complete)
    }

    /// Whether anything was given back in steps that follow this one: only then are pods made of something else now.
    fn has_given_back_after(&self, step: &str) -> bool {
        let given_back = self.given_back.lock();
        self.plan
            .followers(step)
            .iter()
            .any(|step| given_back.contains(*step))
    }

    async fn state(
        &self,
        step: &StoredStep,
        state: StepState,
        error: Option<Problem>,
    ) -> Result<(), Problem> {
        let entry = Entry::Step {
            step: step.id.clone(),
            state,
            error,
        };
        self.journal.note(entry).await
    }

    async fn wave(&self, done: &Done<'_>, objects: Vec<&ObjectHistory>) -> Result<bool, Problem> {
        let objects: Vec<_> = objects
            .into_iter()
            .map(|object| self.object(done, object))
            .collect();
        futures::stream::iter(objects)
            .buffer_unordered(AT_A_TIME)
            .collect::<Vec<Result<bool, Problem>>>()
            .await
            .into_iter()
            .try_fold(true, |all, complete| Ok(all & complete?))
    }

    async fn object(&self, done: &Done<'_>, object: &ObjectHistory) -> Result<bool, Problem> {
        if self.stop.is_cancelled() {
            return Err(halted());
        }
        // As steps before this one have it by now, perhaps, which would look like somebody's change of it.
        let step = self.history.step(&done.step.id);
        if step.is_some_and(|step| step.settled.contains(&object.object)) {
            return Ok(true);
        }
        let deadline = Instant::now() + GONE;
        let taking = async {
            if let Some(why) = &done.stays {
                return Ok(Some(Taken::Left(why.clone())));
            }
            match &done.step.work {
                Work::Apply { manager, .. } => {
                    let manifest = match &done.manifests {
                        Ok(manifests) => manifests.get(&object.object),
                        Err(why) if is_unknown(object) => return Ok(Some(Taken::Left(why.clone()))),
                        Err(_) => None,
                    };
                    let taken = self.applied(object, manifest, deadline).await?;
                    self.give_back_owners(object, taken, manager).await.map(Some)
                }
                Work::Delete { .. } => {
                    let taken = self.deleted(object, deadline).await?;
                    self.give_back_owners(object, taken, MANAGER).await.map(Some)
                }
                Work::Record { changes, .. } if object.before.is_some() => {
                    self.recorded(object, changes).await.map(Some)
                }
                Work::Record { .. } => self.applied(object, None, deadline).await.map(Some),
                Work::TestRuns { hooks, .. } => self.tested(object, hooks).await.map(Some),
                Work::Hooks { .. } => self.hook(object, deadline).await.map(Some),
                Work::Wait { .. }
                | Work::Probe { .. }
                | Work::Restart { .. }
                | Work::RestartInUndo { .. }
                | Work::Gate(_)
                | Work::Expand(_) => Ok(None),
            }
        };
        // It is looked at again by whoever goes on: what it waits for is not worth holding up the host's end.
        let taken = tokio::select! {
            taken = taking => taken,
            () = self.stop.cancelled() => return Err(halted()),
        };
        let taken = match taken {
            Ok(None) => return Ok(true),
            Ok(Some(taken)) => taken,
            Err(problem) => self.gave_up(problem).await?,
        };
        self.tell(done.step, object.object.clone(), taken).await
    }

    /// Writes down what became of an object; whether it is as before.
    pub(super) async fn tell(
        &self,
        step: &StoredStep,
        object: ObjectRef,
        taken: Taken,
    ) -> Result<bool, Problem> {
        let step = step.id.clone();
        let (entry, complete) = match taken {
            Taken::Back(result, why) => {
                let history = self.history.step(&step).and_then(|step| step.object(&object));
                if history.is_some_and(|history| history.is_given_back(result)) {
                    self.given_back.lock().insert(step.clone());
                }
                let entry = Entry::Reverted {
                    step,
                    uid: self.remade.lock().get(&object).cloned(),
                    object,
                    result,
                    why,
                };
                (entry, true)
            }
            Taken::Left(why) => (
                Entry::Left {
                    step,
                    left: Left { object, why },
                },
                false,
            ),
        };
        self.journal.note(entry).await?;
        Ok(complete)
    }

    /// One object that cannot be taken back does not keep the others; a cluster that is away keeps all of them.
    pub(super) async fn gave_up(&self, problem: Problem) -> Result<Taken, Problem> {
        if self.stop.is_cancelled() || is_outage(&self.cluster, &problem).await {
            return Err(problem);
        }
        Ok(Taken::Left(format!("it could not be taken back: {problem}")))
    }

    /// What a step applied, if there is an object of which nobody knows what came of it.
    async fn manifests(
        &self,
        step: &StoredStep,
        objects: &[ObjectHistory],
    ) -> Result<HashMap<ObjectRef, Value>, Problem> {
        let Work::Apply { content, uses, .. } = &step.work else {
            return Ok(HashMap::new());
        };
        if !objects.iter().any(is_unknown) {
            return Ok(HashMap::new());
        }
        let waves = load_waves(&self.store, &self.key, self.live.id(), content).await?;
        let outputs = Outputs::of(&self.history, &self.key, self.live.id())?;
        let mut applied: Vec<Value> = waves.into_iter().flatten().collect();
        for object in &mut applied {
            outputs.fill(uses, object)?;
        }
        let mut whole: Vec<&mut Value> = applied.iter_mut().collect();
        // An undo does without what is not there any more: then fields that came from there stay as they are.
        let filled = self.plan.references.put_into(&self.cluster, &mut whole).await;
        if let Err(problem) = filled
            && problem.retryable
        {
            return Err(problem);
        }
        Ok(applied
            .into_iter()
            .filter_map(|manifest| Some((ObjectRef::of(&manifest)?, manifest)))
            .collect())
    }
}
