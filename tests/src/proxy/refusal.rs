//! Refusals word for word as the API server, or what stands before it, writes them.

use http::StatusCode;
use serde_json::{Value, json};

use super::Action;

/// A Status with a reason, as most refusals are.
pub fn status(code: u16, reason: &str, message: &str) -> Action {
    with_details(code, reason, message, &json!({}))
}

/// A Status with details: causes, what it is about.
pub fn with_details(code: u16, reason: &str, message: &str, details: &Value) -> Action {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "details": details, "code": code,
    });
    Action::reply(number(code), "application/json", body.to_string())
}

/// A Status without a reason, as faults inside the server are.
pub fn without_reason(code: u16, message: &str) -> Action {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "code": code,
    });
    Action::reply(number(code), "application/json", body.to_string())
}

/// A text, as proxies answer and the server itself about addresses that it does not know.
pub fn text(code: u16, text: &str) -> Action {
    Action::reply(number(code), "text/plain; charset=utf-8", text)
}

/// Priority and fairness: there are too many requests at a time.
pub fn too_many(retry_after: Option<u32>) -> Action {
    let refusal = text(429, "Too many requests, please try again later.\n");
    match retry_after {
        Some(seconds) => refusal.with_header("retry-after", &seconds.to_string()),
        None => refusal,
    }
}

/// The server's own deadline has passed: a text that is JSON, without kind and apiVersion.
pub fn timed_out() -> Action {
    let body = json!({
        "metadata": {}, "status": "Failure", "reason": "Timeout", "details": {}, "code": 504,
        "message": "Timeout: request did not complete within the allotted timeout",
    });
    Action::reply(number(504), "text/plain; charset=utf-8", body.to_string())
}

/// The state that a watch wants to go on from is forgotten: a success with an error for an event, and the end.
pub fn expired_event() -> Action {
    let event = json!({"type": "ERROR", "object": {"kind": "Status", "apiVersion": "v1", "metadata": {},
        "status": "Failure", "message": "too old resource version: 1 (2600)", "reason": "Expired", "code": 410}});
    Action::reply(StatusCode::OK, "application/json", format!("{event}\n"))
}

fn number(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or_else(|e| panic!("status {code}: {e}"))
}
