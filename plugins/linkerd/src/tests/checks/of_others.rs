//! What somebody else has installed.

use meshery_plugin_api::message::finding::Severity;
use meshery_plugin_api::testkit;
use serde_json::json;

use super::{NOW, codes};
use crate::Linkerd;
use crate::tests::cluster::Cluster;

/// Installed by plain helm, which leaves no mark of ours.
fn by_helm() -> Cluster {
    Cluster::of("installed").now(NOW).maker(|object| {
        let annotations = object["metadata"]["annotations"].as_object_mut();
        annotations.map(|annotations| annotations.remove("meshery.io/operation"));
    })
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
        let cluster = testkit::Cluster::from_yaml(&plugin.to_string()).unwrap();
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
