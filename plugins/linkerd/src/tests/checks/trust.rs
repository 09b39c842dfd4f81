//! Trust anchors and the issuer.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use meshery_plugin_api::message::finding::Severity;
use serde_json::json;

use super::{NOW, codes, install};
use crate::tests::cluster::Cluster;

#[test]
fn an_anchor_is_warned_of_before_it_ends_and_refused_after() {
    let at = |now: &str| install(Cluster::of("given").now(now));
    let findings = at("2026-11-26T10:00:00Z");
    assert_eq!(codes(&findings, Severity::Warning), ["linkerd-anchor-expires"]);
    assert!(findings[0].message.contains("35 days"), "{findings:?}");
    assert_eq!(
        codes(&at("2027-01-02T00:00:00Z"), Severity::Error),
        ["linkerd-anchor-expired"]
    );
    assert_eq!(
        codes(&at("2025-12-31T00:00:00Z"), Severity::Error),
        ["linkerd-anchor-not-yet"]
    );
}

#[test]
fn an_anchor_that_has_ended_is_no_error_beside_one_that_holds() {
    let cluster =
        Cluster::of("given")
            .now("2027-01-02T00:00:00Z")
            .change("linkerd-identity-trust-roots", |object| {
                let old = object["data"]["ca-bundle.crt"].as_str().unwrap_or_default();
                let newer = include_str!("../../../../mesh-kit/src/certificate/p256-newer.pem");
                object["data"]["ca-bundle.crt"] = format!("{old}{newer}").into();
            });
    let findings = install(cluster);
    assert!(codes(&findings, Severity::Error).is_empty(), "{findings:?}");
    assert_eq!(codes(&findings, Severity::Warning), ["linkerd-anchor-expired"]);
}

#[test]
fn an_anchor_that_proxies_would_refuse_is_an_error() {
    let with = |bundle: &'static str| {
        install(
            Cluster::of("given")
                .now(NOW)
                .change("linkerd-identity-trust-roots", move |object| {
                    object["data"]["ca-bundle.crt"] = bundle.into();
                }),
        )
    };
    let rsa = include_str!("../../../../mesh-kit/src/certificate/rsa.pem");
    assert_eq!(codes(&with(rsa), Severity::Error), ["linkerd-anchor-algorithm"]);
    assert_eq!(
        codes(&with("nothing"), Severity::Error),
        ["linkerd-anchor-unreadable"]
    );
}

#[test]
fn anchors_that_a_chart_has_made_stay_with_it() {
    let of_chart = Cluster::of("installed")
        .now(NOW)
        .change("linkerd-identity-trust-roots", |object| {
            object["metadata"]["annotations"] = json!({"meta.helm.sh/release-name": "linkerd-control-plane"});
        })
        .change("linkerd-identity-issuer", |secret| {
            secret["type"] = "Opaque".into();
        });
    let version = json!({"version": "edge-25.10.7"});
    assert_eq!(
        codes(&of_chart.check("install", version.clone()), Severity::Error),
        ["linkerd-trust-in-chart"]
    );
    let upgraded = of_chart.check("upgrade", version);
    assert!(codes(&upgraded, Severity::Error).is_empty(), "{upgraded:?}");
}

#[test]
fn an_issuer_is_warned_of_before_it_ends_and_refused_after_whoever_made_it() {
    let encoded = |key: &str| {
        let pem = include_str!("../../../../mesh-kit/src/certificate/p256.pem");
        json!({key: STANDARD.encode(pem), "tls.key": STANDARD.encode("secret")})
    };
    for key in ["tls.crt", "crt.pem"] {
        let at = |now: &str| {
            let cluster = Cluster::of("given").now(now);
            install(cluster.change("linkerd-identity-issuer", |secret| secret["data"] = encoded(key)))
        };
        let warned = at("2026-11-26T10:00:00Z");
        assert!(
            codes(&warned, Severity::Warning).contains(&"linkerd-issuer-expires"),
            "{warned:?}"
        );
        let ended = at("2027-01-02T00:00:00Z");
        assert!(
            codes(&ended, Severity::Error).contains(&"linkerd-issuer-expired"),
            "{ended:?}"
        );
    }
}

/// A mesh whose issuer has this certificate, in PEM.
fn issued(cluster: Cluster, pem: &str) -> Cluster {
    cluster.change("linkerd-identity-issuer", |secret| {
        secret["data"] = json!({"tls.crt": STANDARD.encode(pem), "tls.key": ""});
    })
}

#[test]
fn an_issuer_that_identity_would_refuse_is_an_error_whoever_made_it() {
    let with = |pem: &str| {
        let findings = install(issued(Cluster::of("given").now(NOW), pem));
        findings
            .into_iter()
            .map(|finding| (finding.code, finding.severity == Severity::Error))
            .collect::<Vec<_>>()
    };
    let is = |code: &str, error| vec![(code.to_owned(), error)];
    assert!(with(include_str!("../../../../mesh-kit/src/certificate/issuer.pem")).is_empty());
    assert_eq!(
        with(include_str!(
            "../../../../mesh-kit/src/certificate/issuer-p384.pem"
        )),
        is("linkerd-issuer-algorithm", true)
    );
    assert_eq!(
        with(include_str!("../../../../mesh-kit/src/certificate/leaf.pem")),
        is("linkerd-issuer-no-authority", true)
    );
    // Signed by one of the anchor's name, with another key.
    assert_eq!(
        with(include_str!(
            "../../../../mesh-kit/src/certificate/issuer-other.pem"
        )),
        is("linkerd-issuer-unchained", true)
    );
    assert_eq!(
        with(include_str!(
            "../../../../mesh-kit/src/certificate/issuer-long.pem"
        )),
        is("linkerd-issuer-outlives", false)
    );
    assert_eq!(with("nothing"), is("linkerd-issuer-unreadable", false));
}

#[test]
fn an_issuer_may_not_be_made_to_outlive_its_anchor() {
    let given = json!({"anchor_days": 30, "issuer_days": 31});
    for (operation, cluster) in [
        ("make-trust", "empty"),
        ("rotate-anchor", "installed"),
        ("replace-anchor", "installed"),
    ] {
        let error = Cluster::of(cluster)
            .now(NOW)
            .plan(operation, given.clone())
            .unwrap_err();
        assert_eq!(error.code, "linkerd-issuer-outlives", "{operation}");
        assert!(error.message.contains("31"), "{error:?}");
    }
    // The anchor ends on 2027-01-01, 213 days from now.
    let renew = |days: u64| {
        let issuer = include_str!("../../../../mesh-kit/src/certificate/issuer.pem");
        issued(Cluster::of("installed").now(NOW), issuer).plan("renew-issuer", json!({"issuer_days": days}))
    };
    assert!(renew(213).is_ok());
    let error = renew(214).unwrap_err();
    assert_eq!(error.code, "linkerd-issuer-outlives");
    assert!(error.remedy.contains("213"), "{error:?}");
}

#[test]
fn an_anchor_is_replaced_at_once_only_when_nothing_holds_or_on_explicit_word() {
    let at = |now: &str, operation: &str, given| Cluster::of("installed").now(now).check(operation, given);
    let ended = "2027-01-02T00:00:00Z";
    assert_eq!(
        codes(&at(ended, "rotate-anchor", json!({})), Severity::Error),
        ["linkerd-anchor-expired"]
    );
    assert!(codes(&at(ended, "replace-anchor", json!({})), Severity::Error).is_empty());
    let refused = at(NOW, "replace-anchor", json!({}));
    assert_eq!(codes(&refused, Severity::Error), ["linkerd-anchor-holds"]);
    let word = at(NOW, "replace-anchor", json!({"cut_off": true}));
    assert!(codes(&word, Severity::Error).is_empty(), "{word:?}");
    assert!(
        codes(&word, Severity::Warning).contains(&"linkerd-cut-off"),
        "{word:?}"
    );
    // The anchor holds, and the issuer does not: identity would not come back from a restart.
    let leaf = include_str!("../../../../mesh-kit/src/certificate/leaf.pem");
    let issuer =
        |operation: &str| issued(Cluster::of("installed").now(NOW), leaf).check(operation, json!({}));
    assert!(!codes(&issuer("rotate-anchor"), Severity::Error).is_empty());
    assert!(codes(&issuer("replace-anchor"), Severity::Error).is_empty());
}
