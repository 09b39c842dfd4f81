//! Writing an operation's journal: durable first, heard afterwards.
//!
//! Many tasks of one run have something to write at the same time; one task appends for all of them, as much as is
//! waiting in one call. While the provider does not answer, everybody who has written waits, and so nothing is done
//! to the cluster: that is what a paused operation is.

pub(super) mod entry;
pub(super) mod event;
pub(super) mod event_stream;
mod fold;
pub(super) mod history;
pub(super) mod room;

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::entry::{Entry, Stored, Timed};
use super::clock;
use super::live::Live;
use super::state::OperationState;
use crate::problem::{Problem, ProblemKind};
use crate::provider::Store;

/// How many writers may wait.
const QUEUE: usize = 256;
/// What one append carries; the provider takes 1,000 entries and 8 MiB.
const APPEND_ENTRIES: usize = 500;
const APPEND_BYTES: usize = 3 << 20;
/// After so long without the provider, a paused operation counts as interrupted. It goes on all the same when the
/// provider is back.
const INTERRUPTED_AFTER: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(250);

struct Job {
    entries: Vec<(Timed, Value)>,
    durable: oneshot::Sender<Result<(), Problem>>,
}

/// The writing end of a journal. Cheap to clone; the last clone ends the task behind it.
#[derive(Clone)]
pub(super) struct Journal {
    jobs: mpsc::Sender<Job>,
}

impl Journal {
    /// Begins to write after the live operation's last entry.
    pub fn open(store: Store, live: Arc<Live>, stop: CancellationToken) -> Self {
        let (jobs, waiting) = mpsc::channel(QUEUE);
        tokio::spawn(
            Writer {
                store,
                live,
                stop,
                waiting,
            }
            .run(),
        );
        Self { jobs }
    }

    /// Writes entries and returns when they are durable, however long the provider is away.
    pub async fn write(&self, entries: Vec<Entry>) -> Result<(), Problem> {
        let time = clock::now();
        let mut timed = Vec::with_capacity(entries.len());
        for entry in entries {
            let entry = Timed {
                time: time.clone(),
                entry,
            };
            let value = serde_json::to_value(&entry).map_err(|error| {
                Problem::new(
                    ProblemKind::Internal,
                    "journal",
                    format!("an entry cannot be written: {error}"),
                )
            })?;
            timed.push((entry, value));
        }
        let (durable, done) = oneshot::channel();
        let job = Job {
            entries: timed,
            durable,
        };
        self.jobs.send(job).await.map_err(|_| stopped())?;
        done.await.map_err(|_| stopped())?
    }

    /// Writes one entry.
    pub async fn note(&self, entry: Entry) -> Result<(), Problem> {
        self.write(vec![entry]).await
    }
}

/// The host is being stopped.
pub(super) fn stopped() -> Problem {
    Problem::new(
        ProblemKind::Unavailable,
        "host-stopping",
        "the host is being stopped; the operation is in its journal",
    )
    .remedy("start the host again; it goes on as the operation's policy says")
    .retryable(true)
}

struct Writer {
    store: Store,
    live: Arc<Live>,
    stop: CancellationToken,
    waiting: mpsc::Receiver<Job>,
}

impl Writer {
    async fn run(mut self) {
        while let Some(first) = self.waiting.recv().await {
            let mut jobs = vec![first];
            let mut entries = jobs[0].entries.len();
            while entries < APPEND_ENTRIES {
                let Ok(job) = self.waiting.try_recv() else { break };
                entries += job.entries.len();
                jobs.push(job);
            }
            let result = self
                .append(jobs.iter_mut().flat_map(|job| job.entries.drain(..)).collect())
                .await;
            for job in jobs {
                let _ = job.durable.send(result.clone());
            }
            if let Err(error) = result {
                // What follows an entry that is not there must not be there either.
                tracing::warn!(operation = %self.live.id(), %error, "the journal cannot be written any more");
                self.waiting.close();
                while let Some(job) = self.waiting.recv().await {
                    let _ = job.durable.send(Err(error.clone()));
                }
                return;
            }
        }
    }

    async fn append(&self, entries: Vec<(Timed, Value)>) -> Result<(), Problem> {
        let mut rest = entries.into_iter().peekable();
        while rest.peek().is_some() {
            let (mut timed, mut values, mut bytes) = (Vec::new(), Vec::new(), 0);
            while let Some((_, value)) = rest.peek() {
                let size = size_of(value);
                if values.len() == APPEND_ENTRIES || (bytes + size > APPEND_BYTES && !values.is_empty()) {
                    break;
                }
                bytes += size;
                if let Some((entry, value)) = rest.next() {
                    timed.push(entry);
                    values.push(value);
                }
            }
            self.append_until_durable(values).await?;
            self.live.publish(timed);
        }
        Ok(())
    }

    /// Appends, and asks again for as long as nobody can say whether it was done: an append is idempotent.
    async fn append_until_durable(&self, values: Vec<Value>) -> Result<(), Problem> {
        let first = self.live.seq() + 1;
        let began = Instant::now();
        let mut shown = None;
        // A provider that was killed is noticed by its absence, before the first append to it fails.
        let mut alive = self.store.alive();
        let append = |values: Vec<Value>| self.store.append(self.live.id(), first, values);
        loop {
            let result = {
                let attempt = append(values.clone());
                tokio::pin!(attempt);
                loop {
                    tokio::select! {
                        result = &mut attempt => break Some(result),
                        () = self.stop.cancelled() => break None,
                        () = tokio::time::sleep(PAUSE) => {
                            if !*alive.borrow_and_update() || shown.is_some() {
                                self.show(&mut shown, began);
                            }
                        }
                    }
                }
            };
            match result {
                None => return Err(stopped()),
                Some(Ok(_)) => {
                    if shown.is_some() {
                        self.live.overlay(None);
                        tracing::info!(operation = %self.live.id(), "the provider is back; the operation goes on");
                    }
                    return Ok(());
                }
                Some(Err(error)) if error.kind == ProblemKind::Unavailable && error.retryable => {
                    self.show(&mut shown, began);
                    tokio::select! {
                        () = self.stop.cancelled() => return Err(stopped()),
                        () = tokio::time::sleep(PAUSE) => {}
                    }
                }
                Some(Err(error)) => {
                    if shown.is_some() {
                        self.live.overlay(None);
                    }
                    return Err(error);
                }
            }
        }
    }

    fn show(&self, shown: &mut Option<OperationState>, began: Instant) {
        let state = if began.elapsed() < INTERRUPTED_AFTER {
            OperationState::Paused
        } else {
            OperationState::Interrupted
        };
        if *shown != Some(state) {
            tracing::warn!(operation = %self.live.id(), %state, "the provider does not answer; nothing is written");
            self.live.overlay(Some(state));
            *shown = Some(state);
        }
    }
}

/// About how many bytes a value takes on the wire; only to keep appends below the limit.
fn size_of(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 5,
        Value::Number(_) => 12,
        Value::String(text) => text.len() + 4 + text.len() / 8,
        Value::Array(items) => 2 + items.iter().map(|item| size_of(item) + 1).sum::<usize>(),
        Value::Object(fields) => {
            2 + fields
                .iter()
                .map(|(key, value)| key.len() + 4 + size_of(value))
                .sum::<usize>()
        }
    }
}

/// The same of a value as it is stored.
pub(super) fn size_of_stored(stored: &Stored<Value>) -> usize {
    match stored {
        Stored::Plain(value) => size_of(value),
        Stored::Sealed(text) => text.len(),
        Stored::Nothing => 0,
    }
}

#[cfg(test)]
mod tests;
