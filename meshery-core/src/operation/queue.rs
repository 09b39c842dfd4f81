//! One operation at a time on a cluster, in the order in which they were asked for.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

use crate::problem::{Problem, ProblemKind};

/// How many operations may wait for one cluster.
const WAITING: usize = 32;

/// The queues, by the cluster's uid.
#[derive(Default)]
pub(super) struct Queues {
    clusters: Mutex<HashMap<String, Queue>>,
}

#[derive(Default)]
struct Queue {
    turn: Arc<tokio::sync::Mutex<()>>,
    places: Arc<()>,
}

/// A place in a queue; dropped, it is free again.
pub(super) struct Place {
    turn: Arc<tokio::sync::Mutex<()>>,
    _place: Arc<()>,
}

/// The right to change a cluster.
pub(super) struct Turn {
    _turn: OwnedMutexGuard<()>,
    _place: Place,
}

impl Queues {
    /// A place in a cluster's queue.
    pub fn enter(&self, cluster: &str) -> Result<Place, Problem> {
        let mut clusters = self.clusters.lock();
        clusters.retain(|_, queue| Arc::strong_count(&queue.places) > 1);
        let queue = clusters.entry(cluster.to_owned()).or_default();
        if Arc::strong_count(&queue.places) > WAITING {
            return Err(Problem::new(
                ProblemKind::Unavailable,
                "queue-full",
                format!("{WAITING} operations wait for this cluster already"),
            )
            .remedy("wait for some of them, or cancel some")
            .retryable(true));
        }
        Ok(Place {
            _place: queue.places.clone(),
            turn: queue.turn.clone(),
        })
    }
}

impl Place {
    /// Whether somebody else has the turn at this moment.
    pub fn must_wait(&self) -> bool {
        self.turn.try_lock().is_err()
    }

    /// Waits for its turn. First come, first served.
    pub async fn turn(self) -> Turn {
        let turn = self.turn.clone().lock_owned().await;
        Turn {
            _turn: turn,
            _place: self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn turns_are_taken_in_order_and_clusters_do_not_wait_for_each_other() {
        let queues = Queues::default();
        let first = queues.enter("a").unwrap().turn().await;
        let second = queues.enter("a").unwrap();
        assert!(second.must_wait());
        assert!(!queues.enter("b").unwrap().must_wait());
        drop(first);
        second.turn().await;
        assert!(!queues.enter("a").unwrap().must_wait());
    }

    #[test]
    fn a_queue_has_an_end() {
        let queues = Queues::default();
        let places: Vec<Place> = (0..WAITING).map(|_| queues.enter("a").unwrap()).collect();
        assert_eq!(queues.enter("a").err().unwrap().code, "queue-full");
        drop(places);
        queues.enter("a").unwrap();
    }
}
