//! What a webhook configuration says about itself: whether the server can call it, and what happens if not.

use std::collections::BTreeSet;

use meshery_plugin_api::message::facts::{Detail, Facts, Need};
use meshery_plugin_api::message::finding::Finding;
use meshery_plugin_api::message::object_ref::ObjectRef;
use serde_json::Value;

use crate::need;
use crate::object::{label, name, namespace, text};
use crate::ownership::{ReleaseId, release_of};
use crate::readable::kind_is_whole;

const GROUP: &str = "admissionregistration.k8s.io";
const KINDS: [&str; 2] = ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"];
/// Group of `EndpointSlices`, and the label by which one says whose endpoints it has.
const DISCOVERY: &str = "discovery.k8s.io";
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// All webhooks, the mesh's own or not, and who answers at the Services of the cluster.
pub fn needs() -> [Need; 3] {
    [
        need::everywhere(GROUP, KINDS[0], "", Detail::Full),
        need::everywhere(GROUP, KINDS[1], "", Detail::Full),
        need::everywhere(DISCOVERY, "EndpointSlice", "", Detail::Full),
    ]
}

/// Who answers at the Services that a selector finds: what Kubernetes makes of a Service bears its labels.
pub fn endpoints(selector: &str) -> Need {
    need::everywhere(DISCOVERY, "EndpointSlice", selector, Detail::Full)
}

/// The configurations that bear the marks of a release.
pub fn of_release<'a>(facts: &'a Facts, id: &'a ReleaseId) -> impl Iterator<Item = ObjectRef> + 'a {
    KINDS.iter().flat_map(move |kind| {
        facts
            .objects(GROUP, kind)
            .filter(move |object| release_of(object).as_ref() == Some(id))
            .map(move |object| ObjectRef::new(&format!("{GROUP}/v1"), kind, "", name(object)))
    })
}

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

/// Whether a webhook configuration must see every new pod that it is for, or the pod is refused.
pub fn blocks_pods(configuration: &Value) -> bool {
    let webhooks = configuration.get("webhooks").and_then(Value::as_array);
    webhooks.into_iter().flatten().any(sees_new_pods)
}

fn sees_new_pods(webhook: &Value) -> bool {
    let list = |value: Option<&Value>, wanted: &str| {
        value
            .and_then(Value::as_array)
            .is_some_and(|items| items.iter().any(|item| item == wanted || item == "*"))
    };
    let rules = webhook.get("rules").and_then(Value::as_array);
    webhook.get("failurePolicy").is_none_or(|policy| policy == "Fail")
        && rules
            .into_iter()
            .flatten()
            .any(|rule| list(rule.get("resources"), "pods") && list(rule.get("operations"), "CREATE"))
}

/// Webhooks that are not the mesh's own and must see every new pod, but cannot be called: because the server could not trust
/// them, or because nobody answers.
pub fn of_others(facts: &Facts, is_own: impl Fn(&Value) -> bool) -> Vec<Finding> {
    let mut seen = BTreeSet::new();
    let mut findings = Vec::new();
    for kind in KINDS {
        for configuration in facts.objects(GROUP, kind) {
            if is_own(configuration)
                || !blocks_pods(configuration)
                || !seen.insert((kind, name(configuration)))
            {
                continue;
            }
            let webhooks = read(configuration);
            let mut say = |code: &str, what: &str| {
                findings.push(
                    Finding::warning(
                        code,
                        format!(
                            "{} must see every new pod and {what}: pods may be refused",
                            webhooks.name
                        ),
                    )
                    .about(ObjectRef::new(
                        "admissionregistration.k8s.io/v1",
                        kind,
                        "",
                        &webhooks.name,
                    ))
                    .remedy("repair or remove it first, if pods cannot be made in these namespaces"),
                );
            };
            if !webhooks.without_ca_bundle.is_empty() {
                say("webhook-of-others", "has no CA bundle");
            }
            let silent = blocking_services(configuration)
                .into_iter()
                .filter(|service| answers(facts, service) == Some(false));
            for (namespace, service) in silent {
                let what = format!("nobody answers at its Service {namespace}/{service}");
                say("webhook-without-endpoints", &what);
            }
        }
    }
    findings
}

/// A webhook configuration of the mesh's own at whose Service nobody answers, as far as that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unanswered {
    /// Name of the configuration.
    pub name: String,
    /// Namespace and name of each Service, as in `mesh/injector`.
    pub services: Vec<String>,
    /// Whether what it is to see is refused meanwhile; else it passes unseen.
    pub refuses: bool,
}

/// Whether that is so of a configuration. The slices of its Services have to be among the facts ([`endpoints`]).
pub fn unanswered(facts: &Facts, configuration: &Value) -> Option<Unanswered> {
    let of = read(configuration);
    let silent: Vec<_> = of
        .services
        .iter()
        .filter(|service| answers(facts, service) == Some(false))
        .collect();
    let list = configuration.get("webhooks").and_then(Value::as_array);
    let refuses = list.into_iter().flatten().any(|webhook| {
        let part = |part: &str| text(webhook, &format!("/clientConfig/service/{part}"));
        text(webhook, "/failurePolicy") != "Ignore"
            && silent
                .iter()
                .any(|(namespace, name)| part("namespace") == namespace && part("name") == name)
    });
    (!silent.is_empty()).then(|| Unanswered {
        name: of.name.clone(),
        services: silent
            .iter()
            .map(|(namespace, name)| format!("{namespace}/{name}"))
            .collect(),
        refuses,
    })
}

impl Unanswered {
    /// What is to be said of an injector, in the mesh's own word: which pods are concerned, and what becomes of them.
    pub fn injector(&self, word: &str, namespaces: &[String], object: ObjectRef) -> Finding {
        let pods = if namespaces.is_empty() {
            "new pods that ask for a proxy".to_owned()
        } else {
            format!("new pods in {}", namespaces.join(", "))
        };
        let fate = if self.refuses {
            "are refused"
        } else {
            "get no proxy"
        };
        self.finding(word, &format!("{pods} {fate}"), object)
    }

    /// The same of a validator.
    pub fn validator(&self, word: &str, object: ObjectRef) -> Finding {
        let fate = if self.refuses {
            "the configuration that it checks is refused"
        } else {
            "the configuration that it checks passes unchecked"
        };
        self.finding(word, fate, object)
    }

    fn finding(&self, word: &str, consequence: &str, object: ObjectRef) -> Finding {
        Finding::error(
            format!("{word}-webhook-without-endpoints"),
            format!(
                "nobody answers at Service {}, which {} calls: {consequence}",
                self.services.join(", "),
                self.name
            ),
        )
        .about(object)
        .remedy(
            "see whether the control plane's pods are ready and the Service selects them; installing \
             the same version again puts back what is missing",
        )
    }
}

/// The Services of those webhooks of a configuration without which no pod is let in.
fn blocking_services(configuration: &Value) -> BTreeSet<(String, String)> {
    let list = configuration.get("webhooks").and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .filter(|webhook| sees_new_pods(webhook))
        .map(|webhook| {
            let part = |part: &str| text(webhook, &format!("/clientConfig/service/{part}")).to_owned();
            (part("namespace"), part("name"))
        })
        .filter(|(_, name)| !name.is_empty())
        .collect()
}

/// Whether anybody answers at a Service; nothing when it cannot be told.
fn answers(facts: &Facts, (of_namespace, service): &(String, String)) -> Option<bool> {
    // What does not say that it is not ready is.
    let is_ready = |endpoint: &Value| endpoint.pointer("/conditions/ready") != Some(&Value::Bool(false));
    let answering = facts
        .objects(DISCOVERY, "EndpointSlice")
        .filter(|slice| namespace(slice) == of_namespace && label(slice, SERVICE_NAME) == Some(service))
        .filter_map(|slice| slice.get("endpoints")?.as_array())
        .flatten()
        .any(is_ready);
    (answering || kind_is_whole(facts, DISCOVERY, "EndpointSlice")).then_some(answering)
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

    #[test]
    fn a_webhook_of_the_mesh_s_own_says_what_becomes_of_what_it_does_not_see() {
        use meshery_plugin_api::message::facts::{KindFacts, Readability};

        let injector = |policy: &str| {
            json!({"metadata": {"name": "injector"}, "webhooks": [{"name": "a", "failurePolicy": policy,
                "clientConfig": {"service": {"namespace": "mesh", "name": "brain"}}}]})
        };
        let facts = |ready: Option<bool>, state| Facts {
            kinds: vec![KindFacts {
                need: endpoints("of=mesh"),
                state,
                objects: ready
                    .map(|ready| {
                        json!({"metadata": {"name": "brain-x", "namespace": "mesh",
                            "labels": {"kubernetes.io/service-name": "brain"}},
                            "endpoints": [{"conditions": {"ready": ready}}]})
                    })
                    .into_iter()
                    .collect(),
                ..KindFacts::default()
            }],
            ..Facts::default()
        };
        let object = || ObjectRef::new("v1", "Thing", "", "injector");
        let said = |facts: &Facts, policy: &str, namespaces: &[&str]| {
            let namespaces: Vec<String> = namespaces.iter().map(ToString::to_string).collect();
            unanswered(facts, &injector(policy))
                .map(|found| found.injector("lattice", &namespaces, object()).message)
        };
        let nobody = facts(Some(false), Readability::Present);
        assert_eq!(
            said(&nobody, "Fail", &["shop", "bazaar"]).unwrap(),
            "nobody answers at Service mesh/brain, which injector calls: new pods in shop, bazaar are refused"
        );
        assert!(
            said(&nobody, "Ignore", &[])
                .unwrap()
                .ends_with("ask for a proxy get no proxy")
        );
        assert!(said(&facts(None, Readability::Absent), "Fail", &[]).is_some());
        assert_eq!(said(&facts(Some(true), Readability::Present), "Fail", &[]), None);
        assert_eq!(said(&facts(None, Readability::Forbidden), "Fail", &[]), None);
        assert_eq!(said(&Facts::default(), "Fail", &[]), None, "it was not asked for");
        let open = unanswered(&nobody, &injector("Ignore"))
            .unwrap()
            .validator("lattice", object());
        assert!(open.code == "lattice-webhook-without-endpoints" && open.message.ends_with("unchecked"));
    }

    #[test]
    fn a_webhook_of_others_at_which_nobody_answers_is_named_when_that_is_known() {
        use meshery_plugin_api::message::facts::{KindFacts, Readability};

        let webhook = |policy: &str| {
            json!({"metadata": {"name": "guard"}, "webhooks": [{"name": "a", "failurePolicy": policy,
                "rules": [{"operations": ["CREATE"], "resources": ["pods"]}],
                "clientConfig": {"caBundle": "Zm9v", "service": {"namespace": "guards", "name": "guard"}}}]})
        };
        let slice = |ready: bool| {
            json!({"metadata": {"name": "guard-x", "namespace": "guards",
                "labels": {"kubernetes.io/service-name": "guard"}}, "endpoints": [{"conditions": {"ready": ready}}]})
        };
        let found = |policy: &str, slices: Vec<Value>, state| {
            let [mutating, validating, endpoints] = needs();
            let kind = |need, state, objects| KindFacts {
                need,
                state,
                objects,
                ..KindFacts::default()
            };
            let facts = Facts {
                kinds: vec![
                    kind(mutating, Readability::Absent, Vec::new()),
                    kind(validating, Readability::Present, vec![webhook(policy)]),
                    kind(endpoints, state, slices),
                ],
                ..Facts::default()
            };
            let found = of_others(&facts, |_| false);
            found.into_iter().map(|finding| finding.code).collect::<Vec<_>>()
        };
        let silent = ["webhook-without-endpoints"];
        assert_eq!(found("Fail", vec![], Readability::Absent), silent);
        assert_eq!(found("Fail", vec![slice(false)], Readability::Present), silent);
        assert!(found("Fail", vec![slice(true)], Readability::Present).is_empty());
        assert!(found("Ignore", vec![], Readability::Absent).is_empty());
        assert!(found("Fail", vec![], Readability::Forbidden).is_empty());
        assert!(found("Fail", vec![slice(false)], Readability::Truncated).is_empty());
    }
}
