//! Lists of objects, page by page, up to a limit.

use meshery_plugin_api::message::facts::Detail;
use serde_json::Value;

use super::discovery::ResourceType;
use super::error::ClusterError;
use super::handle::Cluster;

/// Objects of a kind.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Listed {
    /// The objects, each with its kind and API version, without managed fields.
    pub items: Vec<Value>,
    /// Whether there are more.
    pub truncated: bool,
}

impl Cluster {
    /// Lists objects of a kind, in one namespace or in all, that a label selector (empty for all) selects; at most
    /// `limit` of them.
    pub async fn list(
        &self,
        kind: &ResourceType,
        namespace: Option<&str>,
        selector: &str,
        detail: Detail,
        limit: usize,
    ) -> Result<Listed, ClusterError> {
        let _ = (kind, namespace, selector, detail, limit);
        todo!()
    }
}
