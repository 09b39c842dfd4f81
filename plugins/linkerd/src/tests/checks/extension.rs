//! Extensions, beside a control plane of their version or another one.

use serde_json::json;

use super::NOW;
use crate::tests::cluster::Cluster;

#[test]
fn an_extension_is_of_its_control_planes_version_and_what_differs_is_said() {
    let cluster = || Cluster::of("installed").now(NOW);
    let chart = |given| format!("{:?}", cluster().plan("install-viz", given).unwrap());
    assert!(
        chart(json!({})).contains("2025.10.7"),
        "the newest is another one"
    );
    let newer = json!({"version": "edge-26.8.3"});
    assert!(chart(newer.clone()).contains("2026.8.3"));
    let warned = |given| {
        let findings = cluster().check("install-viz", given);
        let found = findings
            .into_iter()
            .find(|finding| finding.code == "linkerd-extension-skew");
        found.map(|finding| finding.message).unwrap_or_default()
    };
    assert_eq!(warned(json!({})), "");
    let message = warned(newer);
    assert!(
        message.contains("edge-26.8.3") && message.contains("edge-25.10.7"),
        "{message}"
    );
}

#[test]
fn an_upgrade_says_which_extensions_stay_behind() {
    let cluster = |release: &'static str| {
        Cluster::of("installed").now(NOW).change("web-1", move |object| {
            object["kind"] = "ServiceAccount".into();
            object["metadata"] = json!({
                "name": "web",
                "namespace": "metrics",
                "labels": {"linkerd.io/extension": "viz", "app.kubernetes.io/managed-by": "Helm"},
                "annotations": {
                    "meta.helm.sh/release-name": release,
                    "meta.helm.sh/release-namespace": "metrics",
                },
            });
        })
    };
    let behind = |release| {
        let findings = cluster(release).check("upgrade", json!({"version": "edge-26.8.3"}));
        let found = findings
            .into_iter()
            .find(|finding| finding.code == "linkerd-extensions-behind");
        found.map(|finding| finding.message).unwrap_or_default()
    };
    assert!(behind("linkerd-viz").contains("viz in namespace metrics"));
    assert_eq!(behind("linkerd-smi"), "");
}
