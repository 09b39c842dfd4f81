//! Answers to the API server's reviews: a sidecar for pods, yes for the rest.

use std::convert::Infallible;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::{Seen, locked};

/// No review is anywhere near as large.
const LARGEST: usize = 16 << 20;
const SIDECAR: &str = "istio-proxy";
const IMAGE: &str = "registry.istio.io/release/proxyv2:1.30.2";

/// Serves until it is dropped, and every connection with it.
pub(super) async fn serve(listener: TcpListener, acceptor: TlsAcceptor, seen: Arc<Seen>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, seen) = (acceptor.clone(), seen.clone());
        connections.spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else {
                return;
            };
            let service = service_fn(|request| {
                let seen = seen.clone();
                async move { Ok::<_, Infallible>(answer(request, &seen).await) }
            });
            // A connection that breaks is the API server's to report.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn answer(request: Request<Incoming>, seen: &Seen) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    let review = match Limited::new(request.into_body(), LARGEST).collect().await {
        Ok(body) => serde_json::from_slice::<Value>(&body.to_bytes()).ok(),
        Err(_) => None,
    };
    let response = match review {
        Some(review) => decide(&path, &review["request"], seen),
        None => None,
    };
    let (status, body) = match response {
        None => (StatusCode::BAD_REQUEST, String::new()),
        Some(response) => {
            let review = json!({
                "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response,
            });
            (StatusCode::OK, review.to_string())
        }
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static("application/json"),
    );
    response
}

fn decide(path: &str, request: &Value, seen: &Seen) -> Option<Value> {
    let mut response = json!({"uid": request["uid"], "allowed": true});
    let object = &request["object"];
    if path.starts_with("/inject") {
        let patch = sidecar(object);
        response["patchType"] = "JSONPatch".into();
        response["patch"] = STANDARD.encode(Value::Array(patch).to_string()).into();
        locked(&seen.injected).push(named(request));
    } else if path.starts_with("/validate") {
        let kind = request["kind"]["kind"].as_str().unwrap_or_default();
        locked(&seen.validated).push(format!("{kind} {}", named(request)));
    } else {
        return None;
    }
    Some(response)
}

/// Pods of a ReplicaSet have no name yet.
fn named(request: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let metadata = &request["object"]["metadata"];
    let name = [&request["name"], &metadata["name"], &metadata["generateName"]]
        .into_iter()
        .map(text)
        .find(|name| !name.is_empty());
    format!("{}/{}", text(&request["namespace"]), name.unwrap_or_default())
}

/// Adds the proxy, or gives a gateway's own one an image; and leaves the mark by which the real one is known.
fn sidecar(pod: &Value) -> Vec<Value> {
    let mut patch = Vec::new();
    let containers = pod["spec"]["containers"].as_array().cloned().unwrap_or_default();
    match containers
        .iter()
        .position(|container| container["name"] == SIDECAR)
    {
        Some(at) => patch.push(json!({
            "op": "replace", "path": format!("/spec/containers/{at}/image"), "value": IMAGE,
        })),
        None => patch.push(json!({
            "op": "add", "path": "/spec/containers/-", "value": {"name": SIDECAR, "image": IMAGE},
        })),
    }
    if !pod["metadata"]["annotations"].is_object() {
        patch.push(json!({"op": "add", "path": "/metadata/annotations", "value": {}}));
    }
    patch.push(json!({
        "op": "add",
        "path": "/metadata/annotations/sidecar.istio.io~1status",
        "value": json!({"containers": [SIDECAR]}).to_string(),
    }));
    patch
}
