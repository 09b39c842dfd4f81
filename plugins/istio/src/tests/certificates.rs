use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use meshery_plugin_api::message::finding::{Finding, Health, Severity};
use serde_json::json;

use super::cluster::Cluster;

/// Until 2027-01-01, and until 2026-12-01.
const LATER: &str = include_str!("../../../mesh-kit/src/certificate/p256.pem");
const SOONER: &str = include_str!("../../../mesh-kit/src/certificate/leaf.pem");
const INJECTOR: &str = "istio-sidecar-injector";

/// A cluster with an authority plugged in.
fn plugged_in(file: &str, namespace: &str, data: &serde_json::Value) -> Cluster {
    let secret = format!(
        "- {}\n",
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "cacerts", "namespace": namespace}, "data": data})
    );
    Cluster::with(file, &secret)
}

fn about(findings: &[Finding]) -> Vec<(String, Severity)> {
    findings
        .iter()
        .filter(|finding| finding.code.ends_with("-expires") || finding.code.ends_with("-expired"))
        .map(|finding| (finding.code.clone(), finding.severity))
        .collect()
}

#[test]
fn an_authority_that_is_plugged_in_is_warned_of_before_its_end_and_is_an_error_after() {
    let root_ends = json!({"ca-cert.pem": STANDARD.encode(LATER), "root-cert.pem": STANDARD.encode(SOONER)});
    let at = |namespace: &str, now: &str| {
        let cluster = plugged_in("installed", namespace, &root_ends).now(now);
        let found = cluster.detect().unwrap().remove(0);
        (about(&found.findings), found.health)
    };
    let said = |code: &str, severity| vec![(code.to_owned(), severity)];
    let system = "istio-system";
    assert_eq!(at(system, "2026-06-01T00:00:00Z"), (vec![], Health::Healthy));
    assert_eq!(
        at(system, "2026-11-01T00:00:00Z"),
        (said("istio-ca-expires", Severity::Warning), Health::Healthy)
    );
    let over = "2026-12-02T00:00:00Z";
    assert_eq!(
        at(system, over),
        (said("istio-ca-expired", Severity::Error), Health::Degraded)
    );
    assert_eq!(
        at("shop", over),
        (vec![], Health::Healthy),
        "of another namespace"
    );
}

#[test]
fn an_authority_that_has_ended_speaks_against_installing_and_upgrading() {
    let of_cert_manager = json!({"tls.crt": STANDARD.encode(LATER)});
    let now = "2027-01-02T00:00:00Z";
    let expired = [("istio-ca-expired".to_owned(), Severity::Error)];
    for (file, operation) in [("empty", "install"), ("installed", "upgrade")] {
        let cluster = plugged_in(file, "istio-system", &of_cert_manager).now(now);
        assert_eq!(
            about(&cluster.check(operation, json!({}))),
            expired,
            "{operation}"
        );
    }
}

#[test]
fn a_webhook_that_is_trusted_no_longer_degrades_and_refuses_injection() {
    let now = |now: &str| {
        Cluster::of("installed")
            .change(INJECTOR, |object| {
                object["webhooks"][0]["clientConfig"]["caBundle"] = STANDARD.encode(LATER).into();
            })
            .now(now)
    };
    let soon = now("2026-12-20T00:00:00Z").detect().unwrap().remove(0);
    assert_eq!(
        (about(&soon.findings), soon.health),
        (
            vec![("istio-webhook-expires".to_owned(), Severity::Warning)],
            Health::Healthy
        )
    );
    let over = now("2027-01-02T00:00:00Z");
    let found = over.detect().unwrap().remove(0);
    let expired = [("istio-webhook-expired".to_owned(), Severity::Error)];
    assert_eq!(
        (about(&found.findings), found.health),
        (expired.to_vec(), Health::Degraded)
    );
    let said = found
        .findings
        .iter()
        .find(|finding| finding.code == expired[0].0)
        .unwrap();
    assert!(
        said.message
            .ends_with("new pods that ask for a sidecar are refused"),
        "{said:?}"
    );
    assert_eq!(
        about(&over.check("inject", json!({"namespace": "shop"}))),
        expired
    );
}
