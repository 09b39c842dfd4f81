//! Two threads that read, each with a connection of its own, so that reading never waits for the disk to write.
//!
//! Other work that takes time but writes nothing (hashing blobs) is done here too, so that the host's threads, which
//! poll our futures, are never held up.

use std::sync::Arc;
use std::thread::JoinHandle;

use futures::channel::oneshot;
use parking_lot::Mutex;
use rusqlite::Connection;

use crate::error::StoreError;
use crate::queue::Queue;

type Job = Box<dyn FnOnce(&Connection) + Send>;

pub struct Readers {
    queue: Arc<Queue<Job>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Readers {
    pub fn start(connections: Vec<Connection>) -> Result<Self, StoreError> {
        let readers = Self {
            queue: Arc::new(Queue::new()),
            threads: Mutex::default(),
        };
        for conn in connections {
            let queue: Arc<Queue<Job>> = readers.queue.clone();
            let thread = std::thread::Builder::new()
                .name("store-reader".into())
                .spawn(move || {
                    while let Some(job) = queue.pop() {
                        // A panic costs one answer, not the thread.
                        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| job(&conn)));
                    }
                })
                .map_err(StoreError::io(
                    "cannot start a thread for",
                    "the readers".as_ref(),
                ))?;
            readers.threads.lock().push(thread);
        }
        Ok(readers)
    }

    /// Runs this on one of the threads; `bytes` is what waiting for it holds in memory.
    pub async fn run<T: Send + 'static>(
        &self,
        bytes: usize,
        job: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |conn| {
            if !reply.is_canceled() {
                let _ = reply.send(job(conn));
            }
        });
        self.queue.push(job, bytes)?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }
}

impl Readers {
    /// Takes no more work, does what waits, and ends.
    pub fn close(&self) {
        self.queue.close();
        for thread in std::mem::take(&mut *self.threads.lock()) {
            let _ = thread.join();
        }
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.close();
    }
}
