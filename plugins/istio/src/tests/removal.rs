//! Removing one control plane of several, and what istioctl has made.

use meshery_mesh_kit::review::plan_text;
use meshery_plugin_api::message::finding::{Finding, Severity};
use serde_json::{Value, json};

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

/// Two control planes, and the validator of the definitions, which calls the default one.
fn validated_by_default(ours: bool) -> Cluster {
    let mark = if ours { "meshery.io/operation: 01J, " } else { "" };
    let validator = format!(
        "
- apiVersion: admissionregistration.k8s.io/v1
  kind: ValidatingWebhookConfiguration
  metadata:
    name: istiod-default-validator
    labels: {{istio.io/rev: default, app.kubernetes.io/managed-by: Helm, helm.sh/chart: base-1.30.2}}
    annotations: {{{mark}meta.helm.sh/release-name: definitions, meta.helm.sh/release-namespace: istio-system}}
  webhooks:
    - name: validation.istio.io
      clientConfig: {{service: {{name: istiod, namespace: istio-system, path: /validate}}, caBundle: Y2E=}}
      failurePolicy: Fail
"
    );
    Cluster::with("revisioned", &validator)
}

fn errors(cluster: &Cluster, given: Value) -> Vec<Finding> {
    let findings = cluster.check("remove", given).into_iter();
    let ours = ["istio-default-validator", "istio-revision-tagged"];
    findings
        .filter(|found| found.severity == Severity::Error && ours.contains(&found.code.as_str()))
        .collect()
}

#[test]
fn the_validator_of_the_definitions_calls_the_one_that_stays_before_the_other_goes() {
    let plan = validated_by_default(true)
        .plan("remove", json!({"revision": "default"}))
        .unwrap();
    let text = plan_text(&plan);
    assert_eq!(
        step_ids(&plan),
        ["default-validator", "default-validator-ready", "istiod"],
        "{text}"
    );
    for part in [
        "release istio-system/definitions",
        "chart base 1.30.2",
        "over the values it has",
        "defaultRevision: canary",
        "istiod-default-validator: fails-closed",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(errors(&validated_by_default(true), json!({"revision": "default"})).is_empty());
    // The other one is called by nobody.
    let plan = validated_by_default(true)
        .plan("remove", json!({"revision": "canary"}))
        .unwrap();
    assert_eq!(step_ids(&plan)[0], "istiod");
}

#[test]
fn a_validator_that_would_call_nobody_is_an_error_with_a_way_out() {
    let third = |cluster: Cluster| {
        cluster.change("gateway", |object| {
            object["metadata"]["namespace"] = "istio-system".into();
            object["metadata"]["labels"]["app"] = "istiod".into();
            object["metadata"]["labels"]["istio.io/rev"] = "third".into();
        })
    };
    let remedy = |cluster: &Cluster| {
        let found = errors(cluster, json!({"revision": "default"}));
        let [found] = &found[..] else { panic!("{found:#?}") };
        assert_eq!(found.code, "istio-default-validator");
        found.remedy.clone()
    };
    let of_helm = remedy(&validated_by_default(false));
    assert!(
        of_helm.contains("helm upgrade definitions") && of_helm.contains("--set defaultRevision=canary"),
        "{of_helm}"
    );
    let several = remedy(&third(validated_by_default(true)));
    assert!(several.contains("(there are canary, third)"), "{several}");
    let of_istioctl = validated_by_default(false).change("istiod-default-validator", |object| {
        object["metadata"]["annotations"] = json!({});
    });
    let of_istioctl = remedy(&of_istioctl);
    assert!(
        of_istioctl.contains("istioctl tag set default --revision canary --overwrite"),
        "{of_istioctl}"
    );
    // All of them go, and the definitions' release with them.
    let all = errors(&validated_by_default(true), json!({}));
    assert!(
        all.iter().all(|found| found.code != "istio-default-validator"),
        "{all:#?}"
    );
}

#[test]
fn a_tag_that_would_outlive_its_control_plane_is_an_error() {
    let cluster = Cluster::of("revisioned");
    let found = errors(&cluster, json!({"revision": "canary"}));
    assert!(
        found.len() == 1
            && found[0].message.contains("the tag next means revision canary")
            && found[0]
                .remedy
                .contains("istioctl tag set next --revision default --overwrite")
            && found[0].remedy.contains("istioctl tag remove next"),
        "{found:#?}"
    );
    assert!(errors(&cluster, json!({"revision": "default"})).is_empty());
    let all = errors(&cluster, json!({}));
    assert!(all.len() == 1 && !all[0].remedy.contains("tag set"), "{all:#?}");
    // One of its release goes with it.
    let of_release = cluster.change("istio-revision-tag-next", |object| {
        object["metadata"]["labels"]["app.kubernetes.io/managed-by"] = "Helm".into();
        object["metadata"]["annotations"] = json!({"meta.helm.sh/release-name": "istiod-canary",
            "meta.helm.sh/release-namespace": "istio-system"});
    });
    assert!(errors(&of_release, json!({"revision": "canary"})).is_empty());
    // So does what istioctl has made, on explicit word.
    let of_istioctl = Cluster::of("revisioned").change("istio-revision-tag-next", |object| {
        object["metadata"]["labels"]["operator.istio.io/component"] = "Pilot".into();
    });
    assert!(errors(&of_istioctl, json!({"revision": "canary", "of-others": true})).is_empty());
    assert_eq!(errors(&of_istioctl, json!({"revision": "canary"})).len(), 1);
}

#[test]
fn what_only_the_validator_shows_to_be_gone_is_mended_without_a_removal_of_the_others() {
    let gone = validated_by_default(true).change("istiod", |object| {
        object["kind"] = "Gone".into();
    });
    let gone = gone.change("istio-sidecar-injector", |object| object["kind"] = "Gone".into());
    let found = gone.detect().unwrap();
    let default = found.iter().find(|found| found.revision == "default").unwrap();
    let said = default
        .findings
        .iter()
        .find(|found| found.code == "istio-webhook-without-control-plane")
        .unwrap();
    assert!(
        said.remedy.contains("install revision canary again") && !said.remedy.contains("operation remove"),
        "{said:?}"
    );
    // And that does it.
    let given = json!({"revision": "canary", "version": "1.30.3", "profile": "minimal"});
    let text = plan_text(&gone.plan("install", given).unwrap());
    assert!(text.contains("defaultRevision: canary"), "{text}");
}
