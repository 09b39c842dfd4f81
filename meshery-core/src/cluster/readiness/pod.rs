//! Pods: when one is ready, and why one is not.

use serde_json::Value;

use super::{State, find, reason};

pub(super) fn ready(pod: &Value) -> State {
    let phase = pod.pointer("/status/phase").and_then(Value::as_str).unwrap_or("");
    if phase == "Succeeded" {
        return State::Ready;
    }
    if phase == "Failed" {
        return State::Failed(trouble(pod).unwrap_or_else(|| "it has failed".into()));
    }
    if find(pod, "Ready").is_some_and(|condition| condition["status"] == "True") {
        return State::Ready;
    }
    State::Waiting(trouble(pod).unwrap_or_else(|| format!("its phase is {phase}")))
}

/// Whether it has run to its end: being ready is not enough.
pub(super) fn complete(pod: &Value) -> State {
    match pod.pointer("/status/phase").and_then(Value::as_str) {
        Some("Succeeded" | "Failed") => ready(pod),
        phase => State::Waiting(
            trouble(pod).unwrap_or_else(|| format!("its phase is {}", phase.unwrap_or("not known yet"))),
        ),
    }
}

/// What keeps a pod from running, if it says so.
pub(in crate::cluster) fn trouble(pod: &Value) -> Option<String> {
    let scheduled = find(pod, "PodScheduled").filter(|condition| condition["status"] == "False");
    if let Some(scheduled) = scheduled {
        return Some(reason(scheduled));
    }
    let containers = ["initContainerStatuses", "containerStatuses"]
        .iter()
        .filter_map(|list| pod["status"].get(list)?.as_array())
        .flatten();
    for container in containers {
        let name = container["name"].as_str().unwrap_or("");
        let state = &container["state"];
        let waiting = &state["waiting"];
        let usual = ["", "ContainerCreating", "PodInitializing"];
        if !usual.contains(&waiting["reason"].as_str().unwrap_or("")) {
            return Some(format!("container {name}: {}", reason(waiting)));
        }
        let ended = &state["terminated"];
        if ended["exitCode"].as_i64().is_some_and(|code| code != 0) {
            let message: String = ended["message"]
                .as_str()
                .unwrap_or("")
                .chars()
                .take(300)
                .collect();
            let message = if message.is_empty() {
                message
            } else {
                format!(": {message}")
            };
            return Some(format!(
                "container {name} ended with {}{message}",
                ended["exitCode"]
            ));
        }
    }
    let text = |key| pod["status"][key].as_str().filter(|text| !text.is_empty());
    text("message").or(text("reason")).map(str::to_owned)
}
