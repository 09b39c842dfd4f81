//! How definitions of the Gateway API that are missing come to be there.

use serde_json::json;

use super::cluster::Cluster;

fn remedy(more: &str, wish: &str) -> String {
    let found = Cluster::with("given", more).check("install", json!({"gateway_api": wish}));
    let mut found = found.into_iter();
    let found = found.find(|found| found.code == "linkerd-gateway-api-missing");
    found.map(|found| found.remedy).unwrap_or_default()
}

#[test]
fn what_the_chart_would_not_complete_is_not_left_to_it() {
    // Of a release of the Gateway API before 1.1.
    let others = "- apiVersion: apiextensions.k8s.io/v1\n  kind: CustomResourceDefinition\n  \
                  metadata: {name: httproutes.gateway.networking.k8s.io}\n";
    for wish in ["missing", "none"] {
        let remedy = remedy(others, wish);
        assert!(
            remedy.contains("install grpcroutes.gateway.networking.k8s.io")
                && remedy.contains("gateway_api=all"),
            "{wish}: {remedy}"
        );
    }
    assert!(remedy("", "none").contains("gateway_api=missing"));
    assert_eq!(remedy("", "missing"), "");
    assert_eq!(remedy(others, "all"), "");
}
