//! The bounded queue between callers, who must not block, and a thread, which may.
//!
//! Callers are told at once when it is full. The thread takes all that waits in one go; waiting for more, it is woken
//! when enough has come and not once for each item, which matters more than one would think when 32 clients share
//! two cores.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use crate::error::StoreError;

const MOST_ITEMS: usize = 4096;
const MOST_BYTES: usize = 64 << 20;

pub struct Queue<T> {
    state: Mutex<State<T>>,
    ready: Condvar,
    /// How many items there are, to be looked at without the lock.
    length: AtomicUsize,
}

struct State<T> {
    items: VecDeque<(T, usize)>,
    bytes: usize,
    /// The thread sleeps until so many items are there.
    wanted: usize,
    closed: bool,
}

/// How much to take at once.
#[derive(Debug, Clone, Copy)]
pub struct Most {
    pub items: usize,
    pub bytes: usize,
}

impl<T> State<T> {
    fn take(&mut self, most: Most) -> Vec<T> {
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while taken.len() < most.items {
            match self.items.front() {
                Some((_, size)) if taken.is_empty() || bytes + size <= most.bytes => bytes += size,
                _ => break,
            }
            taken.extend(self.items.pop_front().map(|(item, _)| item));
        }
        self.bytes -= bytes;
        taken
    }
}

impl<T> Queue<T> {
    pub fn new() -> Self {
        let state = State {
            items: VecDeque::new(),
            bytes: 0,
            wanted: 1,
            closed: false,
        };
        Self {
            state: Mutex::new(state),
            ready: Condvar::new(),
            length: AtomicUsize::new(0),
        }
    }

    pub fn push(&self, item: T, bytes: usize) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(StoreError::Closed);
        }
        if state.items.len() >= MOST_ITEMS || (state.bytes + bytes > MOST_BYTES && !state.items.is_empty()) {
            return Err(StoreError::Busy);
        }
        state.bytes += bytes;
        state.items.push_back((item, bytes));
        self.length.store(state.items.len(), Ordering::Relaxed);
        let wake = state.items.len() >= state.wanted;
        drop(state);
        if wake {
            self.ready.notify_one();
        }
        Ok(())
    }

    /// Waits for an item; nothing when the queue is closed and empty.
    pub fn pop(&self) -> Option<T> {
        let mut state = self.state.lock();
        loop {
            if let Some((item, bytes)) = state.items.pop_front() {
                state.bytes -= bytes;
                return Some(item);
            }
            if state.closed {
                return None;
            }
            self.ready.wait(&mut state);
        }
    }

    /// Waits for an item and takes all that is there, up to the limits. Nothing when the queue is closed and empty.
    pub fn take(&self, most: Most) -> Vec<T> {
        let mut state = self.state.lock();
        while state.items.is_empty() && !state.closed {
            self.ready.wait(&mut state);
        }
        let taken = state.take(most);
        self.length.store(state.items.len(), Ordering::Relaxed);
        taken
    }

    /// Waits until so many items are there, or until that instant, and takes what is there. For one taker only.
    pub fn take_more(&self, wanted: usize, until: Instant, most: Most) -> Vec<T> {
        let mut state = self.state.lock();
        state.wanted = wanted;
        while state.items.len() < wanted && !state.closed {
            if self.ready.wait_until(&mut state, until).timed_out() {
                break;
            }
        }
        state.wanted = 1;
        let taken = state.take(most);
        self.length.store(state.items.len(), Ordering::Relaxed);
        taken
    }

    /// Lets others run until so many items are there, or until that instant; without sleeping, because being woken
    /// takes longer than this should.
    pub fn watch(&self, wanted: usize, until: Instant) {
        while self.length.load(Ordering::Relaxed) < wanted && Instant::now() < until {
            std::thread::yield_now();
        }
    }

    /// No more pushes; what waits is still handed out.
    pub fn close(&self) {
        self.state.lock().closed = true;
        self.ready.notify_all();
    }

    /// No more pushes, and what waits is dropped: nobody is left to take it.
    pub fn abandon(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        let items = std::mem::take(&mut state.items);
        state.bytes = 0;
        drop(state);
        self.ready.notify_all();
        drop(items);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_full_queue_refuses_instead_of_growing() {
        let queue = Queue::new();
        for n in 0..MOST_ITEMS {
            queue.push(n, 1).unwrap();
        }
        assert!(matches!(queue.push(0, 1), Err(StoreError::Busy)));

        let queue = Queue::new();
        queue.push(0, MOST_BYTES).unwrap();
        assert!(matches!(queue.push(1, 1), Err(StoreError::Busy)));
        assert_eq!(queue.pop(), Some(0));
        queue.push(1, 1).unwrap();
    }

    const MOST: Most = Most { items: 10, bytes: 10 };

    #[test]
    fn waiting_for_more_ends_at_the_wanted_number_or_at_the_instant() {
        let queue = std::sync::Arc::new(Queue::new());
        queue.push(1, 1).unwrap();
        let begin = Instant::now();
        assert_eq!(queue.take_more(2, begin + Duration::from_millis(20), MOST), [1]);
        assert!(begin.elapsed() >= Duration::from_millis(20));

        queue.push(1, 1).unwrap();
        let pusher = std::thread::spawn({
            let queue = queue.clone();
            move || queue.push(2, 1)
        });
        assert_eq!(
            queue.take_more(2, Instant::now() + Duration::from_mins(1), MOST),
            [1, 2]
        );
        pusher.join().unwrap().unwrap();
    }

    #[test]
    fn no_more_is_taken_than_the_limits_allow_but_always_one() {
        let queue = Queue::new();
        for (item, bytes) in [(1, 20), (2, 6), (3, 4), (4, 1)] {
            queue.push(item, bytes).unwrap();
        }
        assert_eq!(queue.take(MOST), [1]);
        assert_eq!(queue.take(MOST), [2, 3]);
        assert_eq!(queue.take(MOST), [4]);
    }

    #[test]
    fn a_closed_queue_hands_out_what_waits_and_then_ends() {
        let queue = Queue::new();
        queue.push(1, 1).unwrap();
        queue.close();
        assert!(matches!(queue.push(2, 1), Err(StoreError::Closed)));
        assert_eq!((queue.pop(), queue.pop()), (Some(1), None));
        assert!(queue.take(MOST).is_empty());
    }
}
