//! That each operation has a snapshot of a plan, or of its refusal: an operation that is added without one fails here.

use std::fmt::Write as _;

use meshery_mesh_kit::contract::assert_summary;
use meshery_mesh_kit::review::{assert_snapshot, plan_text};
use meshery_plugin_api::message::facts::ChartFact;
use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_plugin_api::message::plan::{Action, Plan, PlanRequest, TextFile};
use meshery_plugin_api::{MeshAdapter, PluginError, testkit};
use serde_json::{Value, json};

use super::cluster::{folder, yaml};
use crate::{Linkerd, OPERATIONS};

const CUSTOM: &str =
    "{apiVersion: v1, kind: ConfigMap, metadata: {name: mine}, data: {host: 'a.{namespace}'}}";

/// Annotation of what the engine has made.
const OURS: &str = "meshery.io/operation";

fn plan(cluster: &testkit::Cluster, operation: &str, given: Value) -> Result<Plan, PluginError> {
    let request = cluster.request(&Linkerd, operation, given).unwrap();
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
    Linkerd.plan(PlanRequest { files, ..request })
}

/// A cluster with what an operation has applied, marked as the engine marks it.
fn after(operation: &str, given: Value) -> testkit::Cluster {
    let mut objects: Vec<Value> = Vec::new();
    for step in plan(&yaml("empty"), operation, given).unwrap().steps {
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

/// A cluster with the release of an extension, by one of its objects with an annotation that tells who made it.
pub fn extended(extension: &str, mark: &str) -> testkit::Cluster {
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

/// Of an operation the name of the snapshot, the cluster, and what is given.
fn example(operation: &str) -> Option<(&str, testkit::Cluster, Value)> {
    let shop = json!({"namespace": "shop"});
    let installed = || yaml("installed");
    Some(match operation {
        "install" => (operation, yaml("given"), json!({"version": "edge-26.8.3"})),
        "upgrade"
        | "remove"
        | "rotate-anchor"
        | "restart-all"
        | "renew-issuer"
        | "jaeger-addon"
        | "install-viz"
        | "install-multicluster" => (operation, installed(), json!({})),
        "rollback" => {
            let given = json!({"release": "linkerd-control-plane", "revision": 1});
            (operation, installed(), given)
        }
        "make-trust" | "deploy-bookinfo" | "deploy-httpbin" | "deploy-imagehub" => {
            (operation, yaml("empty"), json!({}))
        }
        "inject" => {
            let given = json!({"namespace": "shop", "restart": true});
            (operation, yaml("given"), given)
        }
        "uninject" => {
            let ours = installed().change("shop", |namespace| {
                namespace["metadata"]["annotations"]["linkerd.meshery.io/injection"] = "enabled".into();
            });
            (operation, ours, shop)
        }
        "replace-anchor" => (operation, installed().now("2027-01-02T00:00:00Z"), json!({})),
        "restart" | "test" => (operation, installed(), json!({"namespace": "linkerd"})),
        "install-smi" => {
            let mirrored = installed().chart(ChartFact {
                name: "linkerd-smi".into(),
                version: "1.0.0".into(),
                app_version: "v0.2.3".into(),
                sha256: "sha-of-linkerd-smi-1.0.0".into(),
                ..ChartFact::default()
            });
            (operation, mirrored, json!({}))
        }
        "remove-viz" => (operation, extended("viz", OURS), json!({})),
        "remove-multicluster" => (operation, extended("multicluster", OURS), json!({})),
        "remove-smi" => (operation, extended("smi", OURS), json!({})),
        "deploy-emojivoto" => {
            let given = json!({"namespace": "shop", "inject": true});
            (operation, yaml("empty"), given)
        }
        "remove-bookinfo" | "remove-httpbin" | "remove-imagehub" | "remove-emojivoto" => {
            let deployed = operation.replacen("remove", "deploy", 1);
            let given = json!({"namespace": "shop", "inject": true});
            (operation, after(&deployed, given), shop)
        }
        "apply-custom" => {
            let given = json!({"yaml": CUSTOM, "namespace": "mine"});
            (operation, yaml("empty"), given)
        }
        "remove-custom" => {
            let given = json!({"yaml": CUSTOM, "namespace": "mine"});
            (operation, after("apply-custom", given.clone()), given)
        }
        "deploy-application" => {
            let given = json!({"application": "front", "namespace": "shop"});
            ("deploy-application-plain", yaml("empty"), given)
        }
        "remove-application" => {
            let given = json!({"application": "front", "namespace": "shop"});
            (operation, after("deploy-application", given.clone()), given)
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
        let text = match plan(&cluster, entry.name, given) {
            Ok(plan) => plan_text(&plan),
            // Nothing else is always refused.
            Err(error) if entry.name == "jaeger-addon" => {
                let mut text = format!("{}: {}\n", error.code, error.message);
                let _ = writeln!(text, "cause: {}\nremedy: {}", error.cause, error.remedy);
                text
            }
            Err(error) => panic!("{}: {error:?}", entry.name),
        };
        assert_snapshot(&folder("snapshots").join(format!("{snapshot}.txt")), &text);
    }
}

#[test]
fn every_operation_is_found_by_the_name_it_describes_itself_with() {
    let named: Vec<String> = Linkerd
        .describe()
        .operations
        .into_iter()
        .map(|o| o.name)
        .collect();
    let entries: Vec<&str> = OPERATIONS.entries().map(|entry| entry.name).collect();
    assert_eq!(named, entries);
}

#[test]
fn a_removal_says_that_it_removes_and_nothing_else_does() {
    for entry in OPERATIONS.entries().filter(|entry| entry.name != "jaeger-addon") {
        let (_, cluster, given) = example(entry.name).unwrap();
        let summary = plan(&cluster, entry.name, given).unwrap().summary;
        assert_summary(entry.name, &summary);
    }
}
