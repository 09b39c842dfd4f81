//! Removing what Linkerd's CLI has made.

use meshery_mesh_kit::review::plan_text;
use serde_json::json;

use super::cluster::Cluster;

#[test]
fn what_the_cli_has_made_goes_on_explicit_word_but_for_the_issuer() {
    let cluster = Cluster::of("by-cli");
    let error = cluster.plan("remove", json!({})).unwrap_err();
    assert_eq!(error.code, "linkerd-of-cli");
    assert!(
        error.remedy.contains("of-others") && error.remedy.contains("linkerd uninstall"),
        "{error:?}"
    );
    let told = |given| {
        let findings = cluster.check("remove", given);
        let found = findings
            .into_iter()
            .find(|found| found.code == "installation-of-others");
        found.unwrap().message
    };
    assert!(told(json!({})).contains("4 objects") && told(json!({})).ends_with("stay"));
    assert!(told(json!({"of-others": true})).ends_with("go"));

    let plan = cluster.plan("remove", json!({"of-others": true})).unwrap();
    let text = plan_text(&plan);
    for gone in [
        "Deployment/linkerd/linkerd-destination",
        "ServiceAccount/linkerd/linkerd-destination",
        "ClusterRole//linkerd-linkerd-destination",
        "Secret/linkerd/linkerd-sp-validator-k8s-tls",
        "Namespace//linkerd",
    ] {
        assert!(text.contains(gone), "{gone}: {text}");
    }
    for stays in ["linkerd-other", "linkerd-identity-issuer", "serviceprofiles"] {
        assert!(!text.contains(stays), "{stays}: {text}");
    }
    let plan = cluster
        .plan("remove", json!({"of-others": true, "custom-resources": true}))
        .unwrap();
    let text = plan_text(&plan);
    assert!(text.contains("serviceprofiles.linkerd.io"), "{text}");
}
