//! The proof that an injector works: a pod that asks for a proxy is shown to the server, which makes none of it.
//!
//! The pod itself meets PodSecurity's strictest level, names its image whole and says what it needs, so that only what the injector
//! adds may be refused. What refuses it all the same would have a mesh that works taken back: so a pod that asks for nothing is
//! shown first, before anything is changed.

use meshery_plugin_api::message::plan::{Action, Images, Step};
use serde_json::{Value, json};

use crate::step::probe;

/// Name of the pod that is never made.
const NAME: &str = "meshery-injection-probe";
/// What the pod would run: the smallest image that clusters have anyhow.
const REGISTRY: &str = "registry.k8s.io";
const IMAGE: &str = "pause:3.10";
/// Seconds until a refusal is believed: a namespace that is new has no service account for a moment.
const REFUSED_S: u32 = 10;

/// The proof, by a pod with this metadata: where it would be, and how it asks. An injected one has the mark.
pub fn injection_works(
    title: &str,
    metadata: Value,
    images: &Images,
    (mark, pointer): (&str, &str),
    deadline_s: u32,
) -> Step {
    let mut step = probe("injection", title, pod(metadata, images));
    if let Action::Probe(probe) = &mut step.action {
        probe.expect.insert(mark.into(), pointer.into());
    }
    Step { deadline_s, ..step }
}

/// Whether the cluster would take such a pod, by one with this metadata: where it would be, and what keeps injectors from it.
pub fn pod_is_taken(metadata: Value, images: &Images) -> Step {
    let title = "a pod such as proves injection in the end would be taken";
    Step {
        deadline_s: REFUSED_S,
        ..probe("pod-taken", title, pod(metadata, images))
    }
}

fn pod(mut metadata: Value, images: &Images) -> Value {
    metadata["name"] = NAME.into();
    let registry = match images.registry.as_str() {
        "" => REGISTRY,
        registry => registry,
    };
    let needs = json!({"cpu": "10m", "memory": "16Mi"});
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {
            // For the whole pod: a proxy that says nothing of it has the same.
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "probe",
                "image": format!("{registry}/{IMAGE}"),
                "resources": {"requests": needs, "limits": needs},
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            }],
        },
    })
}
