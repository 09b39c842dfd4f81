//! Lists of objects, page by page, up to a limit.

use http::{Method, StatusCode};
use meshery_plugin_api::message::facts::Detail;
use serde_json::Value;

use super::discovery::ResourceType;
use super::error::ClusterError;
use super::handle::Cluster;
use super::request::{JSON, METADATA_LIST, Request, escaped};

const PAGE: usize = 500;

/// Objects of a kind.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Listed {
    /// The objects, each with its kind and API version, without managed fields.
    pub items: Vec<Value>,
    /// Whether there are more.
    pub truncated: bool,
    /// The state of the list: a watch from here misses nothing.
    pub(super) resource_version: String,
}

/// Which objects of a kind.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Choice<'a> {
    /// Empty for all.
    pub(super) namespace: &'a str,
    /// Empty for all.
    pub(super) labels: &'a str,
    /// Empty for all.
    pub(super) name: &'a str,
}

impl Choice<'_> {
    pub(super) fn query(&self) -> String {
        let mut query = String::new();
        if !self.labels.is_empty() {
            query.push_str("&labelSelector=");
            query.push_str(&escaped(self.labels));
        }
        if !self.name.is_empty() {
            query.push_str("&fieldSelector=metadata.name%3D");
            query.push_str(&escaped(self.name));
        }
        query
    }
}

impl Cluster {
    /// Lists objects of a kind, in one namespace or in all, that a label selector (empty for all) selects; at most
    /// `limit` of them.
    pub async fn list(
        &self,
        kind: &ResourceType,
        namespace: Option<&str>,
        selector: &str,
        detail: Detail,
        limit: usize,
    ) -> Result<Listed, ClusterError> {
        let choice = Choice {
            namespace: namespace.unwrap_or(""),
            labels: selector,
            name: "",
        };
        self.list_chosen(kind, choice, detail, limit).await
    }

    pub(super) async fn list_chosen(
        &self,
        kind: &ResourceType,
        choice: Choice<'_>,
        detail: Detail,
        limit: usize,
    ) -> Result<Listed, ClusterError> {
        match self.pages(kind, choice, detail, limit).await {
            // The pages were read too slowly for the server; a second time is usually quick enough.
            Err(ClusterError::Server { status, .. }) if status == StatusCode::GONE.as_u16() => {
                self.pages(kind, choice, detail, limit).await
            }
            done => done,
        }
    }

    async fn pages(
        &self,
        kind: &ResourceType,
        choice: Choice<'_>,
        detail: Detail,
        limit: usize,
    ) -> Result<Listed, ClusterError> {
        let accept = if detail == Detail::Full {
            JSON
        } else {
            METADATA_LIST
        };
        let mut listed = Listed::default();
        let mut next = String::new();
        loop {
            let page = PAGE.min(limit - listed.items.len()).max(1);
            let mut query = format!("limit={page}{}", choice.query());
            if !next.is_empty() {
                query.push_str("&continue=");
                query.push_str(&escaped(&next));
            }
            let request =
                Request::collection(Method::GET, "list", kind, choice.namespace, &query).accept(accept);
            let answer = self.connection.send(&request).await?;
            let mut answer = answer.json(|| request.subject.what())?;
            let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
            listed.resource_version = text(&answer["metadata"]["resourceVersion"]);
            next = text(&answer["metadata"]["continue"]);
            if let Value::Array(items) = answer["items"].take() {
                listed
                    .items
                    .extend(items.into_iter().map(|item| tidy(kind, item)));
            }
            if next.is_empty() || listed.items.len() >= limit {
                // A server may answer with more than was asked for.
                listed.truncated = !next.is_empty() || listed.items.len() > limit;
                listed.items.truncate(limit);
                return Ok(listed);
            }
        }
    }
}

/// The item with its kind, which servers leave out of lists, and without the bookkeeping of fields, which is most of
/// the metadata.
pub(super) fn tidy(kind: &ResourceType, mut item: Value) -> Value {
    if let Some(object) = item.as_object_mut() {
        object.insert("apiVersion".into(), kind.api_version().into());
        object.insert("kind".into(), kind.kind.clone().into());
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
        }
    }
    item
}
