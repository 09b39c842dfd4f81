use meshery_plugin_api::message::finding::{Health, Installation, Prospect, Verdict};
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
        [
            "linkerd-proxies",
            "linkerd-proxies-behind",
            "linkerd-anchor-expires",
            "linkerd-mtls"
        ]
    );
    let sources: Vec<(&str, &str)> = linkerd
        .versions
        .iter()
        .map(|source| (source.source.as_str(), source.version.as_str()))
        .collect();
    assert_eq!(
        sources,
        [
            ("chart", "2025.10.7"),
            ("image", "2025.10.7"),
            ("label", "2025.10.7")
        ]
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

fn prospect<'a>(found: &'a Installation, operation: &str) -> &'a Prospect {
    let mut all = found.prospects.iter();
    all.find(|prospect| prospect.operation == operation)
        .unwrap_or_else(|| panic!("{operation}: {:#?}", found.prospects))
}

fn codes(prospect: &Prospect) -> Vec<&str> {
    let findings = prospect.findings.iter();
    findings.map(|finding| finding.code.as_str()).collect()
}

#[test]
fn what_operations_would_do_is_told_with_the_installation() {
    let found = Cluster::of("installed")
        .now("2026-06-01T00:00:00Z")
        .detect()
        .unwrap();
    let upgrade = prospect(&found[0], "upgrade");
    assert_eq!(
        (upgrade.verdict, &upgrade.versions[..]),
        (Verdict::Possible, &["2026.8.3".to_owned()][..])
    );
    assert_eq!(prospect(&found[0], "install").versions, ["2025.10.7"]);
    let remove = prospect(&found[0], "remove");
    assert_eq!(remove.verdict, Verdict::Possible);
    assert!(
        remove.changes.contains("linkerd/linkerd-control-plane") && remove.changes.contains("shop"),
        "{remove:?}"
    );
    assert_eq!(prospect(&found[0], "rotate-anchor").verdict, Verdict::Possible);
    let replace = prospect(&found[0], "replace-anchor");
    assert_eq!(
        (replace.verdict, &replace.consent[..]),
        (Verdict::WithConsent, &["cut_off".to_owned()][..])
    );

    let ended = Cluster::of("installed")
        .now("2027-01-02T00:00:00Z")
        .detect()
        .unwrap();
    let rotate = prospect(&ended[0], "rotate-anchor");
    assert_eq!(
        (rotate.verdict, codes(rotate)),
        (Verdict::Refused, vec!["linkerd-past-rotation"])
    );
    assert_eq!(prospect(&ended[0], "replace-anchor").verdict, Verdict::Possible);
}

#[test]
fn anchors_and_issuer_are_found_where_the_control_plane_is() {
    let found = Cluster::in_namespace("installed", "mesh")
        .now(NOW)
        .detect()
        .unwrap();
    assert_eq!(found[0].namespace, "mesh");
    let findings: Vec<&str> = found[0]
        .findings
        .iter()
        .map(|found| found.code.as_str())
        .collect();
    assert!(findings.contains(&"linkerd-anchor-expires"), "{findings:?}");
    assert_eq!(prospect(&found[0], "upgrade").verdict, Verdict::Possible);
    assert_eq!(prospect(&found[0], "rotate-anchor").verdict, Verdict::Possible);

    // Those of another namespace are none of its own.
    let elsewhere =
        Cluster::in_namespace("installed", "mesh").change("linkerd-identity-trust-roots", |object| {
            object["metadata"]["namespace"] = "linkerd".into();
        });
    let found = elsewhere.now(NOW).detect().unwrap();
    let rotate = prospect(&found[0], "rotate-anchor");
    assert_eq!(
        (rotate.verdict, codes(rotate)),
        (Verdict::Refused, vec!["linkerd-trust-missing"])
    );
    assert_eq!(codes(prospect(&found[0], "upgrade")), ["linkerd-trust-missing"]);
}

#[test]
fn what_others_have_installed_asks_for_a_word_or_is_refused() {
    let by = |annotations: serde_json::Value| {
        let cluster = Cluster::of("installed")
            .now("2026-06-01T00:00:00Z")
            .maker(|object| object["metadata"]["annotations"] = annotations.clone());
        cluster.detect().unwrap().remove(0)
    };
    let helm = by(json!({"meta.helm.sh/release-name": "linkerd-control-plane",
        "meta.helm.sh/release-namespace": "linkerd"}));
    assert_eq!(helm.installed_by, "helm");
    for (operation, word) in [
        ("install", "adopt"),
        ("upgrade", "adopt"),
        ("remove", "of-others"),
    ] {
        let asked = prospect(&helm, operation);
        assert_eq!(
            (asked.verdict, &asked.consent[..]),
            (Verdict::WithConsent, &[word.to_owned()][..]),
            "{asked:?}"
        );
    }

    let cli = by(json!({"linkerd.io/created-by": "linkerd/cli edge-25.10.7"}));
    let upgrade = prospect(&cli, "upgrade");
    assert_eq!(
        (upgrade.verdict, codes(upgrade)[0]),
        (Verdict::Refused, "linkerd-of-others")
    );
    assert!(upgrade.consent.is_empty());
    let install = prospect(&cli, "install");
    assert_eq!(install.verdict, Verdict::WithConsent);
    assert!(
        install.changes.contains("the fields of whoever made them"),
        "{install:?}"
    );
    let remove = prospect(&cli, "remove");
    assert_eq!(
        (remove.verdict, &remove.consent[..]),
        (Verdict::WithConsent, &["of-others".to_owned()][..])
    );
}

#[test]
fn pods_of_the_mesh_s_namespaces_without_a_proxy_are_named_but_for_those_that_stay_out() {
    let bare_with = |annotations: serde_json::Value, spec: serde_json::Value, phase: &str| {
        let cluster = Cluster::of("installed").change("web-1", |pod| {
            pod["metadata"]["labels"] = json!({});
            pod["metadata"]["annotations"] = annotations.clone();
            pod["spec"] = spec.clone();
            pod["status"] = json!({"phase": phase});
        });
        let found = cluster.detect().unwrap().remove(0);
        let mut findings = found.findings.into_iter();
        findings
            .find(|finding| finding.code == "linkerd-pods-without-proxy")
            .map(|finding| finding.message)
    };
    let bare = |annotations| bare_with(annotations, json!({}), "Running");
    let said = bare(json!({})).unwrap();
    assert!(said.contains("\"shop\"") && said.contains("web-1"), "{said}");
    assert_eq!(bare(json!({"linkerd.io/inject": "disabled"})), None);
    assert_eq!(
        bare_with(json!({}), json!({"hostNetwork": true}), "Running"),
        None
    );
    assert_eq!(bare_with(json!({}), json!({}), "Succeeded"), None);
}

#[test]
fn pods_beside_a_workload_that_is_in_the_mesh_by_itself_are_not_said_to_need_a_restart() {
    let beside = "- apiVersion: v1\n  kind: Pod\n  metadata: {name: batch-1, namespace: shop}\n";
    let said = |namespace: serde_json::Value, pod: serde_json::Value| {
        let cluster = Cluster::with("installed", beside)
            .change("shop", |object| {
                object["metadata"]["annotations"] = namespace.clone();
            })
            .change("batch-1", |object| {
                object["metadata"]["annotations"] = pod.clone();
            });
        let found = cluster.detect().unwrap().remove(0);
        assert_eq!(found.namespaces, ["shop"], "web-1 is in it");
        let mut findings = found.findings.into_iter();
        findings
            .find(|finding| finding.code == "linkerd-pods-without-proxy")
            .map(|finding| finding.message)
    };
    let enabled = || json!({"linkerd.io/inject": "enabled"});
    assert_eq!(said(json!({}), json!({})), None);
    assert!(said(enabled(), json!({})).unwrap().contains("batch-1"));
    // One that asks by itself, and was made before.
    assert!(said(json!({}), enabled()).unwrap().contains("batch-1"));
}

#[test]
fn workloads_are_told_in_the_mesh_out_of_it_and_behind() {
    let more = "\
- apiVersion: v1
  kind: Namespace
  metadata: {name: bank}
- apiVersion: v1
  kind: Pod
  metadata: {name: till-1, namespace: bank}
- apiVersion: v1
  kind: Pod
  metadata: {name: over, namespace: bank}
  status: {phase: Succeeded}
- apiVersion: v1
  kind: Pod
  metadata:
    name: db-0
    namespace: shop
    annotations: {linkerd.io/inject: disabled}
    ownerReferences: [{kind: StatefulSet, name: db, controller: true}]
";
    let found = Cluster::with("installed", more).detect().unwrap().remove(0);
    let told = serde_json::to_value(&found.members).unwrap();
    let none = json!({"count": 0, "names": []});
    let one = |name: &str| json!({"count": 1, "names": [name]});
    assert_eq!(
        told,
        json!({"rest": 0, "namespaces": [
            {"namespace": "shop", "joined": "by-namespace",
                "in": one("Pod/web-1"), "out": one("StatefulSet/db"), "behind": one("Pod/web-1")},
            {"namespace": "bank", "joined": "nothing", "in": none, "out": one("Pod/till-1"), "behind": none},
        ]})
    );
}

#[test]
fn extensions_and_the_cni_plugin_are_parts_with_version_and_maker() {
    let more = "\
- apiVersion: apps/v1
  kind: Deployment
  metadata:
    name: web
    namespace: linkerd-viz
    generation: 1
    labels: {linkerd.io/extension: viz, app.kubernetes.io/version: edge-25.10.7, app.kubernetes.io/managed-by: Helm}
    annotations: {meta.helm.sh/release-name: linkerd-viz, meta.helm.sh/release-namespace: linkerd-viz}
  spec: {replicas: 1}
  status: {observedGeneration: 1}
- apiVersion: apps/v1
  kind: DaemonSet
  metadata:
    name: linkerd-cni
    namespace: linkerd-cni
    labels: {linkerd.io/cni-resource: 'true'}
    annotations: {linkerd.io/created-by: linkerd/cli edge-25.10.7}
  status: {desiredNumberScheduled: 2, numberReady: 2}
";
    let found = Cluster::with("installed", more).detect().unwrap().remove(0);
    let added: Vec<_> = found
        .components
        .iter()
        .skip(3)
        .map(|part| {
            (
                part.object.to_string(),
                part.version.as_str(),
                part.health,
                part.installed_by.as_str(),
            )
        })
        .collect();
    assert_eq!(
        added,
        [
            (
                "apps/v1/DaemonSet/linkerd-cni/linkerd-cni".to_owned(),
                "2025.10.7",
                Health::Healthy,
                "linkerd"
            ),
            (
                "apps/v1/Deployment/linkerd-viz/web".to_owned(),
                "2025.10.7",
                Health::Degraded,
                "helm"
            ),
        ]
    );
    // A dashboard that does not run is not the mesh.
    assert_eq!(found.health, Health::Healthy);
    assert_eq!(found.version, "2025.10.7");
}

#[test]
fn what_is_let_in_without_mutual_tls_is_told_by_the_default_policy() {
    let said = |values: &'static str, of_shop: &'static str| {
        let cluster = Cluster::of("installed")
            .change("linkerd-config", |object| {
                object["data"]["values"] = values.into();
            })
            .change("shop", |namespace| {
                if !of_shop.is_empty() {
                    namespace["metadata"]["annotations"]["config.linkerd.io/default-inbound-policy"] =
                        of_shop.into();
                }
            });
        let findings = cluster.detect().unwrap().remove(0).findings.into_iter();
        let mut said = findings.filter(|finding| finding.code == "linkerd-mtls");
        said.next().unwrap().message
    };
    let open = said("proxy:\n  defaultInboundPolicy: all-unauthenticated\n", "deny");
    assert!(
        open.contains("is let in unless a policy forbids it") && open.ends_with("; deny in shop"),
        "{open}"
    );
    let closed = said("proxy:\n  defaultInboundPolicy: \"all-authenticated\"\n", "");
    assert!(
        closed.contains("refused unless a policy allows it")
            && closed.ends_with("(default policy all-authenticated)"),
        "{closed}"
    );
    assert!(said("", "").contains("which was not seen"));
}

#[test]
fn pods_with_other_trust_anchors_than_todays_are_named() {
    let said = |digest: &'static str| {
        let cluster = Cluster::of("installed")
            .change("linkerd-identity-trust-roots", |object| {
                object["data"]["ca-bundle.crt"] = "abc\n".into();
            })
            .change("web-1", move |pod| {
                if !digest.is_empty() {
                    pod["metadata"]["annotations"]["linkerd.io/trust-root-sha256"] = digest.into();
                }
            });
        let mut findings = cluster.detect().unwrap().remove(0).findings.into_iter();
        let found = findings.find(|finding| finding.code == "linkerd-anchor-behind");
        found.map(|finding| finding.message)
    };
    // Of "abc", and of "abc" with its end of line.
    let todays = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let whole = "edeaaff3f1774ad2888673770c6d64097e391bc362d7d6fb34982ddf0efd18cb";
    assert_eq!((said(todays), said(whole), said("")), (None, None, None));
    let message = said("00").unwrap();
    assert!(
        message.starts_with("1 pods") && message.contains("shop/web-1"),
        "{message}"
    );
}
