//! Which kinds the server offers, and under which addresses.

use serde::{Deserialize, Serialize};

use super::error::ClusterError;
use super::handle::Cluster;

/// A kind as the server offers it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ResourceType {
    /// API group, empty for the core group.
    pub group: String,
    /// Version.
    pub version: String,
    /// Kind.
    pub kind: String,
    /// What addresses call it.
    pub plural: String,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// What can be done with it.
    pub verbs: Vec<String>,
}

impl ResourceType {
    /// Group and version as a manifest writes them.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }
}

impl Cluster {
    /// Finds a kind. An empty version stands for the one that the server prefers. What is not known is looked for
    /// again at the server, at most once a second.
    pub async fn resolve(
        &self,
        group: &str,
        version: &str,
        kind: &str,
    ) -> Result<ResourceType, ClusterError> {
        let _ = (group, version, kind);
        todo!()
    }

    /// Reads from the server what it offers now.
    pub async fn rediscover(&self) -> Result<(), ClusterError> {
        todo!()
    }

    /// What the server offers, as helm's `--api-versions` wants it: `v1`, `v1/Pod`, `apps/v1`, `apps/v1/Deployment`.
    pub fn apis(&self) -> Vec<String> {
        todo!()
    }
}
