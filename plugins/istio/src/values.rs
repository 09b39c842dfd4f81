//! Which values of Istio's charts people may give.

use meshery_mesh_kit::values::ChartValues;

use crate::MESH;

/// The charts, and what parameters of the operations stand for: objects that plans wait for are named by it.
pub const VALUES: ChartValues = ChartValues {
    mesh: MESH,
    charts: &["base", "istiod", "cni", "ztunnel", "gateway"],
    parameters: &[
        ("/revision", "revision"),
        ("/revisionTags", "revision"),
        ("/defaultRevision", "revision"),
        ("/profile", "profile"),
        ("/global/istioNamespace", "namespace"),
        ("/istioNamespace", "namespace"),
        ("/platform", "platform"),
        ("/global/platform", "platform"),
    ],
    example: "{\"istiod\": {\"meshConfig\": {\"accessLogFile\": \"/dev/stdout\"}}}",
};

#[cfg(test)]
mod tests {
    use meshery_plugin_api::message::plan::PlanRequest;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_parameter_is_for_is_refused_by_name() {
        for (values, part) in [
            (json!({"pilot": {}}), "no chart of Istio"),
            (json!({"istiod": {"revision": "x"}}), "istiod.revision"),
            (
                json!({"ztunnel": {"istioNamespace": "x"}}),
                "ztunnel.istioNamespace",
            ),
        ] {
            let request = PlanRequest {
                parameters: [("values".to_owned(), values)].into_iter().collect(),
                ..PlanRequest::default()
            };
            let error = VALUES.read(&request).unwrap_err();
            assert!(error.message.contains(part), "{part}: {error:?}");
        }
    }
}
