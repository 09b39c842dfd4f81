//! Waiting for a plugin's future on the thread that carries out the call.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use parking_lot::{Condvar, Mutex};

/// Whether anybody still waits for a call.
#[derive(Default)]
pub(super) struct Cancel {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    cancelled: bool,
    woken: bool,
}

impl Cancel {
    pub fn cancel(&self) {
        self.state.lock().cancelled = true;
        self.changed.notify_one();
    }

    pub fn is_cancelled(&self) -> bool {
        self.state.lock().cancelled
    }
}

// Not by parking the thread: a plugin may park it for purposes of its own and swallow what was meant for here.
impl Wake for Cancel {
    fn wake(self: Arc<Self>) {
        self.state.lock().woken = true;
        self.changed.notify_one();
    }
}

/// The future's output, or nothing when the call was cancelled first.
pub(super) fn wait<F: Future>(call: &Arc<Cancel>, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let waker = Waker::from(call.clone());
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Some(output);
        }
        let mut state = call.state.lock();
        while !state.woken && !state.cancelled {
            call.changed.wait(&mut state);
        }
        if state.cancelled {
            return None;
        }
        state.woken = false;
    }
}
