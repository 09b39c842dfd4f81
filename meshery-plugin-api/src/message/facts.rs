//! Facts: what the core read from a cluster for an adapter, and how sure it is of each part.
//!
//! An adapter does no input or output. Its descriptor says what it needs; the core reads just that and says of
//! each kind whether it could be read, because a forbidden list must never look like an empty one.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One kind of object that a method needs to see.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Need {
    /// API group, empty for the core group.
    pub group: String,
    /// Kind, as in `Deployment`.
    pub kind: String,
    /// Only objects of this namespace; empty for all namespaces or a cluster-wide kind. `{namespace}` and other
    /// names in braces stand for the request's parameter of that name.
    pub namespace: String,
    /// Only this object, by name; empty for all. Braces as in `namespace`.
    pub name: String,
    /// Label selector in Kubernetes' own notation; empty for all.
    pub selector: String,
    /// How much of each object.
    pub detail: Detail,
}

/// How much of an object is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Detail {
    /// Name, namespace, labels, annotations, owners.
    #[default]
    Metadata,
    /// The whole object, without managed fields. Of the data of Secrets only certificates are handed over
    /// ([`withhold`](super::withheld::withhold)).
    Full,
    /// Something newer than this side.
    #[serde(other)]
    Unknown,
}

/// Everything the core hands to an adapter about one cluster at one moment.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// The moment, RFC 3339 in UTC. Adapters have no clock of their own.
    pub now: String,
    /// The cluster itself.
    pub cluster: ClusterFacts,
    /// What was asked for, kind by kind, in the order of the needs.
    pub kinds: Vec<KindFacts>,
    /// Charts that the configured mirror holds, beside those the adapter has pinned.
    pub charts: Vec<ChartFact>,
    /// Charts that the indexes of the adapter's repositories listed when somebody last asked for that.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub listed: Vec<ChartFact>,
}

/// The cluster as such.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterFacts {
    /// The uid of the namespace kube-system: a cluster's identity, whatever a context calls it.
    pub uid: String,
    /// Kubernetes version as the server says it, for example `v1.36.3`.
    pub version: String,
    /// Kinds the server offers, as `group/version/Kind` (`v1/Pod`, `apps/v1/Deployment`).
    pub apis: Vec<String>,
    /// By how many seconds the server's clock was ahead of this host's at its last answer, negative if it was behind; nothing
    /// when no answer said.
    pub ahead_s: Option<i64>,
}

/// The objects of one need.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct KindFacts {
    /// The need, with its braces filled in.
    pub need: Need,
    /// Whether it could be read.
    pub state: Readability,
    /// Why not, when it could not; names verb, resource and namespace for `forbidden`.
    pub reason: String,
    /// The objects.
    pub objects: Vec<Value>,
}

/// Whether objects of a kind could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Readability {
    /// Read in full, and there is at least one.
    Present,
    /// Read in full, and there is none.
    Absent,
    /// The user may not read them: there may be any number.
    Forbidden,
    /// The server does not know the kind.
    NotServed,
    /// There are more than the core was ready to read; what is there is only a part.
    Truncated,
    /// Not read, or something newer than this side.
    #[default]
    #[serde(other)]
    Unknown,
}

/// A chart in the mirror, or in the index of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ChartFact {
    /// Name from `Chart.yaml`.
    pub name: String,
    /// Version from `Chart.yaml`.
    pub version: String,
    /// `appVersion` from `Chart.yaml`.
    pub app_version: String,
    /// SHA-256 of the archive, in hexadecimal; empty if unknown.
    pub sha256: String,
    /// `kubeVersion` from `Chart.yaml`: a range of Kubernetes versions.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kubernetes: String,
    /// Address of the repository whose index lists it; empty when the mirror holds it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub repository: String,
}

impl Facts {
    /// The facts of a kind, by group and kind; the first need that asked for it.
    pub fn kind(&self, group: &str, kind: &str) -> Option<&KindFacts> {
        self.kinds
            .iter()
            .find(|k| k.need.group == group && k.need.kind == kind)
    }

    /// All objects of a kind that were read, over every need that asked for it.
    pub fn objects<'a>(&'a self, group: &'a str, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.kinds
            .iter()
            .filter(move |k| k.need.group == group && k.need.kind == kind)
            .flat_map(|k| k.objects.iter())
    }
}
