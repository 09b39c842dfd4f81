//! Where it is proved that a control plane injects, and that nothing is begun that could not be proved.

use meshery_mesh_kit::need;
use meshery_plugin_api::message::facts::{Detail, Facts, KindFacts};
use meshery_plugin_api::message::finding::Severity;
use meshery_plugin_api::message::plan::{Action, Plan};
use serde_json::{Value, json};

use super::cluster::Cluster;
use crate::control_plane::{CNI_NODE, ZTUNNEL};
use crate::nodes;

const ENFORCE: &str = "pod-security.kubernetes.io/enforce";

/// A cluster whose namespaces `istio-system` and `default` have these labels.
fn labelled(file: &str, own: &Value, elsewhere: &Value) -> Cluster {
    let (own, elsewhere) = (own.clone(), elsewhere.clone());
    Cluster::of(file)
        .change("istio-system", move |object| {
            object["metadata"]["labels"] = own.clone();
        })
        .change("default", move |object| {
            object["metadata"]["labels"] = elsewhere.clone();
        })
}

/// The namespaces of the pods that are asked for.
fn places(plan: &Plan) -> Vec<String> {
    let asked = |action: &Action| match action {
        Action::Probe(probe) if probe.object["kind"] == "Pod" => {
            Some(probe.object["metadata"]["namespace"].as_str()?.to_owned())
        }
        _ => None,
    };
    let steps = plan.steps.iter().chain(&plan.verify);
    steps.filter_map(|step| asked(&step.action)).collect()
}

fn refusal(cluster: &Cluster, operation: &str, given: Value) -> Option<String> {
    let findings = cluster.check(operation, given);
    let found = findings
        .into_iter()
        .find(|finding| finding.code == "istio-unprovable")?;
    assert_eq!(found.severity, Severity::Error);
    Some(found.message)
}

/// The operations that end with the proof.
fn operations() -> [(&'static str, Value); 3] {
    [
        ("install", json!({"version": "1.30.2", "profile": "minimal"})),
        ("upgrade", json!({"version": "1.30.3"})),
        ("upgrade-canary", json!({"version": "1.30.3"})),
    ]
}

#[test]
fn a_namespace_that_refuses_sidecars_has_the_proof_elsewhere() {
    let places_of = |own: Value, operation: &str, given: &Value| {
        let cluster = labelled("installed", &own, &json!({}));
        assert_eq!(
            refusal(&cluster, operation, given.clone()),
            None,
            "{operation} {own}"
        );
        let places = places(&cluster.plan(operation, given.clone()).unwrap());
        assert!(!places.is_empty(), "{operation}");
        places
    };
    for (operation, given) in operations() {
        for own in [json!({}), json!({ENFORCE: "privileged"})] {
            let places = places_of(own, operation, &given);
            assert!(
                places.iter().all(|place| place == "istio-system"),
                "{operation}: {places:?}"
            );
        }
        for own in [
            json!({ENFORCE: "baseline"}),
            json!({ENFORCE: "restricted"}),
            json!({"istio-injection": "disabled"}),
            json!({"istio.io/rev": "another"}),
        ] {
            let places = places_of(own.clone(), operation, &given);
            assert!(
                places.iter().all(|place| place == "default"),
                "{operation} {own}: {places:?}"
            );
        }
    }
}

#[test]
fn where_neither_namespace_takes_a_sidecar_nothing_is_begun() {
    for (operation, given) in operations() {
        for (own, elsewhere) in [
            (json!({ENFORCE: "restricted"}), json!({ENFORCE: "baseline"})),
            (
                json!({ENFORCE: "baseline"}),
                json!({"istio-injection": "disabled"}),
            ),
        ] {
            let cluster = labelled("installed", &own, &elsewhere);
            let said = refusal(&cluster, operation, given.clone());
            assert!(
                said.as_deref()
                    .is_some_and(|said| said.contains("\"istio-system\" enforces PodSecurity")
                        && said.contains("\"default\" ")),
                "{operation} {own} {elsewhere}: {said:?}"
            );
        }
    }
}

#[test]
fn labels_that_mean_the_control_plane_itself_are_in_the_way_of_no_proof() {
    let baseline = json!({ENFORCE: "baseline"});
    let of_default = labelled("installed", &baseline, &json!({"istio-injection": "enabled"}));
    let upgrade = json!({"version": "1.30.3"});
    assert_eq!(refusal(&of_default, "upgrade", upgrade.clone()), None);
    // Of pods there the new revision sees none before it has been given the namespace.
    assert!(refusal(&of_default, "upgrade-canary", upgrade).is_some());
    let of_revision = labelled("installed", &baseline, &json!({"istio.io/rev": "1-30-3"}));
    let canary = json!({"version": "1.30.3", "revision": "1-30-3"});
    assert_eq!(refusal(&of_revision, "upgrade-canary", canary), None);
}

#[test]
fn the_plugin_on_the_nodes_lets_the_proof_into_baseline() {
    let upgrade = || json!({"version": "1.30.3"});
    let with = |level: &str| labelled("with-cni", &json!({ENFORCE: level}), &json!({ENFORCE: level}));
    assert_eq!(refusal(&with("baseline"), "upgrade", upgrade()), None);
    assert!(refusal(&with("restricted"), "upgrade", upgrade()).is_some());
}

#[test]
fn in_ambient_mode_sidecars_set_up_the_network_of_their_pods_still() {
    let there = |names: &[&str]| {
        let daemon_sets = names.iter().map(|name| json!({"metadata": {"name": name}}));
        nodes::redirect_for_sidecars(&Facts {
            kinds: vec![KindFacts {
                need: need::everywhere("apps", "DaemonSet", "", Detail::Full),
                objects: daemon_sets.collect(),
                ..KindFacts::default()
            }],
            ..Facts::default()
        })
    };
    assert!(!there(&[]) && there(&[CNI_NODE]));
    assert!(!there(&[CNI_NODE, ZTUNNEL]));
}

#[test]
fn such_a_pod_is_shown_before_anything_is_changed_and_istio_does_not_see_it() {
    for (file, operation, at, proofs) in [
        // Its namespace is made before.
        ("empty", "install", 1, 1),
        ("installed", "install", 0, 1),
        ("installed", "upgrade", 0, 1),
        ("installed", "upgrade-canary", 0, 2),
    ] {
        let plan = Cluster::of(file)
            .plan(operation, json!({"version": "1.30.3"}))
            .unwrap();
        let step = &plan.steps[at];
        assert_eq!(step.id, "pod-taken", "{file} {operation}");
        let Action::Probe(probe) = &step.action else {
            panic!("{step:?}")
        };
        let labels = &probe.object["metadata"]["labels"];
        assert_eq!(labels["sidecar.istio.io/inject"], "false");
        assert!(probe.expect.is_empty());
        assert_eq!(places(&plan).len(), 1 + proofs, "{operation}");
    }
}
