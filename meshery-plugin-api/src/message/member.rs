//! Who is in a mesh and who is not: the namespaces of a cluster with their workloads, as an installation has them.

use serde::{Deserialize, Serialize};

/// The namespaces of a cluster, seen from one installation; that of its control plane is left out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Members {
    /// Those that are in the mesh first, each group by name.
    pub namespaces: Vec<NamespaceMembers>,
    /// How many namespaces are not listed, because there are too many.
    pub rest: usize,
}

/// A namespace and its workloads. One of which some pods are in the mesh and some are not is on both sides.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NamespaceMembers {
    /// Its name.
    pub namespace: String,
    /// What takes its pods into the mesh.
    pub joined: Joined,
    /// In the mesh.
    #[serde(rename = "in")]
    pub inside: Workloads,
    /// Out of it.
    pub out: Workloads,
    /// Of those in the mesh the ones whose proxies are of another version than the control plane.
    pub behind: Workloads,
}

/// What takes pods of a namespace into the mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Joined {
    /// The namespace asks for it: new pods get in, unless they decline.
    ByNamespace,
    /// Single workloads ask for it; the others stay out.
    ByWorkload,
    /// Nothing; also what an arm newer than this side means.
    #[default]
    #[serde(other)]
    Nothing,
}

/// Workloads of a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Workloads {
    /// How many there are.
    pub count: usize,
    /// Their kinds and names, as in `Deployment/web`; fewer than `count` when there are too many.
    pub names: Vec<String>,
}
