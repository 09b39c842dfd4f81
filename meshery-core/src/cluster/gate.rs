//! Where connections end with a fence: what was handed to one to be sent, and was not sent yet when the fence was
//! lost, must not be sent after it.
//!
//! The HTTP client gives each connection a task of its own, through the executor that this is.

use std::sync::Arc;
use std::task::Poll;

use hyper::rt::Executor;
use parking_lot::Mutex;

use super::fence::Fence;

/// The gate of one way to a cluster. Clones are the same gate.
#[derive(Clone, Default)]
pub(super) struct Gate {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    fence: Option<Fence>,
    /// How many fences were lost here.
    lost: u64,
}

impl Gate {
    /// From now on connections end with this fence.
    pub fn put(&self, fence: Fence) {
        // The one before may be lost without anybody having noticed yet.
        self.lost();
        self.state.lock().fence = Some(fence);
    }

    /// How many fences were lost so far.
    fn lost(&self) -> u64 {
        let mut state = self.state.lock();
        if state.fence.as_ref().is_some_and(Fence::is_lost) {
            state.fence = None;
            state.lost += 1;
        }
        state.lost
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Gate {
    fn execute(&self, connection: F) {
        let gate = self.clone();
        tokio::spawn(async move {
            let before = gate.lost();
            let mut connection = std::pin::pin!(connection);
            std::future::poll_fn(|context| {
                if gate.lost() == before {
                    connection.as_mut().poll(context)
                } else {
                    Poll::Ready(())
                }
            })
            .await;
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::super::fence::Moment;
    use super::*;

    #[tokio::test]
    async fn a_connection_ends_with_the_fence_and_the_next_one_does_not() {
        let gate = Gate::default();
        let fence = Fence::new(Moment::now().after(Duration::from_mins(1)));
        gate.put(fence.clone());
        let connect = || {
            let (asked, ask) = oneshot::channel::<()>();
            let (sent, sends) = oneshot::channel();
            gate.execute(async move {
                let _ = ask.await;
                let _ = sent.send(());
            });
            (asked, sends)
        };
        let (asked, sends) = connect();
        tokio::task::yield_now().await;
        fence.lose("taken".into());
        let _ = asked.send(());
        sends.await.expect_err("nothing is sent after the fence was lost");
        let (asked, sends) = connect();
        let _ = asked.send(());
        sends
            .await
            .expect("a connection made after that is another one's");
    }

    #[tokio::test]
    async fn a_loss_that_nobody_noticed_is_not_forgotten_with_the_next_fence() {
        let gate = Gate::default();
        let long = Moment::now().after(Duration::from_mins(1));
        let fence = Fence::new(long);
        gate.put(fence.clone());
        let (asked, ask) = oneshot::channel::<()>();
        let (sent, sends) = oneshot::channel();
        gate.execute(async move {
            let _ = ask.await;
            let _ = sent.send(());
        });
        tokio::task::yield_now().await;
        fence.lose("taken".into());
        gate.put(Fence::new(long));
        let _ = asked.send(());
        sends
            .await
            .expect_err("it was handed over under the fence that was lost");
    }

    #[tokio::test]
    async fn a_fence_that_was_given_back_cuts_nothing() {
        let gate = Gate::default();
        let fence = Fence::new(Moment::now().after(Duration::from_mins(1)));
        gate.put(fence.clone());
        let (sent, sends) = oneshot::channel();
        gate.execute(async move {
            tokio::task::yield_now().await;
            let _ = sent.send(());
        });
        fence.end();
        sends.await.expect("it goes on");
    }
}
