//! Gateways as their values make them: of either kind, under a name of their own, with a Service or without.

use meshery_mesh_kit::review::plan_text;
use serde_json::{Value, json};

use super::cluster::Cluster;
use super::plans::step_ids;

/// A cluster whose gateway runs on each node.
fn on_each_node(cluster: Cluster, gateway: &str) -> Cluster {
    cluster.change(gateway, |object| {
        if object["kind"] == "Deployment" {
            object["kind"] = "DaemonSet".into();
            object["metadata"]["labels"]["app.kubernetes.io/part-of"] = "istio".into();
            object["status"] = json!({"desiredNumberScheduled": 2, "numberReady": 2});
        }
    })
}

fn text(cluster: &Cluster, operation: &str, given: Value) -> String {
    plan_text(&cluster.plan(operation, given).unwrap())
}

const INGRESS: &str = "istio-ingress/istio-ingressgateway: ready";

#[test]
fn one_on_each_node_is_awaited_as_what_it_is() {
    let cluster = on_each_node(Cluster::of("installed"), "istio-ingressgateway");
    for operation in ["upgrade", "upgrade-canary"] {
        let said = text(&cluster, operation, json!({"version": "1.30.3"}));
        assert!(
            said.contains(&format!("DaemonSet/{INGRESS}"))
                && !said.contains(&format!("Deployment/{INGRESS}")),
            "{operation}: {said}"
        );
    }
    // Asked for as the other kind, it becomes that.
    let given = json!({"version": "1.30.3", "values": {"gateway": {"kind": "Deployment"}}});
    assert!(text(&cluster, "upgrade", given).contains(&format!("Deployment/{INGRESS}")));
    let given =
        json!({"gateway_namespace": "edge", "values": {"gateway": {"kind": "DaemonSet", "name": "front"}}});
    let said = text(&Cluster::of("installed"), "add-gateway", given);
    assert!(
        said.contains("DaemonSet/edge/front: ready") && said.contains("Service/edge/front: endpoints"),
        "{said}"
    );
}

#[test]
fn one_on_each_node_belongs_to_the_revision_that_its_pods_ask_for() {
    let cluster = || on_each_node(Cluster::of("revisioned"), "gateway");
    let given = json!({"revision": "default", "of-others": true});
    let plan = cluster().plan("remove", given).unwrap();
    assert_eq!(step_ids(&plan), ["istiod"], "{plan:#?}");
    let ids = |given: Value| {
        let plan = cluster().plan("upgrade-canary", given).unwrap();
        let ids: Vec<String> = plan.steps.into_iter().map(|step| step.id).collect();
        ids.contains(&"gateway".to_owned())
    };
    assert!(ids(
        json!({"from": "canary", "version": "1.30.3", "revision": "next"})
    ));
    assert!(!ids(json!({"version": "1.30.3", "revision": "next"})));
    let found = cluster().detect().unwrap();
    let gateways = |revision: &str| {
        let mut found = found.iter().filter(|found| found.revision == revision);
        let components = &found.next().unwrap().components;
        components
            .iter()
            .filter(|part| part.object.kind == "DaemonSet")
            .count()
    };
    assert_eq!((gateways("canary"), gateways("default")), (1, 0));
}

#[test]
fn one_that_another_revision_has_on_each_node_stays_with_it() {
    let given = json!({"version": "1.30.3", "revision": "next", "gateway_namespace": "istio-ingress"});
    let cluster = on_each_node(Cluster::of("installed"), "istio-ingressgateway");
    let said = text(&cluster, "install", given);
    assert!(!said.contains("istio-ingressgateway"), "{said}");
}

#[test]
fn the_workload_is_found_by_its_release_whatever_it_is_called() {
    let renamed = Cluster::of("installed").change("istio-ingressgateway", |object| {
        object["metadata"]["name"] = "front".into();
    });
    let said = text(&renamed, "upgrade", json!({"version": "1.30.3"}));
    assert!(
        said.contains("Deployment/istio-ingress/front: ready")
            && said.contains("release istio-ingress/istio-ingressgateway"),
        "{said}"
    );
}

#[test]
fn a_service_that_its_values_do_not_want_is_not_awaited() {
    const SERVICE: &str = "v1/Service/istio-ingress/istio-ingressgateway: endpoints";
    let installed = || Cluster::of("installed");
    let none = json!({"gateway": {"service": {"type": "None"}}});
    let without = || {
        installed().change("istio-ingressgateway", |object| {
            if object["kind"] == "Service" {
                object["kind"] = "Gone".into();
            }
        })
    };
    for (cluster, given, awaited) in [
        (installed(), json!({"version": "1.30.3"}), true),
        (installed(), json!({"version": "1.30.3", "values": none}), false),
        (without(), json!({"version": "1.30.3"}), false),
        (
            without(),
            json!({"version": "1.30.3", "values": {"gateway": {"service": {"type": "NodePort"}}}}),
            true,
        ),
        // What cannot be seen is taken to be as the chart has it.
        (
            without().forbid(&[("", "Service")]),
            json!({"version": "1.30.3"}),
            true,
        ),
    ] {
        let said = text(&cluster, "upgrade", given.clone());
        assert_eq!(said.contains(SERVICE), awaited, "{given}: {said}");
        assert!(said.contains(INGRESS), "{said}");
    }
    let fresh = json!({"version": "1.30.2", "values": none});
    assert!(!text(&Cluster::of("empty"), "install", fresh).contains(SERVICE));
}
