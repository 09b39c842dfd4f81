//! Single objects: read, created, patched, replaced, deleted.

use std::time::Instant;

use meshery_plugin_api::message::object_ref::ObjectRef;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::ClusterError;
use super::handle::Cluster;

/// A change to an object.
#[derive(Debug, Clone, PartialEq)]
pub enum Patch {
    /// A JSON merge patch.
    Merge(Value),
    /// A JSON patch: an array of operations.
    Json(Value),
}

/// What an object must be to be deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preconditions {
    /// It is this very object.
    pub uid: Option<String>,
    /// And in this very state.
    pub resource_version: Option<String>,
}

/// What came of a delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Deletion {
    /// It is gone.
    Gone,
    /// It goes when something lets it: finalizers, what is inside it, running containers.
    Pending,
    /// It was not there.
    Absent,
}

impl Cluster {
    /// Reads an object; nothing when it, or its namespace, is not there. A kind that is not served is an error.
    pub async fn get(&self, object: &ObjectRef) -> Result<Option<Value>, ClusterError> {
        let _ = object;
        todo!()
    }

    /// Asks whether the server would create an object, and what would come of it. Stores nothing.
    pub async fn create_dry_run(&self, object: &Value) -> Result<Value, ClusterError> {
        let _ = object;
        todo!()
    }

    /// Creates an object that must not exist. Not repeated when the connection breaks after it was sent: then
    /// whether it exists has to be looked at.
    pub async fn create(&self, object: &Value, manager: &str) -> Result<Value, ClusterError> {
        let _ = (object, manager);
        todo!()
    }

    /// Replaces an object in the state that `metadata.resourceVersion` names.
    pub async fn replace(&self, object: &Value, manager: &str) -> Result<Value, ClusterError> {
        let _ = (object, manager);
        todo!()
    }

    /// Changes an object. A merge patch may carry `metadata.resourceVersion` as a guard.
    pub async fn patch(
        &self,
        object: &ObjectRef,
        patch: &Patch,
        manager: &str,
        dry_run: bool,
    ) -> Result<Value, ClusterError> {
        let _ = (object, patch, manager, dry_run);
        todo!()
    }

    /// Deletes an object; what it owns goes after it, in the background.
    pub async fn delete(
        &self,
        object: &ObjectRef,
        preconditions: &Preconditions,
        dry_run: bool,
    ) -> Result<Deletion, ClusterError> {
        let _ = (object, preconditions, dry_run);
        todo!()
    }

    /// Waits until an object is gone: not there, or there with another uid. `progress` is told what holds it,
    /// whenever that changes.
    pub async fn wait_gone(
        &self,
        object: &ObjectRef,
        uid: Option<&str>,
        deadline: Instant,
        progress: impl FnMut(&str) + Send,
    ) -> Result<(), ClusterError> {
        let _ = (object, uid, deadline, progress);
        todo!()
    }
}
