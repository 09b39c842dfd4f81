//! Values of one's own, and anchors and issuer taken out of a chart's hands by them.

use meshery_mesh_kit::review::plan_text;
use meshery_plugin_api::message::finding::Severity;
use meshery_plugin_api::message::plan::{Action, Plan};
use serde_json::{Value, json};

use super::cluster::Cluster;

const TAKEN_OUT: &str = r#"{"linkerd-control-plane": {"identity": {"externalCA": true}}}"#;

fn taken_out() -> Value {
    json!({"values": serde_json::from_str::<Value>(TAKEN_OUT).unwrap()})
}

fn values(plan: &Plan, id: &str) -> Value {
    match &plan.steps.iter().find(|step| step.id == id).unwrap().action {
        Action::Release(release) => Value::Object(release.values.clone()),
        other => panic!("{other:?}"),
    }
}

/// A cluster whose anchors and issuer plain helm has made from a chart's values, marked to be kept or not.
fn of_chart(kept: bool) -> Cluster {
    let mut annotations = json!({"meta.helm.sh/release-name": "linkerd-control-plane",
        "meta.helm.sh/release-namespace": "linkerd"});
    if kept {
        annotations["helm.sh/resource-policy"] = "keep".into();
    }
    let mark = move |object: &mut Value| {
        object["metadata"]["annotations"] = annotations.clone();
        object["metadata"]["labels"] = json!({"app.kubernetes.io/managed-by": "Helm"});
    };
    Cluster::of("installed")
        .now("2026-06-01T12:00:00Z")
        .change("linkerd-identity-trust-roots", &mark)
        .change("linkerd-identity-issuer", |secret| {
            mark(secret);
            secret["type"] = "Opaque".into();
            secret["data"] = json!({"crt.pem": "", "key.pem": ""});
        })
}

#[test]
fn values_of_people_reach_the_charts_they_are_for() {
    let given = json!({"version": "edge-26.8.3", "cni": true, "values": {
        "linkerd-control-plane": {"controllerLogLevel": "debug", "identity": {"externalCA": true}},
        "linkerd-crds": {"commonLabels": {"team": "mesh"}}, "linkerd2-cni": {"destCNIBinDir": "/bin"}}});
    let plan = Cluster::of("given").on("gke").plan("install", given).unwrap();
    let plane = values(&plan, "control-plane");
    assert_eq!(plane["controllerLogLevel"], "debug");
    assert_eq!(plane["identity"]["issuer"]["scheme"], "kubernetes.io/tls");
    assert_eq!(values(&plan, "crds")["commonLabels"]["team"], "mesh");
    let plugin = values(&plan, "cni");
    assert_eq!(
        (&plugin["destCNIBinDir"], &plugin["destCNINetDir"]),
        (&json!("/bin"), &json!("/etc/cni/net.d"))
    );
    let tracing = json!({"proxy": {"tracing": {"enabled": true}}});
    let given = json!({"values": {"linkerd-control-plane": tracing}});
    let plan = Cluster::of("installed").plan("upgrade", given).unwrap();
    assert_eq!(values(&plan, "control-plane"), tracing);
    let given = json!({"values": {"linkerd-viz": {"dashboard": {"replicas": 2}}}});
    let plan = Cluster::of("installed").plan("install-viz", given).unwrap();
    assert_eq!(values(&plan, "viz")["dashboard"]["replicas"], 2);
}

#[test]
fn what_a_parameter_is_for_and_anchors_that_would_be_in_a_record_are_refused_by_name() {
    for (path, of_plane) in [
        (".highAvailability", json!({"highAvailability": true})),
        (".cniEnabled", json!({"cniEnabled": true})),
        (".proxyInit.runAsRoot", json!({"proxyInit": {"runAsRoot": true}})),
        (".identity.externalCA", json!({"identity": {"externalCA": false}})),
        (
            ".identity.issuer.scheme",
            json!({"identity": {"issuer": {"scheme": "linkerd.io/tls"}}}),
        ),
        (
            ".identity.issuer.tls",
            json!({"identity": {"issuer": {"tls": {"keyPEM": "x"}}}}),
        ),
        (
            ".identityTrustAnchorsPEM",
            json!({"identityTrustAnchorsPEM": "x"}),
        ),
    ] {
        for (operation, cluster) in [("install", "given"), ("upgrade", "installed")] {
            let given = json!({"values": {"linkerd-control-plane": of_plane}});
            let error = Cluster::of(cluster).plan(operation, given).unwrap_err();
            assert_eq!(error.code, "bad-parameter");
            assert!(
                error.message.ends_with(path) && !error.remedy.is_empty(),
                "{error:?}"
            );
        }
    }
}

#[test]
fn anchors_of_a_chart_can_be_others_by_its_values() {
    let trust = json!({"identityTrustAnchorsPEM": "x", "identity": {"issuer": {"tls": {"crtPEM": "y"}}}});
    let given = json!({"values": {"linkerd-control-plane": trust}});
    let plan = of_chart(false).plan("upgrade", given).unwrap();
    assert_eq!(values(&plan, "control-plane"), trust);
}

#[test]
fn anchors_and_issuer_are_taken_out_of_a_chart_once_they_are_kept_and_can_then_be_rotated() {
    let refused = of_chart(false).plan("rotate-anchor", json!({})).unwrap_err();
    assert_eq!(refused.code, "linkerd-trust-in-chart");
    let command = "kubectl annotate --namespace linkerd configmap/linkerd-identity-trust-roots \
                   secret/linkerd-identity-issuer helm.sh/resource-policy=keep";
    assert!(
        refused.remedy.contains(command) && refused.remedy.contains(TAKEN_OUT),
        "{refused:?}"
    );

    let errors = |cluster: Cluster, operation: &str, given| {
        let findings = cluster.check(operation, given).into_iter();
        let errors = findings.filter(|found| found.severity == Severity::Error);
        errors
            .map(|found| format!("{}: {}", found.code, found.remedy))
            .collect::<Vec<_>>()
    };
    let lost = errors(of_chart(false), "upgrade", taken_out());
    assert!(lost.len() == 1 && lost[0].contains(command), "{lost:?}");
    assert_eq!(
        errors(of_chart(true), "upgrade", taken_out()),
        Vec::<String>::new()
    );

    let plan = of_chart(true).plan("upgrade", taken_out()).unwrap();
    let place = |id: &str| plan.steps.iter().position(|step| step.id == id);
    assert!(
        place("issuer-names").unwrap() < place("control-plane").unwrap(),
        "{}",
        plan_text(&plan)
    );
    assert_eq!(
        values(&plan, "control-plane"),
        json!({"identityTrustAnchorsPEM": "", "identity": {"externalCA": true,
            "issuer": {"scheme": "kubernetes.io/tls", "tls": {"crtPEM": "", "keyPEM": ""}}}})
    );
    // What it has installed is taken over the same way.
    let adopted = json!({"version": "edge-25.10.7", "adopt": true});
    let plan = of_chart(true).plan("install", adopted).unwrap();
    let plane = values(&plan, "control-plane");
    assert_eq!(plane["identity"]["issuer"]["tls"]["keyPEM"], "", "{plane}");
    assert!(plan_text(&plan).contains("issuer-names"));
    // While the chart has them it writes them its way.
    let plan = of_chart(true).plan("upgrade", json!({})).unwrap();
    assert!(!plan_text(&plan).contains("issuer-names"), "{}", plan_text(&plan));

    let external = of_chart(true).change("linkerd-config", |config| {
        config["data"]["values"] = "identity:\n  externalCA: true\n".into();
    });
    external.plan("rotate-anchor", json!({})).unwrap();
}

#[test]
fn the_names_of_anchors_and_issuer_end_in_the_domain_of_the_control_plane() {
    let renewed = |values: &str| {
        let values = values.to_owned();
        let cluster = Cluster::of("installed").change("linkerd-config", move |config| {
            config["data"]["values"] = values.as_str().into();
        });
        plan_text(&cluster.plan("renew-issuer", json!({})).unwrap())
    };
    for (values, host) in [
        ("cniEnabled: false", "identity.linkerd.cluster.local"),
        ("clusterDomain: example.org", "identity.linkerd.example.org"),
        (
            "clusterDomain: example.org\nidentityTrustDomain: \"trust.example\"",
            "identity.linkerd.trust.example",
        ),
        (
            "clusterDomain: example.org\nidentityTrustDomain: \"\"",
            "identity.linkerd.example.org",
        ),
    ] {
        let text = renewed(values);
        assert!(text.contains(host), "{values}: {text}");
    }
    let given = json!({"domain": "example.org"});
    let text = plan_text(&Cluster::of("empty").plan("make-trust", given).unwrap());
    assert!(
        text.contains("root.linkerd.example.org") && text.contains("identity.linkerd.example.org"),
        "{text}"
    );
}
