//! Work that takes many calls: a thread with what it works on, one at a time, forgotten when nobody goes on with it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use futures::channel::oneshot;
use parking_lot::Mutex;

use crate::error::StoreError;

/// How long a session waits for the next call.
const PATIENCE: Duration = Duration::from_mins(1);

type Job<T> = Box<dyn FnOnce(&mut T) -> After + Send>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    GoOn,
    End,
}

/// The session there is, if there is one.
pub struct Sessions<T> {
    current: Mutex<Option<(String, Sender<Job<T>>)>>,
    /// The thread of the latest one, which may be at its end only.
    thread: Mutex<Option<JoinHandle<()>>>,
    next: AtomicU64,
}

impl<T: 'static> Sessions<T> {
    pub fn new() -> Self {
        Self {
            current: Mutex::new(None),
            thread: Mutex::new(None),
            next: AtomicU64::new(1),
        }
    }

    /// Begins one, in place of the one there was, and returns its name.
    pub async fn begin(
        &self,
        make: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
    ) -> Result<String, StoreError> {
        drop(self.current.lock().take());
        let (jobs, queue) = channel();
        let (made, is_made) = oneshot::channel();
        {
            let mut thread = self.thread.lock();
            let before = thread.take();
            let work = move || {
                // Two may not have the same files: the one before is waited for.
                if let Some(before) = before {
                    let _ = before.join();
                }
                match make() {
                    Ok(subject) => {
                        let _ = made.send(Ok(()));
                        work(subject, &queue);
                    }
                    Err(error) => {
                        let _ = made.send(Err(error));
                    }
                }
            };
            let spawned = std::thread::Builder::new()
                .name("store-session".into())
                .spawn(work);
            *thread =
                Some(spawned.map_err(StoreError::io("cannot start a thread for", "a session".as_ref()))?);
        }
        is_made.await.unwrap_or(Err(StoreError::Closed))?;
        let name = format!("{}", self.next.fetch_add(1, Ordering::Relaxed));
        *self.current.lock() = Some((name.clone(), jobs));
        Ok(name)
    }

    /// Works on it. An error ends it, and so does a result of which `last` says so.
    pub async fn work<R: Send + 'static>(
        &self,
        name: &str,
        work: impl FnOnce(&mut T) -> Result<R, StoreError> + Send + 'static,
        last: impl FnOnce(&R) -> bool + Send + 'static,
    ) -> Result<R, StoreError> {
        let (reply, answer) = oneshot::channel();
        let job: Job<T> = Box::new(move |subject| {
            let result = work(subject);
            let ends = result.as_ref().map_or(true, last);
            let gone = reply.send(result).is_err();
            if ends || gone { After::End } else { After::GoOn }
        });
        let none = || StoreError::NoSuchSession(name.to_owned());
        {
            let current = self.current.lock();
            let (_, jobs) = current
                .as_ref()
                .filter(|(current, _)| current == name)
                .ok_or_else(none)?;
            jobs.send(job).map_err(|_| none())?;
        }
        answer.await.map_err(|_| none())?
    }

    /// Takes it away from whoever has it; what it has is dropped on its thread.
    pub fn end(&self, name: &str) {
        let mut current = self.current.lock();
        if current.as_ref().is_some_and(|(current, _)| current == name) {
            *current = None;
        }
    }
}

fn work<T>(mut subject: T, queue: &Receiver<Job<T>>) {
    while let Ok(job) = queue.recv_timeout(PATIENCE) {
        if job(&mut subject) == After::End {
            return;
        }
    }
}

impl<T> Drop for Sessions<T> {
    fn drop(&mut self) {
        drop(self.current.lock().take());
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
    }
}
