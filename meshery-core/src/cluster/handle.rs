//! A cluster that we are connected to.

use meshery_plugin_api::message::facts::ClusterFacts;

/// A cluster that we are connected to, through one context. Made by [`Clusters::connect`](super::Clusters::connect);
/// usable from many tasks at once.
///
/// Every request has a deadline, at most 16 are under way at a time, and what may be repeated is repeated when the
/// connection breaks or the server is overloaded.
#[derive(Debug)]
pub struct Cluster {
    context: String,
    server: String,
    uid: String,
    version: String,
}

impl Cluster {
    /// The uid of the namespace kube-system: a cluster's identity, whatever a context calls it.
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// The context we are connected through.
    pub fn context(&self) -> &str {
        &self.context
    }

    /// Address of the API server.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Kubernetes version as the server says it: `v1.36.3`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The cluster as adapters see it.
    pub fn cluster_facts(&self) -> ClusterFacts {
        ClusterFacts {
            uid: self.uid.clone(),
            version: self.version.clone(),
            apis: self.apis(),
        }
    }
}
