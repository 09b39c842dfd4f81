//! What happens to every request: a number, a line in the log, a count, and an answer even after a panic.

use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, Method};
use tracing::Instrument as _;

use crate::app::App;
use crate::failure::{self, Failure};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The outermost layer.
///
/// The work runs in a task of its own. A panic ends that task and nothing else; and a change that was begun is not
/// dropped half way because whoever asked for it hung up.
pub async fn handle(State(app): State<App>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = request
        .headers()
        .get(&REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .filter(|id| is_sane(id))
        .map_or_else(|| ulid::Ulid::generate().to_string(), str::to_owned);
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("none", |route| route.as_str())
        .to_owned();
    let span = tracing::info_span!("request", %id);
    let work = tokio::spawn(next.run(request).instrument(span.clone()));
    let reads = matches!(method, Method::GET | Method::HEAD);
    let given_up = reads.then(|| GivenUp(work.abort_handle()));
    let mut response = work.await.unwrap_or_else(|_| Failure::panicked().into_response());
    drop(given_up);
    let problem = failure::render(&mut response, &id);
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    let took = started.elapsed();
    let status = response.status().as_u16();
    app.metrics.answered(&route, &method, status, took);
    let code = problem.as_ref().map(|problem| problem.code.as_str());
    let cause = problem.as_ref().map(|problem| problem.message.as_str());
    let took = tracing::field::debug(took);
    let _entered = span.entered();
    if status >= 500 {
        tracing::warn!(%method, path, status, took, code, cause, "answered");
    } else if path.starts_with("/api/") {
        tracing::info!(%method, path, status, took, code, "answered");
    } else {
        tracing::debug!(%method, path, status, took, code, "answered");
    }
    response
}

/// Ends the work when nobody waits for it any more.
struct GivenUp(tokio::task::AbortHandle);

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A client's own number is kept if it can go into logs and headers as it is.
fn is_sane(id: &str) -> bool {
    (1..=64).contains(&id.len())
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// A layer that answers for requests that take longer.
pub async fn deadline(State(limit): State<Duration>, request: Request, next: Next) -> Response {
    tokio::time::timeout(limit, next.run(request))
        .await
        .unwrap_or_else(|_| Failure::too_slow(limit.as_secs()).into_response())
}
