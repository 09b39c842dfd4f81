//! What a host answers: an adapter of an invented mesh, and one operation of it.

use serde_json::{Value, json};

use crate::fake_host::{Answer, FakeHost, end, event};

pub fn adapter() -> Value {
    json!({
        "name": "lattice", "version": "0.3.0", "description": "Installs Lattice, a mesh of the tests",
        "mesh": "Lattice", "port": 10099, "license": "Apache-2.0",
        "versions": [{"version": "2.1.0-rc.1", "stable": false}, {"version": "2.0.1", "stable": true, "kubernetes": ">=1.30"}],
        "operations": [
            {"name": "install", "category": "install", "description": "Installs the mesh", "parameters": {
                "type": "object", "additionalProperties": false, "required": ["version"], "properties": {
                    "version": {"type": "string", "description": "which"},
                    "profile": {"type": "string", "enum": ["default", "minimal"], "default": "default"},
                    "namespace": {"type": "string", "default": "lattice-system"},
                    "replicas": {"type": "integer", "default": 1}}}},
            {"name": "remove", "category": "remove", "description": "Removes the mesh",
                "parameters": {"type": "object", "additionalProperties": false, "properties": {}}},
            {"name": "deploy-bookinfo", "category": "sample-application", "parameters": {
                "type": "object", "additionalProperties": false,
                "properties": {"namespace": {"type": "string"}}}},
            {"name": "remove-bookinfo", "category": "sample-application", "parameters": {
                "type": "object", "additionalProperties": false,
                "properties": {"namespace": {"type": "string"}}}}],
        "a_field_of_the_future": {"kept": true}
    })
}

pub fn record(state: &str) -> Value {
    json!({
        "id": "op1", "adapter": {"name": "lattice", "version": "0.3.0", "sha256": "ab"}, "operation": "install",
        "parameters": {"version": "2.0.1"},
        "cluster": {"uid": "c-1", "context": "dev", "server": "https://10.0.0.1:6443"}, "owner": "meshery",
        "state": state, "summary": "Install Lattice 2.0.1", "notes": [], "findings": [], "left": [],
        "policy": {"on_failure": "undo", "on_interruption": "resume", "approval": false, "force_conflicts": false},
        "steps": [
            {"id": "ns", "title": "the namespace", "kind": "apply", "state": "done", "undo": "exact", "total": 1, "done": 1},
            {"id": "ready", "title": "the control plane is ready", "kind": "wait", "state": "pending", "undo": "none",
                "because": "changes nothing", "total": 2, "done": 0}],
        "created": "2026-11-24T10:00:00.123Z", "updated": "2026-11-24T10:00:05Z", "seq": 3
    })
}

pub fn preview() -> Value {
    json!({
        "operation": "op1", "time": "2026-11-24T10:00:00Z", "summary": "Install Lattice 2.0.1",
        "objects": [
            {"ref": "v1/Namespace//lattice-system", "step": "ns", "change": "create", "certainty": "verified",
                "diff": [{"path": "metadata.labels.team", "after": "mesh"}]},
            {"ref": "v1/ConfigMap/lattice-system/mesh", "step": "control", "change": "update", "certainty": "verified",
                "diff": [
                    {"path": "data.level", "before": "info", "after": "debug"},
                    {"path": "data.text", "before": "one\ntwo\nthree\n", "after": "one\n2\nthree\n"},
                    {"path": "data.old", "before": "x"}]},
            {"ref": "apps/v1/Deployment/lattice-system/control", "step": "control", "change": "create", "certainty": "local",
                "note": "its namespace comes with this plan"},
            {"ref": "v1/Service/lattice-system/control", "step": "control", "change": "unchanged", "certainty": "verified"}],
        "risks": [{"severity": "warning", "code": "webhook", "message": "a webhook that can block pods"}],
        "findings": [], "counts": {"create": 2, "update": 1, "unchanged": 1},
        "point_of_no_return": "restart", "notes": ["takes a minute"]
    })
}

/// A host on which everything goes well.
pub fn host() -> FakeHost {
    let host = FakeHost::start();
    host.on(
        "GET /version",
        json!({"name": "meshery", "version": "0.9.0", "api": "v1", "plugin_api": "1.0.0"}),
    );
    host.on("GET /adapters", json!({"items": [adapter()]}));
    host.on("GET /adapters/lattice", adapter());
    host.then("POST /operations", Answer::Json(201, record("planned")));
    host.on("POST /operations/op1/preview", preview());
    host.on("GET /operations/op1/preview", preview());
    host.then("POST /operations/op1/run", Answer::Json(202, record("queued")));
    host
}

/// The events of a run that ends, and the record after it.
pub fn runs_to(host: &FakeHost, state: &str) {
    host.then(
        "GET /operations/op1/events",
        Answer::Events {
            parts: vec![
                event(1, json!({"kind": "state", "state": "running"})),
                event(2, json!({"kind": "step", "step": "ns", "state": "done", "done": 1, "total": 1})),
                event(
                    3,
                    json!({"kind": "waiting", "step": "ready", "object": "apps/v1/Deployment/lattice-system/control",
                        "reason": "Available: 0/1"}),
                ),
                event(4, json!({"kind": "state", "state": state})),
                end(),
            ],
            stays_open: false,
        },
    );
    host.on("GET /operations/op1", record(state));
}
