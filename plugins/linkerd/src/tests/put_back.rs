//! Anchors that somebody else puts back: a rotation is refused where a controller keeps them, and ends before anybody is cut off.

use std::collections::BTreeMap;

use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::expansion::{Expand, Expansion};
use meshery_plugin_api::message::finding::{Finding, Severity};
use meshery_plugin_api::message::plan::Action;
use serde_json::{Value, json};

use super::cluster::{Cluster, NEWER};
use crate::bundle::digest;
use crate::trust;

const NOW: &str = "2026-06-01T12:00:00Z";

fn proofs() -> Vec<Expand> {
    let plan = Cluster::of("installed").plan("rotate-anchor", json!({})).unwrap();
    let expand = |action| match action {
        Action::Expand(expand) if expand.what == "nobody-behind" => Some(expand),
        _ => None,
    };
    plan.steps
        .into_iter()
        .filter_map(|step| expand(step.action))
        .collect()
}

/// What both anchors are in PEM, from the one that the cluster has.
fn both(old: &str) -> String {
    format!("{old}{NEWER}")
}

/// In the midst of a rotation: with these anchors from the old one, and a pod that was given these.
fn proven(now: fn(&str) -> String, given: fn(&str) -> String) -> Vec<Result<Expansion, PluginError>> {
    let old = Cluster::of("installed").request("rotate-anchor", json!({}));
    let old = trust::text_of(&old.facts, "linkerd").unwrap().to_owned();
    let cluster = Cluster::in_rotation()
        .change("linkerd-identity-trust-roots", |roots| {
            roots["data"]["ca-bundle.crt"] = now(&old).into();
        })
        .change("web-1", |pod| {
            pod["metadata"]["creationTimestamp"] = "2026-11-26T10:00:08Z".into();
            pod["metadata"]["annotations"]["linkerd.io/trust-root-sha256"] = digest(&given(&old)).into();
        });
    let rolled_out = json!([{"type": "Progressing", "lastUpdateTime": "2026-11-26T10:00:07Z"}]);
    let outputs: BTreeMap<String, Value> = ["control-plane-ready", "identity-ready"]
        .map(|step| (format!("{step}.rolled-out"), rolled_out.clone()))
        .into();
    proofs()
        .iter()
        .map(|proof| cluster.expand("rotate-anchor", proof, outputs.clone()))
        .collect()
}

#[test]
fn it_is_proved_before_and_after_each_gate_behind_which_somebody_could_be_cut_off() {
    let plan = Cluster::of("installed").plan("rotate-anchor", json!({})).unwrap();
    let place = |id: &str| plan.steps.iter().position(|step| step.id == id).unwrap();
    let order = [
        "all-trust-both",
        "issuer-gate",
        "all-trust-both-still",
        "issuer",
        "all-renewed",
        "new-alone-gate",
        "all-renewed-still",
        "new-alone",
    ]
    .map(place);
    assert!(order.is_sorted(), "{order:?}");
    assert_eq!(proofs().len(), 4);
}

#[test]
fn anchors_that_were_put_back_end_a_rotation_though_every_pod_is_new() {
    for result in proven(both, both) {
        assert!(result.unwrap().steps.is_empty());
    }
    let alone: fn(&str) -> String = str::to_owned;
    for (now, given) in [(alone, alone), (alone, both)] {
        for result in proven(now, given) {
            assert_eq!(result.unwrap_err().code, "linkerd-anchors-put-back");
        }
    }
    // The old one has to be believed as well.
    for result in proven(|_| NEWER.to_owned(), |_| NEWER.to_owned()) {
        assert_eq!(result.unwrap_err().code, "linkerd-anchors-put-back");
    }
}

#[test]
fn a_new_pod_that_was_given_the_old_anchor_alone_ends_a_rotation() {
    for result in proven(both, str::to_owned) {
        let error = result.unwrap_err();
        assert_eq!(error.code, "linkerd-pods-behind");
        assert!(error.message.contains("other anchors") && error.message.contains("shop/web-1"));
    }
}

#[test]
fn what_a_controller_keeps_is_rotated_on_explicit_word_only() {
    for (object, kind, mark) in [
        (
            "linkerd-identity-trust-roots",
            "labels",
            ("trust.cert-manager.io/bundle", "trust-manager (Bundle mesh)"),
        ),
        (
            "linkerd-identity-issuer",
            "annotations",
            (
                "cert-manager.io/certificate-name",
                "cert-manager (Certificate mesh)",
            ),
        ),
    ] {
        let cluster = Cluster::of("installed").now(NOW).change(object, |found| {
            found["metadata"][kind] = json!({mark.0: "mesh"});
        });
        for (operation, given) in [
            ("rotate-anchor", json!({})),
            ("replace-anchor", json!({"cut_off": true})),
        ] {
            let of_others = |findings: Vec<Finding>| {
                let mut findings = findings.into_iter();
                findings.find(|found| found.code == "linkerd-trust-of-others")
            };
            let found = of_others(cluster.check(operation, given.clone())).unwrap();
            assert_eq!(found.severity, Severity::Error);
            assert!(found.message.contains(mark.1) && found.message.contains(object));
            let error = cluster.plan(operation, given.clone()).unwrap_err();
            assert_eq!(error.code, "linkerd-trust-of-others");
            assert!(error.remedy.contains("of-others"), "{error:?}");

            let mut agreed = given;
            agreed["of-others"] = true.into();
            let found = of_others(cluster.check(operation, agreed.clone())).unwrap();
            assert_eq!(found.severity, Severity::Warning);
            cluster.plan(operation, agreed).unwrap();
        }
        let found = &cluster.detect().unwrap()[0];
        let prospect = found
            .prospects
            .iter()
            .find(|found| found.operation == "rotate-anchor");
        let consent = &prospect.unwrap().consent;
        assert!(consent.iter().any(|word| word == "of-others"), "{consent:?}");
    }
}
