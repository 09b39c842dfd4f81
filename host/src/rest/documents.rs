//! `/api/v1/documents`: what the provider keeps, as it is; its revision is the ETag.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, StatusCode, header};
use meshery_core::problem::{Problem, ProblemKind};
use meshery_plugin_api::message::document::{Document, Expect, Query, Write};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::app::App;
use crate::body::{self, Asked, bad_field};
use crate::failure::Result;

/// Kinds that the engine keeps for itself: writing them by hand would forge its records.
const RESERVED: [&str; 7] = [
    "operation",
    "operation-going",
    "preview",
    "cluster",
    "host-key",
    "request-key",
    "mesh-versions",
];

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Which {
    limit: Option<u32>,
    after: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Content {
    body: Value,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

pub async fn list(
    State(app): State<App>,
    Path(kind): Path<String>,
    Asked(which): Asked<Which>,
) -> Result<Json<Value>> {
    check_kind(&kind)?;
    let query = Query {
        kind,
        after: which.after.unwrap_or_default(),
        limit: which.limit.unwrap_or(100).clamp(1, 500),
        ..Query::default()
    };
    let page = app.meshery.store()?.list(query).await?;
    Ok(Json(json!({ "items": page.documents, "next": page.next })))
}

pub async fn show(State(app): State<App>, Path((kind, id)): Path<(String, String)>) -> Result<Response> {
    check_kind(&kind)?;
    let document = app.meshery.store()?.get(&kind, &id).await?;
    let document = document.ok_or_else(|| unknown(&kind, &id))?;
    Ok(answer(StatusCode::OK, &document))
}

pub async fn put(
    State(app): State<App>,
    Path((kind, id)): Path<(String, String)>,
    headers: HeaderMap,
    body::Json(content): body::Json<Content>,
) -> Result<Response> {
    check_kind(&kind)?;
    let expect = expected(&headers)?;
    let store = app.meshery.store()?;
    let document = Document {
        kind: kind.clone(),
        id: id.clone(),
        owner: store.user().await?.name,
        labels: content.labels,
        body: content.body,
        ..Document::default()
    };
    let revision = store.put(document, expect).await?;
    let document = store.get(&kind, &id).await?.ok_or_else(|| unknown(&kind, &id))?;
    let status = if revision == 1 {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok(answer(status, &document))
}

pub async fn delete(
    State(app): State<App>,
    Path((kind, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<StatusCode> {
    check_kind(&kind)?;
    let expect = expected(&headers)?;
    let store = app.meshery.store()?;
    if store.get(&kind, &id).await?.is_none() {
        return Err(unknown(&kind, &id).into());
    }
    store.write(vec![Write::Delete { kind, id, expect }]).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn answer(status: StatusCode, document: &Document) -> Response {
    let etag = [(header::ETAG, format!("\"{}\"", document.revision))];
    (status, etag, Json(document)).into_response()
}

fn check_kind(kind: &str) -> Result<()> {
    if !RESERVED.contains(&kind) {
        return Ok(());
    }
    let message = format!("documents of the kind \"{kind}\" are the engine's own");
    let problem = Problem::new(ProblemKind::Forbidden, "reserved-kind", message)
        .remedy("use the routes under /api/v1/operations and /api/v1/clusters");
    Err(problem.into())
}

fn unknown(kind: &str, id: &str) -> Problem {
    let message = format!("there is no {kind} \"{id}\"");
    Problem::new(ProblemKind::NotFound, "unknown-document", message)
}

/// From `If-Match` with a revision, or `If-None-Match: *` for a document that must not be there yet.
fn expected(headers: &HeaderMap) -> Result<Expect> {
    let text = |name: &HeaderName| {
        headers
            .get(name)
            .map(|value| value.to_str().unwrap_or_default().trim())
    };
    match (text(&header::IF_MATCH), text(&header::IF_NONE_MATCH)) {
        (None, None) => Ok(Expect::Any),
        (None, Some("*")) => Ok(Expect::Absent),
        (Some(etag), None) => etag
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'))
            .and_then(|revision| revision.parse().ok())
            .map(Expect::Revision)
            .ok_or_else(|| bad_field("If-Match", "is no ETag of this host, which looks like \"3\"")),
        _ => Err(bad_field(
            "If-None-Match",
            "can only be *, and not together with If-Match",
        )),
    }
}
