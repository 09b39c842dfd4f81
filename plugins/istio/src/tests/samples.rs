//! The sample applications beside Bookinfo, exposed and in the mesh.

use meshery_mesh_kit::review::{assert_snapshot, plan_text};
use meshery_plugin_api::MeshAdapter;
use serde_json::json;

use super::cluster::{Cluster, folder};
use crate::{Istio, OPERATIONS};

#[test]
fn every_operation_is_found_by_the_name_it_describes_itself_with() {
    let named: Vec<String> = Istio.describe().operations.into_iter().map(|o| o.name).collect();
    let entries: Vec<&str> = OPERATIONS.entries().map(|entry| entry.name).collect();
    assert_eq!(named, entries);
}

#[test]
fn each_sample_is_deployed_with_sidecars_and_a_way_in() {
    for name in ["httpbin", "imagehub", "emojivoto"] {
        let operation = format!("deploy-{name}");
        let given = json!({"namespace": "shop", "inject": true, "expose": true});
        let plan = Cluster::of("empty").plan(&operation, given).unwrap();
        let file = folder("snapshots").join(format!("{operation}.txt"));
        assert_snapshot(&file, &plan_text(&plan));
    }
}

#[test]
fn two_namespaces_are_exposed_under_two_host_names_unless_one_is_asked_for() {
    let text = |given| plan_text(&Cluster::of("empty").plan("deploy-bookinfo", given).unwrap());
    let shop = text(json!({"namespace": "shop", "expose": true}));
    let store = text(json!({"namespace": "store", "expose": true}));
    assert!(shop.contains("bookinfo.shop.meshery.internal"), "{shop}");
    assert!(store.contains("bookinfo.store.meshery.internal"), "{store}");
    let asked = text(json!({"expose": true, "host": "books.example.com"}));
    assert!(
        asked.contains("books.example.com") && !asked.contains("meshery.internal"),
        "{asked}"
    );
    let any = text(json!({"expose": true, "host": "*"}));
    assert!(
        !any.contains("meshery.internal") && !any.contains("note:"),
        "{any}"
    );
}

#[test]
fn a_host_name_that_a_gateway_would_refuse_is_refused_first() {
    for host in ["http://shop", "shop:80", "Shop", "-a.b", "a..b", "*x"] {
        let given = json!({"expose": true, "host": host});
        let error = Cluster::of("empty").plan("deploy-httpbin", given).unwrap_err();
        assert_eq!(error.code, "bad-parameter");
        assert!(error.message.contains(host), "{error:?}");
    }
}
