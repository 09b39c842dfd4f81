//! An operation from the moment it may run until nothing more happens by itself: its turn, its steps, its proof, and
//! what its policy says when something goes wrong.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::consent::Consent;
use super::engine::{Claim, Engine, InHand};
use super::expansion::is_to_expand;
use super::gate::{Opening, is_paused};
use super::journal::Journal;
use super::journal::entry::Entry;
use super::journal::history::History;
use super::journal::room::Room;
use super::live::Live;
use super::plan::stored::StoredPlan;
use super::policy::{OnFailure, OnInterruption};
use super::record::{OperationRecord, StepState};
use super::release::failure::failures;
use super::release::hook_runs::hook_runs;
use super::run::{Run, halted, is_halt};
use super::staleness::{Baseline, is_stale};
use super::state::OperationState;
use super::step::outputs::Outputs;
use super::stored::Stored;
use super::turn::queue::{Place, Turn};
use super::undo::Undo;
use super::undo::lineage::Lineage;
use crate::cluster::Cluster;
use crate::cluster::release::Status;
use crate::cluster::tenure::Tenure;
use crate::problem::{Problem, ProblemKind};

/// What is to be done with an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Task {
    /// Begin it, or go on with it.
    Run,
    /// Take it back.
    Undo,
}

/// What an operation goes on with.
enum Next {
    /// Its turn on the cluster, with the state that is shown until then.
    Turn(Task, Place, OperationState),
    /// The gates that it has come to.
    Gates,
}

/// How long a cluster that gives no answer about its Lease is asked before an operation is not begun, and how long
/// before one that has lost the cluster stays interrupted.
const PATIENCE: Duration = Duration::from_secs(30);
const PATIENCE_TO_GO_ON: Duration = Duration::from_mins(10);

pub(super) struct Conduct {
    pub(super) engine: Arc<Engine>,
    pub(super) live: Arc<Live>,
    pub(super) journal: Journal,
    pub(super) record: OperationRecord,
    /// With what was expanded so far.
    plan: Mutex<Arc<StoredPlan>>,
    baseline: Baseline,
}

impl Engine {
    /// Begins a task with an operation that was claimed. Returns when it is under way.
    pub async fn begin(
        self: &Arc<Self>,
        claim: Claim,
        stored: Stored,
        task: Task,
    ) -> Result<OperationRecord, Problem> {
        let place = self.queues.enter(&stored.record.cluster.uid, &stored.record.id)?;
        let conduct = self.conduct(stored).await?;
        // An undo is written down as one even if it has to wait: after a crash it goes on as one.
        let state = if task == Task::Undo {
            OperationState::Undoing
        } else {
            OperationState::Queued
        };
        Stored::announce(&self.store, conduct.live.id(), state).await?;
        // Before it is visible: who asks for its state next sees that it was begun.
        conduct.state(state, None, None).await?;
        Ok(self.show(claim, conduct, Next::Turn(task, place, state)))
    }

    /// Waits on at a gate, after a start.
    pub async fn begin_paused(
        self: &Arc<Self>,
        claim: Claim,
        stored: Stored,
    ) -> Result<OperationRecord, Problem> {
        let conduct = self.conduct(stored).await?;
        Ok(self.show(claim, conduct, Next::Gates))
    }

    async fn conduct(self: &Arc<Self>, mut stored: Stored) -> Result<Conduct, Problem> {
        let plan = self.whole_plan(&stored).await?;
        let baseline = stored.baseline(&self.store).await?;
        stored.record.host = Some(self.host.holder().to_owned());
        let live = Arc::new(Live::new(stored.record.clone()));
        Ok(Conduct {
            engine: self.clone(),
            journal: Journal::open(self.store.clone(), live.clone(), self.abandon.clone()),
            live,
            record: stored.record,
            plan: Mutex::new(Arc::new(plan)),
            baseline,
        })
    }

    /// Makes an operation visible, and lets it go on by itself.
    fn show(&self, claim: Claim, conduct: Conduct, next: Next) -> OperationRecord {
        claim.show(InHand {
            live: conduct.live.clone(),
            journal: conduct.journal.clone(),
        });
        let record = self.shown(&conduct.live);
        self.tasks.spawn(async move {
            Box::pin(conduct.conduct(next)).await;
            conduct.end().await;
            drop(claim);
        });
        record
    }
}

impl Conduct {
    /// The plan, with what was expanded so far.
    pub(super) fn plan(&self) -> Arc<StoredPlan> {
        self.plan.lock().clone()
    }

    /// A step was expanded.
    pub(super) fn set_plan(&self, plan: StoredPlan) {
        *self.plan.lock() = Arc::new(plan);
    }

    async fn conduct(&self, mut next: Next) {
        let ended = async {
            loop {
                match next {
                    Next::Turn(task, place, shown) => {
                        // A cancel that was heard at a gate is what it goes on with.
                        let cancellable = !self.live.cancel.is_cancelled();
                        let Some(turn) = self.unless_stopped(cancellable, place.turn()).await? else {
                            return Ok(());
                        };
                        self.have_turn(&turn, task, shown).await?;
                    }
                    Next::Gates => match self.at_the_gates().await? {
                        Opening::HostStops => return Ok(()),
                        Opening::GoOn => {
                            if !self.until_unblocked().await? {
                                return Ok(());
                            }
                            let Some(place) = self.place().await else {
                                return Ok(());
                            };
                            let state = OperationState::Queued;
                            Stored::announce(&self.engine.store, self.live.id(), state).await?;
                            self.state(state, None, None).await?;
                            next = Next::Turn(Task::Run, place, state);
                            continue;
                        }
                    },
                }
                if self.live.state() != OperationState::Paused {
                    return Ok(());
                }
                next = Next::Gates;
            }
        };
        let result: Result<(), Problem> = ended.await;
        if let Err(problem) = result {
            // The journal is not there: what it says is the truth, and all that can be said is here.
            tracing::error!(operation = %self.live.id(), code = %problem.code, "the operation stops: {problem}");
        }
    }

    /// Does it, and goes on as its policy says each time that the cluster was lost to another host.
    async fn have_turn(&self, turn: &Turn, mut task: Task, mut shown: OperationState) -> Result<(), Problem> {
        let (mut patience, mut cancellable) = (PATIENCE, !self.live.cancel.is_cancelled());
        loop {
            let tenure = match self.hold_cluster(turn, patience, cancellable).await {
                Ok(Some(tenure)) => tenure,
                Ok(None) => return Ok(()),
                Err(problem) => return self.not_begun(task, problem).await,
            };
            match task {
                Task::Run => self.run(shown, &tenure).await?,
                Task::Undo => self.take_back(shown, &tenure).await?,
            }
            let Some(next) = tenure.lost().and_then(|_| self.goes_on()) else {
                return Ok(());
            };
            turn.drop_tenure();
            if self.live.state() != OperationState::Queued {
                return Ok(());
            }
            (task, shown, patience) = (next, OperationState::Queued, PATIENCE_TO_GO_ON);
            // A cancel that was heard already is what it goes on with.
            cancellable = !self.live.cancel.is_cancelled();
        }
    }

    /// What it does when it has the cluster again after it was lost; nothing when somebody has to say that.
    fn goes_on(&self) -> Option<Task> {
        match self.record.policy.on_interruption {
            _ if self.engine.stop.is_cancelled() => None,
            _ if self.live.cancel.is_cancelled() => Some(Task::Run),
            OnInterruption::Ask => None,
            OnInterruption::Resume => Some(Task::Run),
            OnInterruption::Undo => Some(Task::Undo),
        }
    }

    /// Says that the cluster was lost, and in one breath whether it goes on: who looks never sees an end that is none.
    async fn lost_cluster(&self, error: Option<Problem>, message: String) -> Result<(), Problem> {
        let mut entries = vec![Entry::State {
            state: OperationState::Interrupted,
            error,
            message: Some(message),
        }];
        if self.goes_on().is_some() {
            entries.push(Entry::State {
                state: OperationState::Queued,
                error: None,
                message: Some("goes on as soon as this host has the cluster again".into()),
            });
        }
        self.states(entries).await
    }

    /// It could not even begin, or go on.
    async fn not_begun(&self, task: Task, problem: Problem) -> Result<(), Problem> {
        let history = History::read(&self.engine.store, self.live.id()).await?;
        if task == Task::Undo || history.has_written() {
            let message = Some("it could not go on; resume or undo it later");
            return self
                .state(OperationState::Interrupted, Some(problem), message)
                .await;
        }
        self.skip().await?;
        self.state(OperationState::Failed, Some(problem), None).await
    }

    async fn run(&self, shown: OperationState, tenure: &Tenure) -> Result<(), Problem> {
        let history = History::read(&self.engine.store, self.live.id()).await?;
        if history.undoing {
            return self.take_back(shown, tenure).await;
        }
        let begun = history.has_written();
        if history.cancelled {
            self.live.cancel.cancel();
        }
        if !begun && let Some(problem) = self.blocked().await? {
            return self.state(OperationState::Failed, Some(problem), None).await;
        }
        if history.has_paused && !self.live.cancel.is_cancelled() && self.blocked().await?.is_some() {
            return self.pause().await;
        }
        let result = self.attempt(history, shown, begun, tenure).await;
        let Err(problem) = result else {
            return self.state(OperationState::Succeeded, None, None).await;
        };
        if is_paused(&problem) {
            return self.pause().await;
        }
        let cancelled = self.live.cancel.is_cancelled();
        if self.engine.stop.is_cancelled() && !cancelled {
            let message = Some("the host was stopped");
            return self.state(OperationState::Interrupted, None, message).await;
        }
        if let Some(lost) = tenure.lost().filter(|_| !cancelled) {
            let message = lost.to_string();
            return self.lost_cluster(Some(lost.into()), message).await;
        }
        let history = History::read(&self.engine.store, self.live.id()).await?;
        if is_stale(&problem) && !history.has_written() {
            return self.state(OperationState::Stale, Some(problem), None).await;
        }
        let keep = self.record.policy.on_failure == OnFailure::Keep;
        let (state, problem) = if cancelled {
            (OperationState::Cancelled, None)
        } else {
            (OperationState::Failed, Some(problem))
        };
        if keep {
            // Before it has ended: nobody goes on with what has.
            self.record_failure(problem.as_ref(), &history, tenure).await;
        }
        self.skip().await?;
        if keep || !history.has_written() {
            return self.state(state, problem, None).await;
        }
        // In one breath: who looks never sees an end that is none.
        let entries = vec![
            Entry::State {
                state,
                error: problem,
                message: None,
            },
            Entry::State {
                state: OperationState::Undoing,
                error: None,
                message: None,
            },
        ];
        self.states(entries).await?;
        self.take_back(OperationState::Undoing, tenure).await
    }

    /// Tells Helm that releases whose objects stay as they are have failed.
    async fn record_failure(&self, why: Option<&Problem>, history: &History, tenure: &Tenure) {
        let why: String = why.map_or_else(
            || "cancelled".to_owned(),
            |problem| problem.message.chars().take(500).collect(),
        );
        let plan = self.plan();
        for failure in failures(&plan, history) {
            let secret = &failure.secret;
            let recorded = async {
                let store = &self.engine.store;
                let runs = hook_runs(store, self.live.id(), &plan, &failure.hooks).await?;
                let cluster = self.fenced_cluster(tenure).await?;
                if failure.of_release {
                    let standing = (Status::Failed, why.as_str());
                    cluster.set_release_status(secret, None, standing, &runs).await?;
                } else {
                    cluster.set_last_runs(secret, None, &runs).await?;
                }
                Ok::<_, Problem>(())
            };
            if let Err(problem) = recorded.await {
                tracing::warn!(operation = %self.live.id(), record = %secret, code = %problem.code,
                    "it does not say what has failed: {problem}");
            }
        }
    }

    /// Why it must not begin although it is its turn: the one before it may have been interrupted meanwhile.
    pub(super) async fn blocked(&self) -> Result<Option<Problem>, Problem> {
        let other = self.engine.interrupted_on(&self.record.cluster.uid).await?;
        Ok(other.map(|other| cluster_blocked(&other)))
    }

    /// Runs and proves; what was done before an interruption is not done again.
    async fn attempt(
        &self,
        history: History,
        shown: OperationState,
        begun: bool,
        tenure: &Tenure,
    ) -> Result<(), Problem> {
        let cluster = self.fenced_cluster(tenure).await?;
        if !begun {
            self.engine.set_room_aside(self.live.id(), &self.plan()).await?;
        }
        let halt = self.live.cancel.child_token();
        let run = |history: History| -> Result<Run, Problem> {
            Ok(Run {
                live: self.live.clone(),
                journal: self.journal.clone(),
                store: self.engine.store.clone(),
                cluster: cluster.clone(),
                key: self.engine.key.clone(),
                plan: self.plan(),
                policy: self.record.policy,
                outputs: Outputs::of(&history, &self.engine.key, self.live.id())?,
                room: Room::of(&self.plan(), &history),
                history,
                baseline: self.baseline.clone(),
                halt: halt.clone(),
            })
        };
        if shown != OperationState::Running {
            self.state(OperationState::Running, None, None).await?;
        }
        let steps = async {
            let mut run_now = run(history)?;
            if !begun || run_now.history.has_paused {
                run_now.check_baseline().await?;
            }
            loop {
                match run_now.steps(false).await {
                    Err(problem) if is_to_expand(&problem) => {
                        Box::pin(self.expand(&cluster, &halt)).await?;
                        run_now = run(History::read(&self.engine.store, self.live.id()).await?)?;
                    }
                    result => break result?,
                }
            }
            self.state(OperationState::Verifying, None, None).await?;
            run_now.steps(true).await
        };
        tokio::pin!(steps);
        tokio::select! {
            result = &mut steps => return result,
            () = self.engine.stop.cancelled() => halt.cancel(),
            () = tenure.over() => halt.cancel(),
        }
        steps.await
    }

    /// The cluster, for as long as this host holds it.
    async fn fenced_cluster(&self, tenure: &Tenure) -> Result<Arc<Cluster>, Problem> {
        let cluster = self.engine.cluster(&self.record).await?;
        Ok(match tenure.fence() {
            Some(fence) => Arc::new(cluster.fenced(fence.clone())),
            None => cluster,
        })
    }

    /// Steps that were not begun will not be, and those that were cut short are not brought to their end.
    async fn skip(&self) -> Result<(), Problem> {
        let skipped: Vec<Entry> = self
            .live
            .record()
            .steps
            .into_iter()
            .filter(|step| matches!(step.state, StepState::Pending | StepState::Running))
            .map(|step| Entry::Step {
                step: step.id,
                state: StepState::Skipped,
                error: None,
            })
            .collect();
        if skipped.is_empty() {
            return Ok(());
        }
        self.journal.write(skipped).await
    }

    /// Takes back what was done.
    async fn take_back(&self, shown: OperationState, tenure: &Tenure) -> Result<(), Problem> {
        if shown != OperationState::Undoing {
            self.state(OperationState::Undoing, None, None).await?;
        }
        let undone = async {
            // Of a run that a crash has cut short.
            self.skip().await?;
            let history = History::read(&self.engine.store, self.live.id()).await?;
            let undo = Undo {
                remade: Mutex::new(history.remade.clone()),
                given_back: Mutex::new(history.given_back.clone()),
                lineage: Lineage::default(),
                live: self.live.clone(),
                journal: self.journal.clone(),
                store: self.engine.store.clone(),
                cluster: self.fenced_cluster(tenure).await?,
                key: self.engine.key.clone(),
                plan: self.plan(),
                history,
                recreate: self.record.policy.accept.has(Consent::Recreate),
                stop: self.engine.stop.clone(),
            };
            undo.everything().await
        };
        let undone = tokio::select! {
            undone = undone => undone,
            // Safe to begin again at any point; what was under way is dropped in any case.
            () = tenure.over() => Err(halted()),
        };
        match undone {
            Ok(true) => self.state(OperationState::Undone, None, None).await,
            Ok(false) => self.state(OperationState::UndoIncomplete, None, None).await,
            Err(problem) => {
                if let Some(lost) = tenure.lost() {
                    // Why things are taken back stays what is shown.
                    let message = format!("{lost}, while things were taken back");
                    return self.lost_cluster(None, message).await;
                }
                let (error, message) = if is_halt(&problem) || self.engine.stop.is_cancelled() {
                    (None, "the host was stopped while it took things back")
                } else {
                    (
                        Some(problem),
                        "taking things back could not go on; resume or undo it later",
                    )
                };
                self.state(OperationState::Interrupted, error, Some(message))
                    .await
            }
        }
    }

    pub(super) async fn state(
        &self,
        state: OperationState,
        error: Option<Problem>,
        message: Option<&str>,
    ) -> Result<(), Problem> {
        self.states(vec![Entry::State {
            state,
            error,
            message: message.map(str::to_owned),
        }])
        .await
    }

    async fn states(&self, entries: Vec<Entry>) -> Result<(), Problem> {
        for entry in &entries {
            if let Entry::State { state, error, .. } = entry {
                tracing::info!(operation = %self.live.id(), %state, error = error.as_ref().map(tracing::field::display), "operation");
            }
        }
        self.journal.write(entries).await?;
        // The document is for lists; the journal is the truth, and ahead of it for a moment.
        if !self.live.state().is_ended() {
            self.save().await;
        }
        Ok(())
    }

    async fn save(&self) {
        let record = self.live.record();
        let saved = Stored::update(&self.engine.store, self.live.id(), |stored| {
            stored.record = record.clone();
        });
        if let Err(problem) = saved.await {
            tracing::warn!(operation = %self.live.id(), code = %problem.code, "the operation's document is behind: {problem}");
        }
    }

    /// Writes the record as it is in the end, and gives back the room.
    async fn end(&self) {
        self.live.overlay(None);
        self.save().await;
        if self.live.state() != OperationState::Interrupted
            && let Err(problem) = self.engine.store.reserve(self.live.id(), 0).await
        {
            tracing::warn!(operation = %self.live.id(), code = %problem.code, "its room could not be given back: {problem}");
        }
    }
}

/// Nothing begins on a cluster on which an operation was interrupted.
pub(super) fn cluster_blocked(other: &OperationRecord) -> Problem {
    Problem::new(
        ProblemKind::Conflict,
        "cluster-blocked",
        format!(
            "operation {} was interrupted on this cluster: {}",
            other.id, other.summary
        ),
    )
    .remedy(format!("resume or undo operation {} first", other.id))
}
