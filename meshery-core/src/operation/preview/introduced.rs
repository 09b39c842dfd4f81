//! The namespaces and kinds that a plan introduces: the server cannot be asked about what needs them.

use std::collections::{HashMap, HashSet};

use meshery_plugin_api::message::object_ref::ObjectRef;
use serde_json::Value;

use crate::cluster::{Cluster, ClusterError};
use crate::operation::object::mark::text;

/// Namespaces that are not there yet, and kinds that the plan defines.
#[derive(Debug, Default)]
pub(super) struct Introduced {
    pub namespaces: HashSet<String>,
    /// By group and kind: what addresses call it.
    pub kinds: HashMap<(String, String), String>,
}

impl Introduced {
    /// What comes with these objects.
    pub async fn with(
        cluster: &Cluster,
        manifests: impl Iterator<Item = &Value>,
    ) -> Result<Self, ClusterError> {
        let mut introduced = Self::default();
        let mut namespaces = Vec::new();
        for manifest in manifests {
            match manifest["kind"].as_str() {
                Some("Namespace") => namespaces.extend(ObjectRef::of(manifest)),
                Some("CustomResourceDefinition") => {
                    let word = |pointer| text(manifest, pointer).to_owned();
                    let kind = (word("/spec/group"), word("/spec/names/kind"));
                    introduced.kinds.insert(kind, word("/spec/names/plural"));
                }
                _ => {}
            }
        }
        for namespace in namespaces {
            if cluster.get(&namespace).await?.is_none() {
                introduced.namespaces.insert(namespace.name);
            }
        }
        Ok(introduced)
    }
}
