//! What to think about before saying yes, ranked.

use meshery_plugin_api::message::finding::Severity;
use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_plugin_api::rights::risky_pod;
use serde_json::Value;

use super::{Certainty, Change, PreviewedObject, Risk};
use crate::cluster::release::marks::{MANAGED_BY, release_of};
use crate::operation::object::mark::text;
use crate::operation::object::ownership::gitops_of;

/// The risks of one object: `wanted` is how it is to be, `now` how it is.
pub(in crate::operation) fn of(
    previewed: &PreviewedObject,
    wanted: Option<&Value>,
    now: Option<&Value>,
) -> Vec<Risk> {
    let mut risks = Risks {
        object: &previewed.object,
        found: Vec::new(),
    };
    match previewed.change {
        Change::Delete => risks.of_deletion(previewed.certainty == Certainty::DecidedLater),
        Change::Create | Change::Update | Change::Conflict => {
            if let Some(wanted) = wanted {
                risks.of_kind(previewed.change, wanted);
            }
        }
        Change::Recreate => {
            if let Some(wanted) = wanted {
                risks.of_kind(previewed.change, wanted);
            }
            risks.of_deletion(false);
            risks.add(Severity::Warning, "recreate", "it is deleted and made again");
        }
        Change::Restart => risks.add(Severity::Info, "restart", "its pods are made anew"),
        Change::Error => risks.add(
            Severity::Error,
            "would-fail",
            previewed
                .error
                .as_ref()
                .map_or("the server would refuse it", |error| error.message.as_str()),
        ),
        Change::Unchanged | Change::Keep | Change::Wait | Change::Probe => {}
    }
    if previewed.change == Change::Conflict {
        risks.add(
            Severity::Error,
            "conflict",
            "other managers own fields that it sets; the run stops there unless it takes them by force",
        );
    }
    if matches!(
        previewed.change,
        Change::Update | Change::Conflict | Change::Delete | Change::Recreate
    ) && let Some(now) = now
    {
        risks.of_owner(now, wanted);
    }
    risks.found
}

struct Risks<'a> {
    object: &'a ObjectRef,
    found: Vec<Risk>,
}

impl Risks<'_> {
    fn add(&mut self, severity: Severity, code: &str, message: &str) {
        self.found.push(Risk {
            severity,
            code: code.to_owned(),
            message: message.to_owned(),
            object: Some(self.object.clone()),
        });
    }

    fn of_deletion(&mut self, is_decided_later: bool) {
        match (self.object.group.as_str(), self.object.kind.as_str()) {
            ("", "Namespace") if is_decided_later => {
                self.add(Severity::Info, "delete", "it is deleted if it is empty by then");
            }
            ("", "Namespace") => self.add(
                Severity::Warning,
                "delete-namespace",
                "everything in it goes with it",
            ),
            ("apiextensions.k8s.io", _) => self.add(
                Severity::Warning,
                "delete-definition",
                "all objects of its kind go with it",
            ),
            ("", "PersistentVolumeClaim") => {
                self.add(Severity::Warning, "delete-data", "its data goes with it");
            }
            _ => self.add(Severity::Info, "delete", "it is deleted"),
        }
    }

    fn of_kind(&mut self, change: Change, wanted: &Value) {
        match (self.object.group.as_str(), self.object.kind.as_str()) {
            ("admissionregistration.k8s.io", _) => {
                let webhooks = wanted.get("webhooks").and_then(Value::as_array);
                let closed = webhooks.is_some_and(|webhooks| {
                    webhooks
                        .iter()
                        .any(|webhook| webhook.get("failurePolicy") != Some(&Value::from("Ignore")))
                });
                if closed {
                    self.add(
                        Severity::Warning,
                        "webhook-fails-closed",
                        "objects that it selects cannot be written while its program is away",
                    );
                } else {
                    let message = if self.object.kind.starts_with("Mutating") {
                        "it sees, and may change, the objects that it selects"
                    } else {
                        "it sees, and may refuse, the objects that it selects"
                    };
                    self.add(Severity::Info, "webhook", message);
                }
            }
            ("apiextensions.k8s.io", _) if change == Change::Update => self.add(
                Severity::Warning,
                "definition-changes",
                "objects of its kind that exist must fit the new version",
            ),
            ("rbac.authorization.k8s.io", "ClusterRole" | "ClusterRoleBinding") => {
                let all = text(wanted, "/roleRef/name") == "cluster-admin" || wildcard(wanted);
                let (severity, message) = if all {
                    (Severity::Warning, "it grants everything in the whole cluster")
                } else {
                    (Severity::Info, "it grants rights in the whole cluster")
                };
                self.add(severity, "cluster-rights", message);
            }
            _ => {}
        }
        for what in risky_pod(wanted) {
            self.add(
                Severity::Warning,
                "privileged-pod",
                &format!("its pods use {what}"),
            );
        }
    }

    /// Who else minds the object.
    fn of_owner(&mut self, now: &Value, wanted: Option<&Value>) {
        let metadata = &now["metadata"];
        let labels = &metadata["labels"];
        let annotations = &metadata["annotations"];
        if let Some((name, namespace)) = release_of(labels, annotations) {
            let wanted_release = wanted.and_then(|wanted| {
                release_of(&wanted["metadata"]["labels"], &wanted["metadata"]["annotations"])
            });
            if wanted.is_some() && wanted_release != Some((name.clone(), namespace.clone())) {
                self.add(
                    Severity::Warning,
                    "owned-by-release",
                    &format!("it belongs to the Helm release {name} in namespace {namespace}"),
                );
            }
        }
        let tool = gitops_of(now);
        if let Some(who) = &tool {
            self.add(
                Severity::Warning,
                "owned-by-gitops",
                &format!("{who} minds it and may change it back"),
            );
        }
        if let Some(manager) = labels.get(MANAGED_BY).and_then(Value::as_str)
            && manager != "Helm"
            && tool.is_none()
        {
            self.add(
                Severity::Info,
                "managed-by",
                &format!("it says that {manager} manages it"),
            );
        }
    }
}

fn wildcard(role: &Value) -> bool {
    let has_star = |rule: &Value, field: &str| {
        rule.get(field)
            .and_then(Value::as_array)
            .is_some_and(|items| items.contains(&Value::from("*")))
    };
    role.get("rules").and_then(Value::as_array).is_some_and(|rules| {
        rules
            .iter()
            .any(|rule| has_star(rule, "verbs") && has_star(rule, "resources") && has_star(rule, "apiGroups"))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn previewed(object: &str, change: &str, certainty: &str) -> PreviewedObject {
        serde_json::from_value(json!({"step": "x", "ref": object, "change": change, "certainty": certainty}))
            .unwrap()
    }

    #[test]
    fn a_namespace_that_goes_only_if_it_is_empty_takes_nothing_with_it() {
        let codes = |certainty| {
            let risks = of(&previewed("v1/Namespace//shop", "delete", certainty), None, None);
            risks.into_iter().map(|risk| risk.code).collect::<Vec<_>>()
        };
        assert_eq!(codes("verified"), ["delete-namespace"]);
        assert_eq!(codes("decided-later"), ["delete"]);
    }

    #[test]
    fn a_validating_webhook_refuses_and_does_not_change() {
        for (kind, word) in [
            ("MutatingWebhookConfiguration", "may change"),
            ("ValidatingWebhookConfiguration", "may refuse"),
        ] {
            let object = format!("admissionregistration.k8s.io/v1/{kind}//hook");
            let wanted = json!({"webhooks": [{"failurePolicy": "Ignore"}]});
            let risks = of(&previewed(&object, "create", "verified"), Some(&wanted), None);
            assert!(risks[0].message.contains(word), "{kind}: {}", risks[0].message);
        }
    }
}
