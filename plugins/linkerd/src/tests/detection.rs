use meshery_plugin_api::message::finding::Health;
use serde_json::json;

use super::cluster::Cluster;

const NOW: &str = "2026-11-26T10:00:00Z";

#[test]
fn an_installation_is_known_by_version_maker_namespaces_and_what_is_wrong() {
    let found = Cluster::of("installed").now(NOW).detect().unwrap();
    let [linkerd] = &found[..] else {
        panic!("{found:#?}");
    };
    assert_eq!(linkerd.version, "2025.10.7");
    assert_eq!(
        (linkerd.health, linkerd.installed_by.as_str()),
        (Health::Healthy, "meshery")
    );
    assert_eq!(linkerd.namespaces, ["shop"]);
    assert_eq!(linkerd.components.len(), 3);
    let codes: Vec<&str> = linkerd
        .findings
        .iter()
        .map(|finding| finding.code.as_str())
        .collect();
    assert_eq!(
        codes,
        ["linkerd-proxies-behind", "linkerd-anchor-expires", "linkerd-mtls"]
    );
}

#[test]
fn nothing_is_nothing_and_what_may_not_be_read_is_not_nothing() {
    assert!(Cluster::of("given").detect().unwrap().is_empty());
    let blind = Cluster::of("given").forbid(&[("apps", "Deployment")]);
    assert_eq!(blind.detect().unwrap_err().code, "facts-incomplete");
}

#[test]
fn what_is_half_removed_is_incomplete() {
    let half = Cluster::of("installed").change("linkerd-identity", |object| {
        object["metadata"]["labels"] = json!({});
    });
    let found = half.detect().unwrap();
    assert_eq!(found[0].health, Health::Incomplete);
    let finding = found[0]
        .findings
        .iter()
        .find(|finding| finding.code == "linkerd-incomplete")
        .unwrap();
    assert!(finding.message.contains("linkerd-identity"), "{finding:?}");
}

#[test]
fn a_webhook_without_authority_and_a_version_that_does_not_agree_are_said() {
    let cluster = Cluster::of("installed")
        .change("linkerd-proxy-injector-webhook-config", |object| {
            object["webhooks"][0]["clientConfig"]["caBundle"] = json!(null);
        })
        .change("linkerd-destination", |object| {
            object["spec"]["template"]["spec"]["containers"][0]["image"] = "x/controller:edge-26.8.3".into();
        });
    let found = cluster.detect().unwrap();
    assert_eq!(found[0].health, Health::Degraded);
    let codes: Vec<&str> = found[0]
        .findings
        .iter()
        .map(|finding| finding.code.as_str())
        .collect();
    assert!(codes.contains(&"linkerd-webhook-without-ca"), "{codes:?}");
    assert!(codes.contains(&"linkerd-version-mismatch"), "{codes:?}");
}

#[test]
fn the_cli_is_known_by_its_mark() {
    let by_cli = |object: &mut serde_json::Value| {
        object["metadata"]["annotations"] = json!({"linkerd.io/created-by": "linkerd/cli edge-25.10.7"});
    };
    let cluster = Cluster::of("installed")
        .change("linkerd-destination", by_cli)
        .change("linkerd-identity", by_cli);
    assert_eq!(cluster.detect().unwrap()[0].installed_by, "linkerd");
}
