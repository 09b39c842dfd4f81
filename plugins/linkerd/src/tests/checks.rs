use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use meshery_plugin_api::message::finding::{Finding, Severity};
use meshery_plugin_api::testkit;
use serde_json::json;

use super::cluster::Cluster;
use crate::Linkerd;

const NOW: &str = "2026-06-01T12:00:00Z";

fn codes(findings: &[Finding], severity: Severity) -> Vec<&str> {
    let of_severity = findings.iter().filter(|finding| finding.severity == severity);
    of_severity.map(|finding| finding.code.as_str()).collect()
}

fn install(cluster: Cluster) -> Vec<Finding> {
    cluster.check("install", json!({}))
}

#[test]
fn a_cluster_with_anchors_and_issuer_is_ready_and_one_without_is_not() {
    assert!(install(Cluster::of("given").now(NOW)).is_empty());
    let findings = install(Cluster::of("empty").now(NOW));
    assert_eq!(
        codes(&findings, Severity::Error),
        ["linkerd-trust-missing", "linkerd-trust-missing"]
    );
    let issuer = Cluster::of("given")
        .now(NOW)
        .change("linkerd-identity-issuer", |secret| {
            secret["type"] = "Opaque".into();
        });
    assert_eq!(codes(&install(issuer), Severity::Error), ["linkerd-issuer-type"]);
}

#[test]
fn an_anchor_is_warned_of_before_it_ends_and_refused_after() {
    let at = |now: &str| install(Cluster::of("given").now(now));
    let findings = at("2026-11-26T10:00:00Z");
    assert_eq!(codes(&findings, Severity::Warning), ["linkerd-anchor-expires"]);
    assert!(findings[0].message.contains("35 days"), "{findings:?}");
    assert_eq!(
        codes(&at("2027-01-02T00:00:00Z"), Severity::Error),
        ["linkerd-anchor-expired"]
    );
    assert_eq!(
        codes(&at("2025-12-31T00:00:00Z"), Severity::Error),
        ["linkerd-anchor-not-yet"]
    );
}

#[test]
fn an_anchor_that_has_ended_is_no_error_beside_one_that_holds() {
    let cluster =
        Cluster::of("given")
            .now("2027-01-02T00:00:00Z")
            .change("linkerd-identity-trust-roots", |object| {
                let old = object["data"]["ca-bundle.crt"].as_str().unwrap_or_default();
                let newer = include_str!("../../../mesh-kit/src/certificate/p256-newer.pem");
                object["data"]["ca-bundle.crt"] = format!("{old}{newer}").into();
            });
    let findings = install(cluster);
    assert!(codes(&findings, Severity::Error).is_empty(), "{findings:?}");
    assert_eq!(codes(&findings, Severity::Warning), ["linkerd-anchor-expired"]);
}

#[test]
fn an_anchor_that_proxies_would_refuse_is_an_error() {
    let with = |bundle: &'static str| {
        install(
            Cluster::of("given")
                .now(NOW)
                .change("linkerd-identity-trust-roots", move |object| {
                    object["data"]["ca-bundle.crt"] = bundle.into();
                }),
        )
    };
    let rsa = include_str!("../../../mesh-kit/src/certificate/rsa.pem");
    assert_eq!(codes(&with(rsa), Severity::Error), ["linkerd-anchor-algorithm"]);
    assert_eq!(
        codes(&with("nothing"), Severity::Error),
        ["linkerd-anchor-unreadable"]
    );
}

#[test]
fn what_is_installed_already_is_told_from_what_is_in_the_way() {
    let check = |operation: &str, version: &str| {
        Cluster::of("installed")
            .now(NOW)
            .check(operation, json!({"version": version}))
    };
    assert_eq!(
        codes(&check("install", "edge-25.10.7"), Severity::Info),
        ["linkerd-installed"]
    );
    assert_eq!(
        codes(&check("install", "edge-26.8.3"), Severity::Error),
        ["linkerd-other-version"]
    );
    assert!(codes(&check("upgrade", "edge-26.8.3"), Severity::Error).is_empty());
    let down = Cluster::of("installed")
        .now(NOW)
        .check("upgrade", json!({"version": "stable-2.14.10"}));
    assert!(
        codes(&down, Severity::Error).contains(&"linkerd-downgrade"),
        "{down:?}"
    );
    let elsewhere = Cluster::of("installed")
        .now(NOW)
        .check("install", json!({"namespace": "mesh"}));
    assert!(
        codes(&elsewhere, Severity::Error).contains(&"linkerd-installed"),
        "{elsewhere:?}"
    );
}

#[test]
fn missing_definitions_of_the_gateway_api_are_an_error_when_nobody_brings_them() {
    let findings = Cluster::of("given")
        .now(NOW)
        .check("install", json!({"gateway_api": "none"}));
    assert_eq!(codes(&findings, Severity::Error), ["linkerd-gateway-api-missing"]);
    assert!(findings[0].message.contains("httproutes.gateway"), "{findings:?}");
}

#[test]
fn what_is_cut_off_by_a_removal_is_listed_first() {
    let findings = Cluster::of("installed").check("remove", json!({}));
    let all: Vec<&str> = findings.iter().map(|finding| finding.code.as_str()).collect();
    assert_eq!(all[..2], ["workloads-cut-off", "namespaces-in-mesh"]);
    assert!(findings[0].message.contains("Pod shop/web-1"), "{findings:?}");
    assert!(findings[1].message.contains("shop"), "{findings:?}");
}

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

/// Installed by plain helm, which leaves no mark of ours.
fn by_helm() -> Cluster {
    let mut cluster = Cluster::of("installed").now(NOW);
    for name in [
        "linkerd-identity",
        "linkerd-destination",
        "linkerd-proxy-injector",
        "linkerd-proxy-injector-webhook-config",
        "linkerd-sp-validator-webhook-config",
        "linkerd-policy-validator-webhook-config",
        "servers.policy.linkerd.io",
    ] {
        cluster = cluster.change(name, |object| {
            let annotations = object["metadata"]["annotations"].as_object_mut();
            annotations.map(|annotations| annotations.remove("meshery.io/operation"));
        });
    }
    cluster
}

#[test]
fn what_helm_has_installed_is_changed_or_removed_on_explicit_word_only() {
    let version = json!({"version": "edge-25.10.7"});
    let with = |word: &str| json!({"version": "edge-25.10.7", word: true});
    for operation in ["install", "upgrade"] {
        assert_eq!(
            codes(&by_helm().check(operation, version.clone()), Severity::Error),
            ["linkerd-of-others"],
            "{operation}"
        );
        let adopted = by_helm().check(operation, with("adopt"));
        assert!(codes(&adopted, Severity::Error).is_empty(), "{adopted:?}");
        assert!(
            codes(&adopted, Severity::Warning).contains(&"linkerd-adopted"),
            "{adopted:?}"
        );
    }
    let refused = by_helm().check("remove", json!({}));
    assert!(
        codes(&refused, Severity::Error).contains(&"release-of-others"),
        "{refused:?}"
    );
    let allowed = by_helm().check("remove", json!({"of-others": true}));
    assert!(codes(&allowed, Severity::Error).is_empty(), "{allowed:?}");
}

#[test]
fn a_cni_plugin_that_helm_has_installed_is_taken_over_on_explicit_word_only() {
    let said = |agreed: bool| {
        let plugin = json!([{"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {
            "name": "linkerd-cni", "namespace": "linkerd-cni",
            "labels": {"app.kubernetes.io/managed-by": "Helm", "linkerd.io/cni-resource": "true"},
            "annotations": {"meta.helm.sh/release-name": "linkerd-cni",
                "meta.helm.sh/release-namespace": "linkerd-cni"}}}]);
        let cluster = meshery_plugin_api::testkit::Cluster::from_yaml(&plugin.to_string()).unwrap();
        let given = json!({"cni": true, "adopt": agreed});
        let mut found = cluster.check(&Linkerd, "install", given).unwrap().into_iter();
        let found = found.find(|found| found.code == "release-of-others");
        found.map(|found| found.severity)
    };
    assert_eq!(
        (said(false), said(true)),
        (Some(Severity::Error), Some(Severity::Warning))
    );
}

/// A cluster with the release of an extension, by one of its objects with an annotation that tells who made it.
fn extended(extension: &str, mark: &str) -> testkit::Cluster {
    let chart = format!("linkerd-{extension}");
    let of_release = json!([
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": chart}, "status": {"phase": "Active"}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {
            "name": extension, "namespace": chart,
            "labels": {"app.kubernetes.io/managed-by": "Helm", "linkerd.io/extension": extension},
            "annotations": {"meta.helm.sh/release-name": chart, "meta.helm.sh/release-namespace": chart,
                mark: "01J"}}},
    ]);
    testkit::Cluster::from_yaml(&of_release.to_string()).unwrap()
}

#[test]
fn an_extension_that_helm_has_installed_is_changed_or_removed_on_explicit_word_only() {
    for extension in ["viz", "multicluster", "smi"] {
        for (verb, word) in [("install", "adopt"), ("remove", "of-others")] {
            let operation = format!("{verb}-{extension}");
            let said = |mark: &str, agreed: bool| {
                let cluster = extended(extension, mark);
                let findings = cluster
                    .check(&Linkerd, &operation, json!({word: agreed}))
                    .unwrap();
                let mut found = findings.into_iter();
                let found = found.find(|found| found.code == "release-of-others");
                found.map(|found| found.severity)
            };
            let theirs = "example.com/made-by";
            assert_eq!(said(theirs, false), Some(Severity::Error), "{operation}");
            assert_eq!(said(theirs, true), Some(Severity::Warning), "{operation}");
            assert_eq!(said("meshery.io/operation", false), None, "{operation}");
        }
    }
}

#[test]
fn anchors_that_a_chart_has_made_stay_with_it() {
    let of_chart = Cluster::of("installed")
        .now(NOW)
        .change("linkerd-identity-trust-roots", |object| {
            object["metadata"]["annotations"] = json!({"meta.helm.sh/release-name": "linkerd-control-plane"});
        })
        .change("linkerd-identity-issuer", |secret| {
            secret["type"] = "Opaque".into();
        });
    let version = json!({"version": "edge-25.10.7"});
    assert_eq!(
        codes(&of_chart.check("install", version.clone()), Severity::Error),
        ["linkerd-trust-in-chart"]
    );
    let upgraded = of_chart.check("upgrade", version);
    assert!(codes(&upgraded, Severity::Error).is_empty(), "{upgraded:?}");
}

#[test]
fn an_issuer_is_warned_of_before_it_ends_and_refused_after_whoever_made_it() {
    let encoded = |key: &str| {
        let pem = include_str!("../../../mesh-kit/src/certificate/p256.pem");
        json!({key: STANDARD.encode(pem), "tls.key": STANDARD.encode("secret")})
    };
    for key in ["tls.crt", "crt.pem"] {
        let at = |now: &str| {
            let cluster = Cluster::of("given").now(now);
            install(cluster.change("linkerd-identity-issuer", |secret| secret["data"] = encoded(key)))
        };
        let warned = at("2026-11-26T10:00:00Z");
        assert!(
            codes(&warned, Severity::Warning).contains(&"linkerd-issuer-expires"),
            "{warned:?}"
        );
        let ended = at("2027-01-02T00:00:00Z");
        assert!(
            codes(&ended, Severity::Error).contains(&"linkerd-issuer-expired"),
            "{ended:?}"
        );
    }
}

#[test]
fn a_place_where_injection_cannot_be_proved_is_told_before() {
    let with = |key: &'static str, value: &'static str, given: serde_json::Value| {
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

/// A mesh whose issuer has this certificate, in PEM.
fn issued(cluster: Cluster, pem: &str) -> Cluster {
    cluster.change("linkerd-identity-issuer", |secret| {
        secret["data"] = json!({"tls.crt": STANDARD.encode(pem), "tls.key": ""});
    })
}

#[test]
fn an_issuer_that_identity_would_refuse_is_an_error_whoever_made_it() {
    let with = |pem: &str| {
        let findings = install(issued(Cluster::of("given").now(NOW), pem));
        findings
            .into_iter()
            .map(|finding| (finding.code, finding.severity == Severity::Error))
            .collect::<Vec<_>>()
    };
    let is = |code: &str, error| vec![(code.to_owned(), error)];
    assert!(with(include_str!("../../../mesh-kit/src/certificate/issuer.pem")).is_empty());
    assert_eq!(
        with(include_str!("../../../mesh-kit/src/certificate/issuer-p384.pem")),
        is("linkerd-issuer-algorithm", true)
    );
    assert_eq!(
        with(include_str!("../../../mesh-kit/src/certificate/leaf.pem")),
        is("linkerd-issuer-no-authority", true)
    );
    // Signed by one of the anchor's name, with another key.
    assert_eq!(
        with(include_str!("../../../mesh-kit/src/certificate/issuer-other.pem")),
        is("linkerd-issuer-unchained", true)
    );
    assert_eq!(
        with(include_str!("../../../mesh-kit/src/certificate/issuer-long.pem")),
        is("linkerd-issuer-outlives", false)
    );
    assert_eq!(with("nothing"), is("linkerd-issuer-unreadable", false));
}

#[test]
fn an_issuer_may_not_be_made_to_outlive_its_anchor() {
    let given = json!({"anchor_days": 30, "issuer_days": 31});
    for (operation, cluster) in [
        ("make-trust", "empty"),
        ("rotate-anchor", "installed"),
        ("replace-anchor", "installed"),
    ] {
        let error = Cluster::of(cluster)
            .now(NOW)
            .plan(operation, given.clone())
            .unwrap_err();
        assert_eq!(error.code, "linkerd-issuer-outlives", "{operation}");
        assert!(error.message.contains("31"), "{error:?}");
    }
    // The anchor ends on 2027-01-01, 213 days from now.
    let renew = |days: u64| {
        let issuer = include_str!("../../../mesh-kit/src/certificate/issuer.pem");
        issued(Cluster::of("installed").now(NOW), issuer).plan("renew-issuer", json!({"issuer_days": days}))
    };
    assert!(renew(213).is_ok());
    let error = renew(214).unwrap_err();
    assert_eq!(error.code, "linkerd-issuer-outlives");
    assert!(error.remedy.contains("213"), "{error:?}");
}

#[test]
fn an_anchor_is_replaced_at_once_only_when_nothing_holds_or_on_explicit_word() {
    let at = |now: &str, operation: &str, given| Cluster::of("installed").now(now).check(operation, given);
    let ended = "2027-01-02T00:00:00Z";
    assert_eq!(
        codes(&at(ended, "rotate-anchor", json!({})), Severity::Error),
        ["linkerd-anchor-expired"]
    );
    assert!(codes(&at(ended, "replace-anchor", json!({})), Severity::Error).is_empty());
    let refused = at(NOW, "replace-anchor", json!({}));
    assert_eq!(codes(&refused, Severity::Error), ["linkerd-anchor-holds"]);
    let word = at(NOW, "replace-anchor", json!({"cut_off": true}));
    assert!(codes(&word, Severity::Error).is_empty(), "{word:?}");
    assert!(
        codes(&word, Severity::Warning).contains(&"linkerd-cut-off"),
        "{word:?}"
    );
    // The anchor holds, and the issuer does not: identity would not come back from a restart.
    let leaf = include_str!("../../../mesh-kit/src/certificate/leaf.pem");
    let issuer =
        |operation: &str| issued(Cluster::of("installed").now(NOW), leaf).check(operation, json!({}));
    assert!(!codes(&issuer("rotate-anchor"), Severity::Error).is_empty());
    assert!(codes(&issuer("replace-anchor"), Severity::Error).is_empty());
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
fn on_openshift_the_plugin_is_asked_for_and_put_where_its_nodes_look() {
    let check = |given| Cluster::of("given").now(NOW).check("install", given);
    let without = check(json!({"platform": "openshift"}));
    assert_eq!(codes(&without, Severity::Warning), ["linkerd-openshift"]);
    assert!(without[0].remedy.contains("parameter cni"), "{without:?}");
    let with = check(json!({"platform": "openshift", "cni": true}));
    assert!(with[0].remedy.contains("add-scc-to-user"), "{with:?}");
    let plan = |given| {
        format!(
            "{:?}",
            Cluster::of("given").now(NOW).plan("install", given).unwrap()
        )
    };
    assert!(plan(json!({"platform": "openshift", "cni": true})).contains("/var/lib/cni/bin"));
    assert!(!plan(json!({"cni": true})).contains("destCNIBinDir"));
    let k3s = Cluster::of("given").now(NOW).version("v1.36.3+k3s1");
    let plan = format!("{:?}", k3s.plan("install", json!({"cni": true})).unwrap());
    assert!(plan.contains("/var/lib/rancher/k3s/data/cni"), "{plan}");
}

#[test]
fn an_extension_is_of_its_control_planes_version_and_what_differs_is_said() {
    let cluster = || Cluster::of("installed").now(NOW);
    let chart = |given| format!("{:?}", cluster().plan("install-viz", given).unwrap());
    assert!(
        chart(json!({})).contains("2025.10.7"),
        "the newest is another one"
    );
    let newer = json!({"version": "edge-26.8.3"});
    assert!(chart(newer.clone()).contains("2026.8.3"));
    let warned = |given| {
        let findings = cluster().check("install-viz", given);
        let found = findings
            .into_iter()
            .find(|finding| finding.code == "linkerd-extension-skew");
        found.map(|finding| finding.message).unwrap_or_default()
    };
    assert_eq!(warned(json!({})), "");
    let message = warned(newer);
    assert!(
        message.contains("edge-26.8.3") && message.contains("edge-25.10.7"),
        "{message}"
    );
}

#[test]
fn an_upgrade_says_which_extensions_stay_behind() {
    let cluster = |release: &'static str| {
        Cluster::of("installed").now(NOW).change("web-1", move |object| {
            object["kind"] = "ServiceAccount".into();
            object["metadata"] = json!({
                "name": "web",
                "namespace": "metrics",
                "labels": {"linkerd.io/extension": "viz", "app.kubernetes.io/managed-by": "Helm"},
                "annotations": {
                    "meta.helm.sh/release-name": release,
                    "meta.helm.sh/release-namespace": "metrics",
                },
            });
        })
    };
    let behind = |release| {
        let findings = cluster(release).check("upgrade", json!({"version": "edge-26.8.3"}));
        let found = findings
            .into_iter()
            .find(|finding| finding.code == "linkerd-extensions-behind");
        found.map(|finding| finding.message).unwrap_or_default()
    };
    assert!(behind("linkerd-viz").contains("viz in namespace metrics"));
    assert_eq!(behind("linkerd-smi"), "");
}

#[test]
fn high_availability_asks_for_a_node_for_each_replica() {
    let warned = |nodes: usize, ha: bool| {
        let node = |at: usize| {
            format!(
                "- {{apiVersion: v1, kind: Node, metadata: {{name: n{at}}}, status: {{conditions: [{{type: Ready, status: \
                 \"True\"}}]}}}}\n"
            )
        };
        let nodes: String = (0..nodes).map(node).collect();
        let findings = Cluster::with("given", &nodes)
            .now(NOW)
            .check("install", json!({"ha": ha}));
        codes(&findings, Severity::Warning).contains(&"linkerd-ha-nodes")
    };
    assert!(warned(1, true) && warned(2, true));
    assert!(!warned(3, true) && !warned(1, false));
    assert!(!warned(0, true), "they may come when pods ask");
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

#[test]
fn a_quota_is_held_against_all_pods_of_its_namespace() {
    let said = |in_namespace: &'static str, hard: serde_json::Value, operation: &str, given| {
        let cluster = Cluster::of("given").now(NOW).change("shop", move |object| {
            *object = json!({"apiVersion": "v1", "kind": "ResourceQuota",
                "metadata": {"name": "few", "namespace": in_namespace},
                "spec": {"hard": hard}, "status": {"hard": hard}});
        });
        codes(&cluster.check(operation, given), Severity::Warning).contains(&"quota-exceeded")
    };
    let pods = |hard: &str| json!({"pods": hard});
    assert!(said("linkerd", pods("2"), "install", json!({})));
    assert!(!said("linkerd", pods("3"), "install", json!({})));
    let ha = || json!({"ha": true});
    assert!(said("linkerd", pods("8"), "install", ha()));
    assert!(!said("linkerd", pods("9"), "install", ha()));
    let cpu = |hard: &str| json!({"requests.cpu": hard});
    assert!(said("linkerd", cpu("2"), "install", ha()));
    assert!(!said("linkerd", cpu("2100m"), "install", ha()));
    assert!(said("linkerd-viz", pods("4"), "install-viz", json!({})));
    assert!(!said("linkerd-viz", pods("5"), "install-viz", json!({})));
}
