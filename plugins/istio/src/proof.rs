//! The proof that a control plane works: a pod that asks for a sidecar would get one, and a policy would pass the validator.
//! Both are dry runs, so that nothing is made.
//!
//! What asks for the pod must be let in with all that istiod adds to it. Where the control plane's own namespace would refuse that, or
//! keeps the injector from seeing it, the pod is asked for in another one; else an installation that works would be taken for
//! one that does not, and be taken back.

use meshery_mesh_kit::object::label;
use meshery_mesh_kit::step::probe;
use meshery_mesh_kit::{injection_proof, namespace, need};
use meshery_plugin_api::message::facts::{Facts, Need};
use meshery_plugin_api::message::finding::Finding;
use meshery_plugin_api::message::plan::{Images, Step};
use serde_json::json;

use crate::control_plane::{INJECTION_LABEL, Plane, REVISION_LABEL, shown};
use crate::nodes;

/// A namespace that is there in every cluster.
const ELSEWHERE: &str = "default";

/// What has to be read besides the control plane's namespace.
pub fn need() -> Need {
    need::namespace(ELSEWHERE)
}

/// A pod that asks for a sidecar gets one.
pub fn injection_works(facts: &Facts, plane: Plane<'_>, images: &Images, deadline_s: u32) -> Step {
    let mut labels = json!({"sidecar.istio.io/inject": "true"});
    if !plane.revision.is_empty() {
        labels[REVISION_LABEL] = plane.revision.into();
    }
    injection_proof::injection_works(
        "a pod that asks for a sidecar would get one",
        json!({"namespace": place(facts, plane), "labels": labels}),
        images,
        (
            "the mark of a sidecar",
            "/metadata/annotations/sidecar.istio.io~1status",
        ),
        deadline_s,
    )
}

/// Such a pod would be taken where that is proved, were there no injector. Nothing of Istio's sees it, which need not work yet.
pub fn pod_is_taken(facts: &Facts, plane: Plane<'_>, images: &Images) -> Step {
    let labels = json!({"sidecar.istio.io/inject": "false"});
    injection_proof::pod_is_taken(
        json!({"namespace": place(facts, plane), "labels": labels}),
        images,
    )
}

/// Where the pod would be.
fn place<'a>(facts: &Facts, plane: Plane<'a>) -> &'a str {
    if place_refuses(facts, plane.namespace, plane).is_some()
        && place_refuses(facts, ELSEWHERE, plane).is_none()
    {
        ELSEWHERE
    } else {
        plane.namespace
    }
}

/// A policy is taken: its definition is served, and the validator that must see it answers.
pub fn validation_works(namespace: &str, deadline_s: u32) -> Step {
    let step = probe(
        "validation",
        "a policy would pass the validator",
        json!({
            "apiVersion": "security.istio.io/v1",
            "kind": "PeerAuthentication",
            "metadata": {"name": "meshery-validation-probe", "namespace": namespace},
            "spec": {"mtls": {"mode": "PERMISSIVE"}},
        }),
    );
    Step { deadline_s, ..step }
}

/// An error where there is no namespace in which the pod could be asked for.
pub fn refused(facts: &Facts, plane: Plane<'_>) -> Option<Finding> {
    let here = place_refuses(facts, plane.namespace, plane)?;
    let there = place_refuses(facts, ELSEWHERE, plane)?;
    let (own, key) = (plane.namespace, here.key);
    Some(
        Finding::error(
            "istio-unprovable",
            format!(
                "that istiod injects is proved by a pod that is asked for and not made, and neither \
                 namespace takes it: \"{own}\" {}, \"{ELSEWHERE}\" {}",
                here.why, there.why
            ),
        )
        .about(namespace::reference(own))
        .remedy(format!(
            "take one of these labels away while the operation runs (`kubectl label namespace {own} \
             {key}-`), and put it back after it"
        )),
    )
}

/// What keeps a namespace's pods from having a sidecar: a label of it.
struct Refusal {
    key: &'static str,
    why: String,
}

fn place_refuses(facts: &Facts, place: &str, plane: Plane<'_>) -> Option<Refusal> {
    if let Some(level) = namespace::refuses_proxies(facts, place, nodes::redirect_for_sidecars(facts)) {
        return Some(Refusal {
            key: namespace::ENFORCED,
            why: format!("enforces PodSecurity \"{level}\", which refuses a sidecar's first container"),
        });
    }
    // A namespace's label counts more than a pod's, and the old one more than the revision's.
    let object = namespace::find(facts, place)?;
    let (key, value, wanted) = match (label(object, INJECTION_LABEL), label(object, REVISION_LABEL)) {
        (Some(value), _) if plane.revision.is_empty() => (INJECTION_LABEL, value, "enabled"),
        (Some(value), _) => (INJECTION_LABEL, value, ""),
        (None, Some(value)) => (REVISION_LABEL, value, shown(plane.revision)),
        (None, None) => return None,
    };
    (value != wanted).then(|| Refusal {
        key,
        why: format!(
            "has {key}={value}, so that no injector of revision {} sees its pods",
            shown(plane.revision)
        ),
    })
}
