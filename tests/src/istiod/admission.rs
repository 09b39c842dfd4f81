//! What istiod answers to the API server's reviews: a sidecar for pods, yes for the rest.

use serde_json::{Value, json};

use crate::admission::patched;
use crate::played::Seen;

const SIDECAR: &str = "istio-proxy";
const IMAGE: &str = "registry.istio.io/release/proxyv2:1.30.2";

pub(super) fn decide(path: &str, request: &Value, revision: &str, seen: &Seen) -> Option<Value> {
    let mut response = json!({"uid": request["uid"], "allowed": true});
    let object = &request["object"];
    if path.starts_with("/inject") {
        patched(&mut response, sidecar(object, revision));
        seen.injected(request);
    } else if path.starts_with("/validate") {
        seen.validated(request);
    } else {
        return None;
    }
    Some(response)
}

/// Adds the proxy and, before it, what sets up the pod's network without the CNI plugin; or gives a gateway's own proxy an image. Leaves
/// the mark by which the real one is known.
fn sidecar(pod: &Value, revision: &str) -> Vec<Value> {
    let mut patch = Vec::new();
    let containers = pod["spec"]["containers"].as_array().cloned().unwrap_or_default();
    match containers
        .iter()
        .position(|container| container["name"] == SIDECAR)
    {
        Some(at) => patch.push(json!({
            "op": "replace", "path": format!("/spec/containers/{at}/image"), "value": IMAGE,
        })),
        None => patch.extend(added(pod)),
    }
    if !pod["metadata"]["annotations"].is_object() {
        patch.push(json!({"op": "add", "path": "/metadata/annotations", "value": {}}));
    }
    patch.push(json!({
        "op": "add",
        "path": "/metadata/annotations/sidecar.istio.io~1status",
        "value": json!({"containers": [SIDECAR], "revision": revision}).to_string(),
    }));
    let labels = &pod["metadata"]["labels"];
    if !labels.is_object() {
        patch.push(json!({"op": "add", "path": "/metadata/labels", "value": {}}));
    }
    let canonical = labels["app"].as_str().unwrap_or("unnamed");
    patch.push(json!({
        "op": "add", "path": "/metadata/labels/service.istio.io~1canonical-name", "value": canonical,
    }));
    patch
}

/// The containers of a sidecar, with the rights that they ask for.
fn added(pod: &Value) -> Vec<Value> {
    let mut patch = Vec::new();
    if !pod["spec"]["initContainers"].is_array() {
        patch.push(json!({"op": "add", "path": "/spec/initContainers", "value": []}));
    }
    patch.push(json!({"op": "add", "path": "/spec/initContainers/-", "value": {
        "name": "istio-init", "image": IMAGE, "securityContext": {
            "allowPrivilegeEscalation": false, "privileged": false, "readOnlyRootFilesystem": false,
            "capabilities": {"add": ["NET_ADMIN", "NET_RAW"], "drop": ["ALL"]},
            "runAsGroup": 0, "runAsNonRoot": false, "runAsUser": 0,
        },
    }}));
    patch.push(json!({"op": "add", "path": "/spec/containers/-", "value": {
        "name": SIDECAR, "image": IMAGE, "securityContext": {
            "allowPrivilegeEscalation": false, "privileged": false, "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
            "runAsGroup": 1337, "runAsNonRoot": true, "runAsUser": 1337,
        },
    }}));
    patch
}
