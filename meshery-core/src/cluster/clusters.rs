//! The clusters that we can talk to: contexts of kubeconfigs, and a connection for each that is used.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::error::ClusterError;
use super::handle::Cluster;
use super::kubeconfig::KubeconfigSource;

/// A context: a cluster, a user and a namespace under one name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContextInfo {
    /// Its name.
    pub context: String,
    /// Address of the API server.
    pub server: String,
    /// Namespace for what names none.
    pub namespace: String,
    /// Name of the user's entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Whether it is used when no context is named.
    pub current: bool,
    /// Where it comes from: a file, `in-cluster`, or `uploaded`.
    pub source: String,
}

/// What became of an uploaded kubeconfig.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uploaded {
    /// The contexts it brought, as they are listed from now on.
    pub contexts: Vec<ContextInfo>,
    /// What is dangerous in it.
    pub warnings: Vec<String>,
}

/// The clusters that we can talk to. Cheap to clone.
#[derive(Clone)]
pub struct Clusters {
    source: KubeconfigSource,
}

impl Clusters {
    /// The clusters of a kubeconfig. Nothing is read yet.
    pub fn new(source: KubeconfigSource) -> Self {
        Self { source }
    }

    /// All contexts, those of uploads included. Files that have changed are read again.
    pub fn contexts(&self) -> Result<Vec<ContextInfo>, ClusterError> {
        let _ = &self.source;
        todo!()
    }

    /// The cluster of a context, or of the current one. Connections are kept; one whose kubeconfig has changed is
    /// made anew.
    pub async fn connect(&self, context: Option<&str>) -> Result<Arc<Cluster>, ClusterError> {
        let _ = context;
        todo!()
    }

    /// Adds a kubeconfig that came from outside, under a name: that is the name of its current (or only) context;
    /// further ones are listed as `name/context`. One of the same name is replaced. Checks its server's address.
    pub async fn add_uploaded(&self, name: &str, text: &str) -> Result<Uploaded, ClusterError> {
        let _ = (name, text);
        todo!()
    }

    /// Forgets an uploaded kubeconfig; whether there was one.
    pub fn remove_uploaded(&self, name: &str) -> bool {
        let _ = name;
        todo!()
    }

    /// The text of an uploaded kubeconfig, for who keeps it sealed. It is full of secrets.
    pub fn uploaded(&self, name: &str) -> Option<String> {
        let _ = name;
        todo!()
    }
}
