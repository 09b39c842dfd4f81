use meshery_plugin_api::message::finding::{Installation, Prospect, Verdict};
use serde_json::{Value, json};

use super::cluster::Cluster;

fn only(cluster: &Cluster) -> Installation {
    let mut found = cluster.detect().unwrap();
    assert_eq!(found.len(), 1, "{found:#?}");
    found.remove(0)
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

fn sources(found: &Installation) -> Vec<String> {
    let sources = found.versions.iter();
    sources
        .map(|source| format!("{} {}", source.source, source.version))
        .collect()
}

#[test]
fn each_operation_says_whether_it_may_go_on_where_to_and_what_it_would_change() {
    let found = only(&Cluster::of("installed"));
    let install = prospect(&found, "install");
    assert_eq!(
        (install.verdict, &install.versions[..]),
        (Verdict::Possible, &["1.30.2".to_owned()][..])
    );
    // A candidate is not offered, and nothing that is older.
    for operation in ["upgrade", "upgrade-canary"] {
        let upgrade = prospect(&found, operation);
        assert_eq!(
            (upgrade.verdict, &upgrade.versions[..]),
            (Verdict::Possible, &["1.30.3".to_owned()][..]),
            "{operation}"
        );
    }
    let remove = prospect(&found, "remove");
    assert_eq!(remove.verdict, Verdict::Possible);
    assert!(
        remove.changes.contains("istio-system/istiod") && remove.changes.contains("shop"),
        "{remove:?}"
    );
}

#[test]
fn what_is_too_far_away_is_refused_with_the_way_there() {
    // Without the proxies of the installation, which are of a version of their own.
    let of = |version: &'static str| {
        let cluster = Cluster::of("installed").change("istiod", move |object| {
            object["spec"]["template"]["spec"]["containers"][0]["image"] =
                format!("x/pilot:{version}").into();
        });
        ["web-1", "cart-1"].into_iter().fold(cluster, |cluster, pod| {
            cluster.change(pod, |object| {
                object["metadata"]["labels"] = json!({});
                object["spec"]["containers"] = json!([{"name": "app"}]);
                object["spec"]["initContainers"] = json!([]);
            })
        })
    };
    let found = only(&of("1.28.1"));
    let upgrade = prospect(&found, "upgrade");
    assert_eq!(upgrade.verdict, Verdict::Possible, "{upgrade:?}");
    assert_eq!(upgrade.versions, ["1.29.1"], "one minor version up, and no more");
    assert_eq!(prospect(&found, "upgrade-canary").versions[0], "1.30.3");
    // No charts of what is there are known, and another version goes by an upgrade.
    let install = prospect(&found, "install");
    assert_eq!(
        (install.verdict, codes(install)),
        (Verdict::Refused, vec!["istio-version-unavailable"])
    );
    let found = only(&of("1.20.1"));
    let upgrade = prospect(&found, "upgrade");
    assert_eq!(
        (upgrade.verdict, codes(upgrade)),
        (Verdict::Refused, vec!["upgrade-skips-versions"])
    );
    // A newer proxy than the control plane would be: the pods say what they are.
    let old = Cluster::of("installed").change("istiod", |object| {
        object["spec"]["template"]["spec"]["containers"][0]["image"] = "x/pilot:1.28.1".into();
    });
    let found = only(&old);
    assert_eq!(codes(prospect(&found, "upgrade")), ["proxies-unsupported"]);
}

#[test]
fn what_others_have_installed_asks_for_a_word_and_what_is_of_no_release_is_refused() {
    let strip = |object: &mut Value| {
        let annotations = object["metadata"]["annotations"].as_object_mut();
        annotations.map(|annotations| annotations.remove("meshery.io/operation"));
    };
    let mut helm = Cluster::of("installed");
    for name in ["istiod", "istio-sidecar-injector", "istio-validator-istio-system"] {
        helm = helm.change(name, strip);
    }
    let found = only(&helm);
    assert_eq!(found.installed_by, "helm");
    for (operation, word) in [
        ("install", "adopt"),
        ("upgrade", "adopt"),
        ("upgrade-canary", "adopt"),
    ] {
        let asked = prospect(&found, operation);
        assert_eq!(
            (asked.verdict, &asked.consent[..]),
            (Verdict::WithConsent, &[word.to_owned()][..]),
            "{asked:?}"
        );
    }

    let found = only(&Cluster::of("istioctl"));
    for (operation, code) in [
        ("upgrade", "istio-of-no-release"),
        ("upgrade-canary", "istio-of-no-release"),
    ] {
        let refused = prospect(&found, operation);
        assert_eq!(
            (refused.verdict, codes(refused)),
            (Verdict::Refused, vec![code]),
            "{operation}"
        );
        assert!(!refused.findings[0].remedy.is_empty());
    }
    let remove = prospect(&found, "remove");
    assert_eq!(
        (remove.verdict, &remove.consent[..]),
        (Verdict::WithConsent, &["of-others".to_owned()][..])
    );
}

#[test]
fn an_operator_is_told_from_istioctl_and_would_put_everything_back() {
    let by = |labels: Value, owners: Value| {
        let mark = move |object: &mut Value| {
            object["metadata"]["ownerReferences"] = owners.clone();
            for (key, value) in labels.as_object().into_iter().flatten() {
                object["metadata"]["labels"][key] = value.clone();
            }
        };
        let cluster = Cluster::of("istioctl");
        ["istiod", "istio-sidecar-injector"]
            .into_iter()
            .fold(cluster, |cluster, name| cluster.change(name, &mark))
    };
    let old = json!({"install.operator.istio.io/owning-resource": "example-istiocontrolplane"});
    let sail = json!([{"apiVersion": "sailoperator.io/v1", "kind": "IstioRevision", "name": "default", "controller": true}]);
    for (cluster, maker) in [
        (by(old, json!([])), "istio-operator"),
        (by(json!({}), sail), "sail-operator"),
    ] {
        let found = only(&cluster);
        assert_eq!(found.installed_by, maker);
        assert!(
            found
                .findings
                .iter()
                .any(|finding| finding.code == "istio-of-operator")
        );
        assert!(codes(prospect(&found, "remove")).contains(&"istio-of-operator"));
        let install = prospect(&found, "install");
        assert!(codes(install).contains(&"istio-of-operator"), "{install:?}");
    }
}

#[test]
fn image_label_and_chart_agree_or_a_finding_says_so() {
    let found = only(&Cluster::of("installed"));
    assert_eq!(sources(&found), ["image 1.30.2", "chart 1.30.2"]);
    let labelled = |version: &'static str| {
        only(&Cluster::of("installed").change("istiod", move |object| {
            object["metadata"]["labels"]["app.kubernetes.io/version"] = version.into();
        }))
    };
    let is_said = |found: &Installation| {
        found.findings.iter().any(|finding| {
            finding.code == "istio-version-mismatch" && finding.message.contains("label 1.29.0")
        })
    };
    assert_eq!(
        sources(&labelled("1.30.2")),
        ["image 1.30.2", "label 1.30.2", "chart 1.30.2"]
    );
    assert!(!is_said(&labelled("1.30.2")));
    assert!(is_said(&labelled("1.29.0")));
    assert_eq!(labelled("1.29.0").version, "1.30.2", "the image counts");
}
