//! The pod by which injection is proved: shown first without being injected, so that who refuses it is told before anything is changed.

use meshery_plugin_api::MeshAdapter;
use meshery_plugin_api::message::plan::{Action, Images, PlanRequest, Probe};
use serde_json::json;

use super::cluster::Cluster;
use crate::Linkerd;

fn probe(action: &Action) -> &Probe {
    match action {
        Action::Probe(probe) => probe,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_operation_that_proves_injection_shows_the_pod_first() {
    let now = "2026-06-01T00:00:00Z";
    for (cluster, operation, given) in [
        ("given", "install", json!({"version": "edge-26.8.3"})),
        ("installed", "upgrade", json!({})),
        ("installed", "rotate-anchor", json!({})),
        ("installed", "replace-anchor", json!({"cut_off": true})),
        ("installed", "restart", json!({"namespace": "linkerd"})),
        ("installed", "restart-all", json!({})),
    ] {
        let plan = Cluster::of(cluster).now(now).plan(operation, given).unwrap();
        assert_eq!(plan.steps[0].id, "pod-taken", "{operation}");
        let first = probe(&plan.steps[0].action);
        let last = plan.verify.iter().find(|step| step.id == "injection").unwrap();
        let last = probe(&last.action);
        assert!(first.expect.is_empty() && !last.expect.is_empty(), "{operation}");
        assert_eq!(first.object["spec"], last.object["spec"], "{operation}");
        for of in ["name", "namespace"] {
            assert_eq!(first.object["metadata"][of], last.object["metadata"][of]);
        }
        // By the chart's selector the injector leaves it alone, which may not answer yet.
        assert_eq!(
            first.object["metadata"]["labels"]["linkerd.io/cni-resource"],
            "true"
        );
        assert!(first.object["metadata"]["annotations"].is_null(), "{operation}");
    }
}

#[test]
fn the_pod_names_its_image_whole_and_says_what_it_needs() {
    let request = Cluster::of("given").request("install", json!({}));
    let elsewhere = Images {
        registry: "registry.corp/mirror".into(),
        ..Images::default()
    };
    for (images, image) in [
        (Images::default(), "registry.k8s.io/pause:3.10"),
        (elsewhere, "registry.corp/mirror/pause:3.10"),
    ] {
        let request = PlanRequest {
            images,
            ..request.clone()
        };
        let plan = Linkerd.plan(request).unwrap();
        let container = &probe(&plan.steps[0].action).object["spec"]["containers"][0];
        assert_eq!(container["image"], image);
        for of in ["requests", "limits"] {
            assert!(container["resources"][of]["memory"].is_string(), "{container}");
        }
    }
}
