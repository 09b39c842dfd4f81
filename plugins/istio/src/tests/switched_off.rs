//! Webhooks that a control plane has not, because its values say so: nobody waits for them.

use meshery_mesh_kit::review::plan_text;
use serde_json::{Value, json};

use super::cluster::Cluster;

const INJECTOR: &str = "MutatingWebhookConfiguration//istio-sidecar-injector";
const VALIDATOR: &str = "ValidatingWebhookConfiguration//istio-validator";
const DEFAULT_VALIDATOR: &str = "istiod-default-validator: fails-closed";
const PROOF: &str = "the mark of a sidecar";

/// The installed cluster, whose control plane was rendered with these values.
fn rendered_with(values: &Value) -> Cluster {
    let config_map = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "values", "namespace": "istio-system",
            "labels": {"istio.io/rev": "default", "app.kubernetes.io/name": "istiod"}},
        "data": {"merged-values": values.to_string()},
    });
    Cluster::with("installed", &format!("- {config_map}"))
}

fn awaited(cluster: &Cluster, operation: &str, given: Value) -> [bool; 4] {
    let text = plan_text(&cluster.plan(operation, given).unwrap());
    [INJECTOR, VALIDATOR, DEFAULT_VALIDATOR, PROOF].map(|part| text.contains(part))
}

#[test]
fn what_given_values_switch_off_is_not_awaited() {
    let given =
        |istiod: Value| json!({"version": "1.30.3", "profile": "minimal", "values": {"istiod": istiod}});
    let empty = || Cluster::of("empty");
    assert_eq!(awaited(&empty(), "install", given(json!({}))), [true; 4]);
    let no_validator = given(json!({"global": {"configValidation": false}}));
    assert_eq!(
        awaited(&empty(), "install", no_validator),
        [true, false, true, true]
    );
    let no_injector = given(json!({"global": {"operatorManageWebhooks": true}}));
    assert_eq!(
        awaited(&empty(), "install", no_injector),
        [false, true, true, false]
    );
}

#[test]
fn what_values_that_were_set_switch_off_is_not_awaited_unless_given_ones_say_otherwise() {
    let off = json!({"global": {"configValidation": false, "operatorManageWebhooks": true}});
    let cluster = rendered_with(&off);
    let to = json!({"version": "1.30.3"});
    assert_eq!(
        awaited(&cluster, "upgrade", to.clone()),
        [false, false, true, false]
    );
    assert_eq!(
        awaited(&rendered_with(&json!({})), "upgrade", to.clone()),
        [true; 4]
    );
    let on = json!({"version": "1.30.3",
        "values": {"istiod": {"global": {"configValidation": true, "operatorManageWebhooks": false}}}});
    assert_eq!(awaited(&cluster, "upgrade", on), [true; 4]);
    // The new control plane begins with the values of the old one.
    assert_eq!(
        awaited(&cluster, "upgrade-canary", to),
        [false, false, false, false]
    );
    // What is installed again keeps its values; what is installed beside it has its own.
    let again = json!({"version": "1.30.2", "profile": "minimal"});
    assert_eq!(awaited(&cluster, "install", again), [false, false, true, false]);
    let beside = json!({"version": "1.30.3", "profile": "minimal", "revision": "next"});
    assert_eq!(awaited(&cluster, "install", beside), [true, true, false, true]);
}
