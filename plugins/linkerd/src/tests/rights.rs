//! That the rights the adapter asks for cover its plans.

use meshery_mesh_kit::object::namespace;
use meshery_plugin_api::MeshAdapter;
use meshery_plugin_api::message::descriptor::RbacScope;
use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_plugin_api::message::plan::{Action, Plan};
use serde_json::json;

use super::cluster::Cluster;
use crate::Linkerd;

fn written(plan: &Plan) -> Vec<ObjectRef> {
    let mut objects = Vec::new();
    for step in plan.steps.iter().chain(&plan.verify) {
        match &step.action {
            Action::Apply(apply) => objects.extend(apply.objects.iter().filter_map(ObjectRef::of)),
            Action::Delete(delete) => objects.extend(delete.targets.iter().map(|t| t.object.clone())),
            Action::Restart(restart) => objects.extend(restart.workloads.iter().cloned()),
            Action::Probe(probe) => assert!(!namespace(&probe.object).is_empty()),
            Action::Release(_) | Action::RemoveRelease(_) | Action::Wait(_) | Action::Gate(_) => {}
            Action::Material(material) => {
                objects.extend(material.items.iter().map(|item| item.object.clone()));
            }
            Action::RollbackRelease(_) | Action::TestRelease(_) | Action::Expand(_) | Action::Unknown => {
                panic!("{step:?}")
            }
        }
    }
    objects
}

#[test]
fn plans_stay_within_the_rights() {
    let rights = Linkerd.describe().rights;
    assert_eq!(
        (rights.namespaces, rights.rbac),
        (vec!["*".to_owned()], RbacScope::Cluster)
    );
    assert!(rights.create_namespaces && rights.crds && rights.webhooks && rights.secrets);
    assert_eq!(rights.cluster_groups, ["*"]);
    let plans = [
        Cluster::of("empty").plan("install", json!({"cni": true})),
        Cluster::of("installed").plan("remove", json!({})),
        Cluster::of("given").plan("inject", json!({"namespace": "shop", "restart": true})),
        Cluster::of("empty").plan("deploy-emojivoto", json!({"inject": true})),
    ];
    for plan in plans {
        for object in written(&plan.unwrap()) {
            assert_eq!(
                object.namespace.is_empty(),
                object.kind == "Namespace",
                "{object}"
            );
        }
    }
}
