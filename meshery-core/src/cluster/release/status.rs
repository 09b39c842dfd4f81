//! Changing the status in a release's record: in the record itself and in the labels beside it, as Helm does.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use k8s_openapi::jiff::Timestamp;
use meshery_plugin_api::message::object_ref::ObjectRef;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::hook_run::{HookRun, last_runs, runs_before};
use super::marks::TextMap as _;
use super::record::{Record, RecordFault, Status};
use crate::cluster::object::Patch;
use crate::cluster::{Cluster, ClusterError};

/// Helm's own name among the managers of fields.
pub(crate) const MANAGER: &str = "helm";
/// How often a record that changes under our hands is read again.
const ATTEMPTS: usize = 5;

/// How a release stands, as its record says: all that a change of status changes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Standing {
    /// Helm's word.
    pub(crate) status: String,
    pub(crate) description: String,
    pub(crate) last_deployed: String,
    /// When the record was last changed, in a label beside it.
    pub(crate) modified_at: Option<String>,
    /// What its hooks ran last, in their order; empty where that says nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) last_runs: Vec<Value>,
}

impl Standing {
    fn of(record: &Record, secret: &Value) -> Self {
        let labels = &secret["metadata"]["labels"];
        Self {
            status: labels.text("status").unwrap_or_default().to_owned(),
            description: record.text("/info/description").to_owned(),
            last_deployed: record.text("/info/last_deployed").to_owned(),
            modified_at: labels.text("modifiedAt").map(str::to_owned),
            last_runs: last_runs(&record.hooks(), &[]),
        }
    }
}

/// What a record says of its status, read from the Secret's labels.
pub(crate) fn status_of(secret: &Value) -> Status {
    Status::of(secret["metadata"]["labels"].text("status").unwrap_or_default())
}

/// Labels of a record that Helm writes itself.
const SYSTEM_LABELS: [&str; 6] = ["name", "owner", "status", "version", "createdAt", "modifiedAt"];

/// Labels of a record that somebody has given the release (`helm install --labels`).
pub(super) fn custom_labels(labels: &Value) -> BTreeMap<String, String> {
    let all: BTreeMap<String, String> = serde_json::from_value(labels.clone()).unwrap_or_default();
    all.into_iter()
        .filter(|(key, _)| !SYSTEM_LABELS.contains(&key.as_str()))
        .collect()
}

/// The Secret for a new record, with labels of the release's own beside Helm's.
pub(crate) fn secret_of(
    secret: &ObjectRef,
    (release, revision): (&str, u32),
    record: &Record,
    status: Status,
    custom: &BTreeMap<String, String>,
) -> Result<Value, RecordFault> {
    let mut labels = custom.clone();
    labels.extend(
        [
            ("owner", "helm".to_owned()),
            ("name", release.to_owned()),
            ("version", revision.to_string()),
            ("status", status.to_string()),
            ("createdAt", Timestamp::now().as_second().to_string()),
        ]
        .map(|(key, value)| (key.to_owned(), value)),
    );
    Ok(json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": secret.name,
            "namespace": secret.namespace,
            "labels": labels,
        },
        "type": "helm.sh/release.v1",
        "data": {"release": BASE64.encode(record.pack()?)},
    }))
}

/// A record as it was read: what is changed in it is written only if nobody has written to it since.
pub(crate) struct ReadRecord {
    record: Record,
    secret: Value,
}

impl ReadRecord {
    /// How it stands.
    pub(crate) fn standing(&self) -> Standing {
        Standing::of(&self.record, &self.secret)
    }

    /// Whether it says of one of these runs what was written of it.
    pub(crate) fn says_any(&self, runs: &[HookRun]) -> bool {
        let hooks = self.record.hooks();
        runs.iter()
            .any(|run| hooks.iter().any(|hook| run.is_said_by(hook)))
    }
}

impl Cluster {
    /// A record, to be changed; nothing when it is gone.
    pub(crate) async fn read_record(&self, secret: &ObjectRef) -> Result<Option<ReadRecord>, ClusterError> {
        let found = self.record_of(secret).await?;
        Ok(found.map(|(record, secret)| ReadRecord { record, secret }))
    }

    /// Gives a record another status, and says when its hooks ran. Returns the uid of its Secret, or nothing when that is
    /// gone. It is read first, unless it was already.
    pub(crate) async fn set_release_status(
        &self,
        secret: &ObjectRef,
        read: Option<ReadRecord>,
        (status, description): (Status, &str),
        runs: &[HookRun],
    ) -> Result<Option<String>, ClusterError> {
        let now = Timestamp::now();
        self.set_standing(secret, read, |record, mut standing| {
            standing.last_runs = last_runs(&record.hooks(), runs);
            standing.modified_at = Some(now.as_second().to_string());
            // It said so before a crash already.
            if standing.status == status.as_str() {
                return standing;
            }
            standing.status = status.to_string();
            if !description.is_empty() {
                description.clone_into(&mut standing.description);
            }
            if matches!(status, Status::Deployed | Status::Failed) {
                standing.last_deployed = now.to_string();
            }
            standing
        })
        .await
    }

    /// Says in a record when hooks ran, and leaves how the release stands as it is, whatever has become of it meanwhile.
    /// Returns the uid of its Secret, or nothing when that is gone. It is read first, unless it was already.
    pub(crate) async fn set_last_runs(
        &self,
        secret: &ObjectRef,
        read: Option<ReadRecord>,
        runs: &[HookRun],
    ) -> Result<Option<String>, ClusterError> {
        let now = Timestamp::now().as_second().to_string();
        self.set_standing(secret, read, |record, mut standing| {
            standing.last_runs = last_runs(&record.hooks(), runs);
            standing.modified_at = Some(now.clone());
            standing
        })
        .await
    }

    /// Gives the hooks in a record what they ran before these runs, where nobody has run them since.
    pub(crate) async fn restore_last_runs(
        &self,
        secret: &ObjectRef,
        read: Option<ReadRecord>,
        (runs, before): (&[HookRun], &Standing),
    ) -> Result<Option<String>, ClusterError> {
        self.set_standing(secret, read, |record, mut standing| {
            standing.last_runs = runs_before(&record.hooks(), runs, &before.last_runs);
            if (&standing.status, &standing.last_runs) == (&before.status, &before.last_runs) {
                standing.modified_at.clone_from(&before.modified_at);
            }
            standing
        })
        .await
    }

    /// Gives a record back how it stood. Returns the uid of its Secret, or nothing when that is gone.
    pub(crate) async fn restore_standing(
        &self,
        secret: &ObjectRef,
        standing: &Standing,
    ) -> Result<Option<String>, ClusterError> {
        self.set_standing(secret, None, |_, now| {
            let mut wanted = standing.clone();
            if wanted.last_runs.is_empty() {
                wanted.last_runs = now.last_runs;
            }
            wanted
        })
        .await
    }

    async fn set_standing(
        &self,
        secret: &ObjectRef,
        mut read: Option<ReadRecord>,
        change: impl Fn(&Record, Standing) -> Standing,
    ) -> Result<Option<String>, ClusterError> {
        let mut attempts = 0;
        loop {
            let found = match read.take() {
                Some(found) => Some(found),
                None => self.read_record(secret).await?,
            };
            let Some(ReadRecord {
                record,
                secret: object,
            }) = found
            else {
                return Ok(None);
            };
            let uid = object["metadata"].text("uid").unwrap_or_default().to_owned();
            let standing = Standing::of(&record, &object);
            let wanted = change(&record, standing.clone());
            if (&wanted.status, &wanted.last_runs) == (&standing.status, &standing.last_runs) {
                return Ok(Some(uid));
            }
            let data = pack(record.standing(&wanted))
                .await
                .map_err(|fault| ClusterError::Server {
                    what: secret.to_string(),
                    status: 200,
                    message: fault.0,
                })?;
            let patch = Patch::Merge(json!({
                "metadata": {
                    "resourceVersion": object["metadata"]["resourceVersion"],
                    "labels": {"status": wanted.status, "modifiedAt": wanted.modified_at},
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
    tokio::task::spawn_blocking(move || record.pack_again())
        .await
        .unwrap_or_else(|error| Err(RecordFault(format!("it could not be packed: {error}"))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::release::record::NewRecord;
    use crate::cluster::release::record_reference;

    #[test]
    fn labels_that_a_release_was_given_stand_beside_helms_own_and_never_in_their_place() {
        let record = Record::new(NewRecord {
            release: "demo",
            namespace: "space",
            revision: 2,
            chart: Value::Null,
            config: &serde_json::Map::new(),
            manifest: "",
            hooks: Vec::new(),
            notes: "",
            first_deployed: None,
            now: "2026-11-22T10:00:00Z",
        });
        let earlier = json!({"owner": "helm", "name": "demo", "status": "deployed", "version": "1",
            "createdAt": "1", "modifiedAt": "2", "team": "a", "example.io/tier": "front"});
        let custom = custom_labels(&earlier);
        let given: Vec<&str> = custom.keys().map(String::as_str).collect();
        assert_eq!(given, ["example.io/tier", "team"]);
        assert!(custom_labels(&Value::Null).is_empty());

        let secret = record_reference("space", "demo", 2);
        let made = secret_of(&secret, ("demo", 2), &record, Status::PendingUpgrade, &custom).unwrap();
        let labels = &made["metadata"]["labels"];
        assert_eq!(
            (&labels["team"], &labels["example.io/tier"]),
            (&json!("a"), &json!("front"))
        );
        assert_eq!(
            (&labels["version"], &labels["status"]),
            (&json!("2"), &json!("pending-upgrade"))
        );
        assert_eq!(labels["modifiedAt"], Value::Null);
    }
}
