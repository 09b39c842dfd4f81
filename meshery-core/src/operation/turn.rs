//! Whose turn it is on a cluster: a queue within this host, a Lease between hosts.

mod acquire;
mod lease;
pub(super) mod queue;
