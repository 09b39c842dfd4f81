//! The revisions of a release that a cluster has records of.

use std::collections::BTreeMap;

use meshery_plugin_api::message::facts::Detail;
use meshery_plugin_api::message::object_ref::ObjectRef;
use serde_json::Value;

use super::record::{Record, Status};
use super::status::custom_labels;
use crate::cluster::{Cluster, ClusterError};

/// How many records are looked at. Helm keeps ten of a release unless it is told otherwise; what is beyond this would be
/// misread, as the newest are not the last by name.
const MOST: usize = 10_000;
/// What names of records begin with.
const PREFIX: &str = "sh.helm.release.v1.";

/// One revision, by the labels of its record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Revision {
    pub(crate) number: u32,
    pub(crate) status: Status,
    /// The Secret that holds the record.
    pub(crate) secret: ObjectRef,
    pub(crate) uid: String,
    /// Labels that somebody has given the release.
    pub(crate) labels: BTreeMap<String, String>,
}

/// The latest revision of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LatestRevision {
    pub(crate) release: String,
    pub(crate) namespace: String,
    pub(crate) revision: Revision,
}

/// The Secret that holds, or is to hold, the record of a revision.
pub(crate) fn record_reference(namespace: &str, release: &str, revision: u32) -> ObjectRef {
    ObjectRef::new(
        "v1",
        "Secret",
        namespace,
        &format!("{PREFIX}{release}.v{revision}"),
    )
}

impl Cluster {
    /// The revisions of a release, the oldest first; none when its namespace is not there either.
    pub(crate) async fn revisions(
        &self,
        namespace: &str,
        release: &str,
    ) -> Result<Vec<Revision>, ClusterError> {
        let selector = format!("owner=helm,name={release}");
        let mut revisions: Vec<Revision> = self
            .records(Some(namespace), &selector)
            .await?
            .iter()
            .filter_map(|secret| revision_of(namespace, secret))
            .collect();
        if revisions.is_empty() && self.is_in_config_maps(namespace, &selector).await? {
            return Err(ClusterError::OtherDriver {
                release: release.to_owned(),
                namespace: namespace.to_owned(),
            });
        }
        revisions.sort_by_key(|revision| revision.number);
        Ok(revisions)
    }

    /// The latest revision of each release in a namespace, or, for an empty one, anywhere.
    pub(crate) async fn latest_revisions(
        &self,
        namespace: &str,
    ) -> Result<Vec<LatestRevision>, ClusterError> {
        let place = Some(namespace).filter(|namespace| !namespace.is_empty());
        let listed = self.records(place, "owner=helm").await?;
        let mut latest: BTreeMap<(String, String), Revision> = BTreeMap::new();
        for secret in &listed {
            let metadata = &secret["metadata"];
            let (Some(namespace), Some(release)) = (
                metadata["namespace"].as_str(),
                metadata["labels"]["name"].as_str(),
            ) else {
                continue;
            };
            let Some(revision) = revision_of(namespace, secret) else {
                continue;
            };
            let key = (namespace.to_owned(), release.to_owned());
            match latest.get(&key) {
                Some(known) if known.number >= revision.number => {}
                _ => {
                    latest.insert(key, revision);
                }
            }
        }
        let latest = latest
            .into_iter()
            .map(|((namespace, release), revision)| LatestRevision {
                release,
                namespace,
                revision,
            });
        Ok(latest.collect())
    }

    /// Whether helm keeps such records in ConfigMaps; no when those may not be seen.
    async fn is_in_config_maps(&self, namespace: &str, selector: &str) -> Result<bool, ClusterError> {
        let kind = self.resolve("", "v1", "ConfigMap").await?;
        let listed = self
            .list(&kind, Some(namespace), selector, Detail::Metadata, 1)
            .await;
        match listed {
            Err(ClusterError::Forbidden { .. }) => Ok(false),
            listed => Ok(!listed?.items.is_empty()),
        }
    }

    /// The metadata of Secrets with records.
    async fn records(&self, namespace: Option<&str>, selector: &str) -> Result<Vec<Value>, ClusterError> {
        let secrets = self.resolve("", "v1", "Secret").await?;
        let listed = self
            .list(&secrets, namespace, selector, Detail::Metadata, MOST)
            .await?;
        if listed.truncated {
            return Err(ClusterError::LongHistory {
                selector: selector.to_owned(),
                place: namespace.map_or("all namespaces".to_owned(), |namespace| {
                    format!("namespace {namespace}")
                }),
                most: MOST,
            });
        }
        Ok(listed.items)
    }

    /// A revision's record with the Secret that holds it; nothing when it is gone.
    pub(crate) async fn record_of(
        &self,
        secret: &ObjectRef,
    ) -> Result<Option<(Record, Value)>, ClusterError> {
        let Some(object) = self.get(secret).await? else {
            return Ok(None);
        };
        let data = object
            .pointer("/data/release")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let record = Record::unpack(data).map_err(|fault| ClusterError::Server {
            what: secret.to_string(),
            status: 200,
            message: format!("it is no record of a Helm release: {}", fault.0),
        })?;
        Ok(Some((record, object)))
    }
}

fn revision_of(namespace: &str, secret: &Value) -> Option<Revision> {
    let metadata = secret.get("metadata")?;
    let name = metadata["name"].as_str()?;
    let labels = &metadata["labels"];
    if !name.starts_with(PREFIX) {
        return None;
    }
    Some(Revision {
        number: labels["version"].as_str()?.parse().ok()?,
        status: Status::of(labels["status"].as_str().unwrap_or_default()),
        secret: ObjectRef::new("v1", "Secret", namespace, name),
        uid: metadata["uid"].as_str()?.to_owned(),
        labels: custom_labels(labels),
    })
}
