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
    /// have. Not of those that charts inside it take, which have values of their own. None when a schema says what is allowed, or when the chart's own values say nothing.
    pub(crate) fn unknown_values(&self, values: &Map<String, Value>) -> Vec<String> {
        if self.values_schema.is_some() {
            return Vec::new();
        }
        let known = match self.default_values() {
            Value::Object(known) if !known.is_empty() => known,
            _ => return Vec::new(),
        };
        // What charts inside it take, and what all of them share, its own values need not say.
        let mut own = values.clone();
        own.retain(|key, _| !self.inner.contains(key));
        if !self.inner.is_empty() || !unwrapped(&known).contains_key("global") {
            own.remove("global");
        }
        let mut unknown = Vec::new();
        compare(&mut Vec::new(), &own, unwrapped(&known), &mut unknown);
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
    fn what_charts_inside_take_and_what_all_charts_share_is_known() {
        let inside = |about: &str, files: &[(&str, &str)]| {
            let mut packer = Packer::new()
                .file("demo/Chart.yaml", &format!("name: demo\nversion: 1.0.0\n{about}"))
                .file("demo/values.yaml", "replicas: 1\nglobal: {a: 1}\n");
            for (path, text) in files {
                packer = packer.file(path, text);
            }
            let chart = content::read(packer.finish().into(), Path::new("demo.tgz"), "demo.tgz").unwrap();
            let Value::Object(values) = json!({"replica": 1, "global": {"b": 1}, "cache": {"size": 1},
                "store": {"size": 1}, "tags": {"back-end": true}, "addons": {"cache": true}})
            else {
                unreachable!("values are a map")
            };
            let named: Vec<String> = chart
                .unknown_values(&values)
                .iter()
                .filter_map(|note| Some(note.split('"').nth(1)?.to_owned()))
                .collect();
            named.join(" ")
        };
        let dependencies = "dependencies:\n- name: cache\n  alias: store\n  tags: [back-end]\n  \
                            condition: addons.cache,addons.all\n- name: other\n";
        assert_eq!(inside(&format!("apiVersion: v2\n{dependencies}"), &[]), "replica");
        let required = [("demo/requirements.yaml", dependencies)];
        assert_eq!(inside("apiVersion: v1\n", &required), "replica");
        // Without a word about it, and with a typing error in what all share.
        let put_there = [(
            "demo/charts/cache/Chart.yaml",
            "apiVersion: v2\nname: cache\nversion: 1.0.0\n",
        )];
        assert_eq!(
            inside("apiVersion: v2\n", &put_there),
            "addons replica store tags"
        );
        assert_eq!(
            inside("apiVersion: v2\n", &[]),
            "addons cache global.b replica store tags"
        );
    }

    #[test]
    fn what_all_charts_share_is_no_unknown_key_of_one_that_says_nothing_of_it() {
        let none: Vec<String> = Vec::new();
        assert_eq!(unknown("replicas: 1\n", json!({"global": {"hub": "x"}})), none);
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
