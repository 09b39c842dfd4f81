//! When an object counts as ready, kind by kind.
//!
//! Pure rules on what was read. The order matters: an object on its way out is never ready; a status that is about an
//! older generation says nothing, however good it looks (for tens of milliseconds after each update it looks
//! perfect); only then the kind's own rule is asked. Counters that are zero are left out by the server.

use serde_json::Value;

pub(super) mod pod;
pub(super) mod webhook;

/// How far an object is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// As it should be.
    Ready,
    /// Not yet, and why.
    Waiting(String),
    /// Never, and why.
    Failed(String),
}

impl State {
    pub(super) fn waiting(reason: impl Into<String>) -> Self {
        Self::Waiting(reason.into())
    }

    /// This one if it is not ready, else the other.
    pub(super) fn and(self, other: impl FnOnce() -> Self) -> Self {
        match self {
            Self::Ready => other(),
            not_ready => not_ready,
        }
    }
}

/// The kind's own idea of ready.
pub fn ready(object: &Value) -> State {
    let text = |key| object.get(key).and_then(Value::as_str).unwrap_or("");
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    current(object).and(|| match (group, kind) {
        ("apps", "Deployment") => deployment(object),
        ("apps", "StatefulSet") => stateful_set(object),
        ("apps", "DaemonSet") => daemon_set(object),
        ("apps", "ReplicaSet") | ("", "ReplicationController") => replica_set(object),
        ("batch", "Job") => job(object),
        ("", "Pod") => pod::ready(object),
        ("", "PersistentVolumeClaim") => phase(object, "Bound", "Lost"),
        ("", "Namespace") => phase(object, "Active", ""),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => definition(object),
        ("apiregistration.k8s.io", "APIService") => condition(object, "Available"),
        ("gateway.networking.k8s.io", "GatewayClass") => condition(object, "Accepted"),
        ("gateway.networking.k8s.io", "Gateway") => {
            condition(object, "Accepted").and(|| condition(object, "Programmed"))
        }
        _ => generic(object),
    })
}

/// Whether something that runs to an end has come to it.
pub fn complete(object: &Value) -> State {
    match object.get("kind").and_then(Value::as_str) {
        Some("Pod") => pod::complete(object),
        _ => ready(object),
    }
}

/// What holds for every kind: it is not going, and its status is about what it says now.
pub fn current(object: &Value) -> State {
    if object
        .pointer("/metadata/deletionTimestamp")
        .is_some_and(Value::is_string)
    {
        return State::waiting("it is being deleted");
    }
    let generation = object.pointer("/metadata/generation").and_then(Value::as_i64);
    let observed = object
        .pointer("/status/observedGeneration")
        .and_then(Value::as_i64);
    match (generation, observed) {
        (Some(generation), Some(observed)) if observed < generation => {
            State::waiting("its controller has not seen the change yet")
        }
        _ => State::Ready,
    }
}

/// A Service or Ingress: it has an external address.
pub fn address(object: &Value) -> State {
    current(object).and(|| {
        let text = |pointer| object.pointer(pointer).and_then(Value::as_str).unwrap_or("");
        let filled = |pointer| {
            object
                .pointer(pointer)
                .and_then(Value::as_array)
                .is_some_and(|items| !items.is_empty())
        };
        let is_service = text("/kind") == "Service";
        if is_service && text("/spec/type") == "ExternalName"
            || filled("/status/loadBalancer/ingress")
            || is_service && filled("/spec/externalIPs")
            || filled("/status/addresses")
        {
            State::Ready
        } else if is_service && text("/spec/type") != "LoadBalancer" {
            State::Failed("it is not of type LoadBalancer, so it never has an external address".into())
        } else {
            State::waiting("no external address has been given to it")
        }
    })
}

/// A Service: at least one of its endpoints, given as its EndpointSlices, is ready.
pub fn endpoints<'a>(slices: impl IntoIterator<Item = &'a Value>) -> State {
    let mut known = 0;
    for slice in slices {
        for endpoint in slice["endpoints"].as_array().into_iter().flatten() {
            // Unknown counts as ready, says the API.
            if endpoint.pointer("/conditions/ready").and_then(Value::as_bool) != Some(false) {
                return State::Ready;
            }
            known += 1;
        }
    }
    State::waiting(if known == 0 {
        "it has no endpoints".to_owned()
    } else {
        format!("none of its {known} endpoints is ready")
    })
}

fn number(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
}

fn wanted(object: &Value) -> i64 {
    object
        .pointer("/spec/replicas")
        .and_then(Value::as_i64)
        .unwrap_or(1)
}

/// A condition of that type, unless it is about an older generation.
fn find<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    let generation = number(object, "/metadata/generation");
    object
        .pointer("/status/conditions")?
        .as_array()?
        .iter()
        .find(|condition| condition["type"] == kind)
        .filter(|condition| {
            condition["observedGeneration"]
                .as_i64()
                .is_none_or(|observed| observed >= generation)
        })
}

fn is_true(object: &Value, kind: &str) -> bool {
    find(object, kind).is_some_and(|condition| condition["status"] == "True")
}

fn reason(condition: &Value) -> String {
    let text = |key| condition[key].as_str().unwrap_or("");
    match (text("reason"), text("message")) {
        ("", "") => "it does not say why".into(),
        (reason, "") => reason.into(),
        ("", message) => message.into(),
        (reason, message) => format!("{reason}: {message}"),
    }
}

fn condition(object: &Value, kind: &str) -> State {
    match find(object, kind) {
        Some(condition) if condition["status"] == "True" => State::Ready,
        Some(condition) => State::waiting(format!("not {kind}: {}", reason(condition))),
        None => State::waiting(format!("not {kind} yet")),
    }
}

fn counted(name: &str, have: i64, want: i64) -> State {
    if have >= want {
        State::Ready
    } else {
        State::waiting(format!("{name}: {have}/{want}"))
    }
}

/// Pods that the server refuses (by a quota, a policy, a webhook) show nowhere else.
fn refused_pods(object: &Value) -> State {
    match find(object, "ReplicaFailure") {
        Some(condition) if condition["status"] == "True" => {
            State::waiting(format!("pods cannot be created: {}", reason(condition)))
        }
        _ => State::Ready,
    }
}

fn observed(object: &Value) -> State {
    if object.pointer("/status/observedGeneration").is_some() {
        State::Ready
    } else {
        State::waiting("its controller has not seen it yet")
    }
}

fn deployment(object: &Value) -> State {
    if let Some(progress) = find(object, "Progressing")
        && progress["reason"] == "ProgressDeadlineExceeded"
    {
        return State::Failed(reason(progress));
    }
    let want = wanted(object);
    if object.pointer("/spec/paused") == Some(&Value::Bool(true)) && want > 0 {
        return State::waiting("it is paused");
    }
    let count = |name| number(object, &format!("/status/{name}"));
    observed(object)
        .and(|| refused_pods(object))
        .and(|| counted("Updated", count("updatedReplicas"), want))
        .and(|| match count("replicas") - count("updatedReplicas") {
            0 => State::Ready,
            old => State::waiting(format!("{old} old pods are still there")),
        })
        .and(|| counted("Available", count("availableReplicas"), want))
        .and(|| counted("Ready", count("readyReplicas"), want))
        .and(|| condition(object, "Available"))
}

fn stateful_set(object: &Value) -> State {
    let want = wanted(object);
    let count = |name| number(object, &format!("/status/{name}"));
    let text = |pointer| object.pointer(pointer).and_then(Value::as_str).unwrap_or("");
    let seen = observed(object);
    if text("/spec/updateStrategy/type") == "OnDelete" {
        return seen.and(|| counted("Ready", count("readyReplicas"), want));
    }
    let partition = number(object, "/spec/updateStrategy/rollingUpdate/partition");
    seen.and(|| counted("Created", count("replicas"), want))
        .and(|| counted("Ready", count("readyReplicas"), want))
        .and(|| {
            if partition > 0 {
                counted("Updated", count("updatedReplicas"), (want - partition).max(0))
            } else if text("/status/currentRevision") == text("/status/updateRevision") {
                State::Ready
            } else {
                counted("Updated", count("updatedReplicas"), want)
            }
        })
}

fn daemon_set(object: &Value) -> State {
    let count = |name| number(object, &format!("/status/{name}"));
    let want = count("desiredNumberScheduled");
    // It starts as zeros, and without having been observed: nought of nought is not ready.
    observed(object)
        .and(|| counted("Scheduled", count("currentNumberScheduled"), want))
        .and(|| counted("Updated", count("updatedNumberScheduled"), want))
        .and(|| counted("Available", count("numberAvailable"), want))
        .and(|| counted("Ready", count("numberReady"), want))
}

fn replica_set(object: &Value) -> State {
    let want = wanted(object);
    let count = |name| number(object, &format!("/status/{name}"));
    observed(object)
        .and(|| refused_pods(object))
        .and(|| counted("Available", count("availableReplicas"), want))
        .and(|| counted("Ready", count("readyReplicas"), want))
}

fn job(object: &Value) -> State {
    if is_true(object, "Complete") {
        return State::Ready;
    }
    for kind in ["Failed", "FailureTarget"] {
        if let Some(condition) = find(object, kind)
            && condition["status"] == "True"
        {
            return State::Failed(reason(condition));
        }
    }
    if is_true(object, "Suspended") {
        return State::waiting("it is suspended");
    }
    let want = object
        .pointer("/spec/completions")
        .and_then(Value::as_i64)
        .unwrap_or(1);
    State::waiting(format!(
        "Complete: {}/{want}",
        number(object, "/status/succeeded")
    ))
}

fn definition(object: &Value) -> State {
    if let Some(names) = find(object, "NamesAccepted")
        && names["status"] == "False"
    {
        return State::Failed(reason(names));
    }
    condition(object, "Established")
}

fn phase(object: &Value, good: &str, bad: &str) -> State {
    match object.pointer("/status/phase").and_then(Value::as_str) {
        Some(phase) if phase == good => State::Ready,
        Some(phase) if phase == bad => State::Failed(format!("its phase is {phase}")),
        Some(phase) => State::waiting(format!("its phase is {phase}")),
        None => State::waiting("it has no phase yet"),
    }
}

/// Kinds without a rule: ready unless they say that they are not.
fn generic(object: &Value) -> State {
    if is_true(object, "Stalled")
        && let Some(stalled) = find(object, "Stalled")
    {
        return State::Failed(reason(stalled));
    }
    if is_true(object, "Reconciling") {
        return State::waiting("it is being reconciled");
    }
    match find(object, "Ready") {
        Some(_) => condition(object, "Ready"),
        None => State::Ready,
    }
}

#[cfg(test)]
mod tests;
