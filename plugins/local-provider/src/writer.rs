//! The one thread that writes: many callers' writes in one transaction, one wait for the disk, then all answers.
//!
//! A caller whose write is refused (a conflict, say) does not disturb the others. When the transaction as a whole
//! fails, each of its writes is done again by itself, so that everybody gets the answer to their own. Without room,
//! the log is copied into the database and used again from its start; if that does not help, writes of streams
//! that have room reserved get it.
//!
//! What surprised: after 32 answers the next 32 writes come one by one over the next 200 us. Taking the first alone
//! costs a wait for the disk and halves the throughput. So the transaction stays open, and takes writes as they come,
//! until there are as many as last time or they stop coming; a single caller never waits.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use futures::channel::oneshot;
use meshery_plugin_api::tracing::warn;
use parking_lot::Mutex;
use rusqlite::Connection;

use crate::error::StoreError;
use crate::queue::{Most, Queue};
use crate::reserve::Reserve;
use crate::work::{Outcome, Work};

/// The most that one transaction takes.
const GROUP: Most = Most {
    items: 512,
    bytes: 16 << 20,
};
/// The longest that a transaction stays open for more writes, however long the disk takes.
const LONGEST_LINGER: Duration = Duration::from_millis(2);
/// How many writes wake the thread while it lingers.
const HANDFUL: usize = 16;
/// How long the thread looks out for more itself before it sleeps.
const BRIEFLY: Duration = Duration::from_micros(100);
/// The least that is cut from the reserve; doubled as long as it does not help. Small, because what is cut and not
/// used is anybody's.
const PIECE: u64 = 8 << 10;

/// How the last write went, for the health of the store.
#[derive(Debug, Default)]
pub struct Condition {
    /// Why the last write failed, if it was for a reason that concerns every write.
    pub trouble: Option<String>,
    /// Bytes set aside on the disk, and bytes promised but not there.
    pub reserved: u64,
    pub missing: u64,
}

pub struct Writer {
    queue: Arc<Queue<Job>>,
    condition: Arc<Mutex<Condition>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Job {
    work: Work,
    bytes: usize,
    reply: oneshot::Sender<Result<Outcome, StoreError>>,
}

impl Writer {
    pub fn start(conn: Connection, reserve: Reserve) -> Result<Self, StoreError> {
        let queue = Arc::new(Queue::new());
        let condition = Arc::new(Mutex::new(Condition::default()));
        let writing = Writing {
            conn,
            reserve,
            condition: condition.clone(),
            last_commit: Duration::ZERO,
            last_group: 0,
        };
        writing.publish(None);
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn({
                let queue = queue.clone();
                move || writing.run(&queue)
            })
            .map_err(StoreError::io("cannot start a thread for", "the writer".as_ref()))?;
        Ok(Self {
            queue,
            condition,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Does the work durably. Dropping the future before the work was begun withdraws it.
    pub async fn submit(&self, (work, bytes): (Work, usize)) -> Result<Outcome, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.queue.push(Job { work, bytes, reply }, bytes)?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    pub fn condition(&self) -> &Mutex<Condition> {
        &self.condition
    }
}

impl Writer {
    /// Takes no more work, does what waits, and ends.
    pub fn close(&self) {
        self.queue.close();
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.close();
    }
}

struct Writing {
    conn: Connection,
    reserve: Reserve,
    condition: Arc<Mutex<Condition>>,
    last_commit: Duration,
    last_group: usize,
}

impl Writing {
    fn run(mut self, queue: &Queue<Job>) {
        /// However the thread ends, nobody waits for it in vain.
        struct Abandon<'a>(&'a Queue<Job>);
        impl Drop for Abandon<'_> {
            fn drop(&mut self) {
                self.0.abandon();
            }
        }
        let _abandon = Abandon(queue);
        let mut waiting = VecDeque::new();
        loop {
            if waiting.is_empty() {
                if self.last_group > 1 {
                    queue.watch(1, Instant::now() + BRIEFLY);
                }
                waiting.extend(queue.take(GROUP));
            }
            match waiting.front() {
                None => return,
                Some(job) if job.work.shares_a_transaction() => self.group(&mut waiting, queue),
                Some(_) => {
                    if let Some(job) = waiting.pop_front() {
                        let result = self.alone(&job);
                        answer(job, result);
                    }
                }
            }
        }
    }

    /// One transaction for what waits and what comes while it is open, or one for each if that fails.
    fn group(&mut self, waiting: &mut VecDeque<Job>, queue: &Queue<Job>) {
        let (mut jobs, mut results, mut bytes) = (Vec::new(), Vec::new(), 0);
        let expected = self.last_group;
        let pause = (self.last_commit / 4).min(LONGEST_LINGER);
        let end = Instant::now() + self.last_commit.min(LONGEST_LINGER);
        let committed = self.transaction(|conn, now| {
            loop {
                while jobs.len() < GROUP.items
                    && bytes <= GROUP.bytes
                    && let Some(job) = waiting.pop_front_if(|job| job.work.shares_a_transaction())
                {
                    if job.reply.is_canceled() {
                        continue;
                    }
                    bytes += job.bytes;
                    let result = job.work.apply(conn, now);
                    jobs.push(job);
                    match result {
                        Err(error) if !error.is_refusal() => return Err(error),
                        result => results.push(result),
                    }
                }
                if !waiting.is_empty() || jobs.len() >= expected {
                    return Ok(());
                }
                queue.watch(expected - jobs.len(), end.min(Instant::now() + BRIEFLY));
                let until = end.min(Instant::now() + pause);
                waiting.extend(queue.take_more(HANDFUL.min(expected - jobs.len()), until, GROUP));
                if waiting.is_empty() {
                    return Ok(());
                }
            }
        });
        self.last_group = jobs.len();
        if committed.is_ok() {
            // Before the answers, so that whoever has one finds the health of the store up to date.
            self.reserve.recover();
            self.publish(None);
            for (job, result) in jobs.into_iter().zip(results) {
                answer(job, result);
            }
        } else {
            for job in jobs {
                let result = self.alone(&job);
                answer(job, result);
            }
        }
    }

    fn alone(&mut self, job: &Job) -> Result<Outcome, StoreError> {
        let result = match &job.work {
            Work::Reserve { stream, bytes } => self.promise(job, stream, *bytes),
            Work::Forget { stream } => self.with_room(job).inspect(|_| {
                // Nothing to give back is fine.
                self.reserve.retract(stream, 0);
            }),
            _ => self.with_room(job),
        };
        if result.is_ok() {
            self.reserve.recover();
        }
        match &result {
            Err(error) if !error.is_refusal() => self.publish(Some(error.to_string())),
            _ => self.publish(None),
        }
        result
    }

    fn promise(&mut self, job: &Job, stream: &str, bytes: u64) -> Result<Outcome, StoreError> {
        let before = self.reserve.promise(stream, bytes)?;
        match self.with_room(job) {
            Ok(outcome) => {
                self.reserve.settle();
                Ok(outcome)
            }
            Err(error) => {
                self.reserve.retract(stream, before);
                Err(error)
            }
        }
    }

    /// A transaction for this work, with all that can be done about a full disk.
    fn with_room(&mut self, job: &Job) -> Result<Outcome, StoreError> {
        let mut result = self.once(job);
        if !lacks_room(&result) {
            return result;
        }
        self.reuse_log();
        result = self.once(job);
        let mut piece = PIECE.max((job.bytes as u64 * 2).next_multiple_of(PIECE));
        while lacks_room(&result)
            && let Some(stream) = job.work.stream()
            && self.reserve.draw(stream, piece)?
        {
            warn!(
                stream,
                bytes = piece,
                "the disk is full: using room reserved for this journal"
            );
            self.reuse_log();
            result = self.once(job);
            piece *= 2;
        }
        result
    }

    fn once(&mut self, job: &Job) -> Result<Outcome, StoreError> {
        self.transaction(|conn, now| job.work.apply(conn, now))
    }

    /// Copies the log into the database, so that its room can be used again; as far as that works.
    fn reuse_log(&self) {
        let _ = self
            .conn
            .query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(()));
    }

    /// All of it durable, or nothing of it there.
    fn transaction<T>(
        &mut self,
        work: impl FnOnce(&Connection, &str) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let result = self.uncommitted(work).and_then(|done| {
            let begin = Instant::now();
            self.conn.prepare_cached("COMMIT")?.execute([])?;
            self.last_commit = begin.elapsed();
            Ok(done)
        });
        if result.is_err() && !self.conn.is_autocommit() {
            self.conn.execute_batch("ROLLBACK")?;
        }
        result
    }

    fn uncommitted<T>(
        &self,
        work: impl FnOnce(&Connection, &str) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let now: String = self
            .conn
            .prepare_cached("SELECT strftime('%Y-%m-%dT%H:%M:%fZ', 'now')")?
            .query_row([], |row| row.get(0))?;
        work(&self.conn, &now)
    }

    fn publish(&self, trouble: Option<String>) {
        let (reserved, missing) = (self.reserve.bytes(), self.reserve.missing());
        *self.condition.lock() = Condition {
            trouble,
            reserved,
            missing,
        };
    }
}

fn lacks_room(result: &Result<Outcome, StoreError>) -> bool {
    result.as_ref().is_err_and(StoreError::may_be_room)
}

fn answer(job: Job, result: Result<Outcome, StoreError>) {
    // A caller who went away in between does not need the answer.
    let _ = job.reply.send(result);
}
