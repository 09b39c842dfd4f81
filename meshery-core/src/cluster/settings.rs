//! How long we wait for a cluster and how much we ask of it at a time.

use std::time::Duration;

/// How long we wait for a cluster and how much we ask of it at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterSettings {
    /// For a connection to be made.
    pub connect: Duration,
    /// For one request to be answered in full.
    pub request: Duration,
    /// For how long a request that may be repeated is repeated, counted from its beginning.
    pub retry_for: Duration,
    /// Requests under way at a time; watches do not count. More than 16 only make each of them slower: the server's
    /// own work is the limit.
    pub in_flight: usize,
    /// The largest answer that is read, in bytes.
    pub largest_answer: usize,
}

impl Default for ClusterSettings {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            request: Duration::from_secs(30),
            retry_for: Duration::from_mins(1),
            in_flight: 16,
            largest_answer: 64 << 20,
        }
    }
}
