//! That each operation has a snapshot of a plan: an operation that is added without one fails here.

use meshery_mesh_kit::contract::assert_summary;
use meshery_mesh_kit::review::{assert_snapshot, plan_text};
use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_plugin_api::message::plan::{Action, Plan, PlanRequest, TextFile};
use meshery_plugin_api::{MeshAdapter, testkit};
use serde_json::{Value, json};

use super::cluster::{folder, yaml};
use crate::{Istio, OPERATIONS};

const CUSTOM: &str =
    "{apiVersion: v1, kind: ConfigMap, metadata: {name: mine}, data: {host: 'a.{namespace}'}}";

fn plan(cluster: &testkit::Cluster, operation: &str, given: Value) -> Plan {
    let request = cluster.request(&Istio, operation, given).unwrap();
    let text = "{apiVersion: v1, kind: Service, metadata: {name: front}, spec: {ports: [{port: 80}]}}";
    let file = TextFile {
        name: "front.yaml".into(),
        text: text.into(),
    };
    let files = if operation.ends_with("-application") {
        vec![file]
    } else {
        Vec::new()
    };
    Istio
        .plan(PlanRequest { files, ..request })
        .unwrap_or_else(|error| panic!("{operation}: {error:?}"))
}

/// A cluster with what an operation has applied, marked as the engine marks it.
fn after(operation: &str, given: Value) -> testkit::Cluster {
    let mut objects: Vec<Value> = Vec::new();
    for step in plan(&yaml("empty"), operation, given).steps {
        let Action::Apply(apply) = step.action else {
            continue;
        };
        for mut object in apply.objects {
            object["metadata"]["annotations"]["meshery.io/operation"] = "01J".into();
            objects.retain(|before| ObjectRef::of(before) != ObjectRef::of(&object));
            objects.push(object);
        }
    }
    testkit::Cluster::from_yaml(&Value::from(objects).to_string()).unwrap()
}

/// Of an operation the name of the snapshot, the cluster, and what is given.
fn example(operation: &str) -> Option<(&str, testkit::Cluster, Value)> {
    let shop = json!({"namespace": "shop"});
    let installed = || yaml("installed");
    Some(match operation {
        "install" => ("install-default", yaml("empty"), json!({"version": "1.30.2"})),
        "remove" => ("remove", installed(), json!({})),
        "upgrade" => ("upgrade", installed(), json!({"version": "1.30.3"})),
        "rollback" => (operation, installed(), json!({"release": "istiod"})),
        "test" => (operation, installed(), json!({})),
        "upgrade-canary" => ("upgrade-canary-alone", installed(), json!({"version": "1.30.3"})),
        "add-gateway" => {
            let given = json!({"gateway_namespace": "edge", "service_type": "NodePort"});
            ("add-gateway", installed(), given)
        }
        "remove-gateway" => {
            let given = json!({"gateway_namespace": "istio-ingress"});
            ("remove-gateway", installed(), given)
        }
        "inject" => ("inject", yaml("empty"), shop),
        "uninject" => {
            let labelled = yaml("empty").change("shop", |object| {
                object["metadata"]["labels"] = json!({"istio-injection": "enabled"});
                object["metadata"]["annotations"] = json!({"istio.meshery.io/injection": "enabled"});
            });
            ("uninject", labelled, shop)
        }
        "set-policy" => ("set-policy", installed(), json!({})),
        "remove-policy" => ("remove-policy", after("set-policy", shop.clone()), shop),
        "add-imagehub-filter" => (operation, yaml("empty"), json!({"per_minute": 3})),
        "remove-imagehub-filter" => (operation, after("add-imagehub-filter", json!({})), json!({})),
        "apply-custom" => {
            let given = json!({"yaml": CUSTOM, "namespace": "mine"});
            (operation, yaml("empty"), given)
        }
        "remove-custom" => {
            let given = json!({"yaml": CUSTOM, "namespace": "mine"});
            (operation, after("apply-custom", given.clone()), given)
        }
        "deploy-bookinfo" => (operation, yaml("empty"), json!({})),
        "deploy-httpbin" | "deploy-imagehub" | "deploy-emojivoto" => {
            let given = json!({"namespace": "shop", "inject": true, "expose": true});
            (operation, yaml("empty"), given)
        }
        "remove-bookinfo" => (operation, yaml("bookinfo"), json!({})),
        "remove-httpbin" | "remove-imagehub" | "remove-emojivoto" => {
            let deployed = operation.replacen("remove", "deploy", 1);
            let given = json!({"namespace": "shop", "inject": true, "expose": true});
            (operation, after(&deployed, given), shop)
        }
        "deploy-application" => {
            let given = json!({"application": "front", "namespace": "shop"});
            ("deploy-application-plain", yaml("empty"), given)
        }
        "remove-application" => {
            let given = json!({"application": "front", "namespace": "shop"});
            (operation, after("deploy-application", given.clone()), given)
        }
        "add-prometheus" | "add-grafana" | "add-kiali" | "add-jaeger" | "add-zipkin" => {
            (operation, installed(), json!({}))
        }
        "remove-prometheus" | "remove-grafana" | "remove-kiali" | "remove-jaeger" | "remove-zipkin" => {
            let added = operation.replacen("remove", "add", 1);
            (operation, after(&added, json!({})), json!({}))
        }
        _ => return None,
    })
}

#[test]
fn each_operation_has_a_snapshot_of_its_plan() {
    for entry in OPERATIONS.entries() {
        let Some((snapshot, cluster, given)) = example(entry.name) else {
            panic!(
                "{} has no example here, so that nobody sees what its plan is",
                entry.name
            )
        };
        let file = folder("snapshots").join(format!("{snapshot}.txt"));
        assert_snapshot(&file, &plan_text(&plan(&cluster, entry.name, given)));
    }
}

#[test]
fn what_was_added_or_deployed_is_named_by_its_removal() {
    for entry in OPERATIONS.entries() {
        let (Some(removed), true) = (entry.name.strip_prefix("remove-"), entry.name != "remove-gateway")
        else {
            continue;
        };
        let undone = ["add", "deploy", "set", "apply"].map(|verb| format!("{verb}-{removed}"));
        let made = OPERATIONS
            .entries()
            .find(|made| undone.iter().any(|name| name == made.name));
        assert!(made.is_some(), "{} takes back nothing", entry.name);
        let (_, cluster, given) = example(entry.name).unwrap();
        let plan = plan(&cluster, entry.name, given);
        let deletes =
            |action: &Action| matches!(action, Action::Delete(delete) if !delete.targets.is_empty());
        assert!(plan.steps.iter().any(|step| deletes(&step.action)), "{plan:?}");
    }
}

#[test]
fn a_removal_says_that_it_removes_and_nothing_else_does() {
    for entry in OPERATIONS.entries() {
        let (_, cluster, given) = example(entry.name).unwrap();
        let summary = plan(&cluster, entry.name, given).summary;
        assert_summary(entry.name, &summary);
    }
}
