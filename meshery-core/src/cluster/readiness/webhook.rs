//! Webhook configurations: whether the webhooks in one can be called, and what happens when they cannot.

use serde_json::Value;

use super::State;

/// A Service that a webhook calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cluster) struct Called {
    pub(in crate::cluster) webhook: String,
    pub(in crate::cluster) namespace: String,
    pub(in crate::cluster) name: String,
    pub(in crate::cluster) port: i64,
}

fn webhooks(configuration: &Value) -> impl Iterator<Item = (&str, &Value)> {
    configuration["webhooks"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|webhook| (webhook["name"].as_str().unwrap_or(""), webhook))
}

/// Every webhook that calls a Service has a CA bundle. One that calls a URL may rely on the system's authorities.
pub(in crate::cluster) fn ca_bundle(configuration: &Value) -> State {
    let bare: Vec<&str> = webhooks(configuration)
        .filter(|(_, webhook)| {
            let client = &webhook["clientConfig"];
            client["service"].is_object() && client["caBundle"].as_str().is_none_or(str::is_empty)
        })
        .map(|(name, _)| name)
        .collect();
    if bare.is_empty() {
        State::Ready
    } else {
        State::waiting(format!("no CA bundle in {}", bare.join(", ")))
    }
}

/// Every webhook fails closed.
pub(in crate::cluster) fn fails_closed(configuration: &Value) -> State {
    let open: Vec<&str> = webhooks(configuration)
        .filter(|(_, webhook)| webhook["failurePolicy"] != "Fail")
        .map(|(name, _)| name)
        .collect();
    if open.is_empty() {
        State::Ready
    } else {
        State::waiting(format!(
            "{} lets everything pass when it cannot be called",
            open.join(", ")
        ))
    }
}

/// The Services behind the webhooks.
pub(in crate::cluster) fn called(configuration: &Value) -> Vec<Called> {
    webhooks(configuration)
        .filter_map(|(name, webhook)| {
            let service = webhook["clientConfig"]["service"].as_object()?;
            let text = |key: &str| Some(service.get(key)?.as_str()?.to_owned());
            Some(Called {
                webhook: name.to_owned(),
                namespace: text("namespace")?,
                name: text("name")?,
                port: service.get("port").and_then(Value::as_i64).unwrap_or(443),
            })
        })
        .collect()
}

/// Whether a Service has the port that a webhook calls.
pub(in crate::cluster) fn has_port(service: &Value, port: i64) -> bool {
    service["spec"]["ports"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|entry| entry["port"].as_i64() == Some(port))
}
