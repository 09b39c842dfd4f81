//! Values that people give to a mesh's charts, over those that the adapter gives.
//!
//! Whether a chart knows a key is the core's to say when it renders (it names the nearest). Here is what the core cannot
//! know: which charts there are, and which values are parameters of the operation, because the rest of the plan goes by them.

use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::plan::PlanRequest;
use serde_json::{Map, Value, json};

/// Name of the parameter.
const VALUES: &str = "values";

/// The charts of a mesh that take values.
#[derive(Debug, Clone, Copy)]
pub struct ChartValues {
    /// Name of the mesh for people.
    pub mesh: &'static str,
    /// The charts.
    pub charts: &'static [&'static str],
    /// Paths that a parameter stands for, and which, whatever the chart.
    pub parameters: &'static [(&'static str, &'static str)],
    /// Values by chart, as JSON, for people who want to know what they look like.
    pub example: &'static str,
}

/// Values by chart.
#[derive(Debug, Clone, Default)]
pub struct Values<'a>(Option<&'a Map<String, Value>>);

impl ChartValues {
    /// The parameter: in no record, since anything may be in values.
    pub fn parameter(&self) -> (&'static str, Value) {
        let charts: Map<String, Value> = self
            .charts
            .iter()
            .map(|chart| ((*chart).to_owned(), json!({"type": "object", "writeOnly": true})))
            .collect();
        let schema = json!({
            "type": "object",
            "description": format!("Values for the charts, by chart: {}", self.example),
            "properties": charts,
            "additionalProperties": false,
            "default": {},
        });
        (VALUES, schema)
    }

    /// Those of a request.
    pub fn read<'a>(&self, request: &'a PlanRequest) -> Result<Values<'a>, PluginError> {
        let values = match request.parameters.get(VALUES) {
            None | Some(Value::Null) => return Ok(Values(None)),
            Some(Value::Object(values)) => values,
            Some(other) => {
                return Err(bad(format!(
                    "parameter \"values\" is {other}, not values by chart"
                )));
            }
        };
        for (chart, of_chart) in values {
            if !self.charts.contains(&chart.as_str()) {
                return Err(bad(format!(
                    "parameter \"values\" has \"{chart}\", which is no chart of {}",
                    self.mesh
                ))
                .remedy(format!(
                    "put values below the name of a chart: {}",
                    self.charts.join(", ")
                )));
            }
            if !of_chart.is_object() {
                return Err(bad(format!(
                    "parameter \"values\" has {of_chart} for chart {chart}, not a map"
                )));
            }
            if let Some((path, name)) = self
                .parameters
                .iter()
                .find(|(path, _)| of_chart.pointer(path).is_some())
            {
                return Err(sets(chart, path).remedy(format!("use the parameter \"{name}\"")));
            }
        }
        Ok(Values(Some(values)))
    }
}

impl<'a> Values<'a> {
    /// The value at a path of a chart.
    pub fn get(&self, chart: &str, path: &str) -> Option<&'a Value> {
        self.0?.get(chart)?.pointer(path)
    }

    /// The adapter's values for a chart with those of the request over them.
    pub fn over(&self, chart: &str, mut ours: Value) -> Value {
        if let Some(theirs) = self.get(chart, "") {
            merge(&mut ours, theirs);
        }
        ours
    }
}

/// The error of a value by which the rest of the plan goes.
pub fn sets(chart: &str, path: &str) -> PluginError {
    bad(format!(
        "parameter \"values\" sets {chart}{}",
        path.replace('/', ".")
    ))
    .cause("the rest of the plan goes by it")
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

    const CHARTS: ChartValues = ChartValues {
        mesh: "Mesh",
        charts: &["plane", "nodes"],
        parameters: &[("/global/namespace", "namespace"), ("/revision", "revision")],
        example: "{}",
    };

    fn request(values: Value) -> PlanRequest {
        PlanRequest {
            parameters: [("values".to_owned(), values)].into_iter().collect(),
            ..PlanRequest::default()
        }
    }

    #[test]
    fn values_of_people_lie_over_those_of_the_adapter() {
        let request = request(json!({"plane": {"global": {"hub": "mine"}, "replicas": 2}}));
        let values = CHARTS.read(&request).unwrap();
        let ours = json!({"global": {"hub": "ours", "namespace": "mesh"}});
        assert_eq!(
            values.over("plane", ours),
            json!({"global": {"hub": "mine", "namespace": "mesh"}, "replicas": 2})
        );
        assert_eq!(values.over("nodes", json!({})), json!({}));
        assert_eq!(values.get("plane", "/global/hub"), Some(&json!("mine")));
    }

    #[test]
    fn what_is_no_chart_and_what_a_parameter_is_for_are_refused_by_name() {
        for (values, part) in [
            (json!({"pilot": {}}), "\"pilot\", which is no chart of Mesh"),
            (json!({"plane": 3}), "chart plane"),
            (json!({"plane": {"revision": "x"}}), "plane.revision"),
            (
                json!({"nodes": {"global": {"namespace": "x"}}}),
                "nodes.global.namespace",
            ),
            (json!([]), "not values by chart"),
        ] {
            let error = CHARTS.read(&request(values)).unwrap_err();
            assert!(error.message.contains(part), "{part}: {error:?}");
            assert!(!error.remedy.is_empty());
        }
    }

    #[test]
    fn what_is_given_is_in_no_record() {
        let (_, schema) = CHARTS.parameter();
        assert_eq!(schema["properties"]["plane"]["writeOnly"], true);
        assert_eq!(schema["additionalProperties"], false);
    }
}
