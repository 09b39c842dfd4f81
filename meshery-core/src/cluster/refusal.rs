//! What the API server means when it says no.
//!
//! The status code alone says little: four different things are 409, five are 403, and a webhook may choose any code
//! it likes. Reason, causes, details and, where there is nothing else, the wording decide. This is the one place that
//! knows the wording.

use http::StatusCode;
use meshery_plugin_api::message::object_ref::ObjectRef;
use serde::Deserialize;

use super::error::{ClusterError, ESCALATE, FieldConflict, InvalidField, says_immutable};
use super::request::Subject;

/// Longer messages are cut in the middle: some carry a whole object as Go prints it.
const SHOWN: usize = 600;
/// Who refuses pods that may do more than their namespace allows.
pub(super) const POD_SECURITY: &str = "PodSecurity";

/// An answer that is not a success.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Refusal {
    #[serde(skip)]
    pub(super) status: StatusCode,
    /// Empty when the answer is not one of Kubernetes' own.
    pub(super) reason: String,
    pub(super) message: String,
    details: Option<Details>,
    /// Whether the answer was a text and not a Status.
    #[serde(skip)]
    pub(super) plain: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Details {
    name: String,
    kind: String,
    causes: Option<Vec<Cause>>,
    #[serde(rename = "retryAfterSeconds")]
    retry_after: Option<u64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Cause {
    reason: String,
    message: String,
    field: String,
}

impl Refusal {
    pub(super) fn read(status: StatusCode, body: &[u8]) -> Self {
        let mut refusal = serde_json::from_slice::<Self>(body).unwrap_or_else(|_| Self {
            message: String::from_utf8_lossy(&body[..body.len().min(4096)])
                .trim()
                .to_owned(),
            plain: true,
            ..Self::default()
        });
        refusal.status = status;
        refusal
    }

    fn causes(&self) -> &[Cause] {
        self.details
            .as_ref()
            .and_then(|details| details.causes.as_deref())
            .unwrap_or_default()
    }

    pub(super) fn retry_after(&self) -> Option<u64> {
        self.details.as_ref()?.retry_after
    }

    /// The webhook that could not be called (as against one that was called and said no), and why.
    fn broken_webhook(&self) -> Option<(String, String)> {
        let (_, rest) = self
            .message
            .split_once("failed calling webhook \"")
            .or_else(|| self.message.split_once("conversion webhook for "))?;
        let converts = self.message.contains("conversion webhook for ");
        let (name, reason) = if converts {
            // `... failed: why`, or `... returned 2 objects, expected 1`.
            let (kind, reason) = rest
                .split_once(" failed: ")
                .or_else(|| rest.find(" returned ").map(|at| (&rest[..at], &rest[at + 1..])))
                .unwrap_or((rest, ""));
            (format!("that converts {kind}"), reason)
        } else {
            let (name, reason) = rest.split_once('"').unwrap_or((rest, ""));
            let reason = reason.trim_start_matches(": ");
            (
                name.to_owned(),
                reason.strip_prefix("failed to call webhook: ").unwrap_or(reason),
            )
        };
        Some((name, cut(reason)))
    }

    pub(super) fn is_broken_webhook(&self) -> bool {
        self.broken_webhook().is_some()
    }

    /// The new schema of a kind is served a moment after its definition was accepted; until then its new fields
    /// count as undeclared.
    pub(super) fn is_undeclared_field(&self) -> bool {
        self.is_typing() && self.message.contains("field not declared in schema")
    }

    fn is_typing(&self) -> bool {
        self.message.starts_with("failed to create typed patch object")
    }

    fn is_too_large(&self) -> bool {
        self.status == StatusCode::PAYLOAD_TOO_LARGE
            || self.message.contains("etcdserver: request is too large")
            || self.message.contains("trying to send message larger than max")
    }

    /// Server-side trouble that passes: etcd choosing a leader, say. Not what the request itself brings about, nor a
    /// store that is full until somebody makes room.
    pub(super) fn is_passing(&self) -> bool {
        (self.reason == "InternalError" || self.message.starts_with("etcdserver: "))
            && !self.is_too_large()
            && !is_full_store(&self.message)
    }

    /// The answer for an address that no kind is served at.
    pub(super) fn is_unknown_address(&self) -> bool {
        self.status == StatusCode::NOT_FOUND
            && (self.plain
                || self
                    .details
                    .as_ref()
                    .is_none_or(|details| details.kind.is_empty() && details.name.is_empty()))
    }

    pub(super) fn into_error(self, subject: &Subject, context: &str) -> ClusterError {
        let object = subject.object.clone();
        if let Some((by, message)) = self.denied() {
            return ClusterError::Denied { object, by, message };
        }
        if let Some((webhook, reason)) = self.broken_webhook() {
            return ClusterError::WebhookFailed {
                object,
                webhook,
                reason,
            };
        }
        if self.is_too_large() {
            return ClusterError::TooLarge {
                what: subject.what(),
                message: cut(&self.message),
            };
        }
        match self.status.as_u16() {
            401 => ClusterError::Unauthorized {
                context: context.to_owned(),
            },
            403 => self.forbidden(subject),
            404 if self.is_unknown_address() && !subject.resource.is_empty() => ClusterError::NotServed {
                api_version: object.api_version(),
                kind: object.kind,
            },
            404 => ClusterError::NotFound {
                what: self.missing(subject),
            },
            409 => self.conflict(object),
            400 | 422 => self.invalid(object),
            500 if self.is_typing() => self.invalid(object),
            status => ClusterError::Server {
                what: subject.what(),
                status,
                message: if is_secret(&object) && status < 500 {
                    self.reason
                } else {
                    cut(&self.message)
                },
            },
        }
    }

    fn denied(&self) -> Option<(String, String)> {
        if let Some(rest) = self.message.strip_prefix("admission webhook \"") {
            let (name, rest) = rest.split_once('"')?;
            let message = rest
                .trim_start_matches(" denied the request")
                .trim_start_matches(": ");
            return Some((format!("the webhook {name}"), cut(message)));
        }
        if let Some((_, rest)) = self.message.split_once("ValidatingAdmissionPolicy '") {
            let (name, rest) = rest.split_once('\'')?;
            let message = rest.split_once("denied request: ").map_or(rest, |(_, m)| m);
            return Some((format!("the ValidatingAdmissionPolicy {name}"), cut(message)));
        }
        let (_, rest) = self.message.split_once("violates PodSecurity ")?;
        Some((POD_SECURITY.to_owned(), cut(rest)))
    }

    fn forbidden(self, subject: &Subject) -> ClusterError {
        let object = subject.object.clone();
        if let Some(cause) = self.causes().iter().find(|c| c.reason == "NamespaceTerminating") {
            let what = cause.message.split_once(" is being terminated").map_or_else(
                || format!("namespace {}", object.namespace),
                |(w, _)| w.to_owned(),
            );
            return ClusterError::Terminating { object, what };
        }
        if self
            .message
            .contains("while custom resource definition is terminating")
        {
            let what = format!("the definition of {}", object.kind);
            return ClusterError::Terminating { object, what };
        }
        if self.message.contains("exceeded quota") || self.message.contains("failed quota") {
            let message = self.message.split_once("is forbidden: ").map_or("", |(_, m)| m);
            return ClusterError::Quota {
                object,
                message: cut(message),
            };
        }
        let said = Denial::read(&self.message);
        let escalates = self.message.contains("is attempting to grant RBAC permissions");
        ClusterError::Forbidden {
            verb: match said.verb {
                _ if escalates => ESCALATE.to_owned(),
                "" => subject.verb.to_owned(),
                verb => verb.to_owned(),
            },
            resource: match (said.resource, said.group) {
                ("", _) if subject.resource.is_empty() => object.kind.clone(),
                ("", _) => subject.resource.clone(),
                (resource, "") => resource.to_owned(),
                (resource, group) => format!("{resource}.{group}"),
            },
            namespace: if said.resource.is_empty() {
                object.namespace
            } else {
                said.namespace.to_owned()
            },
            name: object.name,
            message: cut(&self.message),
        }
    }

    fn missing(&self, subject: &Subject) -> String {
        match &self.details {
            Some(details) if details.kind == "namespaces" && !details.name.is_empty() => {
                format!("namespace {}", details.name)
            }
            _ => subject.what(),
        }
    }

    fn conflict(self, object: ObjectRef) -> ClusterError {
        let conflicts: Vec<FieldConflict> = self
            .causes()
            .iter()
            .filter(|cause| cause.reason == "FieldManagerConflict")
            .map(|cause| FieldConflict {
                manager: manager(&cause.message),
                field: cause.field.clone(),
            })
            .collect();
        if !conflicts.is_empty() {
            return ClusterError::ApplyConflict { object, conflicts };
        }
        if self.reason == "AlreadyExists" {
            if self.message.contains("object is being deleted") {
                let what = object.to_string();
                return ClusterError::Terminating { object, what };
            }
            return ClusterError::AlreadyExists { object };
        }
        let reason = if self.message.to_ascii_lowercase().contains("uid") {
            "another object of that name has taken its place, or it was deleted".to_owned()
        } else if self.message.contains("the object has been modified")
            || self.message.contains("ResourceVersion in the precondition")
        {
            "somebody wrote to it".to_owned()
        } else {
            cut(&self.message)
        };
        ClusterError::ObjectChanged { object, reason }
    }

    fn invalid(self, object: ObjectRef) -> ClusterError {
        let secret = is_secret(&object);
        let mut causes: Vec<InvalidField> = Vec::new();
        for cause in self.causes() {
            let field = InvalidField {
                field: cause.field.clone(),
                reason: cause.reason.clone(),
                message: if secret && shows_value(&cause.message) {
                    if says_immutable(&cause.message) {
                        "field is immutable".to_owned()
                    } else {
                        "the value is not accepted".to_owned()
                    }
                } else {
                    cut(&cause.message)
                },
            };
            if !causes.contains(&field) {
                causes.push(field);
            }
        }
        let uid = |cause: &InvalidField| cause.field == "metadata.uid" && cause.message.contains("immutable");
        if !causes.is_empty() && causes.iter().all(uid) {
            return ClusterError::ObjectChanged {
                object,
                reason: "another object of that name has taken its place".to_owned(),
            };
        }
        ClusterError::Invalid {
            object,
            causes,
            message: if secret {
                "the server does not accept it; what it says is not shown because it may hold the Secret's data"
                    .to_owned()
            } else {
                cut(&self.message)
            },
        }
    }
}

/// Whether a message says that etcd takes nothing more.
pub(super) fn is_full_store(message: &str) -> bool {
    message.contains("database space exceeded")
}

/// What a refusal by RBAC says: `... cannot patch resource "configmaps" in API group "" in the namespace "x"`.
#[derive(Default)]
struct Denial<'a> {
    verb: &'a str,
    resource: &'a str,
    group: &'a str,
    namespace: &'a str,
}

impl<'a> Denial<'a> {
    fn read(message: &'a str) -> Self {
        let quoted = |after: &str| {
            let (_, rest) = message.split_once(after)?;
            rest.split_once('"').map(|(value, _)| value)
        };
        let Some((_, rest)) = message.split_once(" cannot ") else {
            return Self::default();
        };
        Self {
            verb: rest.split(' ').next().unwrap_or_default(),
            resource: quoted(" resource \"").unwrap_or_default(),
            group: quoted(" in API group \"").unwrap_or_default(),
            namespace: quoted(" in the namespace \"").unwrap_or_default(),
        }
    }
}

/// `conflict with "kubectl-edit" using v1` -> `kubectl-edit using v1`
fn manager(message: &str) -> String {
    message
        .split_once("conflict with ")
        .map_or(message, |(_, manager)| manager)
        .replace('"', "")
}

fn is_secret(object: &ObjectRef) -> bool {
    object.group.is_empty() && object.kind == "Secret"
}

fn shows_value(message: &str) -> bool {
    message.contains("nvalid value")
}

/// The message on one line, without its middle if it is very long.
fn cut(message: &str) -> String {
    let text: Vec<char> = message
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .collect();
    if text.len() <= SHOWN {
        return text.into_iter().collect();
    }
    let head: String = text[..SHOWN / 2].iter().collect();
    let tail: String = text[text.len() - SHOWN / 2..].iter().collect();
    format!("{head} ... {tail}")
}

#[cfg(test)]
mod tests;
