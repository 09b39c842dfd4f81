//! Removing one control plane of several, and what istioctl has made.

use meshery_mesh_kit::review::plan_text;
use serde_json::json;

use super::cluster::Cluster;
use super::plans::step_ids;

#[test]
fn of_several_control_planes_one_goes_and_what_they_share_stays() {
    let cluster = Cluster::of("revisioned");
    let cluster = cluster.change("gateway", |object| {
        object["metadata"]["annotations"]["meshery.io/operation"] = "x".into();
    });
    let plan = cluster.plan("remove", json!({"revision": "canary"})).unwrap();
    let text = plan_text(&plan);
    assert_eq!(step_ids(&plan), ["gateway", "istiod", "namespaces"], "{text}");
    assert!(
        text.contains("remove release istio-system/istiod-canary"),
        "{text}"
    );
    assert!(!text.contains("Namespace//istio-system"), "{text}");
    let plan = cluster.plan("remove", json!({"revision": "default"})).unwrap();
    let text = plan_text(&plan);
    assert!(
        text.contains("remove release istio-system/istiod\n") || text.contains("istio-system/istiod "),
        "{text}"
    );
    assert!(!text.contains("canary") && !text.contains("edge"), "{text}");
}

#[test]
fn a_revision_that_is_not_there_and_a_purge_of_what_others_share_are_refused() {
    let cluster = Cluster::of("revisioned");
    let error = cluster
        .plan("remove", json!({"revision": "canaries"}))
        .unwrap_err();
    assert_eq!(error.code, "istio-not-installed");
    assert!(error.cause.contains("canary, default"), "{error:?}");
    let given = json!({"revision": "canary", "purge": true});
    assert_eq!(cluster.plan("remove", given).unwrap_err().code, "bad-parameter");
    // The last one takes all with it.
    let last = Cluster::of("installed").plan("remove", json!({"revision": "default", "purge": true}));
    let all = Cluster::of("installed").plan("remove", json!({"purge": true}));
    assert_eq!(last.unwrap(), all.unwrap());
}

#[test]
fn only_those_who_lose_their_control_plane_are_named() {
    let cluster = Cluster::of("revisioned");
    let told = |revision: &str| {
        let findings = cluster.check("remove", json!({"revision": revision, "of-others": true}));
        findings
            .into_iter()
            .map(|found| format!("{}: {}", found.code, found.message))
            .collect::<Vec<_>>()
            .join("\n")
    };
    let canary = told("canary");
    assert!(
        canary.contains("gateway-of-others") && canary.contains("edge/gateway"),
        "{canary}"
    );
    assert!(canary.contains("trial"), "{canary}");
    let default = told("default");
    assert!(
        !default.contains("gateway-of-others") && !default.contains("trial"),
        "{default}"
    );
}

#[test]
fn what_istioctl_has_made_goes_on_explicit_word_by_its_labels() {
    let cluster = Cluster::of("by-istioctl");
    // The release that has one of its objects goes; the others stay, and are counted.
    let text = plan_text(&cluster.plan("remove", json!({})).unwrap());
    assert!(
        text.contains("release") && !text.contains("ClusterRole"),
        "{text}"
    );
    let findings = cluster.check("remove", json!({}));
    let stays = findings
        .iter()
        .find(|found| found.code == "installation-of-others")
        .unwrap();
    assert!(
        stays.message.starts_with("7 objects") && stays.message.ends_with("stay"),
        "{}",
        stays.message
    );

    let plan = cluster.plan("remove", json!({"of-others": true})).unwrap();
    let text = plan_text(&plan);
    assert_eq!(
        step_ids(&plan),
        [
            "istiod",
            "gateway-of-istioctl",
            "istiod-of-istioctl",
            "base-of-istioctl",
            "namespaces"
        ],
        "{text}"
    );
    for gone in [
        "Deployment/edge/istio-ingressgateway",
        "Service/edge/istio-ingressgateway",
        "MutatingWebhookConfiguration//istio-sidecar-injector",
        "ClusterRole//istiod-clusterrole-istio-system",
        "ServiceAccount/istio-system/istio-reader-service-account",
    ] {
        assert!(text.contains(gone), "{gone}: {text}");
    }
    for stays in [
        "ServiceAccount/shop/istiod",
        "elsewhere",
        "Service/istio-system/istiod",
    ] {
        assert!(!text.contains(stays), "{stays}: {text}");
    }
}
