//! Policies, add-ons, the filter of Image Hub, and what people bring themselves.

use meshery_mesh_kit::review::{assert_snapshot, plan_text};
use meshery_plugin_api::message::finding::Severity;
use meshery_plugin_api::testkit;
use serde_json::{Value, json};

use super::cluster::{Cluster, folder};
use crate::Istio;

const ADDONS: [&str; 5] = ["prometheus", "grafana", "kiali", "jaeger", "zipkin"];

fn text(cluster: &str, operation: &str, given: Value) -> String {
    plan_text(&Cluster::of(cluster).plan(operation, given).unwrap())
}

fn matches(snapshot: &str, text: &str) {
    assert_snapshot(&folder("snapshots").join(format!("{snapshot}.txt")), text);
}

/// Code and severity of what is said about an operation in a cluster that serves these kinds.
fn said(cluster: testkit::Cluster, operation: &str, given: Value) -> Vec<(String, Severity)> {
    let served = [
        "security.istio.io/v1/PeerAuthentication",
        "networking.istio.io/v1alpha3/EnvoyFilter",
    ];
    let cluster = served.iter().fold(cluster, |cluster, api| cluster.api(api));
    let findings = cluster.check(&Istio, operation, given).unwrap();
    for finding in &findings {
        assert!(
            finding.severity == Severity::Info || !finding.remedy.is_empty(),
            "{finding:?}"
        );
    }
    findings
        .into_iter()
        .map(|finding| (finding.code, finding.severity))
        .collect()
}

fn cluster(text: &str) -> testkit::Cluster {
    testkit::Cluster::from_yaml(text).unwrap()
}

fn installed() -> testkit::Cluster {
    cluster(&std::fs::read_to_string(folder("clusters").join("installed.yaml")).unwrap())
}

#[test]
fn each_policy_is_set_for_a_namespace_or_for_the_mesh() {
    let texts: Vec<String> = ["strict", "permissive", "disable", "deny-all"]
        .map(|policy| {
            text(
                "installed",
                "set-policy",
                json!({"policy": policy, "namespace": "shop"}),
            )
        })
        .into();
    matches("set-policies", &texts.join("\n"));
    let mesh = text("installed", "set-policy", json!({}));
    assert!(mesh.starts_with("Set policy strict for the whole mesh"), "{mesh}");
    assert!(mesh.contains("PeerAuthentication/istio-system/default"), "{mesh}");
}

#[test]
fn strict_names_those_who_would_be_cut_off_and_deny_all_what_it_does() {
    let warned = |code: &str| vec![(code.to_owned(), Severity::Warning)];
    assert_eq!(
        said(installed(), "set-policy", json!({"namespace": "shop"})),
        warned("workloads-without-proxy")
    );
    // A client of another namespace is cut off as well, also where the policy is for the whole mesh.
    let client = "
- apiVersion: v1
  kind: Pod
  metadata: {name: batch-1, namespace: office}
  spec: {containers: [{name: batch}]}
- apiVersion: v1
  kind: Pod
  metadata: {name: istiod-1, namespace: istio-system, labels: {app: istiod}}
  spec: {containers: [{name: discovery}]}
- apiVersion: v1
  kind: Pod
  metadata: {name: node-1, namespace: istio-system, labels: {app.kubernetes.io/part-of: istio}}
  spec: {containers: [{name: install-cni}]}
- apiVersion: v1
  kind: Pod
  metadata: {name: ztunnel-1, namespace: istio-system, labels: {app: ztunnel}}
  spec: {containers: [{name: istio-proxy}]}
";
    for (given, place) in [
        (json!({"namespace": "shop"}), "in namespace shop"),
        (json!({}), "in the whole mesh (namespace istio-system)"),
    ] {
        let findings = Cluster::with("installed", client).check("set-policy", given);
        let found = findings
            .iter()
            .find(|finding| finding.code == "workloads-without-proxy");
        assert_eq!(
            found.unwrap().message,
            format!("pods without a proxy (3 in shop, 1 in office) can talk to nobody {place} any more")
        );
    }
    assert_eq!(
        said(installed(), "set-policy", json!({"policy": "permissive"})),
        []
    );
    let bare = cluster("- {apiVersion: v1, kind: Namespace, metadata: {name: shop}}");
    assert_eq!(
        said(bare, "set-policy", json!({"namespace": "shop"})),
        warned("istio-no-control-plane"),
        "and nobody is cut off"
    );
    assert_eq!(
        said(installed(), "set-policy", json!({"policy": "deny-all"})),
        warned("denies-all")
    );
}

#[test]
fn a_policy_of_somebody_else_is_not_overwritten() {
    let theirs = cluster(
        "- {apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {name: default, namespace: shop}}",
    );
    let found = said(
        theirs,
        "set-policy",
        json!({"namespace": "shop", "policy": "disable"}),
    );
    assert!(
        found.contains(&("policy-of-others".to_owned(), Severity::Error)),
        "{found:?}"
    );
}

#[test]
fn each_addon_is_for_inside_the_cluster_with_pinned_images() {
    for addon in ADDONS {
        let operation = format!("add-{addon}");
        let text = text("installed", &operation, json!({}));
        matches(&operation, &text);
        assert!(
            !text.contains("LoadBalancer") && !text.contains("{namespace}"),
            "{text}"
        );
        let images = text.lines().filter_map(|line| {
            line.trim()
                .strip_prefix("- image: ")
                .or(line.trim().strip_prefix("image: "))
        });
        let images: Vec<&str> = images.collect();
        assert_eq!(images.len(), 1, "{text}");
        assert!(
            images[0].rsplit_once(':').is_some_and(|(_, tag)| tag != "latest"),
            "{images:?}"
        );
        let removed = Cluster::of("installed")
            .plan(&format!("remove-{addon}"), json!({}))
            .unwrap();
        assert!(plan_text(&removed).contains("when ours"));
    }
}

#[test]
fn a_public_address_is_given_only_when_asked_for_and_then_said() {
    let given = json!({"service_type": "LoadBalancer"});
    assert!(text("installed", "add-grafana", given.clone()).contains("type: LoadBalancer"));
    let found = said(installed(), "add-prometheus", given);
    assert_eq!(found, [("addon-public".to_owned(), Severity::Warning)]);
}

#[test]
fn jaeger_and_zipkin_do_not_take_each_others_services() {
    let with_zipkin = "
- {apiVersion: v1, kind: Service, metadata: {name: tracing, namespace: istio-system, labels: {app: zipkin}}}
- {apiVersion: v1, kind: Service, metadata: {name: zipkin, namespace: istio-system, labels: {app: zipkin}}}";
    let clash = ("addon-clash".to_owned(), Severity::Error);
    assert_eq!(
        said(cluster(with_zipkin), "add-jaeger", json!({})),
        [clash.clone(), clash]
    );
    assert_eq!(said(cluster(with_zipkin), "add-zipkin", json!({})), []);
    assert_eq!(
        said(cluster(with_zipkin), "add-jaeger", json!({"namespace": "traces"})),
        []
    );
    let removed = plan_text(
        &cluster(with_zipkin)
            .plan(&Istio, "remove-jaeger", json!({}))
            .unwrap(),
    );
    assert!(!removed.contains("Service/istio-system/tracing"), "{removed}");
    assert!(
        removed.contains("Service/istio-system/jaeger-collector"),
        "{removed}"
    );
}

#[test]
fn what_an_addon_shows_has_to_be_there() {
    let found = said(installed(), "add-kiali", json!({}));
    assert_eq!(found, [("addon-without-data".to_owned(), Severity::Warning)]);
}

#[test]
fn image_hubs_filter_changes_no_workload_and_loads_no_code() {
    let text = text("empty", "add-imagehub-filter", json!({"per_minute": 3}));
    matches("add-imagehub-filter", &text);
    assert!(
        !text.contains("Deployment") && !text.contains("http://") && !text.contains("https://"),
        "{text}"
    );
    let error = Cluster::of("empty")
        .plan("add-imagehub-filter", json!({"per_minute": 0}))
        .unwrap_err();
    assert_eq!(error.code, "bad-parameter");
    let found = said(cluster("[]"), "add-imagehub-filter", json!({}));
    assert_eq!(found, [("filter-without-workload".to_owned(), Severity::Warning)]);
}

#[test]
fn what_people_bring_is_applied_in_the_namespace_they_name() {
    let yaml = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}";
    let text = text(
        "empty",
        "apply-custom",
        json!({"yaml": yaml, "namespace": "mine"}),
    );
    assert!(
        text.contains("apply v1/Namespace//mine") && text.contains("apply v1/ConfigMap/mine/a"),
        "{text}"
    );
}

#[test]
fn a_namespace_is_moved_to_a_revision_or_into_ambient_mode_by_the_same_manager() {
    let of = |given: Value| text("installed", "inject", given);
    let revision = of(json!({"namespace": "shop", "revision": "1-30-3"}));
    matches("inject-revision", &revision);
    let ambient = of(json!({"namespace": "shop", "mode": "ambient"}));
    assert!(ambient.contains("istio.io/dataplane-mode: ambient"), "{ambient}");
    assert!(ambient.contains("as meshery-injection\n") && revision.contains("as meshery-injection\n"));
    let both = json!({"namespace": "shop", "mode": "ambient", "revision": "x"});
    assert_eq!(
        Cluster::of("installed").plan("inject", both).unwrap_err().code,
        "bad-parameter"
    );
}

#[test]
fn a_label_that_would_do_nothing_is_an_error_that_says_why() {
    let error = |code: &str| (code.to_owned(), Severity::Error);
    let found = said(
        installed(),
        "inject",
        json!({"namespace": "shop", "revision": "1-30-3"}),
    );
    assert_eq!(found, [error("istio-revision-unknown"), error("IST0123")]);
    let found = said(
        installed(),
        "inject",
        json!({"namespace": "istio-ingress", "mode": "ambient"}),
    );
    assert_eq!(found, [error("istio-no-ambient")]);
}

#[test]
fn a_namespace_that_would_refuse_the_pods_is_named_before() {
    let strict = |of_name: &str| {
        installed().change(of_name, |object| {
            if object["kind"] == "Namespace" {
                object["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] = json!("restricted");
            }
        })
    };
    let ambient = json!({"profile": "ambient", "version": "1.30.2"});
    let found = said(strict("istio-system"), "install", ambient.clone());
    assert!(
        found.contains(&("pod-security".to_owned(), Severity::Error)),
        "{found:?}"
    );
    assert!(
        !said(installed(), "install", ambient)
            .iter()
            .any(|(code, _)| code == "pod-security")
    );
    let warned = |cluster: testkit::Cluster, operation: &str, given: Value| {
        said(cluster, operation, given).contains(&("pod-security".to_owned(), Severity::Warning))
    };
    for (operation, given) in [
        ("inject", json!({"namespace": "shop"})),
        ("inject", json!({"namespace": "shop", "revision": "1-30-3"})),
        ("deploy-httpbin", json!({"namespace": "shop", "inject": true})),
        ("upgrade-canary", json!({"replace-labels": true})),
    ] {
        assert!(warned(strict("shop"), operation, given), "{operation}");
    }
    let without = json!({"namespace": "shop"});
    assert!(
        !warned(strict("shop"), "deploy-httpbin", without),
        "nobody asks for a sidecar"
    );
    let stays = warned(strict("shop"), "upgrade-canary", json!({}));
    assert!(!stays, "a namespace that stays where it is");
}

#[test]
fn the_plugin_on_the_nodes_lets_sidecars_into_baseline() {
    let said_of = |level: &str| {
        let level = level.to_owned();
        let cluster = Cluster::of("with-cni").change("default", move |object| {
            object["metadata"]["labels"] = json!({"pod-security.kubernetes.io/enforce": level});
        });
        let inject = json!({"namespace": "default", "revision": "default"});
        let found = cluster.check("inject", inject);
        let said = found.into_iter().find(|finding| finding.code == "pod-security");
        said.map(|finding| finding.message)
    };
    assert_eq!(said_of("baseline"), None);
    let strictest = said_of("restricted");
    assert!(
        strictest
            .as_deref()
            .is_some_and(|said| said.contains("seccompProfile")),
        "{strictest:?}"
    );
}

#[test]
fn kiali_shows_the_control_plane_that_is_there_wherever_it_is_put_itself() {
    let shows = |given: Value| text("installed", "add-kiali", given);
    let elsewhere = shows(json!({"namespace": "dashboards"}));
    assert!(
        elsewhere.contains("istio_namespace: \"istio-system\"")
            && elsewhere.contains("prometheus.dashboards.svc"),
        "{elsewhere}"
    );
    let named = json!({"control_plane": "mesh"});
    assert!(shows(named.clone()).contains("istio_namespace: \"mesh\""));
    let found = said(installed(), "add-kiali", named);
    assert!(
        found.contains(&("addon-without-control-plane".to_owned(), Severity::Warning)),
        "{found:?}"
    );
}
