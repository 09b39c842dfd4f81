//! Findings: what an adapter noticed, and installations it recognised.

use serde::{Deserialize, Serialize};

use super::object_ref::ObjectRef;

/// Something worth telling a person.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Finding {
    /// Stable code, for example `istio-version-mismatch`.
    pub code: String,
    /// How bad it is.
    pub severity: Severity,
    /// What was found, with the value and the place.
    pub message: String,
    /// The object it is about.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectRef>,
    /// What to do.
    pub remedy: String,
}

/// How bad a finding is, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Is a problem: an operation that was checked must not go on.
    Error,
    /// May become a problem.
    Warning,
    /// Good to know; also what an arm newer than this side means.
    #[default]
    #[serde(other)]
    Info,
}

/// A mesh that the facts show.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Installation {
    /// Name of the mesh, as in the adapter's descriptor.
    pub mesh: String,
    /// Namespace of its control plane.
    pub namespace: String,
    /// Version, as far as image, labels and charts agree; empty if unknown.
    pub version: String,
    /// Revision or instance name where the mesh has such, else empty.
    pub revision: String,
    /// Whether it works.
    pub health: Health,
    /// Who made it: `meshery`, `helm`, `istioctl`, ..., `unknown`.
    pub installed_by: String,
    /// What it consists of.
    pub components: Vec<Component>,
    /// Namespaces that are in the mesh.
    pub namespaces: Vec<String>,
    /// What is noteworthy about it.
    pub findings: Vec<Finding>,
}

/// A workload of a mesh's control plane or a gateway.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Component {
    /// The workload.
    #[serde(rename = "ref")]
    pub object: ObjectRef,
    /// Version, from its image; empty if unknown.
    #[serde(default)]
    pub version: String,
    /// Whether it works.
    #[serde(default)]
    pub health: Health,
    /// Why it has that health: "0 of 1 replicas available".
    #[serde(default)]
    pub reason: String,
}

/// Whether something works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// All of it is ready.
    Healthy,
    /// Part of it is not ready.
    Degraded,
    /// Parts are missing: an installation or a removal that stopped half way.
    Incomplete,
    /// It cannot be told from the facts.
    #[default]
    #[serde(other)]
    Unknown,
}
