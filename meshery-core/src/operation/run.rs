//! Running a plan: steps in the order of what they depend on, several at a time where they may.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::time::Instant;
use tokio_util::sync::CancellationToken;

use super::expansion::to_expand;
use super::gate::{paused, stayed_shut};
use super::journal::Journal;
use super::journal::entry::{Entry, Stored};
use super::journal::history::{History, StepHistory};
use super::journal::room::Room;
use super::live::Live;
use super::plan::stored::{StoredPlan, StoredStep, Work, open_value, seal_value};
use super::policy::Policy;
use super::record::StepState;
use super::secret::seal::HostKey;
use super::staleness::Baseline;
use super::step::outputs::Outputs;
use crate::cluster::Cluster;
use crate::cluster::error::LEASE_LOST;
use crate::problem::{Problem, ProblemKind};
use crate::provider::Store;
use meshery_plugin_api::message::object_ref::ObjectRef;

/// How long a step may take when its plan does not say.
pub(super) const STEP_DEADLINE: Duration = Duration::from_mins(10);
/// What is under way when a run stops is heard out for so long; after that, what came of it is looked up in the
/// cluster by whoever goes on.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// How many steps run at a time.
const STEPS: usize = 4;

/// An operation at work.
pub(super) struct Run {
    pub live: Arc<Live>,
    pub journal: Journal,
    pub store: Store,
    pub cluster: Arc<Cluster>,
    pub key: Arc<HostKey>,
    pub plan: Arc<StoredPlan>,
    pub policy: Policy,
    /// What was done before an interruption.
    pub history: History,
    /// What steps have left for later ones.
    pub outputs: Outputs,
    /// Room on the provider's disk for its journal.
    pub room: Room,
    /// What the preview saw.
    pub baseline: Baseline,
    /// No step begins anything new when this is cancelled: the operation was cancelled, a step has failed, or the
    /// host is being stopped.
    pub halt: CancellationToken,
}

/// How a step counts how far it is. Steps say it with every object.
pub(super) struct Progress {
    done: std::sync::atomic::AtomicUsize,
    pub total: usize,
}

impl Progress {
    pub fn new(done: usize, total: usize) -> Self {
        Self {
            done: done.into(),
            total,
        }
    }

    /// One more is done; how many are.
    pub fn one_more(&self) -> usize {
        self.done.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1
    }

    pub fn done(&self) -> usize {
        self.done.load(std::sync::atomic::Ordering::Relaxed)
    }
}

/// What a step works with.
pub(super) struct StepRun<'a> {
    pub run: &'a Run,
    pub step: &'a StoredStep,
    pub deadline: Instant,
    /// How long the step has in all, interruptions apart.
    pub whole: Duration,
    pub progress: Progress,
    /// What the step did before an interruption.
    pub history: Option<&'a StepHistory>,
}

impl Run {
    pub fn id(&self) -> &str {
        self.live.id()
    }

    /// Runs the steps that make the result, or those that prove it.
    pub async fn steps(&self, verify: bool) -> Result<(), Problem> {
        let mut done: HashSet<&str> = HashSet::new();
        let mut waiting: Vec<&StoredStep> = Vec::new();
        for step in &self.plan.steps {
            let state = self.history.step(&step.id).and_then(|history| history.state);
            if state == Some(StepState::Done) || (verify && !step.verify) {
                done.insert(&step.id);
            } else if step.verify == verify {
                waiting.push(step);
            }
        }
        let mut running = FuturesUnordered::new();
        let mut failure: Option<Problem> = None;
        let (mut shut, mut to_be_expanded) = (false, false);
        loop {
            if failure.is_none() && !self.halt.is_cancelled() {
                let mut index = 0;
                while index < waiting.len() && running.len() < STEPS {
                    let step = waiting[index];
                    if step.after.iter().all(|id| done.contains(id.as_str())) {
                        if matches!(step.work, Work::Gate(_) | Work::Expand(_)) {
                            match self.reached(step).await {
                                Ok(()) if matches!(step.work, Work::Gate(_)) => shut = true,
                                Ok(()) => to_be_expanded = true,
                                Err(problem) => failure = Some(problem),
                            }
                            waiting.remove(index);
                            continue;
                        }
                        waiting.remove(index);
                        running.push(async move { (step, self.step(step).await) });
                    } else {
                        index += 1;
                    }
                }
            }
            match running.next().await {
                None => break,
                Some((step, Ok(()))) => {
                    done.insert(&step.id);
                }
                Some((_, Err(problem))) => {
                    // What the others say once they were told to stop is a consequence, not the cause.
                    if failure.as_ref().is_none_or(is_halt) {
                        failure = Some(problem);
                    }
                    self.halt.cancel();
                }
            }
        }
        match failure {
            Some(problem) => Err(problem),
            None if to_be_expanded && !self.halt.is_cancelled() => Err(to_expand()),
            None if shut && !self.halt.is_cancelled() => Err(paused()),
            None if waiting.is_empty() && !shut && !to_be_expanded => Ok(()),
            None => Err(halted()),
        }
    }

    /// A gate or an expansion is reached; what comes of it is found by whoever waits for the one and asks for the other.
    async fn reached(&self, step: &StoredStep) -> Result<(), Problem> {
        match self.history.step(&step.id).and_then(|history| history.state) {
            Some(StepState::Failed) if matches!(step.work, Work::Gate(_)) => Err(stayed_shut(step)),
            Some(_) => Ok(()),
            None => {
                let reached = Entry::Step {
                    step: step.id.clone(),
                    state: StepState::Running,
                    error: None,
                };
                self.journal.note(reached).await
            }
        }
    }

    async fn step(&self, step: &StoredStep) -> Result<(), Problem> {
        let history = self.history.step(&step.id);
        let began = Entry::Step {
            step: step.id.clone(),
            state: StepState::Running,
            error: None,
        };
        self.journal.note(began).await?;
        let result = self.work(step, history).await;
        let (state, error) = match &result {
            Ok(()) => (StepState::Done, None),
            // Not the step's fault: it goes on later, or is undone.
            Err(problem) if is_halt(problem) => return result,
            Err(problem) => (StepState::Failed, Some(problem.clone())),
        };
        let ended = Entry::Step {
            step: step.id.clone(),
            state,
            error,
        };
        self.journal.note(ended).await?;
        result
    }

    async fn work(&self, step: &StoredStep, history: Option<&StepHistory>) -> Result<(), Problem> {
        let whole = match step.deadline_s {
            0 => STEP_DEADLINE,
            seconds => Duration::from_secs(seconds.into()),
        };
        let worked = history.map_or(0, StepHistory::worked);
        let left = whole.saturating_sub(Duration::from_millis(worked.unsigned_abs()));
        let done = history.map_or(0, |history| {
            history
                .objects
                .iter()
                .filter(|object| object.outcome.is_some())
                .count()
        });
        let step_run = StepRun {
            run: self,
            step,
            whole,
            deadline: Instant::now() + left,
            progress: Progress::new(done, step.total()),
            history,
        };
        match &step.work {
            Work::Apply {
                manager,
                content,
                release,
                uses,
                ..
            } => step_run.apply(manager, content, release.as_ref(), uses).await,
            Work::Record { makes, changes } => step_run.record(makes.as_ref(), changes).await,
            Work::TestRuns { secret, hooks } => step_run.record_tests(secret, hooks).await,
            Work::Hooks {
                event,
                content,
                hooks,
                release,
            } => step_run.hooks(event, content, release.as_ref(), hooks).await,
            Work::Delete { waves, kept, .. } => step_run.delete(waves, kept).await,
            Work::Wait { conditions } => step_run.wait(conditions).await,
            Work::Probe {
                reference,
                object,
                expect,
            } => {
                let object: Value = self.opened(object.clone())?;
                step_run.probe(reference, &object, expect).await
            }
            Work::Restart { workloads } => step_run.restart(workloads).await,
            // The first is for the undo. The others are never begun as steps: a gate is waited for without the cluster,
            // an expansion is asked for.
            Work::RestartInUndo { .. } | Work::Gate(_) | Work::Expand(_) => Ok(()),
        }?;
        step_run.leave_outputs().await
    }

    /// A value as it may be stored.
    pub fn stored<T: Serialize>(&self, object: &ObjectRef, value: T) -> Result<Stored<T>, Problem> {
        if self.plan.hides(object) {
            seal_value(&self.key, self.id(), value)
        } else {
            Ok(Stored::Plain(value))
        }
    }

    /// A stored value again.
    pub fn opened<T: DeserializeOwned + Default>(&self, stored: Stored<T>) -> Result<T, Problem> {
        open_value(&self.key, self.id(), stored)
    }
}

impl StepRun<'_> {
    /// Does something that may take long, unless the run stops before it has an answer.
    pub async fn until_halted<T>(&self, work: impl Future<Output = T>) -> Result<T, Problem> {
        let halted = async {
            self.run.halt.cancelled().await;
            tokio::time::sleep(LAST_WORDS).await;
        };
        tokio::select! {
            done = work => Ok(done),
            () = halted => Err(super::run::halted()),
        }
    }

    /// An error when nothing new may be begun.
    pub fn go_on(&self) -> Result<(), Problem> {
        if self.run.halt.is_cancelled() {
            return Err(halted());
        }
        if Instant::now() >= self.deadline {
            return Err(Problem::new(
                ProblemKind::Timeout,
                "step-deadline",
                format!(
                    "step {} did not come to its end within {} s: {} of {} are done",
                    self.step.id,
                    self.whole.as_secs(),
                    self.progress.done(),
                    self.progress.total
                ),
            )
            .cause("the cluster answers slowly, or the time is short for so many objects")
            .remedy(
                "look at the last objects (mesheryctl operation view ID --events) and at the API server's load; then \
                 plan again, with a longer deadline where the operation takes one",
            )
            .retryable(true));
        }
        Ok(())
    }
}

/// The failure among results, if there is one: rather a cause than that others were told to stop because of it.
pub(super) fn failure_of(results: Vec<Result<(), Problem>>) -> Result<(), Problem> {
    let failures = results.into_iter().filter_map(Result::err);
    match failures.min_by_key(is_halt) {
        None => Ok(()),
        Some(failure) => Err(failure),
    }
}

const HALTED: &str = "halted";

/// The step has stopped because the run does.
pub(super) fn halted() -> Problem {
    Problem::new(ProblemKind::Unavailable, HALTED, "stopped before its end")
}

/// Whether a problem says only that the run stops.
pub(super) fn is_halt(problem: &Problem) -> bool {
    problem.code == HALTED || problem.code == LEASE_LOST
}
