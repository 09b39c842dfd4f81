use meshery_plugin_api::message::finding::Severity;
use serde_json::{Value, json};

use super::cluster::Cluster;

/// Code and severity of each finding.
fn found(cluster: &Cluster, operation: &str, given: Value) -> Vec<(String, Severity)> {
    let findings = cluster.check(operation, given);
    for finding in &findings {
        assert!(!finding.message.is_empty(), "{finding:?}");
        let acts = finding.severity != Severity::Info;
        assert!(!acts || !finding.remedy.is_empty(), "{finding:?}");
    }
    findings
        .into_iter()
        .map(|finding| (finding.code, finding.severity))
        .collect()
}

fn is(code: &str, severity: Severity) -> Vec<(String, Severity)> {
    vec![(code.to_owned(), severity)]
}

#[test]
fn nothing_speaks_against_installing_into_an_empty_cluster() {
    assert_eq!(
        found(&Cluster::of("empty"), "install", json!({"version": "1.30.2"})),
        []
    );
}

#[test]
fn support_that_has_ended_is_said_of_what_is_installed_and_of_what_is_there() {
    let now = "2026-11-01T00:00:00Z";
    let empty = || Cluster::of("empty").version("v1.33.0").now(now);
    assert_eq!(
        found(&empty(), "install", json!({"version": "1.29.1"})),
        is("version-end-of-life", Severity::Warning)
    );
    assert_eq!(found(&empty(), "install", json!({"version": "1.30.3"})), []);
    let there = |version: &'static str| {
        let cluster = Cluster::of("installed").now(now).change("istiod", move |object| {
            object["spec"]["template"]["spec"]["containers"][0]["image"] =
                json!(format!("registry.istio.io/release/pilot:{version}"));
        });
        let found = cluster.detect().unwrap();
        let findings = found.into_iter().flat_map(|installation| installation.findings);
        let ended: Vec<String> = findings
            .filter(|finding| finding.code == "version-end-of-life")
            .map(|finding| finding.message)
            .collect();
        ended
    };
    assert_eq!(there("1.30.2"), [""; 0]);
    let said = there("1.29.1");
    assert!(
        said.len() == 1 && said[0].contains("has ended on 2026-10-12"),
        "{said:?}"
    );
    let said = there("1.28.0");
    assert!(said[0].contains("at the latest on 2026-10-12"), "{said:?}");
}

#[test]
fn an_installation_that_is_there_decides_what_can_be_installed() {
    let installed = || Cluster::of("installed");
    for (cluster, given, expected) in [
        (
            installed(),
            json!({"version": "1.30.2"}),
            is("istio-installed", Severity::Info),
        ),
        (
            installed(),
            json!({"version": "1.30.3"}),
            is("istio-other-version", Severity::Error),
        ),
        (
            installed(),
            json!({"version": "1.30.2", "namespace": "second"}),
            vec![
                ("istio-installed".to_owned(), Severity::Error),
                (
                    "istio-definitions-of-another-release".to_owned(),
                    Severity::Warning,
                ),
            ],
        ),
        (
            Cluster::of("istioctl"),
            json!({}),
            is("istio-of-others", Severity::Error),
        ),
        (
            Cluster::of("half-removed"),
            json!({}),
            is("istio-incomplete", Severity::Warning),
        ),
        (
            Cluster::of("definitions-only"),
            json!({}),
            is("istio-definitions-of-another-release", Severity::Warning),
        ),
        (
            Cluster::of("revisioned"),
            json!({}),
            vec![
                ("istio-revision".to_owned(), Severity::Warning),
                ("istio-of-others".to_owned(), Severity::Error),
            ],
        ),
    ] {
        assert_eq!(found(&cluster, "install", given.clone()), expected, "{given}");
    }
}

#[test]
fn a_kubernetes_that_is_too_old_or_too_new_is_a_warning() {
    for version in ["v1.31.9", "v1.37.0-eks-3"] {
        let cluster = Cluster::of("empty").version(version);
        let expected = is("kubernetes-version", Severity::Warning);
        assert_eq!(
            found(&cluster, "install", json!({"version": "1.30.2"})),
            expected,
            "{version}"
        );
    }
}

#[test]
fn a_namespace_that_is_being_deleted_cannot_be_installed_into() {
    let found = found(&Cluster::of("empty"), "install", json!({"namespace": "going"}));
    assert_eq!(found, is("namespace-terminating", Severity::Error));
}

#[test]
fn what_could_not_be_read_is_told() {
    let cluster = Cluster::of("empty").forbid(&[("apps", "Deployment")]);
    let found = found(&cluster, "install", json!({}));
    let expected = ["facts-incomplete", "istio-unknown"].map(|code| (code.to_owned(), Severity::Warning));
    assert_eq!(found, expected);
}

#[test]
fn a_webhook_of_others_that_would_refuse_pods_is_told() {
    let cluster = Cluster::of("installed").change("istio-sidecar-injector", |object| {
        object["metadata"] = json!({"name": "other-injector"});
        object["webhooks"][0]["clientConfig"] = json!({"service": {"name": "other", "namespace": "other"}});
    });
    let found = found(&cluster, "install", json!({"version": "1.30.2"}));
    assert!(
        found.contains(&("webhook-of-others".to_owned(), Severity::Warning)),
        "{found:?}"
    );
}

/// The installed cluster with a webhook of somebody's that must see every new pod, and at whose Service nobody answers.
fn behind_a_dead_webhook() -> Cluster {
    Cluster::of("installed").change("default", |object| {
        *object = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": "policies"},
            "webhooks": [{
                "name": "policies.example.com", "failurePolicy": "Fail",
                "clientConfig": {"caBundle": "eA==", "service": {"name": "policies", "namespace": "policies"}},
                "namespaceSelector": {"matchExpressions": [{"key": "istio-injection", "operator": "In", "values": ["enabled"]}]},
                "rules": [{"operations": ["CREATE"], "resources": ["pods"]}],
            }],
        });
    })
}

#[test]
fn a_dead_webhook_of_others_is_told_before_whatever_makes_pods() {
    let told = |operation: &str, given: Value| {
        found(&behind_a_dead_webhook(), operation, given)
            .contains(&("webhook-without-endpoints".to_owned(), Severity::Warning))
    };
    for (operation, given) in [
        ("install", json!({"version": "1.30.2"})),
        ("upgrade", json!({"version": "1.30.3"})),
        ("upgrade-canary", json!({"version": "1.30.3"})),
        ("inject", json!({"namespace": "shop", "restart": true})),
    ] {
        assert!(told(operation, given), "{operation}");
    }
    assert!(!told("inject", json!({"namespace": "shop"})), "no pod is made");
}

#[test]
fn webhooks_of_others_are_no_injectors() {
    let only_theirs = behind_a_dead_webhook().change("istio-sidecar-injector", |object| {
        object["kind"] = json!("Gone");
    });
    for (given, code) in [
        (json!({"namespace": "shop"}), "istio-not-installed"),
        (
            json!({"namespace": "shop", "revision": "canary"}),
            "istio-revision-unknown",
        ),
    ] {
        let said = found(&only_theirs, "inject", given);
        assert!(said.contains(&(code.to_owned(), Severity::Error)), "{said:?}");
    }
}

#[test]
fn removing_says_what_loses_its_control_plane() {
    let cluster = Cluster::of("installed");
    assert_eq!(
        found(&cluster, "remove", json!({})),
        [
            ("workloads-cut-off".to_owned(), Severity::Warning),
            ("namespaces-in-mesh".to_owned(), Severity::Warning),
        ]
    );
    let first = &cluster.check("remove", json!({}))[0];
    assert!(first.message.contains("shop/web"), "{first:?}");
    let others = found(&Cluster::of("revisioned"), "remove", json!({}));
    let codes: Vec<&str> = others.iter().map(|(code, _)| code.as_str()).collect();
    assert_eq!(
        codes,
        [
            "release-of-others",
            "release-of-others",
            "istio-revision-tagged",
            "gateway-of-others",
            "namespaces-in-mesh"
        ]
    );
}

#[test]
fn a_label_that_would_do_nothing_is_an_error() {
    let shop = json!({"namespace": "shop"});
    assert_eq!(
        found(&Cluster::of("empty"), "inject", shop.clone()),
        is("istio-not-installed", Severity::Error)
    );
    let canary_only = Cluster::of("revisioned").change("istio-sidecar-injector", |object| {
        object["kind"] = json!("Gone");
    });
    let findings = found(&canary_only, "inject", json!({"namespace": "trial"}));
    assert_eq!(
        findings[0],
        ("istio-no-default-revision".to_owned(), Severity::Error)
    );
    assert_eq!(
        found(&Cluster::of("installed"), "inject", shop),
        is("label-there", Severity::Info)
    );
}

#[test]
fn labels_of_others_that_contradict_are_told() {
    let cluster = Cluster::of("revisioned");
    assert_eq!(
        found(&cluster, "inject", json!({"namespace": "out"})),
        is("label-of-others", Severity::Error)
    );
    assert_eq!(
        found(&cluster, "inject", json!({"namespace": "trial"})),
        is("IST0123", Severity::Warning)
    );
}

#[test]
fn bookinfo_is_checked_for_what_it_needs_and_what_is_in_its_way() {
    let empty = Cluster::of("empty");
    assert_eq!(found(&empty, "deploy-bookinfo", json!({})), []);
    let given = json!({"inject": true, "expose": true});
    let twice = [
        is("istio-not-installed", Severity::Error),
        is("istio-not-installed", Severity::Error),
    ]
    .concat();
    assert_eq!(found(&empty, "deploy-bookinfo", given), twice);
    assert_eq!(
        found(&Cluster::of("bookinfo"), "deploy-bookinfo", json!({})),
        is("sample-of-others", Severity::Warning)
    );
}

#[test]
fn a_cluster_without_room_is_told_of_before_the_installation() {
    let cluster = Cluster::of("cramped");
    assert_eq!(
        found(&cluster, "install", json!({"profile": "minimal"})),
        vec![
            ("no-node-large-enough".to_owned(), Severity::Warning),
            ("quota-wants-limits".to_owned(), Severity::Warning),
            ("clock-skew".to_owned(), Severity::Warning),
        ]
    );
    let less =
        json!({"profile": "minimal", "values": {"istiod": {"resources": {"requests": {"memory": "200Mi"}}}}});
    let found_less = found(&cluster, "install", less);
    assert!(
        !found_less.iter().any(|(code, _)| code == "no-node-large-enough"),
        "{found_less:?}"
    );
    let ambient = found(&cluster, "install", json!({"profile": "ambient"}));
    assert!(
        ambient.contains(&("cni-exclusive".to_owned(), Severity::Error)),
        "{ambient:?}"
    );
}

#[test]
fn a_quota_is_held_against_what_its_own_namespace_gets() {
    let said = |in_namespace: &'static str, hard: Value, given: Value| {
        let cluster = Cluster::of("cramped").change("limits", move |quota| {
            quota["metadata"]["namespace"] = in_namespace.into();
            quota["spec"]["hard"] = hard.clone();
            quota["status"]["hard"] = hard.clone();
        });
        let codes = found(&cluster, "install", given).into_iter();
        codes.filter(|(code, _)| code == "quota-exceeded").count()
    };
    let given = || json!({"version": "1.30.2"});
    let memory = |hard: &str| json!({"requests.memory": hard});
    assert_eq!(said("istio-system", memory("1Gi"), given()), 1);
    assert_eq!(said("istio-system", memory("2Gi"), given()), 0);
    // A gateway asks for less than istiod.
    assert_eq!(said("istio-ingress", memory("1Gi"), given()), 0);
    assert_eq!(said("istio-ingress", memory("100Mi"), given()), 1);
    let less =
        json!({"version": "1.30.2", "values": {"gateway": {"resources": {"requests": {"memory": "50Mi"}}}}});
    assert_eq!(said("istio-ingress", memory("100Mi"), less), 0);
    // Both gateways in one namespace are two pods; in ambient mode the one node gets two beside istiod.
    let together = json!({"version": "1.30.2", "profile": "demo", "egress_namespace": "istio-ingress"});
    let pods = |hard: &str| json!({"pods": hard});
    assert_eq!(said("istio-ingress", pods("1"), together.clone()), 1);
    assert_eq!(said("istio-ingress", pods("2"), together), 0);
    let ambient = json!({"version": "1.30.2", "profile": "ambient"});
    assert_eq!(said("istio-system", pods("2"), ambient.clone()), 1);
    assert_eq!(said("istio-system", pods("3"), ambient), 0);
}
