//! An operation that is at work in this process: its record, its latest events, and who waits for more.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::journal::entry::Timed;
use super::journal::event::Event;
use super::record::OperationRecord;
use super::state::OperationState;

/// How many events are kept in memory; who is further behind reads them from the journal.
const TAIL: usize = 2_000;

pub(super) struct Live {
    id: String,
    inner: Mutex<Inner>,
    seq: watch::Sender<u64>,
    /// Somebody wants the operation to stop.
    pub cancel: CancellationToken,
}

struct Inner {
    record: OperationRecord,
    /// What is shown instead of the record's state while the journal cannot be written.
    overlay: Option<OperationState>,
    /// Which host has the cluster while this one waits for it.
    elsewhere: Option<String>,
    tail: VecDeque<Event>,
    /// Events up to this number may be missing from the tail.
    tail_after: u64,
}

impl Live {
    pub fn new(record: OperationRecord) -> Self {
        Self {
            id: record.id.clone(),
            seq: watch::Sender::new(record.seq),
            inner: Mutex::new(Inner {
                tail_after: record.seq,
                record,
                overlay: None,
                elsewhere: None,
                tail: VecDeque::new(),
            }),
            cancel: CancellationToken::new(),
        }
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    /// Number of the last entry that is durable.
    pub fn seq(&self) -> u64 {
        *self.seq.borrow()
    }

    /// Changes with every entry.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.seq.subscribe()
    }

    /// The record as the journal has it.
    pub fn journaled_record(&self) -> OperationRecord {
        self.inner.lock().record.clone()
    }

    /// The record as it is now.
    pub fn record(&self) -> OperationRecord {
        let inner = self.inner.lock();
        let mut record = inner.record.clone();
        if let Some(state) = inner.overlay {
            record.state = state;
        }
        record
    }

    /// The state in the journal.
    pub fn state(&self) -> OperationState {
        self.inner.lock().record.state
    }

    /// Shows another state than the journal's.
    pub fn overlay(&self, state: Option<OperationState>) {
        self.inner.lock().overlay = state;
        self.seq.send_modify(|_| {});
    }

    /// Says which host has the cluster while this one waits for it.
    pub fn wait_for(&self, holder: Option<String>) {
        self.inner.lock().elsewhere = holder;
    }

    /// Which host has the cluster while this one waits for it.
    pub fn elsewhere(&self) -> Option<String> {
        self.inner.lock().elsewhere.clone()
    }

    /// Takes in entries that have become durable.
    pub fn publish(&self, entries: Vec<Timed>) {
        let mut seq = self.seq();
        {
            let mut inner = self.inner.lock();
            for entry in entries {
                seq += 1;
                inner.record.fold(seq, &entry);
                if let Some(event) = entry.event(&self.id, seq) {
                    inner.tail.push_back(event);
                    if inner.tail.len() > TAIL
                        && let Some(oldest) = inner.tail.pop_front()
                    {
                        inner.tail_after = oldest.seq;
                    }
                }
            }
        }
        self.seq.send_replace(seq);
    }

    /// The first events after a number, at most so many; nothing when the tail does not go back that far.
    pub fn events_after(&self, after: u64, most: usize) -> Option<Vec<Event>> {
        let inner = self.inner.lock();
        if after < inner.tail_after {
            return None;
        }
        // Their numbers grow: whoever listens need not look at what it has.
        let from = inner.tail.partition_point(|event| event.seq <= after);
        Some(inner.tail.range(from..).take(most).cloned().collect())
    }
}
