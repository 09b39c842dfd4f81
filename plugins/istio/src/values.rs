//! Values that people give to the charts, over those that the adapter gives.
//!
//! Whether a chart knows a key is the core's to say when it renders (it names the nearest). Here is what the core cannot
//! know: which charts there are, and which values are parameters of the operation, because the rest of the plan goes by them.

use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::plan::PlanRequest;
use serde_json::{Map, Value, json};

/// The charts that take values.
const CHARTS: [&str; 5] = ["base", "istiod", "cni", "ztunnel", "gateway"];

/// Paths that a parameter stands for, and which.
const PARAMETERS: [(&str, &str); 8] = [
    ("/revision", "revision"),
    ("/revisionTags", "revision"),
    ("/defaultRevision", "revision"),
    ("/profile", "profile"),
    ("/global/istioNamespace", "namespace"),
    ("/istioNamespace", "namespace"),
    ("/platform", "platform"),
    ("/global/platform", "platform"),
];

/// Values by chart.
#[derive(Debug, Clone, Default)]
pub struct Values<'a>(Option<&'a Map<String, Value>>);

/// The schema of the parameter.
pub fn parameter() -> Value {
    let charts: Map<String, Value> = CHARTS
        .into_iter()
        .map(|chart| (chart.to_owned(), json!({"type": "object", "writeOnly": true})))
        .collect();
    json!({
        "type": "object",
        "description": "Values for the charts, by chart: {\"istiod\": {\"meshConfig\": {\"accessLogFile\": \"/dev/stdout\"}}}",
        "properties": charts,
        "additionalProperties": false,
        "default": {},
    })
}

impl<'a> Values<'a> {
    /// Those of a request.
    pub fn read(request: &'a PlanRequest) -> Result<Self, PluginError> {
        let values = match request.parameters.get("values") {
            None | Some(Value::Null) => return Ok(Self(None)),
            Some(Value::Object(values)) => values,
            Some(other) => {
                return Err(bad(format!(
                    "parameter \"values\" is {other}, not values by chart"
                )));
            }
        };
        for (chart, of_chart) in values {
            if !CHARTS.contains(&chart.as_str()) {
                return Err(bad(format!(
                    "parameter \"values\" has \"{chart}\", which is no chart of Istio"
                ))
                .remedy(format!(
                    "put values below the name of a chart: {}",
                    CHARTS.join(", ")
                )));
            }
            if !of_chart.is_object() {
                return Err(bad(format!(
                    "parameter \"values\" has {of_chart} for chart {chart}, not a map"
                )));
            }
            if let Some((path, name)) = PARAMETERS
                .iter()
                .find(|(path, _)| of_chart.pointer(path).is_some())
            {
                return Err(bad(format!(
                    "parameter \"values\" sets {}{}",
                    chart,
                    path.replace('/', ".")
                ))
                .cause("the plan waits for objects whose names follow from it")
                .remedy(format!("use the parameter \"{name}\"")));
            }
        }
        Ok(Self(Some(values)))
    }

    /// The adapter's values for a chart with those of the request over them.
    pub fn over(&self, chart: &str, mut ours: Value) -> Value {
        if let Some(theirs) = self.0.and_then(|values| values.get(chart)) {
            merge(&mut ours, theirs);
        }
        ours
    }
}

fn bad(message: String) -> PluginError {
    PluginError::new("bad-parameter", message).remedy("see the operation's parameters for what it takes")
}

/// Puts one value over another: maps key by key, all else as a whole.
fn merge(under: &mut Value, over: &Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            for (key, value) in over {
                merge(under.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (under, over) => *under = over.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(values: Value) -> PlanRequest {
        PlanRequest {
            parameters: [("values".to_owned(), values)].into_iter().collect(),
            ..PlanRequest::default()
        }
    }

    #[test]
    fn values_of_people_lie_over_those_of_the_adapter() {
        let request = request(json!({"istiod": {"global": {"hub": "mine"}, "pilot": {"replicaCount": 2}}}));
        let values = Values::read(&request).unwrap();
        let ours = json!({"global": {"hub": "ours", "istioNamespace": "mesh"}});
        assert_eq!(
            values.over("istiod", ours),
            json!({"global": {"hub": "mine", "istioNamespace": "mesh"}, "pilot": {"replicaCount": 2}})
        );
        assert_eq!(values.over("base", json!({})), json!({}));
    }

    #[test]
    fn what_is_no_chart_and_what_a_parameter_is_for_are_refused_by_name() {
        for (values, part) in [
            (json!({"pilot": {}}), "\"pilot\""),
            (json!({"istiod": 3}), "chart istiod"),
            (json!({"istiod": {"revision": "x"}}), "istiod.revision"),
            (
                json!({"ztunnel": {"istioNamespace": "x"}}),
                "ztunnel.istioNamespace",
            ),
            (json!([]), "not values by chart"),
        ] {
            let error = Values::read(&request(values)).unwrap_err();
            assert!(error.message.contains(part), "{part}: {error:?}");
            assert!(!error.remedy.is_empty());
        }
    }
}
