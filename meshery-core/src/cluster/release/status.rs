//! Changing the status in a release's record: in the record itself and in the labels beside it, as Helm does.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use k8s_openapi::jiff::Timestamp;
use meshery_plugin_api::message::object_ref::ObjectRef;
use serde_json::{Value, json};

use super::marks::TextMap as _;
use super::record::{Record, RecordFault, Status};
use crate::cluster::object::Patch;
use crate::cluster::{Cluster, ClusterError};

/// Helm's own name among the managers of fields.
pub(crate) const MANAGER: &str = "helm";
/// How often a record that changes under our hands is read again.
const ATTEMPTS: usize = 5;

/// What a record says of its status, read from the Secret's labels.
pub(crate) fn status_of(secret: &Value) -> Status {
    Status::of(secret["metadata"]["labels"].text("status").unwrap_or_default())
}

/// The Secret for a new record.
pub(crate) fn secret_of(
    secret: &ObjectRef,
    release: &str,
    revision: u32,
    record: &Record,
    status: Status,
) -> Result<Value, RecordFault> {
    Ok(json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": secret.name,
            "namespace": secret.namespace,
            "labels": {
                "owner": "helm",
                "name": release,
                "version": revision.to_string(),
                "status": status.as_str(),
                "createdAt": Timestamp::now().as_second().to_string(),
            },
        },
        "type": "helm.sh/release.v1",
        "data": {"release": BASE64.encode(record.pack()?)},
    }))
}

impl Cluster {
    /// Gives a record another status. Returns the uid of its Secret, or nothing when that is gone.
    pub(crate) async fn set_release_status(
        &self,
        secret: &ObjectRef,
        status: Status,
        description: &str,
    ) -> Result<Option<String>, ClusterError> {
        let mut attempts = 0;
        loop {
            let Some((record, object)) = self.record_of(secret).await? else {
                return Ok(None);
            };
            let text = |pointer: &str| {
                object
                    .pointer(pointer)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
            };
            let uid = text("/metadata/uid").to_owned();
            if status_of(&object) == status {
                return Ok(Some(uid));
            }
            let now = Timestamp::now();
            let packed = pack(record.with_status(status, description, &now.to_string())).await;
            let data = packed.map_err(|fault| ClusterError::Server {
                what: secret.to_string(),
                status: 200,
                message: fault.0,
            })?;
            let patch = Patch::Merge(json!({
                "metadata": {
                    "resourceVersion": text("/metadata/resourceVersion"),
                    "labels": {"status": status.as_str(), "modifiedAt": now.as_second().to_string()},
                },
                "data": {"release": BASE64.encode(data)},
            }));
            match self.patch(secret, &patch, MANAGER, false).await {
                Ok(_) => return Ok(Some(uid)),
                Err(ClusterError::NotFound { .. }) => return Ok(None),
                Err(ClusterError::ObjectChanged { .. }) if attempts < ATTEMPTS => attempts += 1,
                Err(error) => return Err(error),
            }
        }
    }
}

/// Large records take a while to pack; the executor has other things to do.
async fn pack(record: Record) -> Result<String, RecordFault> {
    tokio::task::spawn_blocking(move || record.pack())
        .await
        .unwrap_or_else(|error| Err(RecordFault(format!("it could not be packed: {error}"))))
}
