//! That the rights the adapter asks for cover its plans.

use meshery_mesh_kit::contract::assert_placed;
use meshery_plugin_api::MeshAdapter;
use meshery_plugin_api::message::descriptor::RbacScope;
use serde_json::json;

use super::cluster::Cluster;
use crate::Istio;

#[test]
fn plans_stay_within_the_rights() {
    let rights = Istio.describe().rights;
    assert_eq!(
        (rights.namespaces, rights.rbac),
        (vec!["*".to_owned()], RbacScope::Cluster)
    );
    assert!(rights.create_namespaces && rights.crds && rights.webhooks && rights.secrets);
    assert!(rights.privileged_pods && rights.cluster_groups == ["*"]);
    let plans = [
        Cluster::of("empty").plan("install", json!({})),
        Cluster::of("installed").plan("remove", json!({"purge": true})),
        Cluster::of("empty").plan("inject", json!({"namespace": "shop", "restart": true})),
        Cluster::of("empty").plan("deploy-bookinfo", json!({"inject": true, "expose": true})),
        Cluster::of("bookinfo").plan("remove-bookinfo", json!({})),
    ];
    for plan in plans {
        assert_placed(&plan.unwrap(), &["Namespace", "CustomResourceDefinition"]);
    }
}
