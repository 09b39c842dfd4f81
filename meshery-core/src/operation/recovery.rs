//! After a start: what was in somebody's hands when the last host ended.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use meshery_plugin_api::message::document::Query;
use tokio::task::JoinHandle;

use super::conduct::Task;
use super::engine::{Engine, UNENDED};
use super::journal::Journal;
use super::journal::entry::Entry;
use super::journal::history::History;
use super::live::Live;
use super::policy::{OnFailure, OnInterruption};
use super::record::OperationRecord;
use super::state::OperationState;
use super::stored::{KIND, Stored};
use crate::problem::{Problem, ProblemKind};

/// How long a cluster that cannot be reached is tried again before the operation stays interrupted.
const PATIENCE: Duration = Duration::from_mins(10);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What becomes of operations that were interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// They go on, or are taken back, by their policy.
    ByPolicy,
    /// They come from a backup: how far the cluster is by now nobody can tell, so that a person has to say.
    Ask,
}

/// What goes on by itself after a start.
struct TakeUp {
    record: OperationRecord,
    task: Task,
    has_written: bool,
}

impl Engine {
    /// Marks what was interrupted, and takes it up as its policy says.
    /// What goes on is queued, or given up, when the tasks that are returned have ended.
    pub async fn recover(self: &Arc<Self>, then: Then) -> Result<Vec<JoinHandle<()>>, Problem> {
        let mut ids = BTreeSet::new();
        for state in UNENDED {
            let query = Query {
                kind: KIND.into(),
                labels: [("state".to_owned(), state.to_string())].into(),
                ..Query::default()
            };
            let documents = self.store.list_all(query).await?;
            ids.extend(documents.into_iter().map(|document| document.id));
        }
        let mut found: BTreeMap<String, Vec<TakeUp>> = BTreeMap::new();
        for id in ids {
            match self.recover_one(&id, then).await {
                Ok(None) => {}
                Ok(Some(next)) => found
                    .entry(next.record.cluster.uid.clone())
                    .or_default()
                    .push(next),
                Err(problem) => {
                    tracing::error!(operation = %id, code = %problem.code, "it cannot be taken up: {problem}");
                }
            }
        }
        let mut taking_up = Vec::new();
        for mut of_cluster in found.into_values() {
            // What was half-way goes on before what had not begun, in the order in which they were asked for.
            of_cluster.sort_by(|a, b| (!a.has_written, &a.record.id).cmp(&(!b.has_written, &b.record.id)));
            let engine = self.clone();
            taking_up.push(self.tasks.spawn(async move {
                for next in of_cluster {
                    engine.take_up(next.record, next.task).await;
                }
            }));
        }
        Ok(taking_up)
    }

    async fn recover_one(self: &Arc<Self>, id: &str, then: Then) -> Result<Option<TakeUp>, Problem> {
        let claim = self.claim(id).await?;
        let stored = Stored::load(&self.store, id).await?;
        let history = History::read(&self.store, id).await?;
        let was_to_undo = matches!(
            stored.record.state,
            OperationState::Failed | OperationState::Cancelled
        ) && stored.record.policy.on_failure == OnFailure::Undo
            && history.has_written();
        // It was at a gate, and there it still is.
        if stored.record.state == OperationState::Paused && then == Then::ByPolicy {
            return Ok(Some(TakeUp {
                has_written: history.has_written(),
                record: stored.record,
                task: Task::Run,
            }));
        }
        // Killed between the failure and what follows from it.
        let mut record = if stored.record.state.is_active() || was_to_undo {
            let live = Arc::new(Live::new(stored.record));
            let journal = Journal::open(self.store.clone(), live.clone(), self.abandon.clone());
            let interrupted = Entry::State {
                state: OperationState::Interrupted,
                error: None,
                message: Some("the host that worked on it has ended".into()),
            };
            journal.note(interrupted).await?;
            live.record()
        } else {
            stored.record
        };
        if then == Then::Ask {
            record.policy.on_interruption = OnInterruption::Ask;
        }
        Stored::update(&self.store, id, |stored| stored.record = record.clone()).await?;
        drop(claim);
        if record.state == OperationState::Interrupted {
            tracing::warn!(operation = %id, what = %record.summary, policy = ?record.policy.on_interruption, "interrupted");
        }
        let task = match record.policy.on_interruption {
            _ if record.state != OperationState::Interrupted || then != Then::ByPolicy => return Ok(None),
            _ if was_to_undo => Task::Undo,
            // Somebody has decided already; the run sees it and stops.
            _ if history.cancelled => Task::Run,
            OnInterruption::Ask => return Ok(None),
            OnInterruption::Resume => Task::Run,
            OnInterruption::Undo => Task::Undo,
        };
        Ok(Some(TakeUp {
            has_written: history.has_written(),
            record,
            task,
        }))
    }

    /// Takes up an operation as soon as its cluster can be reached; returns when it stands in the queue, or at its
    /// gate, for which no cluster is needed.
    async fn take_up(self: &Arc<Self>, record: OperationRecord, task: Task) {
        let end = tokio::time::Instant::now() + PATIENCE;
        let mut pause = FIRST_PAUSE;
        loop {
            let attempt = async {
                if record.state != OperationState::Paused {
                    self.cluster(&record).await?;
                }
                let claim = self.claim(&record.id).await?;
                let stored = Stored::load(&self.store, &record.id).await?;
                match stored.record.state {
                    OperationState::Paused => self.begin_paused(claim, stored).await.map(drop),
                    OperationState::Interrupted => self.begin(claim, stored, task).await.map(drop),
                    _ => Ok(()),
                }
            };
            let Err(problem): Result<(), Problem> = attempt.await else {
                return;
            };
            // Somebody who asks about it at the same moment has it in hand for as long as that takes.
            let again = matches!(problem.kind, ProblemKind::Unavailable | ProblemKind::Timeout)
                || problem.code == "operation-active";
            if !again || tokio::time::Instant::now() + pause > end {
                tracing::error!(operation = %record.id, code = %problem.code, "it stays as it is: {problem}");
                return;
            }
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
            }
        }
    }
}
