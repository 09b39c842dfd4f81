//! Values that a chart does not know: without a schema, Helm takes any key in silence, and a typing error installs
//! something else than was meant.

use serde_json::{Map, Value};

use super::Chart;

/// How many are named.
const NAMED: usize = 20;
/// How alike two names must be for the one to be meant by the other.
const ALIKE: f64 = 0.75;

impl Chart {
    /// A sentence for each key of the values that the chart's own values do not have, with the nearest that they
    /// have. None when a schema says what is allowed, or when the chart's own values say nothing.
    pub(crate) fn unknown_values(&self, values: &Map<String, Value>) -> Vec<String> {
        if self.values_schema.is_some() {
            return Vec::new();
        }
        let known = match self.default_values() {
            Value::Object(known) if !known.is_empty() => known,
            _ => return Vec::new(),
        };
        let mut unknown = Vec::new();
        compare(&mut Vec::new(), values, unwrapped(&known), &mut unknown);
        unknown
            .into_iter()
            .take(NAMED)
            .map(|(path, nearest)| {
                let nearest =
                    nearest.map_or_else(String::new, |nearest| format!("; did you mean \"{nearest}\"?"));
                format!(
                    "chart {} {} does not know the value \"{path}\"{nearest}",
                    self.name, self.version
                )
            })
            .collect()
    }
}

/// Some charts keep all of their own values under one key that is not for others to set.
fn unwrapped(known: &Map<String, Value>) -> &Map<String, Value> {
    match known.iter().next() {
        Some((key, Value::Object(inner))) if known.len() == 1 && key.starts_with('_') => inner,
        _ => known,
    }
}

fn compare<'a>(
    path: &mut Vec<&'a str>,
    given: &'a Map<String, Value>,
    known: &Map<String, Value>,
    unknown: &mut Vec<(String, Option<String>)>,
) {
    for (key, value) in given {
        path.push(key);
        match (value, known.get(key)) {
            (_, None) => unknown.push((path.join("."), nearest(key, known.keys()))),
            // An empty map, or nothing, is for users to fill as they like.
            (Value::Object(value), Some(Value::Object(known))) if !known.is_empty() => {
                compare(path, value, known, unknown);
            }
            _ => {}
        }
        path.pop();
    }
}

fn nearest<'a>(key: &str, known: impl Iterator<Item = &'a String>) -> Option<String> {
    let folded = key.to_lowercase();
    known
        .map(|name| (strsim::jaro_winkler(&folded, &name.to_lowercase()), name))
        .filter(|(alike, _)| *alike >= ALIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, name)| name.clone())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::super::content;
    use super::super::packer::Packer;
    use super::*;

    fn unknown(known: &str, values: Value) -> Vec<String> {
        let archive = Packer::new()
            .file("demo/Chart.yaml", "apiVersion: v2\nname: demo\nversion: 1.0.0\n")
            .file("demo/values.yaml", known)
            .finish();
        let chart = content::read(archive.into(), Path::new("demo.tgz"), "demo.tgz").unwrap();
        let Value::Object(values) = values else {
            panic!("values are a map")
        };
        chart.unknown_values(&values)
    }

    #[test]
    fn a_mistyped_key_is_named_with_its_path_and_the_one_that_was_meant() {
        let known = "global:\n  proxy: {logLevel: warning}\nnodeSelector: {}\nreplicas: 1\n";
        let found = unknown(
            known,
            json!({"global": {"proxy": {"loglevel": "x"}}, "replica": 2}),
        );
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(
            found[0].contains("\"global.proxy.loglevel\"; did you mean \"logLevel\"?"),
            "{found:?}"
        );
        assert!(
            found[1].contains("\"replica\"; did you mean \"replicas\"?"),
            "{found:?}"
        );
    }

    #[test]
    fn what_is_for_users_to_fill_and_what_is_wrapped_is_known() {
        let none: Vec<String> = Vec::new();
        assert_eq!(
            unknown("nodeSelector: {}\n", json!({"nodeSelector": {"a": "b"}})),
            none
        );
        assert_eq!(
            unknown("_internal: {pilot: {cpu: 1}}\n", json!({"pilot": {"cpu": 2}})),
            none
        );
        assert_eq!(unknown("", json!({"anything": 1})), none);
    }
}
