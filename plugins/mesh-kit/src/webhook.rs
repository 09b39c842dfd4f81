//! What a webhook configuration says about itself: whether the server can call it, and what happens if not.

use std::collections::BTreeSet;

use meshery_plugin_api::message::facts::Facts;
use meshery_plugin_api::message::finding::{Finding, Severity};
use meshery_plugin_api::message::object_ref::ObjectRef;
use serde_json::Value;

use crate::object::{name, text};

const KIND: &str = "MutatingWebhookConfiguration";

/// The webhooks of one configuration, by what may be wrong with each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Webhooks {
    /// Name of the configuration.
    pub name: String,
    /// Webhooks that call a Service and have no CA bundle: the server cannot trust them.
    pub without_ca_bundle: Vec<String>,
    /// Webhooks that let everything pass when they cannot be called (`failurePolicy: Ignore`).
    pub failing_open: Vec<String>,
    /// Namespace and name of each Service that is called, without repetition.
    pub services: Vec<(String, String)>,
}

/// Reads a mutating or validating webhook configuration.
pub fn read(configuration: &Value) -> Webhooks {
    let mut webhooks = Webhooks {
        name: name(configuration).into(),
        ..Webhooks::default()
    };
    let list = configuration.get("webhooks").and_then(Value::as_array);
    for webhook in list.into_iter().flatten() {
        let webhook_name = text(webhook, "/name").to_owned();
        if text(webhook, "/failurePolicy") == "Ignore" {
            webhooks.failing_open.push(webhook_name.clone());
        }
        let service = (
            text(webhook, "/clientConfig/service/namespace").to_owned(),
            text(webhook, "/clientConfig/service/name").to_owned(),
        );
        if service.1.is_empty() {
            continue;
        }
        if text(webhook, "/clientConfig/caBundle").is_empty() {
            webhooks.without_ca_bundle.push(webhook_name);
        }
        if !webhooks.services.contains(&service) {
            webhooks.services.push(service);
        }
    }
    webhooks
}

/// Whether a mutating webhook configuration must see every new pod that it is for, or the pod is refused.
pub fn blocks_pods(configuration: &Value) -> bool {
    let list = |value: Option<&Value>, wanted: &str| {
        value
            .and_then(Value::as_array)
            .is_some_and(|items| items.iter().any(|item| item == wanted || item == "*"))
    };
    let webhooks = configuration.get("webhooks").and_then(Value::as_array);
    webhooks.into_iter().flatten().any(|webhook| {
        let rules = webhook.get("rules").and_then(Value::as_array);
        webhook.get("failurePolicy").is_none_or(|policy| policy == "Fail")
            && rules
                .into_iter()
                .flatten()
                .any(|rule| list(rule.get("resources"), "pods") && list(rule.get("operations"), "CREATE"))
    })
}

/// Mutating webhooks that are not the mesh's own and must see every new pod, but cannot be called.
pub fn of_others(facts: &Facts, is_own: impl Fn(&Value) -> bool) -> Vec<Finding> {
    let mut seen = BTreeSet::new();
    facts
        .objects("admissionregistration.k8s.io", KIND)
        .filter(|configuration| !is_own(configuration) && blocks_pods(configuration))
        .map(read)
        .filter(|webhooks| !webhooks.without_ca_bundle.is_empty() && seen.insert(webhooks.name.clone()))
        .map(|webhooks| Finding {
            code: "webhook-of-others".into(),
            severity: Severity::Warning,
            message: format!(
                "{} must see every new pod and has no CA bundle: pods may be refused",
                webhooks.name
            ),
            object: Some(ObjectRef::new(
                "admissionregistration.k8s.io/v1",
                KIND,
                "",
                &webhooks.name,
            )),
            remedy: "repair or remove it first, if pods cannot be made in these namespaces".into(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_webhook_at_an_address_needs_no_ca_bundle_and_one_at_a_service_does() {
        let configuration = json!({"metadata": {"name": "x"}, "webhooks": [
            {"name": "a", "clientConfig": {"service": {"namespace": "n", "name": "s"}}, "failurePolicy": "Ignore"},
            {"name": "b", "clientConfig": {"service": {"namespace": "n", "name": "s"}, "caBundle": "Zm9v"}},
            {"name": "c", "clientConfig": {"url": "https://example.com"}, "failurePolicy": "Fail"}]});
        let webhooks = read(&configuration);
        assert_eq!(webhooks.without_ca_bundle, ["a"]);
        assert_eq!(webhooks.failing_open, ["a"]);
        assert_eq!(webhooks.services, [("n".to_owned(), "s".to_owned())]);
        assert_eq!(read(&json!({"webhooks": 3})), Webhooks::default());
    }
}
