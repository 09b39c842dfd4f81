//! What is waited for of an extension: what its values leave in it.

use meshery_plugin_api::message::plan::Action;
use serde_json::{Value, json};

use super::cluster::Cluster;

fn waited_for(operation: &str, values: Value) -> Vec<String> {
    let given = json!({"version": "edge-26.8.3", "values": values});
    let plan = Cluster::of("given").plan(operation, given).unwrap();
    plan.verify
        .iter()
        .filter_map(|step| match &step.action {
            Action::Wait(wait) => Some(&wait.conditions),
            _ => None,
        })
        .flatten()
        .map(|condition| condition.object.name.clone())
        .collect()
}

#[test]
fn what_values_leave_out_is_not_waited_for() {
    let all = ["metrics-api", "prometheus", "tap", "tap-injector", "web"];
    assert_eq!(waited_for("install-viz", json!({})), all);
    let external = json!({"linkerd-viz": {"prometheusUrl": "http://prometheus.monitoring", "prometheus": {"enabled": false}}});
    assert_eq!(
        waited_for("install-viz", external),
        ["metrics-api", "tap", "tap-injector", "web"]
    );
    let of_gateway = |values: Value| {
        waited_for(
            "install-multicluster",
            json!({"linkerd-multicluster": {"gateway": values}}),
        )
    };
    assert_eq!(of_gateway(json!({"enabled": true})), ["linkerd-gateway"]);
    assert_eq!(of_gateway(json!({"name": "east"})), ["east"]);
    assert!(of_gateway(json!({"enabled": false})).is_empty());
}
