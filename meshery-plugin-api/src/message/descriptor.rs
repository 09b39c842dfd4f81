//! Descriptors: what a plugin says about itself, before and after it is loaded.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::facts::{ChartFact, Need};

/// What sort of plugin a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PluginKind {
    /// A mesh adapter.
    Adapter,
    /// A provider of identity and persistence.
    Provider,
    /// A kind newer than this side: it is not loaded.
    #[default]
    #[serde(other)]
    Unknown,
}

/// What can be read from the file without running it, and what a loaded plugin repeats.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Manifest {
    /// Adapter or provider.
    pub kind: PluginKind,
    /// Name, unique among plugins of its kind: lower-case letters, digits and dashes.
    pub name: String,
    /// The plugin's own version (semver).
    pub version: String,
    /// Version of the plugin API it was built with (semver).
    pub api: String,
    /// Version of the message schemas it writes (semver).
    pub schema: String,
    /// SPDX identifier of its licence.
    pub license: String,
    /// Address of its home page.
    pub homepage: String,
    /// One sentence on what it is for.
    pub description: String,
}

/// An adapter in full.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct AdapterDescriptor {
    /// Name of the mesh for people: "Istio".
    pub mesh: String,
    /// Conventional port of the adapter (10000 and up).
    pub port: u16,
    /// Versions it can install, newest first, with what it knows of each.
    pub versions: Vec<MeshVersion>,
    /// Repositories whose indexes the core reads when it is asked for versions beyond those.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub repositories: Vec<ChartRepository>,
    /// When support of the mesh's versions ends, as far as it is known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub support_ends: Vec<SupportEnd>,
    /// Its operations.
    pub operations: Vec<Operation>,
    /// What `detect` needs to see.
    pub detect_needs: Vec<Need>,
    /// What `analyze` needs to see.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub analyze_needs: Vec<Need>,
    /// The most that any of its plans may do.
    pub rights: Rights,
}

/// One version of a mesh in the adapter's pinned catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MeshVersion {
    /// Version of the mesh (semver).
    pub version: String,
    /// Whether it is a release, not a candidate.
    pub stable: bool,
    /// Range of Kubernetes versions it supports (semver range), empty if unknown.
    pub kubernetes: String,
    /// Last day of its support (`2025-12-22`), empty if unknown.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub end_of_life: String,
    /// Its charts, with their digests where they are known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub charts: Vec<ChartFact>,
}

/// A repository with charts of the mesh.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ChartRepository {
    /// https address; its index is `index.yaml` below it.
    pub address: String,
    /// Charts that every installation takes: a version that the index lists is one when all of them are there.
    pub charts: Vec<String>,
    /// Charts that some installations take.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub optional: Vec<String>,
}

/// When support of a line of versions ends.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SupportEnd {
    /// The line: major and minor number (`1.29`).
    pub line: String,
    /// Last day (`2025-12-22`).
    pub date: String,
}

/// One operation of an adapter.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Operation {
    /// Name, as in a request.
    pub name: String,
    /// What it is about.
    pub category: Category,
    /// For people.
    pub description: String,
    /// JSON Schema of the parameters: an object with `properties`, each with a type, a description and mostly a
    /// default. The core checks requests against it before the adapter sees them.
    pub parameters: Value,
    /// What `plan` needs to see for it.
    pub needs: Vec<Need>,
}

/// What an operation is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Category {
    /// Installs a mesh.
    Install,
    /// Removes a mesh.
    Remove,
    /// Deploys or removes an application: a sample, or one of the host's owner.
    SampleApplication,
    /// Configures a mesh.
    Configure,
    /// Looks and says what it finds.
    Validate,
    /// Something newer than this side.
    #[default]
    #[serde(other)]
    Unknown,
}

/// The most that plans may do. The core refuses a plan that goes beyond.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Rights {
    /// Namespaces it may write to; `*` for any.
    pub namespaces: Vec<String>,
    /// It may create or delete namespaces among those.
    pub create_namespaces: bool,
    /// API groups of the cluster-wide kinds it may write, beside those below; `*` for any.
    pub cluster_groups: Vec<String>,
    /// Custom resource definitions.
    pub crds: bool,
    /// Roles and bindings.
    pub rbac: RbacScope,
    /// Admission webhooks and policies.
    pub webhooks: bool,
    /// Pods that are privileged, use the host's namespaces or paths.
    pub privileged_pods: bool,
    /// Secrets.
    pub secrets: bool,
}

/// How far a plan may grant rights, the farthest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RbacScope {
    /// Cluster roles and bindings too.
    Cluster,
    /// Roles and role bindings in its namespaces.
    Namespace,
    /// Not at all; also what an arm newer than this side means.
    #[default]
    #[serde(other)]
    None,
}
