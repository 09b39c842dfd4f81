//! Single objects: read, patched, deleted.

use http::Method;
use meshery_plugin_api::message::object_ref::ObjectRef;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::error::ClusterError;
use super::handle::Cluster;
use super::manifest::has_namespace;
use super::request::{JSON, JSON_PATCH, MERGE_PATCH, Request, escaped};

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
        self.read(object, JSON).await
    }

    /// Reads an object whose kind may be served later, or not any more: then there is no such object either.
    pub async fn get_if_served(&self, object: &ObjectRef) -> Result<Option<Value>, ClusterError> {
        match self.get(object).await {
            Err(ClusterError::NotServed { .. }) => Ok(None),
            other => other,
        }
    }

    pub(super) async fn read(
        &self,
        object: &ObjectRef,
        accept: &'static str,
    ) -> Result<Option<Value>, ClusterError> {
        let request = self.request(Method::GET, "get", object, "").await?.accept(accept);
        match self.connection.send(&request).await {
            Ok(answer) => answer.json(|| request.subject.what()).map(Some),
            Err(ClusterError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn request(
        &self,
        method: Method,
        verb: &'static str,
        object: &ObjectRef,
        query: &str,
    ) -> Result<Request, ClusterError> {
        let kind = self.resolve(&object.group, &object.version, &object.kind).await?;
        has_namespace(object, &kind)?;
        Request::object(method, verb, &kind, (&object.namespace, &object.name), query)
    }

    /// Changes an object. A merge patch may carry `metadata.resourceVersion` as a guard; a JSON patch whose `test`
    /// does not hold is [`ClusterError::ObjectChanged`], and is not repeated when its answer is lost.
    pub async fn patch(
        &self,
        object: &ObjectRef,
        patch: &Patch,
        manager: &str,
        dry_run: bool,
    ) -> Result<Value, ClusterError> {
        let mut query = format!("fieldManager={}", escaped(manager));
        if dry_run {
            query.push_str("&dryRun=All");
        }
        let request = self.request(Method::PATCH, "patch", object, &query).await?;
        let mut request = match patch {
            Patch::Merge(value) => request.body(MERGE_PATCH, value.to_string()),
            Patch::Json(value) => request.body(JSON_PATCH, value.to_string()),
        };
        request.repeatable = dry_run || matches!(patch, Patch::Merge(_));
        let tests = matches!(patch, Patch::Json(_));
        match self.connection.send(&request).await {
            Ok(answer) => answer.json(|| request.subject.what()),
            // All that the server says when a test does not hold.
            Err(ClusterError::Invalid {
                object,
                causes,
                message,
            }) if tests && causes.is_empty() && message.contains("rejected our request due to an error") => {
                Err(ClusterError::ObjectChanged {
                    object,
                    reason: "what the patch relies on does not hold any more".into(),
                })
            }
            Err(error) => Err(error),
        }
    }

    /// Deletes an object; what it owns goes after it, in the background. Repeated when the connection breaks only if
    /// a uid is given: without one it could meet a successor.
    pub async fn delete(
        &self,
        object: &ObjectRef,
        preconditions: &Preconditions,
        dry_run: bool,
    ) -> Result<Deletion, ClusterError> {
        let mut options =
            json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"});
        if dry_run {
            options["dryRun"] = json!(["All"]);
        }
        if let Some(uid) = &preconditions.uid {
            options["preconditions"]["uid"] = json!(uid);
        }
        if let Some(version) = &preconditions.resource_version {
            options["preconditions"]["resourceVersion"] = json!(version);
        }
        let mut request = self
            .request(Method::DELETE, "delete", object, "")
            .await?
            .body(JSON, options.to_string());
        request.repeatable = dry_run || preconditions.uid.is_some();
        let troubled = self.connection.last_trouble();
        let answer = self.connection.send(&request).await;
        let lost_one = || self.connection.last_trouble() != troubled && !dry_run;
        match answer {
            Ok(answer) => {
                let left = answer.json(|| request.subject.what())?;
                // A Status says that it is gone; the object itself, that something holds it.
                Ok(if left["kind"] == "Status" {
                    Deletion::Gone
                } else {
                    Deletion::Pending
                })
            }
            Err(ClusterError::NotFound { .. }) if lost_one() => Ok(Deletion::Gone),
            Err(ClusterError::NotFound { .. }) => Ok(Deletion::Absent),
            // Its state may have changed by the attempt whose answer was lost.
            Err(error @ ClusterError::ObjectChanged { .. }) if lost_one() => match self.get(object).await? {
                None => Ok(Deletion::Gone),
                Some(now)
                    if Some(&now["metadata"]["uid"])
                        != preconditions.uid.as_ref().map(|u| json!(u)).as_ref() =>
                {
                    Ok(Deletion::Gone)
                }
                Some(now) if now["metadata"]["deletionTimestamp"].is_string() => Ok(Deletion::Pending),
                Some(_) => Err(error),
            },
            Err(error) => Err(error),
        }
    }
}
