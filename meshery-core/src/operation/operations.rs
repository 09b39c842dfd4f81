//! Operations as they are asked for: planned, looked at, run, stopped, taken back.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use meshery_plugin_api::message::document::Query;
use serde::{Deserialize, Serialize};

use super::conduct::{Task, cluster_blocked};
pub(crate) use super::engine::EngineSettings;
use super::engine::{Engine, InHand};
use super::idempotency::Request;
use super::journal::entry::Entry;
use super::journal::event::Event;
use super::journal::event_stream::EventStream;
use super::journal::{Journal, stopped};
use super::live::Live;
use super::plan::stored::unreadable;
use super::policy::OnFailure;
use super::preview::Preview;
use super::preview::previewing::Previewing;
use super::record::{NewOperation, OperationRecord};
pub(crate) use super::recovery::Then;
use super::secret::seal::HostKey;
use super::state::OperationState;
use super::stored::{KIND, Stored};
use crate::cluster::Clusters;
use crate::cluster::chart::Charts;
use crate::host_identity::HostIdentity;
use crate::plugin::Plugins;
use crate::problem::{Problem, ProblemKind};
use crate::provider::Store;

/// How long a request to cancel may take to be durable.
const HEARD: Duration = Duration::from_secs(5);
/// How long an operation that is cancelled at a gate may take to end there before its undo is refused.
const LETTING_GO: Duration = Duration::from_secs(20);
/// How long running operations are given to come to a safe point when the host stops.
const DRAIN: Duration = Duration::from_secs(15);
/// And how long their last words may take after that.
const ABANDON: Duration = Duration::from_secs(3);

/// The operations of an engine. Cheap to clone.
#[derive(Clone)]
pub struct Operations {
    pub(super) engine: Arc<Engine>,
}

/// Which operations to list; all conditions must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Selection {
    /// Only in this state.
    pub state: Option<OperationState>,
    /// Only of the cluster with this uid.
    pub cluster: Option<String>,
    /// At most so many; 100 when not given, 500 at most.
    pub limit: Option<u32>,
    /// Only those after this one in the order of the list, newest first; from [`OperationPage::next`].
    pub after: Option<String>,
}

/// A page of operations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperationPage {
    /// The operations, newest first.
    pub items: Vec<OperationRecord>,
    /// Value of [`Selection::after`] for the next page; empty when this is the last.
    pub next: String,
}

impl Operations {
    pub(crate) fn new(
        store: Store,
        plugins: Arc<Plugins>,
        clusters: Clusters,
        charts: Charts,
        key: Arc<HostKey>,
        host: HostIdentity,
        settings: EngineSettings,
    ) -> Self {
        let engine = Engine::new(store, plugins, clusters, charts, key, host, settings);
        Self {
            engine: Arc::new(engine),
        }
    }

    pub(crate) async fn recover(&self, then: Then) {
        let taking_up = match self.engine.recover(then).await {
            Ok(taking_up) => taking_up,
            Err(problem) => {
                tracing::error!(code = %problem.code, "operations that were interrupted cannot be read: {problem}");
                return;
            }
        };
        match then {
            // A member that was killed has failed only when it is not taken up again.
            Then::ByPolicy => {
                let this = self.clone();
                self.engine.tasks.spawn(async move {
                    for taking_up in taking_up {
                        let _ = taking_up.await;
                    }
                    this.drive_unfinished().await;
                });
            }
            Then::Ask => {
                if let Err(problem) = self.rest_unfinished().await {
                    tracing::error!(code = %problem.code, "sets of a backup cannot be read: {problem}");
                }
            }
        }
    }

    pub(crate) fn keep_pruning(&self) {
        self.engine.keep_pruning();
    }

    /// Refuses while an operation is in anybody's hands.
    pub(crate) async fn check_idle(&self) -> Result<(), Problem> {
        self.engine.idle().await.map(drop)
    }

    /// Lets the store be exchanged while no operation is in anybody's hands. What was not ended in the new one waits
    /// for somebody to say what becomes of it.
    pub(crate) async fn exchange<T>(
        &self,
        exchange: impl Future<Output = Result<T, Problem>>,
    ) -> Result<T, Problem> {
        let idle = self.engine.idle().await?;
        let result = exchange.await?;
        drop(idle);
        self.recover(Then::Ask).await;
        Ok(result)
    }

    pub(crate) async fn shutdown(&self) {
        self.engine.stop.cancel();
        self.engine.tasks.close();
        if tokio::time::timeout(DRAIN, self.engine.tasks.wait())
            .await
            .is_err()
        {
            self.engine.abandon.cancel();
            let _ = tokio::time::timeout(ABANDON, self.engine.tasks.wait()).await;
        }
        self.engine.abandon.cancel();
    }

    /// Asks the adapter for a plan, resolves and stores it. Nothing is changed in the cluster.
    pub async fn plan(&self, new: NewOperation) -> Result<OperationRecord, Problem> {
        self.engine.plan(new, None, None).await
    }

    /// The same for a request that has a key of the caller's: when it comes again, within a day, the operation that it
    /// has made is what it gets, and `true`.
    pub async fn plan_once(&self, key: &str, new: NewOperation) -> Result<(OperationRecord, bool), Problem> {
        let owner = self.engine.store.user().await?.name;
        let request = Request::new(key, &owner, &new)?;
        if let Some(id) = request.made(&self.engine.store).await? {
            return Ok((self.engine.record(&id).await?, true));
        }
        match self.engine.plan(new, Some(&request), None).await {
            // The same request came at the same time, and was faster.
            Err(problem) if problem.code == "revision-conflict" => {
                let Some(id) = request.made(&self.engine.store).await? else {
                    return Err(problem);
                };
                Ok((self.engine.record(&id).await?, true))
            }
            planned => Ok((planned?, false)),
        }
    }

    /// Carries something out to its end, whether who asked for it still waits or not: half of it is worse than all of
    /// it or nothing.
    pub(super) async fn to_its_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Problem>> + Send + 'static,
    ) -> Result<T, Problem> {
        match self.engine.tasks.spawn(work).await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(stopped()),
            },
        }
    }

    /// The record of an operation.
    pub async fn get(&self, id: &str) -> Result<OperationRecord, Problem> {
        self.engine.record(id).await
    }

    /// A page of operations, newest first.
    pub async fn list(&self, selection: Selection) -> Result<OperationPage, Problem> {
        let labels = [
            ("state", selection.state.map(|state| state.to_string())),
            ("cluster", selection.cluster),
        ];
        let query = Query {
            kind: KIND.into(),
            labels: labels
                .into_iter()
                .filter_map(|(label, value)| Some((label.to_owned(), value?)))
                .collect(),
            after: selection.after.unwrap_or_default(),
            descending: true,
            limit: selection.limit.unwrap_or(100).clamp(1, 500),
            ..Query::default()
        };
        let page = self.engine.store.list(query).await?;
        let mut items = Vec::with_capacity(page.documents.len());
        for document in page.documents {
            let mut record = Stored::of(document.body)?.record;
            if let Some(live) = self.engine.live(&record.id) {
                record = self.engine.shown(&live);
            }
            self.engine.at_rest(&mut record);
            items.push(record);
        }
        Ok(OperationPage {
            items,
            next: page.next,
        })
    }

    /// Looks what the plan would change, and keeps the answer. Writes nothing to the cluster.
    pub async fn preview(&self, id: &str) -> Result<Preview, Problem> {
        let (this, id) = (self.clone(), id.to_owned());
        self.to_its_end(async move { this.preview_now(&id).await }).await
    }

    async fn preview_now(&self, id: &str) -> Result<Preview, Problem> {
        let engine = &self.engine;
        let claim = engine.claim(id).await?;
        let stored = engine.load(id).await?;
        runnable(&stored.record)?;
        let plan = stored.plan(&engine.store).await?;
        let cluster = engine.cluster(&stored.record).await?;
        let previewing = Previewing {
            record: &stored.record,
            plan: &plan,
            cluster: &cluster,
            store: &engine.store,
            key: &engine.key,
        };
        let (mut preview, baseline) = previewing.make().await?;
        engine.add_lease_outlook(&mut preview, &cluster).await?;
        let contents = vec![
            serde_json::to_vec(&preview).map_err(|error| unreadable(&error))?,
            serde_json::to_vec(&baseline).map_err(|error| unreadable(&error))?,
        ];
        let names = engine.store.put_content(id, contents).await?;
        // Before anybody can approve it.
        Stored::update(&engine.store, id, |stored| {
            stored.preview = names.first().cloned();
            stored.baseline = names.get(1).cloned();
        })
        .await?;
        let state = if stored.record.policy.approval {
            OperationState::AwaitingApproval
        } else {
            OperationState::Previewed
        };
        let entry = Entry::State {
            state,
            error: None,
            message: None,
        };
        let record = self.write(stored.record, vec![entry]).await?;
        Stored::update(&engine.store, id, |stored| {
            stored.record = record.clone();
        })
        .await?;
        drop(claim);
        Ok(preview)
    }

    /// The preview that was made last.
    pub async fn stored_preview(&self, id: &str) -> Result<Preview, Problem> {
        let stored = Stored::load(&self.engine.store, id).await?;
        stored.preview(&self.engine.store).await?.ok_or_else(|| {
            Problem::new(
                ProblemKind::NotFound,
                "no-preview",
                format!("no preview of operation {id} was made"),
            )
            .remedy("make one while the operation waits to be run")
        })
    }

    /// Says yes to an operation whose policy asks for one, or that waits at a gate for one: at the only such gate, or
    /// at the one that is named.
    pub async fn approve(&self, id: &str, gate: Option<&str>) -> Result<OperationRecord, Problem> {
        let (this, id, gate) = (self.clone(), id.to_owned(), gate.map(str::to_owned));
        self.to_its_end(async move { this.approve_now(&id, gate.as_deref()).await })
            .await
    }

    async fn approve_now(&self, id: &str, gate: Option<&str>) -> Result<OperationRecord, Problem> {
        let engine = &self.engine;
        if let Some(in_hand) = engine
            .taken_up(id)
            .await?
            .filter(|it| it.live.state() == OperationState::Paused)
        {
            return engine.approve_gate(&in_hand, gate).await;
        }
        if let Some(gate) = gate {
            let record = engine.record(id).await?;
            return Err(conflict(
                "not-at-a-gate",
                &format!(
                    "operation {id} is {}; it does not wait at gate \"{}\"",
                    record.state,
                    gate.escape_debug()
                ),
                "approve a gate when the operation has come to it",
            ));
        }
        let _claim = engine.claim(id).await?;
        let stored = engine.load(id).await?;
        if stored.record.state != OperationState::AwaitingApproval {
            return Err(conflict(
                "not-awaiting-approval",
                &format!(
                    "operation {id} is {}; it does not await an approval",
                    stored.record.state
                ),
                "an operation awaits approval when its policy says so and its preview was made",
            ));
        }
        let entries = vec![
            Entry::Approved {
                by: engine.store.user().await?.name,
            },
            Entry::State {
                state: OperationState::Previewed,
                error: None,
                message: None,
            },
        ];
        let record = self.write(stored.record, entries).await?;
        Stored::update(&engine.store, id, |stored| stored.record = record.clone()).await?;
        Ok(record)
    }

    /// Writes entries of an operation that nobody works on, and returns its record after them.
    pub(super) async fn write(
        &self,
        record: OperationRecord,
        entries: Vec<Entry>,
    ) -> Result<OperationRecord, Problem> {
        let live = Arc::new(Live::new(record));
        let journal = Journal::open(
            self.engine.store.clone(),
            live.clone(),
            self.engine.abandon.clone(),
        );
        journal.write(entries).await?;
        Ok(live.record())
    }

    /// Runs the plan, as soon as no other operation is at work on the cluster. Returns at once.
    pub async fn run(&self, id: &str) -> Result<OperationRecord, Problem> {
        let (this, id) = (self.clone(), id.to_owned());
        self.to_its_end(async move { this.run_now(&id).await }).await
    }

    async fn run_now(&self, id: &str) -> Result<OperationRecord, Problem> {
        let claim = self.engine.claim(id).await?;
        let stored = self.engine.load(id).await?;
        runnable(&stored.record)?;
        if stored.record.policy.approval && stored.record.approved_by.is_none() {
            return Err(conflict(
                "approval-required",
                &format!("operation {id} needs an approval before it may run"),
                "look at its preview and approve it",
            ));
        }
        if let Some(other) = self.engine.interrupted_on(&stored.record.cluster.uid).await? {
            return Err(cluster_blocked(&other));
        }
        let record = &stored.record;
        if let Some(needed) = record
            .needs_consent
            .iter()
            .find(|needed| !record.policy.accept.has(needed.consent))
        {
            return Err(needed.consent.required(&needed.why));
        }
        self.engine.begin(claim, stored, Task::Run).await
    }

    /// Stops an operation at the next safe point; what it did is taken back if its policy says so.
    pub async fn cancel(&self, id: &str) -> Result<OperationRecord, Problem> {
        let (this, id) = (self.clone(), id.to_owned());
        self.to_its_end(async move { this.cancel_now(&id).await }).await
    }

    async fn cancel_now(&self, id: &str) -> Result<OperationRecord, Problem> {
        if let Some(InHand { live, journal }) = self.engine.taken_up(id).await? {
            if live.state() == OperationState::Undoing {
                return Err(conflict(
                    "not-cancellable",
                    &format!("operation {id} is being taken back, which cannot be cancelled"),
                    "wait until it has ended",
                ));
            }
            if live.state().is_ended() {
                return Err(not_cancellable(id, live.state()));
            }
            live.cancel.cancel();
            let by = self.engine.store.user().await?.name;
            let requested = journal.note(Entry::CancelRequested { by });
            match tokio::time::timeout(HEARD, requested).await {
                Ok(Ok(())) => {}
                Ok(Err(problem)) => return Err(not_recorded(id, &problem.message)),
                Err(_) => return Err(not_recorded(id, "the provider does not answer")),
            }
            return Ok(self.engine.shown(&live));
        }
        let claim = self.engine.claim(id).await?;
        let stored = self.engine.load(id).await?;
        if !stored.record.state.is_runnable() {
            return Err(not_cancellable(id, stored.record.state));
        }
        let entry = Entry::State {
            state: OperationState::Cancelled,
            error: None,
            message: Some("cancelled before it ran".into()),
        };
        let record = self.write(stored.record, vec![entry]).await?;
        Stored::update(&self.engine.store, id, |stored| stored.record = record.clone()).await?;
        drop(claim);
        Ok(record)
    }

    /// Takes back what an operation did. Returns at once.
    pub async fn undo(&self, id: &str) -> Result<OperationRecord, Problem> {
        let (this, id) = (self.clone(), id.to_owned());
        self.to_its_end(async move { this.undo_now(&id).await }).await
    }

    async fn undo_now(&self, id: &str) -> Result<OperationRecord, Problem> {
        let in_hand = self.engine.taken_up(id).await?;
        if in_hand.is_some_and(|it| it.live.state() == OperationState::Paused) {
            // At a gate nothing is under way: it ends there, and is taken back unless its policy has done that.
            self.cancel_now(id).await?;
            let ended = tokio::time::timeout(LETTING_GO, self.wait_ended(id)).await;
            if let Ok(Ok(record)) = ended
                && record.state == OperationState::Undone
            {
                return Ok(record);
            }
        }
        let claim = self.engine.claim(id).await?;
        let stored = self.engine.load(id).await?;
        undoable(&stored.record)?;
        let plan = self.engine.whole_plan(&stored).await?;
        self.engine.set_room_aside(id, &plan).await?;
        self.engine.begin(claim, stored, Task::Undo).await
    }

    /// Goes on with an interrupted operation. Returns at once.
    pub async fn resume(&self, id: &str) -> Result<OperationRecord, Problem> {
        let (this, id) = (self.clone(), id.to_owned());
        self.to_its_end(async move { this.resume_now(&id).await }).await
    }

    async fn resume_now(&self, id: &str) -> Result<OperationRecord, Problem> {
        let claim = self.engine.claim(id).await?;
        let stored = self.engine.load(id).await?;
        if stored.record.state != OperationState::Interrupted {
            return Err(conflict(
                "not-interrupted",
                &format!(
                    "operation {id} is {}; only an interrupted one can be resumed",
                    stored.record.state
                ),
                "plan a new operation instead",
            ));
        }
        self.engine.begin(claim, stored, Task::Run).await
    }

    /// Waits until nothing more happens to an operation by itself.
    pub async fn wait_ended(&self, id: &str) -> Result<OperationRecord, Problem> {
        loop {
            let mut taken = self.engine.taken();
            if self.engine.live(id).is_none() {
                return self.engine.record(id).await;
            }
            let _ = taken.changed().await;
        }
    }

    /// What has happened to an operation so far, after the event with this number.
    pub async fn events_so_far(&self, id: &str, after: u64) -> Result<Vec<Event>, Problem> {
        self.engine.record(id).await?;
        Ok(self.engine.journaled(id, after).await?.0)
    }

    /// What has happened and what will, after the event with this number.
    pub async fn events(&self, id: &str, after: u64) -> Result<EventStream, Problem> {
        // Of one at work nothing need be read to know that it is there: many may begin to listen at a time.
        if self.engine.live(id).is_none() {
            self.engine.record(id).await?;
        }
        Ok(self.engine.listen(id, after))
    }
}

fn not_cancellable(id: &str, state: OperationState) -> Problem {
    conflict(
        "not-cancellable",
        &format!("operation {id} is {state} and cannot be cancelled"),
        "what it did can be taken back by an undo",
    )
}

fn not_recorded(id: &str, why: &str) -> Problem {
    Problem::new(
        ProblemKind::Unavailable,
        "cancel-not-recorded",
        format!("operation {id} was told to stop, but that could not be written down: {why}"),
    )
    .cause("if the host ends before the provider is back, the operation goes on after its next start")
    .remedy("cancel it again when the provider is back")
    .retryable(true)
}

fn runnable(record: &OperationRecord) -> Result<(), Problem> {
    if record.state.is_runnable() {
        return Ok(());
    }
    Err(conflict(
        "not-runnable",
        &format!(
            "operation {} is {} and cannot be run again",
            record.id, record.state
        ),
        "plan a new operation",
    ))
}

/// Refuses what has not run, or has not ended.
pub(super) fn undoable(record: &OperationRecord) -> Result<(), Problem> {
    let undoable = matches!(
        record.state,
        OperationState::Succeeded
            | OperationState::Failed
            | OperationState::Cancelled
            | OperationState::Interrupted
            | OperationState::UndoIncomplete
    );
    if undoable {
        return Ok(());
    }
    if record.state.is_active() {
        return Err(not_ended(record));
    }
    Err(conflict(
        "nothing-to-undo",
        &format!(
            "operation {} is {}; there is nothing to take back",
            record.id, record.state
        ),
        "only what has run can be undone",
    ))
}

fn not_ended(record: &OperationRecord) -> Problem {
    let (id, state) = (&record.id, record.state);
    let remedy = match (state, record.policy.on_failure) {
        (OperationState::Undoing, _) => "wait until it has ended: what it did is being taken back".to_owned(),
        (_, OnFailure::Undo) => {
            format!("stop it and take back what it did by `mesheryctl operation cancel {id}`")
        }
        (_, OnFailure::Keep) => {
            format!("end it by `mesheryctl operation cancel {id}`, then take back what it did by an undo")
        }
    };
    let message = format!("operation {id} is {state}; it has not ended");
    conflict("operation-active", &message, &remedy)
}

fn conflict(code: &str, message: &str, remedy: &str) -> Problem {
    Problem::new(ProblemKind::Conflict, code, message).remedy(remedy)
}
