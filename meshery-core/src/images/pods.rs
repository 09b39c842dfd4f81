//! Where objects have pods in them.

use serde_json::Value;

/// Lists of containers in a pod.
pub(super) const CONTAINERS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// Where the pod's own part begins in an object, as a JSON pointer to what has `metadata` and `spec`.
fn place(object: &Value) -> Option<&'static str> {
    let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
    let group = text("apiVersion").split_once('/').map_or("", |(group, _)| group);
    Some(match (group, text("kind")) {
        ("", "Pod") => "",
        ("", "PodTemplate") => "/template",
        ("", "ReplicationController")
        | ("apps", "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet")
        | ("batch", "Job") => "/spec/template",
        ("batch", "CronJob") => "/spec/jobTemplate/spec/template",
        _ => return None,
    })
}

/// The pod that an object has or makes: what has `metadata` and `spec`.
pub(super) fn pod(object: &Value) -> Option<&Value> {
    object.pointer(place(object)?)
}

/// The same, to be changed.
pub(super) fn pod_mut(object: &mut Value) -> Option<&mut Value> {
    let place = place(object)?;
    object.pointer_mut(place)
}
