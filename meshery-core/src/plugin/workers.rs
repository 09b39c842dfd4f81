//! Threads that run plugins' code, made when needed and kept for a while.
//!
//! Not the runtime's blocking pool: a call that never returns would keep the runtime, and with it the host, from
//! ending. How many there are is bounded by whoever hands out the work.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use parking_lot::Mutex;

type Job = Box<dyn FnOnce() + Send>;

/// A thread's number, and the way to it.
type Idle = (u64, Sender<Job>);

const IDLE: Duration = Duration::from_secs(10);

/// Idle threads, the most recently used last.
#[derive(Clone, Default)]
pub(super) struct Workers {
    idle: Arc<Mutex<Vec<Idle>>>,
    made: Arc<Mutex<u64>>,
}

impl Workers {
    /// Runs a job on a thread of its own.
    pub fn run(&self, job: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let mut job: Job = Box::new(job);
        loop {
            let Some((_, worker)) = self.idle.lock().pop() else {
                return self.spawn(job);
            };
            match worker.send(job) {
                Ok(()) => return Ok(()),
                Err(back) => job = back.0,
            }
        }
    }

    fn spawn(&self, first: Job) -> io::Result<()> {
        let id = {
            let mut made = self.made.lock();
            *made += 1;
            *made
        };
        let workers = self.clone();
        std::thread::Builder::new()
            .name("plugin".into())
            .spawn(move || workers.work(id, first))
            .map(drop)
    }

    fn work(&self, id: u64, first: Job) {
        let (sender, jobs) = channel();
        let mut next = Some(first);
        while let Some(job) = next.take() {
            job();
            self.idle.lock().push((id, sender.clone()));
            next = self.wait(id, &jobs);
        }
    }

    fn wait(&self, id: u64, jobs: &Receiver<Job>) -> Option<Job> {
        match jobs.recv_timeout(IDLE) {
            Ok(job) => Some(job),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => {
                let mut idle = self.idle.lock();
                let at = idle.iter().position(|(other, _)| *other == id);
                if let Some(at) = at {
                    idle.remove(at);
                    None
                } else {
                    // It was chosen just now: the job is on its way.
                    drop(idle);
                    jobs.recv().ok()
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_is_idle_is_used_again_and_one_that_hangs_is_not_waited_for() {
        let workers = Workers::default();
        let (done, results) = channel();
        let mut ids = Vec::new();
        for _ in 0..3 {
            let done = done.clone();
            workers
                .run(move || done.send(std::thread::current().id()).unwrap())
                .unwrap();
            ids.push(results.recv_timeout(Duration::from_secs(10)).unwrap());
            while workers.idle.lock().is_empty() {
                std::thread::yield_now();
            }
        }
        assert!(ids.iter().all(|id| *id == ids[0]));

        let (release, hangs) = channel::<()>();
        workers.run(move || assert!(hangs.recv().is_err())).unwrap();
        let other = done.clone();
        workers
            .run(move || other.send(std::thread::current().id()).unwrap())
            .unwrap();
        assert_ne!(results.recv_timeout(Duration::from_secs(10)).unwrap(), ids[0]);
        drop(release);
    }
}
