//! What is inside a namespace, of a kind, or carries a mark: found over all kinds, by metadata only.

use std::collections::BTreeMap;

use meshery_plugin_api::message::object_ref::ObjectRef;
use serde::{Deserialize, Serialize};

use super::error::ClusterError;
use super::handle::Cluster;

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

impl Cluster {
    /// What somebody put into a namespace: not what Kubernetes puts into every one of them (events, the root
    /// certificate, the default account), nor what goes by itself with an object that is listed.
    pub async fn contents_of_namespace(&self, namespace: &str) -> Result<Found, ClusterError> {
        let _ = namespace;
        todo!()
    }

    /// All objects of all kinds and namespaces that a label selector selects.
    pub async fn marked(&self, selector: &str) -> Result<Found, ClusterError> {
        let _ = selector;
        todo!()
    }

    /// The objects of the kind that a definition (a CRD) defines, in all namespaces.
    pub async fn custom_resources_of(&self, crd: &ObjectRef) -> Result<Vec<PartialObject>, ClusterError> {
        let _ = crd;
        todo!()
    }
}
