use meshery_mesh_kit::review::plan_text;
use serde_json::json;

use super::cluster::Cluster;
use crate::control_plane::{CONTROL_PLANE, CRDS};
use crate::versions::{all, name, parse};

fn summary(given: serde_json::Value) -> String {
    Cluster::of("given").plan("install", given).unwrap().summary
}

#[test]
fn a_version_is_known_in_every_form_that_it_is_written_in() {
    for (text, version) in [
        ("edge-26.8.3", "2026.8.3"),
        ("26.8.3", "2026.8.3"),
        ("v2026.8.3", "2026.8.3"),
        ("stable-2.14.10", "2.14.10"),
        ("2.14.10", "2.14.10"),
    ] {
        assert_eq!(parse(text).unwrap().to_string(), version, "{text}");
    }
    for text in ["edge-2.14.10", "stable-2026.8.3", "latest", ""] {
        assert_eq!(parse(text), None, "{text}");
    }
    assert_eq!(name(&parse("26.8.3").unwrap()), "edge-26.8.3");
}

#[test]
fn edge_is_what_is_installed_unless_stable_is_asked_for() {
    assert!(summary(json!({})).contains("edge-26.8.3"));
    assert!(summary(json!({"version": "25.10.7"})).contains("edge-25.10.7"));
    for given in [json!({"line": "stable"}), json!({"version": "stable-2.14.10"})] {
        let plan = Cluster::of("given").plan("install", given).unwrap();
        let text = plan_text(&plan);
        assert!(plan.summary.contains("stable-2.14.10"), "{}", plan.summary);
        assert!(
            text.contains("https://helm.linkerd.io/stable") && text.contains("2024-02-20"),
            "{text}"
        );
        assert!(text.contains("chart linkerd-control-plane 1.16.11"), "{text}");
    }
}

#[test]
fn an_unknown_version_is_an_error_that_lists_near_ones() {
    let error = |version: &str| {
        Cluster::of("given")
            .plan("install", json!({"version": version}))
            .unwrap_err()
    };
    let edge = error("edge-26.9.1");
    assert_eq!(edge.code, "unknown-version");
    assert!(edge.remedy.contains("2026.8.3"), "{edge:?}");
    let stable = error("stable-2.16.0");
    assert_eq!(stable.code, "unknown-version");
    assert!(
        stable.cause.contains("vendor") && stable.remedy.contains("stable-2.14.10"),
        "{stable:?}"
    );
}

#[test]
fn what_the_mirror_holds_is_pinned_by_its_digest() {
    let mirrored = Cluster::of("given").mirror("2026.8.3", "edge-26.8.3", &[CRDS, CONTROL_PLANE]);
    let text = plan_text(&mirrored.plan("install", json!({})).unwrap());
    assert!(text.contains("sha256 sha-of-linkerd-crds-2026.8.3"), "{text}");
    let newer = Cluster::of("given").mirror("2026.10.1", "edge-26.10.1", &[CRDS, CONTROL_PLANE]);
    let plan = newer.plan("install", json!({})).unwrap();
    assert!(plan.summary.contains("edge-26.10.1"), "{}", plan.summary);
    assert!(
        plan.notes.iter().any(|note| note.contains("mirror only")),
        "{:?}",
        plan.notes
    );
}

#[test]
fn the_catalogue_is_never_empty_and_knows_which_kubernetes_each_takes() {
    let versions = all();
    assert!(versions.iter().all(|version| !version.kubernetes.is_empty()));
    assert_eq!(versions[0].version, "2026.8.3");
    let findings = Cluster::of("given")
        .version("v1.30.1")
        .check("install", json!({}));
    assert!(
        findings
            .iter()
            .any(|finding| finding.code == "kubernetes-version"),
        "{findings:?}"
    );
}
