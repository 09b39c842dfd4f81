//! Namespaces in ambient mode are seen, and named before they lose the nodes' proxies.

use meshery_plugin_api::message::finding::{Finding, Severity};
use serde_json::json;

use super::cluster::Cluster;

fn only(findings: &[Finding], code: &str) -> (Severity, String) {
    let mut found = findings.iter().filter(|finding| finding.code == code);
    let first = found
        .next()
        .unwrap_or_else(|| panic!("{code} is not among {findings:#?}"));
    assert!(found.next().is_none(), "{code} is told twice");
    (first.severity, first.message.clone())
}

#[test]
fn they_are_told_with_an_installation_and_warned_of_when_the_nodes_have_no_proxies() {
    let cluster = Cluster::of("ambient");
    let findings = cluster.detect().unwrap().remove(0).findings;
    let (severity, message) = only(&findings, "istio-ambient-namespaces");
    assert!(
        severity == Severity::Info && message.ends_with(": bank, shop"),
        "{message}"
    );

    let without = cluster.change("ztunnel", |object| object["metadata"]["name"] = "other".into());
    let findings = without.detect().unwrap().remove(0).findings;
    let (severity, message) = only(&findings, "istio-ambient-without-ztunnel");
    assert!(
        severity == Severity::Warning && message.ends_with(": bank, shop"),
        "{message}"
    );
}

#[test]
fn a_removal_names_them_if_the_nodes_proxies_go() {
    let findings = Cluster::of("ambient").check("remove", json!({"of-others": true}));
    let (_, message) = only(&findings, "namespaces-in-mesh");
    assert_eq!(
        message,
        "namespaces in ambient mode: bank, shop; workloads there: Deployment shop/web"
    );
}

#[test]
fn an_upgrade_says_whose_connections_end_with_the_nodes_proxies() {
    let cluster = Cluster::of("ambient");
    let given = json!({"version": "1.30.3", "adopt": true});
    let (severity, message) = only(
        &cluster.check("upgrade", given.clone()),
        "istio-ambient-interrupted",
    );
    assert!(
        severity == Severity::Warning && message.contains("bank, shop"),
        "{message}"
    );
    let notes = cluster.plan("upgrade", given.clone()).unwrap().notes;
    assert!(
        notes.iter().any(|note| note.contains("node by node")),
        "{notes:?}"
    );
    // Sidecars keep theirs.
    let with_sidecars = Cluster::of("installed").check("upgrade", json!({"version": "1.30.3"}));
    assert!(
        with_sidecars
            .iter()
            .all(|finding| finding.code != "istio-ambient-interrupted"),
        "{with_sidecars:#?}"
    );
}

#[test]
fn strict_cuts_nobody_off_who_has_the_nodes_proxies() {
    let cut_off = |cluster: Cluster| {
        let findings = cluster.check("set-policy", json!({"namespace": "shop"}));
        findings
            .iter()
            .any(|finding| finding.code == "workloads-without-proxy")
    };
    let with = |change: fn(&mut serde_json::Value)| Cluster::of("ambient").change("web-1", change);
    assert!(!cut_off(Cluster::of("ambient")));
    let proxy = "
- apiVersion: v1
  kind: Pod
  metadata: {name: ztunnel-1, namespace: istio-system, labels: {app: ztunnel}}
  spec: {containers: [{name: istio-proxy}]}
";
    assert!(!cut_off(Cluster::with("ambient", proxy)));
    assert!(cut_off(with(
        |pod| pod["metadata"]["labels"]["istio.io/dataplane-mode"] = "none".into()
    )));
    assert!(cut_off(with(|pod| pod["spec"]["hostNetwork"] = true.into())));
    let without =
        Cluster::of("ambient").change("ztunnel", |object| object["metadata"]["name"] = "other".into());
    assert!(cut_off(without), "nobody encrypts for them");
}
