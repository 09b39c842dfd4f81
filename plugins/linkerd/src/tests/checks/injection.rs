//! What keeps proxies from pods, or the proof of it from going through.

use meshery_plugin_api::message::finding::Severity;
use serde_json::{Value, json};

use super::{NOW, codes};
use crate::tests::cluster::Cluster;

#[test]
fn an_annotation_that_would_do_nothing_or_clash_is_said() {
    let findings = Cluster::of("given").check("inject", json!({"namespace": "shop"}));
    assert_eq!(codes(&findings, Severity::Error), ["linkerd-not-installed"]);
    let two = Cluster::of("installed").change("shop", |namespace| {
        namespace["metadata"]["labels"]["istio-injection"] = "enabled".into();
        namespace["metadata"]["labels"]["config.linkerd.io/admission-webhooks"] = "disabled".into();
    });
    let findings = two.check("inject", json!({"namespace": "shop"}));
    assert_eq!(
        codes(&findings, Severity::Error),
        ["namespace-kept-from-webhooks"]
    );
    assert_eq!(
        codes(&findings, Severity::Warning),
        ["annotation-of-others", "two-meshes"]
    );
    let findings = Cluster::of("given").check("install-viz", json!({}));
    assert_eq!(codes(&findings, Severity::Error), ["linkerd-not-installed"]);
}

#[test]
fn a_place_where_injection_cannot_be_proved_is_told_before() {
    let with = |key: &'static str, value: &'static str, given: Value| {
        let cluster = Cluster::of("given").now(NOW).change("shop", |object| {
            object["metadata"]["name"] = "default".into();
            object["metadata"]["labels"] = json!({key: value});
        });
        codes(&cluster.check("install", given), Severity::Error)
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    let enforce = "pod-security.kubernetes.io/enforce";
    assert_eq!(with(enforce, "baseline", json!({})), ["linkerd-unprovable"]);
    assert!(with(enforce, "baseline", json!({"cni": true})).is_empty());
    // The chart has proxies keep capabilities that this level wants to be given up.
    assert_eq!(
        with(enforce, "restricted", json!({"cni": true})),
        ["linkerd-unprovable"]
    );
    assert!(with(enforce, "privileged", json!({})).is_empty());
    let disabled = with("config.linkerd.io/admission-webhooks", "disabled", json!({}));
    assert_eq!(disabled, ["linkerd-unprovable"]);
}

#[test]
fn nothing_is_restarted_whose_proof_podsecurity_would_refuse() {
    let cluster = Cluster::of("installed").now(NOW).change("shop", |object| {
        object["metadata"]["name"] = "default".into();
        object["metadata"]["labels"] = json!({"pod-security.kubernetes.io/enforce": "baseline"});
    });
    for (operation, given) in [
        ("restart-all", json!({})),
        ("rotate-anchor", json!({})),
        ("replace-anchor", json!({"cut_off": true})),
        ("restart", json!({"namespace": "linkerd"})),
    ] {
        let findings = cluster.check(operation, given);
        assert_eq!(
            codes(&findings, Severity::Error),
            ["linkerd-unprovable"],
            "{operation}"
        );
    }
    let workloads = cluster.check("restart", json!({"namespace": "default"}));
    assert!(codes(&workloads, Severity::Error).is_empty(), "{workloads:?}");
}

#[test]
fn a_namespace_that_would_refuse_the_init_container_is_named_unless_the_plugin_is_there() {
    let enforcing = |level: &'static str| {
        Cluster::of("installed")
            .now(NOW)
            .change("shop", move |namespace| {
                namespace["metadata"]["labels"] = json!({"pod-security.kubernetes.io/enforce": level});
            })
    };
    let warned = |cluster: &Cluster, operation: &str, given| {
        codes(&cluster.check(operation, given), Severity::Warning).contains(&"pod-security")
    };
    let shop = || json!({"namespace": "shop"});
    for level in ["restricted", "baseline"] {
        assert!(warned(&enforcing(level), "inject", shop()), "{level}");
        let deployed = json!({"namespace": "shop", "inject": true});
        assert!(warned(&enforcing(level), "deploy-httpbin", deployed), "{level}");
    }
    assert!(!warned(&enforcing("privileged"), "inject", shop()));
    assert!(!warned(
        &enforcing("restricted"),
        "inject",
        json!({"namespace": "shop", "mode": "disabled"})
    ));
    assert!(
        !warned(&enforcing("restricted"), "deploy-httpbin", shop()),
        "nobody asks for a proxy"
    );
    // The plugin's DaemonSet, in the place of a Deployment that nobody looks for here.
    let with_plugin = |level| {
        enforcing(level).change("web", |object| {
            object["kind"] = "DaemonSet".into();
            object["metadata"]["name"] = "linkerd-cni".into();
            object["metadata"]["namespace"] = "linkerd-cni".into();
            object["metadata"]["labels"] = json!({"linkerd.io/cni-resource": "true"});
        })
    };
    assert!(!warned(&with_plugin("baseline"), "inject", shop()));
    // By the chart a proxy keeps capabilities that the strictest level wants to be given up.
    let strictest = with_plugin("restricted").check("inject", shop());
    let remedy = strictest.iter().find(|finding| finding.code == "pod-security");
    assert!(
        remedy.is_some_and(|finding| finding.remedy.contains("proxy.capabilities.drop")),
        "{strictest:?}"
    );
}

#[test]
fn a_dead_webhook_of_others_is_told_before_an_inject_that_restarts() {
    let cluster = Cluster::of("installed").now(NOW).change("web", |object| {
        *object = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": "policies"},
            "webhooks": [{
                "name": "policies.example.com", "failurePolicy": "Fail",
                "clientConfig": {"caBundle": "eA==", "service": {"name": "policies", "namespace": "policies"}},
                "rules": [{"operations": ["CREATE"], "resources": ["pods"]}],
            }],
        });
    });
    let told = |given| {
        let findings = cluster.check("inject", given);
        codes(&findings, Severity::Warning).contains(&"webhook-without-endpoints")
    };
    assert!(told(json!({"namespace": "shop", "restart": true})));
    assert!(!told(json!({"namespace": "shop"})), "no pod is made");
}
