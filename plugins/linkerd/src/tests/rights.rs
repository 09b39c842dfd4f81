//! That the rights the adapter asks for cover its plans.

use meshery_mesh_kit::contract::assert_placed;
use meshery_plugin_api::MeshAdapter;
use meshery_plugin_api::message::descriptor::RbacScope;
use serde_json::json;

use super::cluster::Cluster;
use crate::Linkerd;

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
        assert_placed(&plan.unwrap(), &["Namespace"]);
    }
}
