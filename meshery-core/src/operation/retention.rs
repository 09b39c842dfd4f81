//! Operations do not stay for ever: old ones go with their journal and their content.
//!
//! What is half-way never goes by itself, and of what has ended the newest stay, however old they are, so that they can
//! still be taken back. Who is killed in between leaves a mark from which the next round goes on.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use meshery_plugin_api::message::document::{Document, Expect, Query, Write};
use serde::Serialize;

use super::clock;
use super::engine::Engine;
use super::idempotency;
use super::operations::Operations;
use super::record::OperationRecord;
use super::set::prune_sets;
use super::state::OperationState;
use super::stored::{KIND, Stored};
use crate::problem::Problem;

/// Kind of the marks: an operation whose document is gone and whose journal and content are to follow.
const GOING: &str = "operation-going";
/// How many go in one round.
const ROUND: usize = 500;
/// Documents read at a time.
const PAGE: u32 = 200;
/// Time between rounds, and from the start to the first.
const EVERY: Duration = Duration::from_hours(1);
const FIRST: Duration = Duration::from_secs(10);

/// How long operations are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Of those that have ended, so many of the newest stay in any case.
    pub newest: usize,
    /// The others stay for so long after they have ended.
    pub ended: Duration,
    /// Those that were planned and never run stay for so long.
    pub planned: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            newest: 200,
            ended: Duration::from_hours(90 * 24),
            planned: Duration::from_hours(7 * 24),
        }
    }
}

/// What a round has removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Pruned {
    /// Operations.
    pub operations: usize,
    /// Sets of which no member is left.
    pub sets: usize,
    /// Keys of requests that are too old to come again.
    pub request_keys: usize,
    /// Whether there is more to remove: a round has a bound.
    pub more: bool,
}

impl Operations {
    /// Removes operations that are older than they have to be.
    pub async fn prune(&self) -> Result<Pruned, Problem> {
        self.engine.prune().await
    }
}

impl Engine {
    /// Removes what is old, from time to time, until the engine stops.
    pub fn keep_pruning(self: &Arc<Self>) {
        let engine = self.clone();
        self.tasks.spawn(async move {
            let mut pause = FIRST;
            loop {
                tokio::select! {
                    () = engine.stop.cancelled() => return,
                    () = tokio::time::sleep(pause) => {}
                }
                pause = EVERY;
                match engine.prune().await {
                    Ok(pruned) if pruned == Pruned::default() => {}
                    Ok(pruned) => {
                        if pruned.more {
                            pause = FIRST;
                        }
                        tracing::info!(
                            operations = pruned.operations,
                            sets = pruned.sets,
                            request_keys = pruned.request_keys,
                            "removed what was old"
                        );
                    }
                    Err(problem) => {
                        tracing::warn!(code = %problem.code, "what is old stays for now: {problem}");
                    }
                }
            }
        });
    }

    async fn prune(self: &Arc<Self>) -> Result<Pruned, Problem> {
        let mut pruned = Pruned::default();
        let marks = Query {
            kind: GOING.into(),
            ..Query::default()
        };
        for mark in self.store.list_all(marks).await? {
            self.finish(&mark.id).await?;
        }
        let now = Timestamp::now().as_millisecond();
        let mut query = Query {
            kind: KIND.into(),
            descending: true,
            limit: PAGE,
            ..Query::default()
        };
        let mut ended = 0;
        loop {
            let page = self.store.list(query.clone()).await?;
            for document in page.documents {
                // What cannot be read is not judged.
                let Ok(stored) = Stored::of(document.body) else {
                    continue;
                };
                let record = stored.record;
                ended += usize::from(record.state.is_ended());
                if !self.retention.is_over(&record, ended, now) {
                    continue;
                }
                if pruned.operations == ROUND {
                    pruned.more = true;
                    return Ok(pruned);
                }
                if self.remove(&record.id).await? {
                    pruned.operations += 1;
                }
            }
            if page.next.is_empty() {
                break;
            }
            query.after = page.next;
        }
        pruned.sets = prune_sets(&self.store).await?;
        let keys = Query {
            kind: idempotency::KIND.into(),
            ..Query::default()
        };
        for key in self.store.list_all(keys).await? {
            let is_over =
                clock::millis(&key.created).is_some_and(|made| is_past(made, idempotency::KEPT, now));
            if is_over {
                self.store.delete(idempotency::KIND, &key.id).await?;
                pruned.request_keys += 1;
            }
        }
        Ok(pruned)
    }

    /// Removes an operation, unless somebody has it in hand or has changed it since.
    async fn remove(self: &Arc<Self>, id: &str) -> Result<bool, Problem> {
        let Ok(_claim) = self.claim(id).await else {
            return Ok(false);
        };
        let now = Timestamp::now().as_millisecond();
        // The journal is ahead of the document at times. Its place among the newest was judged by the list.
        let record = Stored::load(&self.store, id).await?.record;
        if !self.retention.is_over(&record, usize::MAX, now) {
            return Ok(false);
        }
        let batch = vec![
            Write::Put {
                document: Document {
                    kind: GOING.into(),
                    id: id.to_owned(),
                    owner: record.owner,
                    ..Document::default()
                },
                expect: Expect::Any,
            },
            Write::Delete {
                kind: KIND.into(),
                id: id.to_owned(),
                expect: Expect::Any,
            },
        ];
        self.store.write(batch).await?;
        self.finish(id).await?;
        Ok(true)
    }

    async fn finish(&self, id: &str) -> Result<(), Problem> {
        self.store.forget(id).await?;
        self.store.delete(GOING, id).await
    }
}

impl Retention {
    /// Whether an operation may go; `ended` is its place among those that have ended, the newest first.
    fn is_over(&self, record: &OperationRecord, ended: usize, now: i64) -> bool {
        let Some(latest) = clock::millis(&record.updated) else {
            return false;
        };
        if record.state.is_runnable() {
            return is_past(latest, self.planned, now);
        }
        let is_at_rest = matches!(
            record.state,
            OperationState::Succeeded
                | OperationState::Failed
                | OperationState::Cancelled
                | OperationState::Undone
                | OperationState::Forgotten
                | OperationState::Stale
        );
        is_at_rest && ended > self.newest && is_past(latest, self.ended, now)
    }
}

fn is_past(moment: i64, kept: Duration, now: i64) -> bool {
    let kept = i64::try_from(kept.as_millis()).unwrap_or(i64::MAX);
    moment.saturating_add(kept) <= now
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record(state: &str, updated: &str) -> OperationRecord {
        serde_json::from_value(json!({
            "id": "x", "adapter": {"name": "a", "version": "1", "sha256": ""}, "operation": "install",
            "parameters": {}, "cluster": {"uid": "u", "context": "c", "server": "s"}, "owner": "o",
            "state": state, "summary": "", "policy": {}, "steps": [], "created": "", "updated": updated, "seq": 0,
        }))
        .unwrap()
    }

    #[test]
    fn what_is_half_way_stays_and_so_do_the_newest() {
        let now = clock::millis("2026-06-01T00:00:00Z").unwrap();
        let retention = Retention::default();
        let (old, young) = ("2026-01-01T00:00:00Z", "2026-05-30T00:00:00Z");
        for state in [
            "interrupted",
            "paused",
            "running",
            "undo-incomplete",
            "queued",
            "undoing",
        ] {
            assert!(!retention.is_over(&record(state, old), 1000, now), "{state}");
        }
        for state in ["succeeded", "failed", "undone", "cancelled", "stale", "forgotten"] {
            assert!(retention.is_over(&record(state, old), 201, now), "{state}");
            assert!(!retention.is_over(&record(state, old), 200, now), "{state}");
            assert!(!retention.is_over(&record(state, young), 201, now), "{state}");
        }
        assert!(retention.is_over(&record("planned", old), 0, now));
        assert!(!retention.is_over(&record("previewed", young), 0, now));
    }
}
