//! Requests to the API server: their addresses, and what they are about.

use bytes::Bytes;
use http::Method;
use meshery_plugin_api::message::object_ref::ObjectRef;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::discovery::ResourceType;
use super::error::ClusterError;

/// All but what RFC 3986 calls unreserved.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

pub(super) const JSON: &str = "application/json";
pub(super) const APPLY_PATCH: &str = "application/apply-patch+yaml";
pub(super) const MERGE_PATCH: &str = "application/merge-patch+json";
pub(super) const JSON_PATCH: &str = "application/json-patch+json";
pub(super) const METADATA_LIST: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
pub(super) const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

/// A request, complete but for the server and the credentials.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) method: Method,
    /// With its query.
    pub(super) path: String,
    pub(super) content_type: &'static str,
    pub(super) accept: &'static str,
    pub(super) body: Bytes,
    /// Whether doing it twice comes to the same as doing it once.
    pub(super) repeatable: bool,
    /// Whether it goes at once, however many others are under way.
    pub(super) urgent: bool,
    pub(super) subject: Subject,
}

/// What a request is about, for when it fails.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    /// As RBAC calls it.
    pub(super) verb: &'static str,
    /// With its group: `deployments.apps`; empty for a path of the server's own.
    pub(super) resource: String,
    /// With an empty name for a list; for a path, that path as the kind.
    pub(super) object: ObjectRef,
}

impl Subject {
    pub(super) fn of(verb: &'static str, kind: &ResourceType, namespace: &str, name: &str) -> Self {
        Self {
            verb,
            resource: kind.resource(),
            object: ObjectRef {
                group: kind.group.clone(),
                version: kind.version.clone(),
                kind: kind.kind.clone(),
                namespace: if kind.namespaced {
                    namespace.into()
                } else {
                    String::new()
                },
                name: name.into(),
            },
        }
    }

    /// For messages: the object, the list or the path.
    pub(super) fn what(&self) -> String {
        if self.resource.is_empty() {
            self.object.kind.clone()
        } else if self.object.name.is_empty() {
            format!("the list of {}", self.resource)
        } else {
            self.object.to_string()
        }
    }
}

impl Request {
    /// A question about the server itself.
    pub(super) fn path(path: &str, accept: &'static str) -> Self {
        Self {
            method: Method::GET,
            path: path.into(),
            content_type: JSON,
            accept,
            body: Bytes::new(),
            repeatable: true,
            urgent: false,
            subject: Subject {
                verb: "get",
                resource: String::new(),
                object: ObjectRef::new("", path, "", ""),
            },
        }
    }

    /// A request for one object; `query` is written as it is.
    pub(super) fn object(
        method: Method,
        verb: &'static str,
        kind: &ResourceType,
        object: (&str, &str),
        query: &str,
    ) -> Result<Self, ClusterError> {
        let (namespace, name) = object;
        let subject = Subject::of(verb, kind, namespace, name);
        for segment in [name, namespace] {
            if let Some(reason) = unfit(segment) {
                return Err(ClusterError::Invalid {
                    object: subject.object,
                    causes: Vec::new(),
                    message: format!("the name \"{segment}\" {reason}"),
                });
            }
        }
        let mut path = kind.collection(namespace);
        path.push('/');
        path.extend(utf8_percent_encode(name, ESCAPED));
        append_query(&mut path, query);
        Ok(Self {
            repeatable: method != Method::POST && method != Method::PUT,
            urgent: false,
            method,
            path,
            content_type: JSON,
            accept: JSON,
            body: Bytes::new(),
            subject,
        })
    }

    /// A request for a collection: a list, a watch, or a new object of it.
    pub(super) fn collection(
        method: Method,
        verb: &'static str,
        kind: &ResourceType,
        namespace: &str,
        query: &str,
    ) -> Self {
        let mut path = kind.collection(namespace);
        append_query(&mut path, query);
        Self {
            repeatable: method == Method::GET,
            urgent: false,
            method,
            path,
            content_type: JSON,
            accept: JSON,
            body: Bytes::new(),
            subject: Subject::of(verb, kind, namespace, ""),
        }
    }

    /// Whether it asks for a change. A dry run counts: nobody asks for one whose answer would come too late to use.
    pub(super) fn writes(&self) -> bool {
        self.method != Method::GET
    }

    pub(super) fn accept(mut self, accept: &'static str) -> Self {
        self.accept = accept;
        self
    }

    pub(super) fn body(mut self, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        self.content_type = content_type;
        self.body = body.into();
        self
    }
}

fn append_query(path: &mut String, query: &str) {
    if !query.is_empty() {
        path.push('?');
        path.push_str(query);
    }
}

/// Why a text cannot be part of an address; the server has its own, stricter rules.
fn unfit(segment: &str) -> Option<&'static str> {
    match segment {
        "." | ".." => Some("is not a name"),
        _ if segment.contains('/') => Some("has a slash in it"),
        _ if segment.contains('%') => Some("has a percent sign in it"),
        _ if segment.len() > 253 => Some("is longer than 253 characters"),
        _ => None,
    }
}

/// A value for a query.
pub(super) fn escaped(value: &str) -> String {
    utf8_percent_encode(value, ESCAPED).to_string()
}

impl ResourceType {
    /// The address of all objects of the kind, in a namespace or (if that is empty) in all.
    pub(super) fn collection(&self, namespace: &str) -> String {
        let mut path = if self.group.is_empty() {
            format!("/api/{}", self.version)
        } else {
            format!("/apis/{}/{}", self.group, self.version)
        };
        if self.namespaced && !namespace.is_empty() {
            path.push_str("/namespaces/");
            path.extend(utf8_percent_encode(namespace, ESCAPED));
        }
        path.push('/');
        path.push_str(&self.plural);
        path
    }

    /// Plural and group, as RBAC and kubectl write them.
    pub(super) fn resource(&self) -> String {
        if self.group.is_empty() {
            self.plural.clone()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(group: &str, namespaced: bool) -> ResourceType {
        ResourceType {
            group: group.into(),
            version: "v1".into(),
            kind: "Thing".into(),
            plural: "things".into(),
            namespaced,
            verbs: vec![],
        }
    }

    fn path(kind: &ResourceType, namespace: &str, name: &str) -> Result<String, ClusterError> {
        Request::object(Method::GET, "get", kind, (namespace, name), "").map(|request| request.path)
    }

    #[test]
    fn addresses_follow_group_and_scope() {
        let at = |group, namespaced| path(&kind(group, namespaced), "ns", "a").unwrap();
        assert_eq!(at("", true), "/api/v1/namespaces/ns/things/a");
        assert_eq!(at("apps", true), "/apis/apps/v1/namespaces/ns/things/a");
        assert_eq!(at("apps", false), "/apis/apps/v1/things/a");
        assert_eq!(
            kind("apps", true).collection(""),
            "/apis/apps/v1/things",
            "all namespaces"
        );
    }

    #[test]
    fn a_name_cannot_lead_to_another_address() {
        let kind = kind("", true);
        assert_eq!(
            path(&kind, "ns", "system:a?b#c").unwrap(),
            "/api/v1/namespaces/ns/things/system%3Aa%3Fb%23c"
        );
        for (namespace, name) in [("ns", "../secrets/a"), ("..", "a"), ("ns", ".."), ("ns", "a%2fb")] {
            let error = path(&kind, namespace, name).unwrap_err();
            assert_eq!(error.code(), "object-invalid", "{namespace} {name}");
        }
    }
}
