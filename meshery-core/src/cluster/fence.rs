//! The right to write to a cluster, which ends by itself at a moment unless it is extended before.
//!
//! What needs it looks at the clock again and again on its way, because between two looks the process may have been
//! stopped for minutes. The clock is the system's boot time: it goes on while this process is stopped and while the
//! machine sleeps, and nobody can set it.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::Notify;

use super::error::ClusterError;

/// A moment: the time since the machine was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(Duration);

impl Moment {
    pub fn now() -> Self {
        let now = clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
        Self(Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or(0)))
    }

    pub fn after(self, time: Duration) -> Self {
        Self(self.0 + time)
    }

    /// How long it is until then; nothing when it is over.
    fn left(self) -> Option<Duration> {
        self.0.checked_sub(Self::now().0).filter(|left| !left.is_zero())
    }
}

/// The right to write to a cluster, as long as it lasts. Clones are the same fence.
#[derive(Clone)]
pub struct Fence {
    inner: Arc<Inner>,
}

struct Inner {
    state: Mutex<State>,
    changed: Notify,
}

enum State {
    /// What keeps it from being extended, if something does.
    Valid { until: Moment, trouble: String },
    /// And why.
    Lost(String),
    /// It was given back; nobody writes any more.
    Ended,
}

impl Fence {
    pub(crate) fn new(until: Moment) -> Self {
        Self {
            inner: Arc::new(Inner {
                state: Mutex::new(State::Valid {
                    until,
                    trouble: String::new(),
                }),
                changed: Notify::new(),
            }),
        }
    }

    /// Lets it last longer; whether it still could be. What is over does not begin again.
    pub(crate) fn extend(&self, to: Moment) -> bool {
        self.settle();
        let mut state = self.inner.state.lock();
        let State::Valid { until, trouble } = &mut *state else {
            return false;
        };
        *until = to;
        trouble.clear();
        true
    }

    /// Says what keeps it from being extended.
    pub(crate) fn note_trouble(&self, what: String) {
        if let State::Valid { trouble, .. } = &mut *self.inner.state.lock() {
            *trouble = what;
        }
    }

    /// Ends it at once.
    pub(crate) fn lose(&self, why: String) {
        self.change(State::Lost(why));
    }

    /// It is given back, and was not lost.
    pub(crate) fn end(&self) {
        self.change(State::Ended);
    }

    fn change(&self, to: State) {
        self.settle();
        let mut state = self.inner.state.lock();
        if matches!(*state, State::Valid { .. }) {
            *state = to;
            drop(state);
            self.inner.changed.notify_waiters();
        }
    }

    /// Notices that its time is over.
    fn settle(&self) {
        let mut state = self.inner.state.lock();
        let State::Valid { until, trouble } = &*state else {
            return;
        };
        if until.left().is_some() {
            return;
        }
        let why = if trouble.is_empty() {
            "it was not renewed in time, because this process was stopped or had no time"
        } else {
            trouble.as_str()
        };
        *state = State::Lost(why.to_owned());
        drop(state);
        self.inner.changed.notify_waiters();
    }

    /// How long it lasts unless it is extended; an error when it is over.
    pub(crate) fn check(&self) -> Result<Duration, ClusterError> {
        self.settle();
        let over = |reason: &str| {
            Err(ClusterError::LeaseLost {
                reason: reason.to_owned(),
            })
        };
        match &*self.inner.state.lock() {
            State::Valid { until, .. } => Ok(until.left().unwrap_or_default()),
            State::Lost(why) => over(why),
            State::Ended => over("it was given back"),
        }
    }

    /// Whether it ended before whoever had it was done.
    pub(crate) fn is_lost(&self) -> bool {
        self.settle();
        matches!(*self.inner.state.lock(), State::Lost(_))
    }

    /// Waits until it is over.
    pub(crate) async fn over(&self) -> ClusterError {
        loop {
            let changed = self.inner.changed.notified();
            match self.check() {
                Err(over) => return over,
                Ok(left) => {
                    let _ = tokio::time::timeout(left, changed).await;
                }
            }
        }
    }

    /// Does something for as long as it is allowed; then drops it, wherever it is.
    pub(crate) async fn guard<T>(&self, work: impl Future<Output = T>) -> Result<T, ClusterError> {
        let (mut over, mut work) = (pin!(self.over()), pin!(work));
        std::future::poll_fn(|context| {
            // Whatever woke us, the time may be over, and the timer that says so may come after it.
            if let Err(over) = self.check() {
                return Poll::Ready(Err(over));
            }
            if let Poll::Ready(over) = over.as_mut().poll(context) {
                return Poll::Ready(Err(over));
            }
            work.as_mut().poll(context).map(Ok)
        })
        .await
    }
}

impl fmt::Debug for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fence").field("left", &self.check()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(30);

    fn lasting(time: Duration) -> Fence {
        Fence::new(Moment::now().after(time))
    }

    fn reason(fence: &Fence) -> String {
        fence.check().expect_err("it is over").to_string()
    }

    #[tokio::test]
    async fn what_is_under_way_is_dropped_when_the_time_is_over() {
        let fence = lasting(SHORT);
        let lost = fence.guard(std::future::pending::<()>()).await.unwrap_err();
        assert!(matches!(lost, ClusterError::LeaseLost { .. }), "{lost}");
        assert!(
            fence.guard(async { 1 }).await.is_err(),
            "nothing begins after that"
        );
    }

    #[tokio::test]
    async fn an_end_by_somebody_else_is_heard_at_once() {
        let fence = lasting(Duration::from_mins(1));
        let other = fence.clone();
        let (lost, ()) = tokio::join!(fence.over(), async { other.lose("taken".into()) });
        assert!(lost.to_string().contains("taken"), "{lost}");
    }

    #[test]
    fn what_is_over_cannot_be_extended() {
        let fence = lasting(SHORT);
        assert!(fence.extend(Moment::now().after(SHORT * 2)));
        std::thread::sleep(SHORT * 3);
        assert!(!fence.extend(Moment::now().after(Duration::from_mins(1))));
        assert!(fence.is_lost());
    }

    #[test]
    fn the_reason_is_what_kept_it_from_being_extended() {
        let fence = lasting(SHORT);
        fence.note_trouble("the cluster does not answer".into());
        std::thread::sleep(SHORT * 2);
        assert!(reason(&fence).contains("does not answer"), "{}", reason(&fence));
    }

    #[test]
    fn what_was_given_back_is_over_and_not_lost() {
        let fence = lasting(Duration::from_mins(1));
        fence.end();
        assert!(!fence.is_lost());
        assert!(reason(&fence).contains("given back"));
    }

    #[tokio::test]
    async fn a_thread_that_was_stopped_looks_at_the_clock_before_anything_else() {
        let fence = lasting(SHORT);
        // Blocks as a stopped process would: no timer fires meanwhile.
        let mut first = true;
        let work = std::future::poll_fn(|context| {
            if std::mem::take(&mut first) {
                std::thread::sleep(SHORT * 2);
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(())
        });
        fence.guard(work).await.unwrap_err();
    }
}
