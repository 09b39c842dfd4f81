//! Profiles, revisions, gateways, and going to another version.

use meshery_mesh_kit::review::{assert_snapshot, plan_text};
use meshery_plugin_api::message::finding::Severity;
use meshery_plugin_api::message::plan::{Action, Plan};
use serde_json::{Value, json};

use super::cluster::{Cluster, folder};

fn matches(snapshot: &str, plan: &Plan) {
    let file = folder("snapshots").join(format!("{snapshot}.txt"));
    assert_snapshot(&file, &plan_text(plan));
}

fn planned(cluster: &str, operation: &str, given: Value) -> Plan {
    Cluster::of(cluster).plan(operation, given).unwrap()
}

fn codes(cluster: &Cluster, operation: &str, given: Value) -> Vec<(String, Severity)> {
    let findings = cluster.check(operation, given);
    findings
        .into_iter()
        .map(|finding| (finding.code, finding.severity))
        .collect()
}

#[test]
fn install_with_the_profile_demo() {
    matches(
        "install-demo",
        &planned(
            "empty",
            "install",
            json!({"profile": "demo", "version": "1.30.2"}),
        ),
    );
}

#[test]
fn install_with_the_profile_ambient_prepares_nodes_after_the_control_plane() {
    let given = json!({"profile": "ambient", "version": "1.30.2", "platform": "k3s"});
    matches("install-ambient", &planned("empty", "install", given));
}

#[test]
fn install_of_a_revision_alone_makes_it_the_default_and_beside_another_not() {
    let given = json!({"revision": "1-30-3", "version": "1.30.3"});
    matches("install-revision", &planned("empty", "install", given.clone()));
    let text = plan_text(&planned("installed", "install", given));
    assert!(
        !text.contains("defaultRevision") && !text.contains("istiod-default-validator"),
        "{text}"
    );
    assert!(
        !text.contains("istio-ingressgateway"),
        "it stays with the other: {text}"
    );
}

#[test]
fn values_of_people_reach_the_charts_they_are_for() {
    let given = json!({"version": "1.30.2", "values": {
        "istiod": {"meshConfig": {"accessLogFile": "/dev/stdout"}}, "gateway": {"replicaCount": 2}}});
    let plan = planned("empty", "install", given);
    let values = |id: &str| match &plan.steps.iter().find(|step| step.id == id).unwrap().action {
        Action::Release(release) => Value::Object(release.values.clone()),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        values("istiod"),
        json!({"meshConfig": {"accessLogFile": "/dev/stdout"}})
    );
    assert_eq!(values("gateway"), json!({"replicaCount": 2}));
    assert_eq!(values("base"), json!({}));
}

#[test]
fn upgrade_in_place() {
    matches(
        "upgrade",
        &planned("installed", "upgrade", json!({"version": "1.30.3"})),
    );
}

#[test]
fn an_upgrade_says_how_far_it_goes_and_which_proxies_it_leaves_behind() {
    let installed = || Cluster::of("installed");
    let to = |version: &str| json!({"version": version});
    let is = |code: &str, severity| vec![(code.to_owned(), severity)];
    assert_eq!(
        codes(&installed(), "upgrade", to("1.30.3")),
        is("upgrade", Severity::Info)
    );
    let back = codes(&installed(), "upgrade", to("1.29.1"));
    assert!(
        back.contains(&("downgrade".to_owned(), Severity::Error)),
        "{back:?}"
    );
    let far = installed().mirror(&["1.32.0"]);
    let found = codes(&far, "upgrade", to("1.32.0"));
    assert!(
        found.contains(&("upgrade-skips-versions".to_owned(), Severity::Error)),
        "{found:?}"
    );
    assert!(
        found.contains(&("proxies-unsupported".to_owned(), Severity::Error)),
        "{found:?}"
    );
}

#[test]
fn releases_are_upgraded_under_the_names_that_they_have() {
    let release = |name: &'static str| {
        move |object: &mut Value| object["metadata"]["annotations"]["meta.helm.sh/release-name"] = name.into()
    };
    let cluster = || {
        let cluster = Cluster::of("with-cni").change("istio-cni-node", |object| {
            object["metadata"]["labels"]["helm.sh/chart"] = "cni-1.30.2".into();
        });
        cluster.change("istio-cni-node", release("cni"))
    };
    let text = plan_text(&cluster().plan("upgrade", json!({"version": "1.30.3"})).unwrap());
    assert!(
        text.contains("release istio-system/cni\n") && text.contains("release istio-system/istio-base\n"),
        "{text}"
    );
    let named = Cluster::of("installed").change("istiod-default-validator", release("base"));
    for (operation, given) in [
        ("upgrade", json!({"version": "1.30.3"})),
        ("upgrade-canary", json!({"version": "1.30.3"})),
        ("install", json!({"version": "1.30.2"})),
    ] {
        let text = plan_text(&named.plan(operation, given).unwrap());
        assert!(
            text.contains("release istio-system/base\n") && !text.contains("istio-base"),
            "{operation}: {text}"
        );
    }
    let proxies = Cluster::of("ambient").change("ztunnel", |object| {
        object["metadata"]["name"] = "proxies".into();
        object["metadata"]["labels"]["app.kubernetes.io/name"] = "ztunnel".into();
        release("proxies")(object);
    });
    let text = plan_text(&proxies.plan("upgrade", json!({"version": "1.30.3"})).unwrap());
    assert!(
        text.contains("release istio-system/proxies\n")
            && text.contains("DaemonSet/istio-system/proxies: ready"),
        "{text}"
    );
}

#[test]
fn what_comes_beside_changes_nothing_about_whom_the_validator_of_the_definitions_calls() {
    let base = |given: Value| {
        let plan = planned("installed", "install", given);
        let step = plan.steps.into_iter().find(|step| step.id == "base").unwrap();
        match step.action {
            Action::Release(release) => release.keep_values,
            other => panic!("{other:?}"),
        }
    };
    let beside = json!({"version": "1.30.3", "revision": "next"});
    assert!(base(beside), "the value defaultRevision stays");
}

#[test]
fn the_check_is_about_the_version_that_the_plan_goes_to() {
    // Of the newest one the mirror has no charts for the gateway.
    let lacking = |cluster: Cluster| {
        ["base", "istiod"]
            .into_iter()
            .fold(cluster, |cluster, chart| cluster.chart(chart, "1.31.5"))
    };
    let cluster = lacking(Cluster::of("installed"));
    let plan = cluster.plan("upgrade", json!({})).unwrap();
    assert!(plan.summary.contains("to 1.30.3"), "{}", plan.summary);
    let findings = cluster.check("upgrade", json!({}));
    assert!(
        findings
            .iter()
            .any(|found| found.message == "from 1.30.2 to 1.30.3"),
        "{findings:#?}"
    );
}

#[test]
fn proxies_that_are_too_old_are_restarted_into_their_own_revision() {
    let old = "
- apiVersion: v1
  kind: Pod
  metadata:
    name: web-1
    namespace: trial
    labels: {service.istio.io/canonical-name: web, istio.io/rev: canary}
  spec: {containers: [{name: istio-proxy, image: 'x/proxyv2:1.29.1'}]}
";
    let cluster = Cluster::with("revisioned", old).mirror(&["1.31.0"]);
    let findings = cluster.check(
        "upgrade",
        json!({"revision": "canary", "version": "1.31.0", "adopt": true}),
    );
    let found = findings.iter().find(|found| found.code == "proxies-unsupported");
    assert!(
        found.is_some_and(|found| found
            .remedy
            .contains("the version of revision canary as it is now")),
        "{findings:#?}"
    );
}

#[test]
fn what_somebody_else_has_installed_is_upgraded_on_explicit_word_only() {
    let by_helm = || {
        Cluster::of("installed").change("istiod", |object| {
            let annotations = object["metadata"]["annotations"].as_object_mut();
            annotations.map(|annotations| annotations.remove("meshery.io/operation"));
        })
    };
    let given = |adopt: bool| json!({"version": "1.30.3", "adopt": adopt});
    let has = |found: &[(String, Severity)], code: &str, severity| {
        assert!(found.contains(&(code.to_owned(), severity)), "{found:?}");
    };
    has(
        &codes(&by_helm(), "upgrade", given(false)),
        "istio-of-others",
        Severity::Error,
    );
    has(
        &codes(&by_helm(), "upgrade", given(true)),
        "istio-adopted",
        Severity::Warning,
    );
}

#[test]
fn an_upgrade_of_what_is_not_there_or_of_no_release_says_so() {
    let error = Cluster::of("empty").plan("upgrade", json!({})).unwrap_err();
    assert_eq!(error.code, "istio-not-installed");
    let error = Cluster::of("installed")
        .plan("upgrade", json!({"revision": "x"}))
        .unwrap_err();
    assert!(
        error
            .remedy
            .contains("revision default in namespace istio-system"),
        "{error:?}"
    );
    let error = Cluster::of("istioctl").plan("upgrade", json!({})).unwrap_err();
    assert_eq!(error.code, "istio-of-no-release");
    assert!(
        error.cause.contains("istioctl") && error.remedy.contains("adopt"),
        "{error:?}"
    );
}

#[test]
fn a_gateway_is_added_in_the_version_of_its_control_plane() {
    let given = json!({"gateway_namespace": "edge", "service_type": "NodePort"});
    matches("add-gateway", &planned("installed", "add-gateway", given));
    let egress = plan_text(&planned(
        "installed",
        "add-gateway",
        json!({"gateway_namespace": "out", "kind": "egress"}),
    ));
    assert!(
        egress.contains("release out/istio-egressgateway") && egress.contains("type: ClusterIP"),
        "{egress}"
    );
}

#[test]
fn a_gateway_without_a_control_plane_would_have_no_image() {
    let given = json!({"gateway_namespace": "edge"});
    assert_eq!(codes(&Cluster::of("installed"), "add-gateway", given.clone()), []);
    let nobody = vec![("istio-not-installed".to_owned(), Severity::Error)];
    assert_eq!(codes(&Cluster::of("empty"), "add-gateway", given), nobody);
}

#[test]
fn only_a_gateway_that_is_there_is_removed() {
    let given = json!({"gateway_namespace": "istio-ingress"});
    matches("remove-gateway", &planned("installed", "remove-gateway", given));
    let error = Cluster::of("installed")
        .plan("remove-gateway", json!({"gateway_namespace": "edge"}))
        .unwrap_err();
    assert_eq!(error.code, "gateway-unknown");
}

/// A cluster whose gateway plain helm has installed, beside a control plane of ours.
fn with_a_gateway_of_others() -> Cluster {
    Cluster::of("installed").change("istio-ingressgateway", |object| {
        let annotations = object["metadata"]["annotations"].as_object_mut();
        annotations.map(|annotations| annotations.remove("meshery.io/operation"));
    })
}

#[test]
fn a_gateway_that_somebody_else_has_installed_is_changed_or_removed_on_explicit_word_only() {
    let of_others = |cluster: &Cluster, operation: &str, given: Value| {
        let findings = cluster.check(operation, given);
        let found = findings
            .into_iter()
            .find(|found| found.code == "release-of-others")?;
        assert!(
            found.message.contains("istio-ingress/istio-ingressgateway"),
            "{found:?}"
        );
        Some(found.severity)
    };
    let place = json!({"gateway_namespace": "istio-ingress"});
    for (operation, word, given) in [
        ("remove-gateway", "of-others", place.clone()),
        ("add-gateway", "adopt", place),
        ("install", "adopt", json!({"version": "1.30.2"})),
        ("upgrade", "adopt", json!({"version": "1.30.3"})),
        ("upgrade-canary", "adopt", json!({"version": "1.30.3"})),
    ] {
        let said = |cluster: &Cluster, agreed: bool| {
            let mut given = given.clone();
            given[word] = agreed.into();
            of_others(cluster, operation, given)
        };
        let theirs = with_a_gateway_of_others();
        assert_eq!(said(&theirs, false), Some(Severity::Error), "{operation}");
        assert_eq!(said(&theirs, true), Some(Severity::Warning), "{operation}");
        let ours = Cluster::of("installed");
        assert_eq!(said(&ours, false), None, "{operation}");
    }
    // What an upgrade leaves alone needs no word.
    let without = json!({"version": "1.30.3", "gateways": false});
    assert_eq!(of_others(&with_a_gateway_of_others(), "upgrade", without), None);
    let found = with_a_gateway_of_others().detect().unwrap().remove(0);
    for operation in ["upgrade", "upgrade-canary"] {
        let prospect = found
            .prospects
            .iter()
            .find(|prospect| prospect.operation == operation);
        assert_eq!(prospect.unwrap().consent, ["adopt"], "{operation}");
    }
}

#[test]
fn what_is_taken_over_is_remembered_with_whose_it_was() {
    let taken = |cluster: &Cluster, operation: &str, adopt: bool| -> Vec<String> {
        let plan = cluster.plan(
            operation,
            json!({"version": "1.30.3", "profile": "minimal", "adopt": adopt}),
        );
        let text = plan_text(&plan.unwrap());
        let lines = text.lines().filter(|line| line.contains("taken over from"));
        lines.map(|line| line.trim().to_owned()).collect()
    };
    let by_helm = Cluster::of("installed").change("istiod", |object| {
        let annotations = object["metadata"]["annotations"].as_object_mut();
        annotations.map(|annotations| annotations.remove("meshery.io/operation"));
    });
    let of = |maker: &str, releases: usize| vec![format!("taken over from {maker}"); releases];
    assert_eq!(
        taken(&Cluster::of("istioctl"), "install", true),
        of("istioctl", 2)
    );
    assert_eq!(taken(&Cluster::of("istioctl"), "install", false), of("", 0));
    assert_eq!(taken(&Cluster::of("empty"), "install", true), of("", 0));
    assert_eq!(taken(&by_helm, "install", true)[..1], of("helm", 1)[..]);

    let found = Cluster::of("installed").change("istiod", |object| {
        let annotations = &mut object["metadata"]["annotations"];
        *annotations = json!({"meta.helm.sh/release-name": "istiod", "meta.helm.sh/release-namespace": "istio-system",
            "meshery.io/adopted-from": "istioctl"});
    });
    let found = found.detect().unwrap().remove(0);
    assert_eq!(
        (found.installed_by.as_str(), found.adopted_from.as_str()),
        ("meshery", "istioctl")
    );
}
