//! Findings: what an adapter noticed, and installations it recognised.

use serde::{Deserialize, Serialize};

use super::member::Members;
use super::object_ref::ObjectRef;

/// Something worth telling a person.
///
/// ```
/// use meshery_plugin_api::message::finding::{Finding, Severity};
/// use meshery_plugin_api::message::object_ref::ObjectRef;
/// let finding = Finding::warning("namespace-in-mesh", "namespace \"shop\" is in another mesh")
///     .about(ObjectRef::new("v1", "Namespace", "", "shop"))
///     .remedy("take it out of one of the two");
/// assert_eq!(finding.severity, Severity::Warning);
/// ```
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

impl Finding {
    /// A problem: an operation that was checked must not go on.
    pub fn error(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, message)
    }

    /// What may become a problem.
    pub fn warning(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, message)
    }

    /// What is good to know.
    pub fn info(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Severity::Info, code, message)
    }

    /// A finding with a severity that is found out.
    pub fn new(severity: Severity, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            severity,
            message: message.into(),
            ..Self::default()
        }
    }

    /// Adds the object that it is about, where there is one.
    pub fn about(mut self, object: impl Into<Option<ObjectRef>>) -> Self {
        self.object = object.into();
        self
    }

    /// Adds what to do.
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }
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
    /// Who made it: `meshery`, `helm`, `istioctl`, ..., `unknown`. What was taken over is `meshery`'s.
    pub installed_by: String,
    /// Who had made it before it was taken over; empty when it was not.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub adopted_from: String,
    /// What it consists of.
    pub components: Vec<Component>,
    /// Namespaces that are in the mesh.
    pub namespaces: Vec<String>,
    /// Which workloads of which namespaces are in the mesh and which are out of it, as far as pods show.
    pub members: Members,
    /// What is noteworthy about it.
    pub findings: Vec<Finding>,
    /// Which version each source gives: `image`, `label`, `chart`. They agree, or there is a finding.
    pub versions: Vec<SourceVersion>,
    /// What the adapter's operations would refuse, ask for, or change, as it is now.
    pub prospects: Vec<Prospect>,
}

/// A version, and what gives it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SourceVersion {
    /// `image`, `label`, `chart`.
    pub source: String,
    /// As the mesh counts its versions.
    pub version: String,
}

/// What an operation would come to on an installation as it is now. The preview says it object by object.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Prospect {
    /// Name of the operation.
    pub operation: String,
    /// Whether it may go on.
    pub verdict: Verdict,
    /// The parameters by which somebody agrees to what it costs.
    pub consent: Vec<String>,
    /// The versions it may bring the installation to, newest first; empty where it has none.
    pub versions: Vec<String>,
    /// What it would change, for people.
    pub changes: String,
    /// Why it is refused, what is agreed to, what should be known.
    pub findings: Vec<Finding>,
}

/// Whether an operation may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// As it is.
    Possible,
    /// When somebody agrees, by [`Prospect::consent`].
    WithConsent,
    /// Not as things are.
    Refused,
    /// It cannot be told; also what an arm newer than this side means.
    #[default]
    #[serde(other)]
    Unknown,
}

/// A workload of a mesh: of its control plane, a gateway, or what was added to it.
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
    /// Who made it, of what is added to an installation and may be somebody else's; else empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub installed_by: String,
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
