//! What is inside a namespace or carries a mark: found over all kinds, by metadata only.

use std::collections::{BTreeMap, HashSet};

use futures::stream::{self, StreamExt as _};
use meshery_plugin_api::message::facts::Detail;
use meshery_plugin_api::message::object_ref::ObjectRef;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::diff::LAST_APPLIED;
use super::discovery::ResourceType;
use super::error::ClusterError;
use super::handle::Cluster;
use super::list::Choice;

/// The metadata of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartialObject {
    /// The object.
    #[serde(rename = "ref")]
    pub object: ObjectRef,
    /// Its uid.
    pub uid: String,
    /// The state that was seen.
    pub resource_version: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations, without the copy of itself that kubectl keeps there.
    pub annotations: BTreeMap<String, String>,
    /// Objects it goes with.
    pub owners: Vec<Owner>,
    /// What must happen before it can go.
    pub finalizers: Vec<String>,
    /// Whether it is on its way out.
    pub deleting: bool,
}

/// An object that another one goes with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Kind.
    pub kind: String,
    /// Name.
    pub name: String,
    /// Uid.
    pub uid: String,
    /// Whether it is the one that manages the object.
    pub controller: bool,
}

/// What was found, and what could not be looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// The objects, ordered by kind, namespace and name.
    pub objects: Vec<PartialObject>,
    /// Kinds that could not be listed: there may be any number of them.
    pub unreadable: Vec<Unreadable>,
}

/// A kind that could not be listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unreadable {
    /// Group and version.
    pub api_version: String,
    /// Kind; empty when not even the kinds of the version are known.
    pub kind: String,
    /// Why.
    pub reason: String,
}

/// Kinds that Kubernetes itself fills, in every namespace where something happens, or answers out of nothing.
const DERIVED: &[(&str, &str)] = &[
    ("", "ComponentStatus"),
    ("", "Event"),
    ("events.k8s.io", "Event"),
    ("", "Endpoints"),
    ("discovery.k8s.io", "EndpointSlice"),
    ("coordination.k8s.io", "Lease"),
    ("metrics.k8s.io", "PodMetrics"),
];
/// Objects of one kind that are looked at.
pub(super) const MOST: usize = 5_000;
const AT_ONCE: usize = 12;

impl Cluster {
    /// What somebody put into a namespace: not what Kubernetes puts into every one of them (events, the root
    /// certificate, the default account), nor what goes by itself with an object that is listed.
    pub async fn contents_of_namespace(&self, namespace: &str) -> Result<Found, ClusterError> {
        // Kinds that have come since are kinds too, and a group whose server has died may hold anything.
        self.rediscover().await?;
        let kinds = self.listable(|kind| {
            kind.namespaced && !DERIVED.contains(&(kind.group.as_str(), kind.kind.as_str()))
        });
        let choice = Choice {
            namespace,
            ..Choice::default()
        };
        let mut found = self.search(kinds, choice).await?;
        let uids: HashSet<String> = found.objects.iter().map(|object| object.uid.clone()).collect();
        found.objects.retain(|object| {
            !is_given(object) && !object.owners.iter().any(|owner| uids.contains(&owner.uid))
        });
        Ok(found)
    }

    /// All objects of all kinds and namespaces that a label selector selects.
    pub async fn marked(&self, selector: &str) -> Result<Found, ClusterError> {
        self.rediscover().await?;
        let kinds = self.listable(|kind| !DERIVED.contains(&(kind.group.as_str(), kind.kind.as_str())));
        let choice = Choice {
            labels: selector,
            ..Choice::default()
        };
        self.search(kinds, choice).await
    }

    fn listable(&self, wanted: impl Fn(&ResourceType) -> bool) -> Vec<ResourceType> {
        let kinds = self.kinds.read();
        kinds.listable().filter(|kind| wanted(kind)).cloned().collect()
    }

    async fn search(&self, kinds: Vec<ResourceType>, choice: Choice<'_>) -> Result<Found, ClusterError> {
        let mut found = Found {
            unreadable: self
                .kinds
                .read()
                .unknown
                .iter()
                .map(|api_version| Unreadable {
                    api_version: api_version.clone(),
                    kind: String::new(),
                    reason: "the server behind it does not answer".into(),
                })
                .collect(),
            ..Found::default()
        };
        let lists = kinds.into_iter().map(|kind| async move {
            let listed = self.list_chosen(&kind, choice, Detail::Metadata, MOST).await;
            (kind, listed)
        });
        let mut lists = stream::iter(lists).buffer_unordered(AT_ONCE);
        while let Some((kind, listed)) = lists.next().await {
            let mut unreadable = |reason: String| {
                found.unreadable.push(Unreadable {
                    api_version: kind.api_version(),
                    kind: kind.kind.clone(),
                    reason,
                });
            };
            match listed {
                Ok(listed) => {
                    if listed.truncated {
                        unreadable(format!("there are more than {MOST}"));
                    }
                    found.objects.extend(listed.items.iter().filter_map(partial));
                }
                // Its definition was deleted since we looked.
                Err(ClusterError::NotServed { .. }) => {}
                Err(error) if error.is_connection() || matches!(error, ClusterError::Unauthorized { .. }) => {
                    return Err(error);
                }
                Err(error) => unreadable(error.to_string()),
            }
        }
        found.objects.sort_by(|a, b| a.object.cmp(&b.object));
        found
            .unreadable
            .sort_by(|a, b| (&a.api_version, &a.kind).cmp(&(&b.api_version, &b.kind)));
        Ok(found)
    }
}

/// What every namespace has.
fn is_given(object: &PartialObject) -> bool {
    let ObjectRef {
        group, kind, name, ..
    } = &object.object;
    group.is_empty()
        && matches!(
            (kind.as_str(), name.as_str()),
            ("ConfigMap", "kube-root-ca.crt") | ("ServiceAccount", "default")
        )
}

pub(super) fn partial(object: &Value) -> Option<PartialObject> {
    let metadata = &object["metadata"];
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or("").to_owned();
    let map = |key: &str| -> BTreeMap<String, String> {
        let entries = metadata[key].as_object().into_iter().flatten();
        entries
            .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
            .collect()
    };
    let list = |key: &str| metadata[key].as_array().into_iter().flatten();
    let mut annotations = map("annotations");
    annotations.remove(LAST_APPLIED);
    Some(PartialObject {
        object: ObjectRef::of(object)?,
        uid: text(metadata, "uid"),
        resource_version: text(metadata, "resourceVersion"),
        labels: map("labels"),
        annotations,
        owners: list("ownerReferences")
            .map(|owner| Owner {
                kind: text(owner, "kind"),
                name: text(owner, "name"),
                uid: text(owner, "uid"),
                controller: owner["controller"] == true,
            })
            .collect(),
        finalizers: list("finalizers")
            .filter_map(|item| item.as_str().map(str::to_owned))
            .collect(),
        deleting: metadata["deletionTimestamp"].is_string(),
    })
}
