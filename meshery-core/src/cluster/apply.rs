//! Server-side apply, the way in which everything is written.

use std::time::Instant;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::ClusterError;
use super::handle::Cluster;

/// How an object is applied.
#[derive(Debug, Clone, Default)]
pub struct ApplyOptions {
    /// Field manager that will own the fields.
    pub manager: String,
    /// Take fields from other managers.
    pub force: bool,
    /// Ask only: nothing is stored.
    pub dry_run: bool,
    /// What the object must be for this to happen.
    pub guard: Option<Guard>,
    /// Until when a failing admission webhook is tried again: one that the same plan has just installed needs a
    /// moment until something serves it.
    pub retry_webhooks_until: Option<Instant>,
}

/// What an object must be for a write to happen. An apply with a `uid` never creates.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guard {
    /// It is this very object.
    pub uid: Option<String>,
    /// And in this very state.
    pub resource_version: Option<String>,
}

/// What came of an apply.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Applied {
    /// The object as the server has it now.
    pub object: Value,
    /// Whether it was not there before.
    pub created: bool,
    /// What the server warned of.
    pub warnings: Vec<String>,
}

impl Cluster {
    /// Makes an object so, creating it if it is not there. Safe to repeat, and repeated by itself when the
    /// connection breaks.
    pub async fn apply(&self, object: &Value, options: &ApplyOptions) -> Result<Applied, ClusterError> {
        let _ = (object, options);
        todo!()
    }
}
