//! Applications that people drop beside the host.

use meshery_mesh_kit::review::{assert_snapshot, plan_text};
use meshery_plugin_api::MeshAdapter;
use meshery_plugin_api::message::finding::Severity;
use meshery_plugin_api::message::plan::{Action, PlanRequest, TextFile};
use serde_json::{Value, json};

use super::cluster::{Cluster, folder};
use crate::Linkerd;

const YAML: &str = "\
apiVersion: v1
kind: Service
metadata: {name: front, namespace: elsewhere}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: front}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: registry.example.com/web:1}]}
";

fn request(cluster: &Cluster, operation: &str, more: &Value) -> PlanRequest {
    let mut given = json!({"application": "store", "namespace": "shop"});
    given
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().cloned().unwrap());
    let mut request = cluster.request(operation, given);
    request.files = vec![TextFile {
        name: "web.yaml".into(),
        text: YAML.into(),
    }];
    request
}

#[test]
fn one_is_deployed_into_the_mesh_and_proven_like_a_sample() {
    let request = request(
        &Cluster::of("empty"),
        "deploy-application",
        &json!({"inject": true}),
    );
    let plan = Linkerd.plan(request).unwrap();
    assert_snapshot(
        &folder("snapshots").join("deploy-application.txt"),
        &plan_text(&plan),
    );
}

#[test]
fn a_removal_takes_the_mark_back_that_this_application_has_set() {
    let cluster = meshery_plugin_api::testkit::Cluster::from_yaml(
        "[{apiVersion: v1, kind: Namespace, metadata: {name: shop, annotations: \
         {store.application.linkerd.meshery.io/injection: enabled}}}]",
    );
    let given = json!({"application": "store", "namespace": "shop"});
    let mut removal = cluster
        .unwrap()
        .request(&Linkerd, "remove-application", given)
        .unwrap();
    removal.files = request(&Cluster::of("empty"), "remove-application", &json!({})).files;
    let plan = Linkerd.plan(removal).unwrap();
    let Action::Apply(apply) = &plan.steps[0].action else {
        panic!("{plan:?}")
    };
    assert_eq!(apply.manager, "meshery-linkerd-injection-store");
    assert_eq!(
        apply.objects,
        [json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})]
    );
}

#[test]
fn into_a_mesh_that_is_not_there_it_is_not_taken() {
    let cluster = Cluster::of("empty");
    let findings = Linkerd
        .check(request(&cluster, "deploy-application", &json!({"inject": true})))
        .unwrap();
    assert!(
        findings.iter().any(|finding| finding.severity == Severity::Error),
        "{findings:?}"
    );
    let findings = Linkerd
        .check(request(&cluster, "deploy-application", &json!({})))
        .unwrap();
    assert_eq!(findings, []);
}
