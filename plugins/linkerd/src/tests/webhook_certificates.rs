use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use meshery_plugin_api::message::finding::{Finding, Health, Severity};
use serde_json::json;

use super::cluster::Cluster;

/// Until 2027-01-01, and until 2026-12-01.
const LATER: &str = include_str!("../../../mesh-kit/src/certificate/p256.pem");
const SOONER: &str = include_str!("../../../mesh-kit/src/certificate/leaf.pem");
const INJECTOR: &str = "linkerd-proxy-injector-webhook-config";

/// A mesh whose webhook of a configuration is trusted by this certificate.
fn trusted(configuration: &str, pem: &str) -> Cluster {
    Cluster::of("installed").change(configuration, |object| {
        object["webhooks"][0]["clientConfig"]["caBundle"] = STANDARD.encode(pem).into();
    })
}

fn about(findings: &[Finding]) -> Vec<(&str, Severity)> {
    findings
        .iter()
        .filter(|finding| finding.code.starts_with("linkerd-webhook"))
        .map(|finding| (finding.code.as_str(), finding.severity))
        .collect()
}

#[test]
fn a_webhook_s_certificate_is_warned_of_before_its_end_and_is_an_error_after() {
    let at = |now: &str| {
        let found = trusted(INJECTOR, LATER).now(now).detect().unwrap().remove(0);
        let said: Vec<_> = about(&found.findings)
            .into_iter()
            .map(|(code, severity)| (code.to_owned(), severity))
            .collect();
        (said, found)
    };
    let (said, found) = at("2026-06-01T00:00:00Z");
    assert!(said.is_empty() && found.health == Health::Healthy, "{said:?}");
    let (said, found) = at("2026-12-01T00:00:00Z");
    assert_eq!(said, [("linkerd-webhook-expires".to_owned(), Severity::Warning)]);
    assert_eq!(found.health, Health::Healthy);
    let (said, found) = at("2027-01-02T00:00:00Z");
    assert_eq!(said, [("linkerd-webhook-expired".to_owned(), Severity::Error)]);
    assert_eq!(found.health, Health::Degraded);
    let finding = found
        .findings
        .iter()
        .find(|finding| finding.code == "linkerd-webhook-expired")
        .unwrap();
    assert!(
        finding.message.ends_with("new pods get no proxy") && finding.remedy.contains("upgrade"),
        "{finding:?}"
    );
}

#[test]
fn what_a_webhook_serves_ends_as_well_and_whether_pods_are_refused_is_said() {
    let secret = format!(
        "- apiVersion: v1\n  kind: Secret\n  metadata: {{name: linkerd-sp-validator-k8s-tls, namespace: linkerd}}\n  \
         data: {{tls.crt: {}}}\n",
        STANDARD.encode(SOONER)
    );
    let served = |namespace: &'static str| {
        let cluster = Cluster::with("installed", &secret)
            .now("2026-12-02T00:00:00Z")
            .change("linkerd-sp-validator-k8s-tls", |object| {
                object["metadata"]["namespace"] = namespace.into();
            });
        cluster.detect().unwrap().remove(0).findings
    };
    assert_eq!(
        about(&served("linkerd")),
        [("linkerd-webhook-expired", Severity::Error)]
    );
    assert!(about(&served("elsewhere")).is_empty());

    let strict = trusted(INJECTOR, LATER)
        .change(INJECTOR, |object| {
            object["webhooks"][0]["failurePolicy"] = "Fail".into();
        })
        .now("2027-01-02T00:00:00Z");
    let found = strict.detect().unwrap().remove(0);
    let expired = |finding: &&Finding| finding.code == "linkerd-webhook-expired";
    let said = &found.findings.iter().find(expired).unwrap().message;
    assert!(
        said.ends_with("new pods that ask for a proxy are refused"),
        "{said}"
    );
}

#[test]
fn injection_is_refused_by_a_certificate_that_has_ended_and_an_upgrade_makes_it_anew() {
    let check = |configuration: &str, operation: &str, given| {
        let cluster = trusted(configuration, LATER).now("2027-01-02T00:00:00Z");
        let findings = cluster.check(operation, given);
        about(&findings)
            .into_iter()
            .map(|(code, severity)| (code.to_owned(), severity))
            .collect::<Vec<_>>()
    };
    let expired = |severity| [("linkerd-webhook-expired".to_owned(), severity)];
    let shop = json!({"namespace": "shop"});
    assert_eq!(check(INJECTOR, "inject", shop.clone()), expired(Severity::Error));
    let validator = "linkerd-sp-validator-webhook-config";
    assert!(check(validator, "inject", shop).is_empty());
    assert_eq!(check(validator, "upgrade", json!({})), expired(Severity::Info));
    assert_eq!(
        check(INJECTOR, "install", json!({"version": "2025.10.7"})),
        expired(Severity::Info)
    );
}
