//! One operation at a time on a cluster, in the order in which they were asked for; and between hosts, whose turn it
//! is, by a Lease that stays with the queue until it is empty.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::cluster::tenure::Tenure;
use crate::problem::{Problem, ProblemKind};

/// How many operations may wait for one cluster.
const WAITING: usize = 32;

/// The queues, by the cluster's uid.
#[derive(Default)]
pub(in crate::operation) struct Queues {
    clusters: Mutex<HashMap<String, Arc<Queue>>>,
}

struct Queue {
    /// The operations that have a place; the first one has the turn.
    order: watch::Sender<VecDeque<String>>,
    tenure: Mutex<Option<Arc<Tenure>>>,
}

/// A place in a queue; dropped, it is free again.
pub(in crate::operation) struct Place {
    queue: Arc<Queue>,
    operation: String,
}

/// The right to change a cluster, as far as this host goes.
pub(in crate::operation) struct Turn {
    place: Place,
}

impl Queues {
    /// A place in a cluster's queue.
    pub fn enter(&self, cluster: &str, operation: &str) -> Result<Place, Problem> {
        let mut clusters = self.clusters.lock();
        clusters.retain(|_, queue| Arc::strong_count(queue) > 1);
        let queue = clusters.entry(cluster.to_owned()).or_insert_with(|| {
            Arc::new(Queue {
                order: watch::Sender::new(VecDeque::new()),
                tenure: Mutex::default(),
            })
        });
        if queue.order.borrow().len() >= WAITING {
            return Err(Problem::new(
                ProblemKind::Unavailable,
                "queue-full",
                format!("{WAITING} operations wait for this cluster already"),
            )
            .remedy("wait for some of them, or cancel some")
            .retryable(true));
        }
        queue
            .order
            .send_modify(|order| order.push_back(operation.to_owned()));
        Ok(Place {
            queue: queue.clone(),
            operation: operation.to_owned(),
        })
    }

    /// The operations that come before one in a cluster's queue, the one at work first.
    pub fn before(&self, cluster: &str, operation: &str) -> Vec<String> {
        let clusters = self.clusters.lock();
        let Some(queue) = clusters.get(cluster) else {
            return Vec::new();
        };
        let order = queue.order.borrow();
        match order.iter().position(|other| other == operation) {
            Some(position) => order.iter().take(position).cloned().collect(),
            None => Vec::new(),
        }
    }
}

impl Place {
    /// Waits for its turn. First come, first served.
    pub async fn turn(self) -> Turn {
        let mut order = self.queue.order.subscribe();
        // It cannot fail: the queue that sends is ours.
        let _ = order
            .wait_for(|order| order.front() == Some(&self.operation))
            .await;
        Turn { place: self }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.queue.order.send_modify(|order| {
            order.retain(|other| *other != self.operation);
            if order.is_empty() {
                // Nobody needs it any more; it gives itself back.
                self.queue.tenure.lock().take();
            }
        });
    }
}

impl Turn {
    /// The tenure that the turn before this one has left, unless it was lost since.
    pub fn tenure(&self) -> Option<Arc<Tenure>> {
        let mut tenure = self.place.queue.tenure.lock();
        tenure.take_if(|tenure| tenure.lost().is_some());
        tenure.clone()
    }

    /// Keeps a tenure for this turn and those after it.
    pub fn keep(&self, tenure: Tenure) -> Arc<Tenure> {
        let tenure = Arc::new(tenure);
        *self.place.queue.tenure.lock() = Some(tenure.clone());
        tenure
    }

    /// Lets go of a tenure that is of no use any more.
    pub fn drop_tenure(&self) {
        self.place.queue.tenure.lock().take();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn turns_are_taken_in_order_and_clusters_do_not_wait_for_each_other() {
        let queues = Queues::default();
        let first = queues.enter("a", "1").unwrap().turn().await;
        let second = queues.enter("a", "2").unwrap();
        let third = queues.enter("a", "3").unwrap();
        let other = queues.enter("b", "4").unwrap();
        assert!(queues.before("b", "4").is_empty());
        drop(other);
        assert_eq!(queues.before("a", "3"), ["1", "2"]);
        assert_eq!(queues.before("a", "1"), [""; 0]);
        drop(first);
        assert_eq!(queues.before("a", "3"), ["2"]);
        drop(second.turn().await);
        third.turn().await;
    }

    #[tokio::test]
    async fn who_asked_first_has_the_turn_first_whoever_waits_first() {
        let queues = Queues::default();
        let (first, second) = (queues.enter("a", "1").unwrap(), queues.enter("a", "2").unwrap());
        let waiting = tokio::spawn(second.turn());
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(first);
        waiting.await.unwrap();
    }

    #[tokio::test]
    async fn a_tenure_stays_until_the_queue_is_empty() {
        let queues = Queues::default();
        let first = queues.enter("a", "1").unwrap().turn().await;
        let second = queues.enter("a", "2").unwrap();
        let kept = Arc::downgrade(&first.keep(Tenure::without_lease()));
        drop(first);
        let second = second.turn().await;
        assert!(second.tenure().is_some());
        drop(second);
        assert!(kept.upgrade().is_none());
    }

    #[test]
    fn a_queue_has_an_end() {
        let queues = Queues::default();
        let enter = |number: usize| queues.enter("a", &number.to_string());
        let places: Vec<Place> = (0..WAITING).map(|number| enter(number).unwrap()).collect();
        assert_eq!(enter(WAITING).err().unwrap().code, "queue-full");
        drop(places);
        enter(0).unwrap();
    }
}
