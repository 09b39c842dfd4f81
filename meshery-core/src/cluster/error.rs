//! The ways in which a cluster, or the way to it, says no.

mod advice;
mod webhook;

use std::fmt;
use std::time::Duration;

use meshery_plugin_api::message::object_ref::ObjectRef;
use serde::{Deserialize, Serialize};

use super::wait::Waiting;
use crate::confidential::Confidential;
use crate::problem::{Problem, ProblemKind};

/// What went wrong between us and a cluster. No variant holds a secret: tokens, certificates and the data of
/// objects are never put into one.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ClusterError {
    /// Nothing answers at the server's address, or the connection broke and could not be made again in time.
    #[error("the API server {server} cannot be reached: {reason}")]
    Unreachable {
        /// Address of the API server.
        server: String,
        /// What the network said.
        reason: String,
    },
    /// The two sides could not agree on a secure connection.
    #[error("no secure connection to the API server {server}: {reason}")]
    Tls {
        /// Address of the API server.
        server: String,
        /// What the TLS library said.
        reason: String,
    },
    /// The server does not know who we are.
    #[error("the cluster of context \"{context}\" does not accept the credentials")]
    Unauthorized {
        /// Context whose user it is.
        context: String,
    },
    /// The credentials could not be made ready: a plugin failed, a file is missing.
    #[error("the credentials of context \"{context}\" cannot be used: {reason}")]
    Credentials {
        /// Context whose user it is.
        context: String,
        /// What failed.
        reason: String,
    },
    /// The user may not do this.
    #[error("{}", Forbidden(verb, resource, namespace, name))]
    Forbidden {
        /// Verb, as RBAC names them.
        verb: String,
        /// Resource with its group: `deployments.apps`.
        resource: String,
        /// Namespace; empty for the whole cluster.
        namespace: String,
        /// Name of the object; empty for a list.
        name: String,
        /// What the server said.
        message: String,
    },
    /// The object, or the namespace it should be in, is not there.
    #[error("{what} is not there")]
    NotFound {
        /// What was looked for.
        what: String,
    },
    /// Other field managers own fields that would change.
    #[error("{object} has fields that others manage: {}", list(conflicts))]
    ApplyConflict {
        /// The object.
        object: ObjectRef,
        /// Field by field, and whose it is.
        conflicts: Vec<FieldConflict>,
    },
    /// The object is not the one, or not in the state, that the request relies on.
    #[error("{object} has changed meanwhile: {reason}")]
    ObjectChanged {
        /// The object.
        object: ObjectRef,
        /// In what respect.
        reason: String,
    },
    /// An object of that name is there already.
    #[error("{object} exists already")]
    AlreadyExists {
        /// The object.
        object: ObjectRef,
    },
    /// The server does not accept the object as it is written.
    #[error("{object} is not valid: {}", if causes.is_empty() { message.clone() } else { list(causes) })]
    Invalid {
        /// The object.
        object: ObjectRef,
        /// Field by field; empty when the server did not say it field by field.
        causes: Vec<InvalidField>,
        /// What the server said.
        message: String,
    },
    /// An admission webhook or policy refuses the object.
    #[error("{object} was refused by {by}: {message}")]
    Denied {
        /// The object.
        object: ObjectRef,
        /// Webhook or policy.
        by: String,
        /// What it said.
        message: String,
    },
    /// An admission or conversion webhook that has a say does not work.
    #[error("{object} could not be handled because the webhook {webhook} does not work: {reason}")]
    WebhookFailed {
        /// The object.
        object: ObjectRef,
        /// Name of the webhook.
        webhook: String,
        /// What the server met when it called the webhook.
        reason: String,
    },
    /// A quota is exhausted.
    #[error("{object} exceeds a quota: {message}")]
    Quota {
        /// The object.
        object: ObjectRef,
        /// What the server said.
        message: String,
    },
    /// More than the server or we can take.
    #[error("{what} is too large: {message}")]
    TooLarge {
        /// The object or the answer.
        what: String,
        /// The limit that was met.
        message: String,
    },
    /// Releases have more records than are looked at.
    #[error("there are more than {most} records of Helm releases ({selector}) in {place}")]
    LongHistory {
        /// Which records, by their labels.
        selector: String,
        /// Namespace, in words.
        place: String,
        /// How many are looked at.
        most: usize,
    },
    /// Helm keeps the records of a release where we do not.
    #[error("the records of release {release} in namespace {namespace} are in ConfigMaps")]
    OtherDriver {
        /// Name of the release.
        release: String,
        /// Its namespace.
        namespace: String,
    },
    /// The namespace, or the definition of the kind, is on its way out.
    #[error("{object} cannot be made because {what} is being deleted")]
    Terminating {
        /// The object.
        object: ObjectRef,
        /// What is being deleted.
        what: String,
    },
    /// The server does not offer the kind.
    #[error("the cluster does not serve {kind} of {api_version}")]
    NotServed {
        /// Group and version.
        api_version: String,
        /// Kind.
        kind: String,
    },
    /// Objects of a kind may be there that the server does not show.
    #[error("whether there are objects of {definition} cannot be told: {reason}")]
    InstancesUnknown {
        /// The definition of the kind.
        definition: ObjectRef,
        /// Why it does not show them.
        reason: String,
    },
    /// No answer, or not the end of it, within the time.
    #[error("{what} took longer than {}", seconds(*after))]
    Timeout {
        /// What was asked.
        what: String,
        /// How long we waited.
        after: Duration,
    },
    /// Not everything was ready at the deadline.
    #[error("not ready in time: {}", list(waiting))]
    NotReady {
        /// What was not, and why.
        waiting: Vec<Waiting>,
    },
    /// Something will never be ready, however long one waits.
    #[error("failed for good: {}", list(failed))]
    Failed {
        /// What, and why.
        failed: Vec<Waiting>,
    },
    /// An object was still there at the deadline.
    #[error("{object} is still there: {reason}")]
    NotGone {
        /// The object.
        object: ObjectRef,
        /// What holds it.
        reason: String,
    },
    /// This host may not write to the cluster any more.
    #[error("this host has lost the cluster's lease: {reason}")]
    LeaseLost {
        /// How.
        reason: String,
    },
    /// An answer that has no name of its own here.
    #[error("the cluster answered {what} with {status}: {message}")]
    Server {
        /// What was asked.
        what: String,
        /// HTTP status.
        status: u16,
        /// What the server said.
        message: String,
    },
    /// There is no such context.
    #[error("{}; there is {}", missing_context(context), known_contexts(known))]
    UnknownContext {
        /// What was asked for; empty when no context was named and none is current.
        context: String,
        /// What there is.
        known: Vec<String>,
    },
    /// Neither a kubeconfig nor a service account was found.
    #[error("there is no kubeconfig: looked for {}", looked.join(", "))]
    NoKubeconfig {
        /// Where we looked.
        looked: Vec<String>,
    },
    /// A kubeconfig that cannot be read or understood.
    #[error("{source_name}{}: {reason}", place(*line, *column))]
    BadKubeconfig {
        /// File, or the name of an upload.
        source_name: String,
        /// Line, counted from 1.
        line: Option<u32>,
        /// Column, counted from 1.
        column: Option<u32>,
        /// What is wrong.
        reason: String,
    },
    /// An uploaded kubeconfig asks for something that only the host owner's own files may.
    #[error("the kubeconfig \"{source_name}\" is refused: {what} {reason}")]
    KubeconfigRefused {
        /// Name of the upload.
        source_name: String,
        /// The entry and field, or the address.
        what: String,
        /// Why it is refused.
        reason: String,
    },
    /// An uploaded kubeconfig is kept, and cannot be opened any more.
    #[error("the uploaded cluster \"{context}\" cannot be used: {reason}")]
    UploadUnusable {
        /// Context that was asked for.
        context: String,
        /// Why.
        reason: String,
        /// What to do.
        remedy: String,
    },
}

/// A field that another manager owns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldConflict {
    /// Field manager, with how it owns the field: `helm`, `kubectl-edit using v1`.
    pub manager: String,
    /// Path of the field: `.spec.replicas`.
    pub field: String,
}

/// A field that the server does not accept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvalidField {
    /// Path of the field: `spec.replicas`.
    pub field: String,
    /// The server's reason: `FieldValueInvalid`, `FieldValueRequired`, ...
    pub reason: String,
    /// What it says.
    pub message: String,
}

impl fmt::Display for FieldConflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by {}", self.field, self.manager)
    }
}

impl fmt::Display for InvalidField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field.as_str() {
            "" | "[]" => f.write_str(&self.message),
            field => write!(f, "{field}: {}", self.message),
        }
    }
}

/// The code of [`ClusterError::LeaseLost`].
pub(crate) const LEASE_LOST: &str = "lease-lost";
/// The code of [`ClusterError::WebhookFailed`].
pub(crate) const WEBHOOK_FAILED: &str = "webhook-failed";
/// The code of [`ClusterError::Server`].
pub(crate) const CLUSTER_ANSWER: &str = "cluster-answer";
/// The verb of [`ClusterError::Forbidden`] where a role would grant what its maker does not have.
pub(crate) const ESCALATE: &str = "escalate";
/// The code of a request that was not answered in time.
pub(crate) const CLUSTER_TIMEOUT: &str = "cluster-timeout";

struct Forbidden<'a>(&'a str, &'a str, &'a str, &'a str);

impl fmt::Display for Forbidden<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(verb, resource, namespace, name) = self;
        write!(f, "not allowed to {verb} {resource}")?;
        if !name.is_empty() {
            write!(f, " \"{name}\"")?;
        }
        if namespace.is_empty() {
            f.write_str(" at the cluster scope")
        } else {
            write!(f, " in namespace {namespace}")
        }
    }
}

fn list<T: fmt::Display>(items: &[T]) -> String {
    const SHOWN: usize = 10;
    let mut text: Vec<String> = items.iter().take(SHOWN).map(ToString::to_string).collect();
    if items.len() > SHOWN {
        text.push(format!("and {} more", items.len() - SHOWN));
    }
    text.join("; ")
}

fn missing_context(context: &str) -> String {
    const SHOWN: usize = 200;
    if context.is_empty() {
        return "no context is named, and none is the current one".into();
    }
    match context.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("there is no context \"{}...\"", &context[..end]),
        None => format!("there is no context \"{context}\""),
    }
}

fn known_contexts(known: &[String]) -> String {
    if known.is_empty() {
        "none".into()
    } else {
        known.join(", ")
    }
}

fn place(line: Option<u32>, column: Option<u32>) -> String {
    match (line, column) {
        (Some(line), Some(column)) => format!(", line {line}, column {column}"),
        (Some(line), None) => format!(", line {line}"),
        _ => String::new(),
    }
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

/// Whether the server's words about a field mean that it stays what it is for as long as the object is there. There is
/// no code for it, and each kind has words of its own.
pub(super) fn says_immutable(words: &str) -> bool {
    const SIGNS: [&str; 8] = [
        // Most kinds, and most definitions' own rules.
        "immutable",
        // Services; fields that may be set later, but once.
        "may not change once set",
        "can not be unset",
        // Bindings of roles.
        "cannot change roleRef",
        // Pods.
        "updates may not change fields other than",
        // Classes of priority.
        "may not be changed in an update",
        // Volumes, claims of older servers.
        "is forbidden after creation",
        // A definition's rule without words.
        "failed rule: self == oldSelf",
    ];
    SIGNS.iter().any(|sign| words.contains(sign))
        // StatefulSets, classes of storage.
        || words.contains("updates to ") && words.contains("forbidden")
}

impl ClusterError {
    /// Without what is hidden in the words of others: of a plugin for credentials, or of a library.
    pub(super) fn without(mut self, hidden: &Confidential) -> Self {
        match &mut self {
            Self::Credentials { reason, .. }
            | Self::Unreachable { reason, .. }
            | Self::Tls { reason, .. }
            | Self::BadKubeconfig { reason, .. } => *reason = hidden.hide(reason).into_owned(),
            _ => {}
        }
        self
    }

    /// Whether it says that the way to the cluster is broken, and nothing about the request itself.
    pub fn is_connection(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Timeout { .. })
    }

    /// Whether it leaves open if the request was carried out: there was no answer, or one by somebody who does not know.
    pub(crate) fn leaves_open(&self) -> bool {
        self.is_connection()
            || matches!(
                self,
                Self::Server {
                    status: 500 | 502..=504,
                    ..
                }
            )
    }

    /// Whether the server says that a field of an object that is there can never be changed: only another object of
    /// the same name can be so.
    pub fn is_immutable(&self) -> bool {
        match self {
            Self::Invalid { causes, .. } => causes.iter().any(|cause| says_immutable(&cause.message)),
            _ => false,
        }
    }

    /// Whether the same request may succeed later without anybody doing anything.
    pub(crate) fn is_passing(&self) -> bool {
        self.parts().2
    }

    fn parts(&self) -> (ProblemKind, &'static str, bool) {
        use ProblemKind as K;
        match self {
            Self::Unreachable { .. } => (K::Unavailable, "cluster-unreachable", true),
            Self::Tls { .. } => (K::Unavailable, "cluster-tls", false),
            Self::Unauthorized { .. } => (K::Forbidden, "cluster-unauthorized", false),
            Self::Credentials { .. } => (K::Unavailable, "cluster-credentials", false),
            Self::Forbidden { .. } => (K::Forbidden, "forbidden", false),
            Self::NotFound { .. } => (K::NotFound, "object-not-found", false),
            Self::ApplyConflict { .. } => (K::Conflict, "apply-conflict", false),
            Self::ObjectChanged { .. } => (K::Conflict, "object-changed", true),
            Self::AlreadyExists { .. } => (K::Conflict, "object-exists", false),
            Self::Invalid { .. } => (K::Invalid, "object-invalid", false),
            Self::Denied { .. } => (K::Forbidden, "webhook-denied", false),
            Self::WebhookFailed { .. } => (K::Unavailable, WEBHOOK_FAILED, true),
            Self::Quota { .. } => (K::Forbidden, "quota-exceeded", false),
            Self::TooLarge { .. } => (K::TooLarge, "object-too-large", false),
            Self::LongHistory { .. } => (K::TooLarge, "release-history-too-long", false),
            Self::OtherDriver { .. } => (K::Conflict, "release-driver", false),
            Self::Terminating { .. } => (K::Conflict, "being-deleted", true),
            Self::NotServed { .. } => (K::NotFound, "kind-not-served", false),
            Self::InstancesUnknown { .. } => (K::Conflict, "instances-unknown", false),
            Self::Timeout { .. } => (K::Timeout, CLUSTER_TIMEOUT, true),
            Self::NotReady { .. } => (K::Timeout, "not-ready", true),
            Self::Failed { .. } => (K::Conflict, "object-failed", false),
            Self::NotGone { .. } => (K::Timeout, "not-gone", true),
            Self::LeaseLost { .. } => (K::Unavailable, LEASE_LOST, true),
            Self::Server { status, .. } => (K::Unavailable, CLUSTER_ANSWER, *status >= 500),
            Self::UnknownContext { .. } => (K::NotFound, "unknown-context", false),
            Self::NoKubeconfig { .. } => (K::NotFound, "no-kubeconfig", false),
            Self::BadKubeconfig { .. } => (K::Invalid, "bad-kubeconfig", false),
            Self::KubeconfigRefused { .. } => (K::Forbidden, "kubeconfig-refused", false),
            Self::UploadUnusable { .. } => (K::Unavailable, "cluster-unusable", false),
        }
    }

    /// The stable code that people and programs see.
    pub fn code(&self) -> &'static str {
        self.parts().1
    }

    /// Whether a code says that there is no way to the cluster at present, or that it does not let us in, and nothing
    /// about what was asked: whoever goes on by itself would fail with everything else as well. No answer in time may
    /// be the one object's.
    pub(crate) fn is_no_way(code: &str) -> bool {
        [
            "cluster-unreachable",
            "cluster-tls",
            "cluster-unauthorized",
            "cluster-credentials",
            "bad-kubeconfig",
            "no-kubeconfig",
            "unknown-context",
            "kubeconfig-refused",
            "cluster-unusable",
        ]
        .contains(&code)
    }
}

impl From<ClusterError> for Problem {
    fn from(error: ClusterError) -> Self {
        let (kind, code, retryable) = error.parts();
        Problem::new(kind, code, error.to_string())
            .cause(error.cause())
            .remedy(error.remedy())
            .retryable(retryable)
    }
}
