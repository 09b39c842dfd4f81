//! Requests that make something and may be sent again: by their key they make one thing.

use std::borrow::Cow;

use axum::Json;
use axum::response::IntoResponse;
use http::{HeaderMap, HeaderName, StatusCode, header};
use serde::Serialize;

/// Names a request, so that it can be repeated without a second effect.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Says that this answer is to a request that came before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// The key of a request, if it has one.
pub fn key(headers: &HeaderMap) -> Option<Cow<'_, str>> {
    Some(String::from_utf8_lossy(headers.get(IDEMPOTENCY_KEY)?.as_bytes()))
}

/// The answer: what was made, and where it is.
pub fn made(location: String, what: impl Serialize, replayed: bool) -> impl IntoResponse {
    let (status, replayed) = if replayed {
        (StatusCode::OK, "true")
    } else {
        (StatusCode::CREATED, "false")
    };
    let headers = [(header::LOCATION, location), (REPLAYED, replayed.to_owned())];
    (status, headers, Json(what))
}
