//! Server-side apply, the way in which everything is written.

use std::time::Instant;

use http::{Method, StatusCode};
use meshery_plugin_api::message::object_ref::ObjectRef;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::diff::strip;
use super::error::ClusterError;
use super::handle::Cluster;
use super::manifest::{Manifest, has_namespace, reference};
use super::request::{APPLY_PATCH, Request, escaped};

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
    /// Whether this request made it. After a lost answer it is not known who did, and this is false: look at the
    /// object's own marks.
    pub created: bool,
    /// What the server warned of.
    pub warnings: Vec<String>,
}

impl Guard {
    /// The object must not be there. A server takes an apply that creates, whatever version it names, and refuses
    /// one to an object that is there in another: and no object is in the first version of its cluster any more.
    pub fn absent() -> Self {
        Self {
            uid: None,
            resource_version: Some("1".into()),
        }
    }

    /// It must be this very object in this very state.
    pub fn unchanged(object: &Value) -> Self {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        Self {
            uid: text("/metadata/uid"),
            resource_version: text("/metadata/resourceVersion"),
        }
    }
}

impl Cluster {
    /// Makes an object so, creating it if it is not there. Safe to repeat, and repeated by itself when the
    /// connection breaks or the server asks for it. Waits a moment for a kind that has just been defined.
    ///
    /// What only a server writes (status, uid, managed fields, ...) and fields that say `null` are not sent.
    pub async fn apply(&self, object: &Value, options: &ApplyOptions) -> Result<Applied, ClusterError> {
        let target = reference(object)?;
        let kind = if options.dry_run {
            self.resolve(&target.group, &target.version, &target.kind).await?
        } else {
            self.resolve_soon(&target.group, &target.version, &target.kind)
                .await?
        };
        has_namespace(&target, &kind)?;
        let mut query = format!("fieldManager={}", escaped(&options.manager));
        if options.force {
            query.push_str("&force=true");
        }
        if options.dry_run {
            query.push_str("&dryRun=All");
        }
        let manifest = Manifest {
            object,
            kind: &kind,
            guard: options.guard.as_ref(),
        };
        let place = (target.namespace.as_str(), target.name.as_str());
        let request = Request::object(Method::PATCH, "patch", &kind, place, &query)?
            .body(APPLY_PATCH, manifest.bytes());
        let mut patience = self.connection.patience();
        patience.webhooks = options.retry_webhooks_until;
        patience.new_kind = !options.dry_run && kind.group.contains('.') && !kind.group.ends_with(".k8s.io");
        let troubled = self.connection.last_trouble();
        match self.connection.send_until(&request, patience).await {
            Ok((answer, unheard)) => Ok(Applied {
                object: answer.json(|| request.subject.what())?,
                created: answer.status == StatusCode::CREATED && !unheard,
                warnings: answer.warnings(),
            }),
            Err(error @ ClusterError::ObjectChanged { .. })
                if !options.dry_run && self.connection.last_trouble() != troubled =>
            {
                self.perhaps_our_own(object, &target, options).await.ok_or(error)
            }
            Err(error) => Err(error),
        }
    }

    /// When an answer was lost, the repetition may find the object changed by the first attempt. Then applying once
    /// more would change nothing.
    async fn perhaps_our_own(
        &self,
        object: &Value,
        target: &ObjectRef,
        options: &ApplyOptions,
    ) -> Option<Applied> {
        let again = ApplyOptions {
            dry_run: true,
            guard: options.guard.as_ref().map(|guard| Guard {
                uid: guard.uid.clone(),
                resource_version: None,
            }),
            ..options.clone()
        };
        let live = self.get(target).await.ok()??;
        // Boxed because this is reached from the very function it calls.
        let would = Box::pin(self.apply(object, &again)).await.ok()?;
        let owns = |object: &Value| {
            let entries = object
                .pointer("/metadata/managedFields")
                .and_then(Value::as_array);
            entries
                .into_iter()
                .flatten()
                .any(|entry| entry["manager"] == options.manager.as_str() && entry["operation"] == "Apply")
        };
        (owns(&live) && strip(&live) == strip(&would.object)).then_some(Applied {
            object: live,
            created: false,
            warnings: would.warnings,
        })
    }

    /// Creates an object that must not exist. Not repeated when the connection breaks after it was sent: then
    /// whether it exists has to be looked at.
    pub async fn create(&self, object: &Value, manager: &str) -> Result<Value, ClusterError> {
        let target = reference(object)?;
        let kind = self.resolve(&target.group, &target.version, &target.kind).await?;
        has_namespace(&target, &kind)?;
        let manifest = Manifest {
            object,
            kind: &kind,
            guard: None,
        };
        let query = format!("fieldManager={}", escaped(manager));
        let mut request = Request::collection(Method::POST, "create", &kind, &target.namespace, &query)
            .body(super::request::JSON, manifest.bytes());
        request.subject.object = target;
        request.repeatable = false;
        let answer = self.connection.send(&request).await?;
        answer.json(|| request.subject.what())
    }

    /// Replaces an object, which is sent as it is, in the state that its `metadata.resourceVersion` names.
    pub async fn replace(&self, object: &Value, manager: &str) -> Result<Value, ClusterError> {
        let target = reference(object)?;
        let kind = self.resolve(&target.group, &target.version, &target.kind).await?;
        has_namespace(&target, &kind)?;
        let query = format!("fieldManager={}", escaped(manager));
        let place = (target.namespace.as_str(), target.name.as_str());
        let request = Request::object(Method::PUT, "update", &kind, place, &query)?
            .body(super::request::JSON, object.to_string());
        let answer = self.connection.send(&request).await?;
        answer.json(|| request.subject.what())
    }
}
