//! How a problem becomes an answer: the one place that knows status codes and `application/problem+json`.
//!
//! Handlers return a [`Failure`]; it travels through the layers as an extension of an empty answer, and
//! [`render`] writes the body when the number of the request is known.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use meshery_core::problem::{Problem, ProblemKind};
use serde_json::json;

/// A longer text is cut: what callers sent, or a cluster said, comes back in it.
const LONGEST_TEXT: usize = 4000;

/// A problem on its way to whoever asked.
#[derive(Debug, Clone)]
pub struct Failure {
    status: StatusCode,
    problem: Problem,
    header: Option<Box<(HeaderName, HeaderValue)>>,
}

/// What handlers return.
pub type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// A problem of the transport itself, which has a status of its own.
    pub fn new(status: StatusCode, problem: Problem) -> Self {
        Self {
            status,
            problem,
            header: None,
        }
    }

    pub fn header(mut self, name: HeaderName, value: &'static str) -> Self {
        self.header = Some(Box::new((name, HeaderValue::from_static(value))));
        self
    }

    pub fn unknown_route(method: &http::Method, path: &str) -> Self {
        let message = format!("there is nothing at {method} {path}");
        Problem::new(ProblemKind::NotFound, "unknown-route", message)
            .remedy("the routes begin with /api/v1/, /healthz, /readyz and /metrics")
            .into()
    }

    pub fn method_not_allowed(method: &http::Method, path: &str) -> Self {
        let message = format!("{path} cannot be asked with {method}");
        let problem = Problem::new(ProblemKind::Invalid, "method-not-allowed", message)
            .remedy("use a method of the header Allow");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, problem)
    }

    pub fn too_slow(seconds: u64) -> Self {
        let message = format!("the request could not be answered within {seconds} s");
        Problem::new(ProblemKind::Timeout, "request-timeout", message)
            .cause("the cluster or the provider is slow, or the request's body came too slowly")
            .remedy("look what became of it before asking again: an order to an operation is carried out all the same; the limit is a setting under [limits]")
            .retryable(true)
            .into()
    }

    pub fn panicked() -> Self {
        let message = "the host failed while it worked on this request";
        Problem::new(ProblemKind::Internal, "host-panicked", message)
            .cause("a fault in the host; the log has it under the number of this request")
            .into()
    }

    /// An answer that some library made without saying more than its status.
    fn bare(status: StatusCode) -> Self {
        let reason = status.canonical_reason().unwrap_or("error").to_lowercase();
        let kind = if status.is_server_error() {
            ProblemKind::Internal
        } else {
            ProblemKind::Invalid
        };
        Self::new(status, Problem::new(kind, reason.replace(' ', "-"), reason))
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::new(status(problem.kind), problem)
    }
}

fn status(kind: ProblemKind) -> StatusCode {
    match kind {
        ProblemKind::Invalid => StatusCode::BAD_REQUEST,
        ProblemKind::NotFound => StatusCode::NOT_FOUND,
        ProblemKind::Conflict => StatusCode::CONFLICT,
        ProblemKind::Forbidden => StatusCode::FORBIDDEN,
        ProblemKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ProblemKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ProblemKind::Timeout => StatusCode::GATEWAY_TIMEOUT,
        ProblemKind::Full => StatusCode::INSUFFICIENT_STORAGE,
        ProblemKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status;
        response.extensions_mut().insert(self);
        response
    }
}

/// Writes the body of a failed answer; leaves others as they are. Returns the problem, for the log.
pub fn render(response: &mut Response, request_id: &str) -> Option<Problem> {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return None;
    }
    let failure = match response.extensions_mut().remove::<Failure>() {
        Some(failure) => failure,
        None if is_json(response) => return None,
        None => Failure::bare(status),
    };
    *response.body_mut() = Body::from(body(&failure, request_id));
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_LENGTH);
    let json = HeaderValue::from_static("application/problem+json");
    headers.insert(header::CONTENT_TYPE, json);
    if let Some((name, value)) = failure.header.map(|header| *header) {
        headers.insert(name, value);
    }
    Some(failure.problem)
}

/// `/readyz` says in its own words what is wrong.
fn is_json(response: &Response) -> bool {
    response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind == "application/json")
}

/// The body of an answer that goes past the layers.
pub fn body(failure: &Failure, request_id: &str) -> String {
    let Failure { status, problem, .. } = failure;
    json!({
        "type": format!("urn:meshery:problem:{}", problem.code),
        "title": status.canonical_reason().unwrap_or_default(),
        "status": status.as_u16(),
        "detail": cut(&problem.message),
        "code": problem.code,
        "cause": cut(&problem.cause),
        "remedy": cut(&problem.remedy),
        "retryable": problem.retryable,
        "instance": format!("urn:meshery:request:{request_id}"),
    })
    .to_string()
}

fn cut(text: &str) -> String {
    if text.len() <= LONGEST_TEXT {
        return text.to_owned();
    }
    format!("{} ...", &text[..text.floor_char_boundary(LONGEST_TEXT)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_part_of_an_answer_is_longer_than_what_somebody_would_read() {
        let long = "ü".repeat(100_000);
        let problem = Problem::new(ProblemKind::Invalid, "x", &long)
            .cause(&long)
            .remedy(&long);
        let body = body(&problem.into(), "1");
        assert!(body.len() < 4 * LONGEST_TEXT, "{}", body.len());
    }
}
