//! What is on the nodes serves all control planes, and not of any version.

use meshery_plugin_api::message::finding::{Finding, Severity};
use serde_json::{Value, json};

use super::cluster::Cluster;

/// A control plane and a CNI plugin of these versions.
fn cluster(plane: &str, plugin: &str) -> Cluster {
    let (plane, plugin) = (plane.to_owned(), plugin.to_owned());
    let image = |object: &mut Value, image: String| {
        object["spec"]["template"]["spec"]["containers"][0]["image"] = image.into();
    };
    Cluster::of("with-cni")
        .change("istiod", move |object| image(object, format!("x/pilot:{plane}")))
        .change("istio-cni-node", move |object| {
            image(object, format!("x/install-cni:{plugin}-distroless"));
        })
}

/// What is said of the nodes.
fn said(cluster: &Cluster, operation: &str, given: Value) -> Vec<(Severity, String)> {
    let of_nodes = |finding: &Finding| finding.code == "istio-nodes-unsupported";
    let mut found = cluster.check(operation, given);
    found.retain(of_nodes);
    found
        .into_iter()
        .map(|finding| (finding.severity, finding.message))
        .collect()
}

#[test]
fn a_canary_upgrade_by_two_minor_versions_is_none_with_the_plugin_on_the_nodes() {
    let to = json!({"version": "1.30.3"});
    let found = said(&cluster("1.28.1", "1.28.1"), "upgrade-canary", to.clone());
    let errors: Vec<&str> = found.iter().map(|(_, message)| message.as_str()).collect();
    assert!(
        found.iter().all(|(severity, _)| *severity == Severity::Error),
        "{found:?}"
    );
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(
        errors[0].contains("CNI plugin 1.28.1 with revision 1-30-3 of Istio 1.30.3"),
        "{errors:?}"
    );
    assert!(
        errors[1].contains("CNI plugin 1.30.3 with revision default of Istio 1.28.1"),
        "{errors:?}"
    );
    // By one it is, and the plugin may be ahead of the old one.
    assert_eq!(said(&cluster("1.29.1", "1.29.1"), "upgrade-canary", to), []);
    let found = cluster("1.28.1", "1.28.1").detect().unwrap();
    let canary = found[0]
        .prospects
        .iter()
        .find(|prospect| prospect.operation == "upgrade-canary");
    assert_eq!(
        canary.map(|canary| &canary.versions[..]),
        Some(&["1.29.1".to_owned()][..])
    );
}

#[test]
fn in_place_the_plugin_may_be_one_minor_version_away_on_the_way_too() {
    let to = json!({"version": "1.30.3"});
    assert_eq!(said(&cluster("1.29.1", "1.29.1"), "upgrade", to.clone()), []);
    let found = said(&cluster("1.29.1", "1.28.1"), "upgrade", to.clone());
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].0 == Severity::Error && found[0].1.contains("CNI plugin 1.28.1"),
        "{found:?}"
    );
    // What is wrong already is mended by an upgrade that changes the plugin only.
    assert_eq!(said(&cluster("1.30.2", "1.28.1"), "upgrade", to), []);
    let found = cluster("1.30.3", "1.28.1").detect().unwrap();
    let told = found[0]
        .findings
        .iter()
        .find(|finding| finding.code == "istio-nodes-unsupported");
    assert!(
        told.is_some_and(|told| told.severity == Severity::Warning),
        "{found:#?}"
    );
}

#[test]
fn another_control_plane_that_the_plugin_leaves_behind_is_warned_of() {
    let given =
        json!({"version": "1.30.3", "revision": "new", "profile": "default", "platform": "openshift"});
    let found = said(&cluster("1.28.1", "1.29.1"), "install", given);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].0 == Severity::Warning
            && found[0]
                .1
                .contains("CNI plugin 1.30.3 with revision default of Istio 1.28.1"),
        "{found:?}"
    );
    // A control plane that does not use it has nothing to do with it.
    let given = json!({"version": "1.30.3", "revision": "new", "profile": "minimal"});
    assert_eq!(said(&cluster("1.28.1", "1.28.1"), "install", given), []);
}

#[test]
fn in_ambient_mode_the_nodes_are_never_ahead() {
    let ambient = |chart: &str| {
        let chart = chart.to_owned();
        Cluster::of("ambient").change("ztunnel", move |object| {
            object["metadata"]["labels"]["helm.sh/chart"] = chart.clone().into();
        })
    };
    let told = |cluster: &Cluster| {
        let found = cluster.detect().unwrap();
        let mut of_nodes = found[0]
            .findings
            .iter()
            .filter(|finding| finding.code == "istio-nodes-unsupported");
        of_nodes.next().map(|finding| finding.message.clone())
    };
    assert_eq!(told(&ambient("ztunnel-1.30.3")), None);
    assert_eq!(told(&ambient("ztunnel-1.29.1")), None);
    for chart in ["ztunnel-1.31.0", "ztunnel-1.28.1"] {
        assert!(
            told(&ambient(chart)).is_some_and(|told| told.contains("nodes' proxies")),
            "{chart}"
        );
    }
}
