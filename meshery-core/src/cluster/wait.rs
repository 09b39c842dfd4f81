//! Waiting for objects to become ready, by watching them.

use std::fmt;
use std::time::Instant;

use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_plugin_api::message::plan::Readiness;
use serde::{Deserialize, Serialize};

use super::error::ClusterError;
use super::handle::Cluster;

/// An object that is not ready, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// The object.
    pub object: ObjectRef,
    /// Why it is not ready.
    pub reason: String,
    /// How many of the conditions hold.
    pub done: usize,
    /// Of how many.
    pub total: usize,
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.object, self.reason)
    }
}

impl Cluster {
    /// Waits until each condition holds. `progress` is told of each object that is not ready, whenever its reason
    /// changes. Ends early when something has failed for good.
    pub async fn wait_ready(
        &self,
        conditions: &[Readiness],
        deadline: Instant,
        progress: &mut (dyn FnMut(Waiting) + Send),
    ) -> Result<(), ClusterError> {
        let _ = (conditions, deadline, progress);
        todo!()
    }
}
