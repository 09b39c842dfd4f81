//! The proof that an injector works: a pod that asks for a proxy is shown to the server, which makes none of it.
//!
//! The pod itself meets PodSecurity's strictest level, so that only what the injector adds may be refused.

use meshery_plugin_api::message::plan::{Action, Step};
use serde_json::{Value, json};

use crate::step::probe;

/// The proof, by a pod with this metadata: where it would be, and how it asks. An injected one has the mark.
pub fn injection_works(title: &str, mut metadata: Value, (mark, pointer): (&str, &str)) -> Step {
    metadata["name"] = "meshery-injection-probe".into();
    let mut step = probe(
        "injection",
        title,
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": metadata,
            "spec": {
                // For the whole pod: a proxy that says nothing of it has the same.
                "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
                "containers": [{
                    "name": "probe",
                    "image": "probe",
                    "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
                }],
            },
        }),
    );
    if let Action::Probe(probe) = &mut step.action {
        probe.expect.insert(mark.into(), pointer.into());
    }
    step
}
