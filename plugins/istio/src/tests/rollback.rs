//! Releases that go back to an earlier revision, and the tests that their charts bring.

use meshery_mesh_kit::review::plan_text;
use meshery_plugin_api::MeshAdapter;
use meshery_plugin_api::message::finding::Severity;
use serde_json::{Value, json};

use super::cluster::Cluster;
use super::plans::step_ids;
use crate::Istio;

fn refused(cluster: &Cluster, operation: &str, given: Value) -> (String, String) {
    let request = cluster.request(operation, given);
    let error = Istio.check(request).unwrap_err();
    (error.code, error.remedy)
}

#[test]
fn an_unknown_release_or_revision_is_answered_with_what_there_is() {
    let cluster = Cluster::of("installed");
    for operation in ["rollback", "test"] {
        let (code, remedy) = refused(&cluster, operation, json!({"release": "istoid"}));
        assert_eq!(code, "unknown-release");
        for there in [
            "istiod in namespace istio-system",
            "istio-base in namespace istio-system",
            "istio-ingressgateway in namespace istio-ingress",
        ] {
            assert!(remedy.contains(there), "{remedy}");
        }
    }
    let elsewhere = json!({"release": "istiod", "namespace": "istio-ingress"});
    assert_eq!(refused(&cluster, "rollback", elsewhere).0, "unknown-release");
    let (code, remedy) = refused(&cluster, "rollback", json!({"release": "istiod", "revision": 7}));
    assert_eq!(code, "unknown-revision");
    assert!(remedy.contains("1 (superseded), 2 (deployed)"), "{remedy}");
    let (code, remedy) = refused(&cluster, "rollback", json!({"release": "istio-ingressgateway"}));
    assert_eq!(code, "unknown-revision");
    assert!(remedy.contains("upgrade it"), "{remedy}");
    // Without the right to see records nothing can be said of revisions; the engine does.
    let blind = Cluster::of("installed").forbid(&[("", "Secret")]);
    let findings = blind.check("rollback", json!({"release": "istiod", "revision": 7}));
    assert!(
        findings.iter().any(|found| found.code == "facts-incomplete"),
        "{findings:#?}"
    );
}

#[test]
fn what_goes_back_with_a_release_and_what_does_not_is_said() {
    let cluster = Cluster::of("installed");
    let said = |release: &str, code: &str| {
        let findings = cluster.check("rollback", json!({"release": release, "revision": 1}));
        let found = findings.iter().find(|found| found.code == code);
        found.map(|found| found.message.clone())
    };
    let of_plane = said("istiod", "rollback-of-control-plane").unwrap();
    assert!(of_plane.contains("proxies keep their version"), "{of_plane}");
    assert_eq!(said("istiod", "rollback-of-definitions"), None);
    let present = cluster.check("rollback", json!({"release": "istiod", "revision": 2}));
    assert!(present.iter().any(|found| found.code == "rollback-to-present"));
}

#[test]
fn definitions_go_back_until_their_validator_is_strict_again_where_there_is_who_serves_it() {
    let waits = |cluster: Cluster| {
        let given = json!({"release": "istio-base", "revision": 1});
        plan_text(&cluster.plan("rollback", given).unwrap())
            .contains("istiod-default-validator: fails-closed")
    };
    assert!(waits(Cluster::of("installed")));
    assert!(!waits(Cluster::of("installed").change("istiod", |object| {
        object["metadata"]["labels"]["app"] = "other".into();
    })));
}

#[test]
fn a_control_plane_goes_back_by_its_own_objects_whatever_its_release_is_called() {
    let of_release = |object: &mut Value| {
        object["metadata"]["annotations"]["meta.helm.sh/release-name"] = "istio-control".into();
    };
    let renamed = ["istiod", "istio-sidecar-injector", "istio-validator-istio-system"]
        .iter()
        .fold(Cluster::of("installed"), |cluster, name| {
            cluster.change(name, of_release)
        });
    // What the records say is the engine's to see.
    let request = renamed.request("rollback", json!({"release": "istio-control"}));
    let text = plan_text(&Istio.plan(request).unwrap());
    for awaited in [
        "the workloads of the revision of step rollback",
        "istio-sidecar-injector: serving",
        "istio-validator-istio-system: serving",
        "istio-validator-istio-system: fails-closed",
    ] {
        assert!(text.contains(awaited), "{awaited}: {text}");
    }
    assert!(!text.contains("Deployment"), "{text}");
}

#[test]
fn a_release_of_others_goes_back_on_explicit_word_only() {
    let cluster = Cluster::of("installed").change("istiod", |object| {
        object["metadata"]["annotations"]
            .as_object_mut()
            .unwrap()
            .remove("meshery.io/operation");
    });
    let cluster = ["istio-sidecar-injector", "istio-validator-istio-system"]
        .iter()
        .fold(cluster, |cluster, name| {
            cluster.change(name, |object| {
                object["metadata"]["annotations"]
                    .as_object_mut()
                    .unwrap()
                    .remove("meshery.io/operation");
            })
        });
    let errors = |given: Value| {
        let findings = cluster.check("rollback", given);
        findings
            .iter()
            .filter(|found| found.severity == Severity::Error)
            .count()
    };
    assert_eq!(errors(json!({"release": "istiod"})), 1);
    assert_eq!(errors(json!({"release": "istiod", "adopt": true})), 0);
}

#[test]
fn one_release_is_tested_or_all_what_others_depend_on_first() {
    let cluster = Cluster::of("installed");
    let plan = cluster.plan("test", json!({})).unwrap();
    assert_eq!(
        step_ids(&plan),
        ["test-istio-base", "test-istiod", "test-istio-ingressgateway"]
    );
    let text = plan_text(&cluster.plan("test", json!({"release": "istiod"})).unwrap());
    assert!(
        text.contains("test release istio-system/istiod") && !text.contains("base"),
        "{text}"
    );
}
