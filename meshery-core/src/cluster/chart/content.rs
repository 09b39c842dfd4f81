//! What a chart's archive says about the chart.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::Path;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

use super::archive::{self, LIMITS, Limits};
use super::digest::sha256;
use super::error::ChartError;
use super::{Chart, templates, yaml};

/// What `Chart.yaml` says, as far as it matters here.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ChartYaml {
    pub(super) name: String,
    pub(super) version: String,
    #[serde(default)]
    pub(super) app_version: String,
    #[serde(default)]
    pub(super) kube_version: Option<String>,
    #[serde(default, rename = "type")]
    kind: Option<String>,
}

/// What a chart says of the charts inside it, in `Chart.yaml`, or in `requirements.yaml` where it is of the first form.
#[derive(Default, Deserialize)]
struct Inner {
    #[serde(default)]
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    #[serde(default)]
    name: String,
    #[serde(default)]
    alias: Option<String>,
    #[serde(default)]
    condition: Option<String>,
    #[serde(default)]
    tags: Vec<String>,
}

impl Dependency {
    /// The keys of the values that are its own, or decide about it.
    fn keys(self) -> impl Iterator<Item = String> {
        let conditions = self.condition.unwrap_or_default();
        let deciding: Vec<String> = conditions
            .split(',')
            .filter_map(|path| path.trim().split('.').next())
            .map(str::to_owned)
            .collect();
        let tags = (!self.tags.is_empty()).then(|| "tags".to_owned());
        [Some(self.name), self.alias, tags]
            .into_iter()
            .flatten()
            .chain(deciding)
            .filter(|key| !key.is_empty())
    }
}

/// Reads `Chart.yaml` and no further.
pub(super) fn head(bytes: &[u8], place: &str) -> Result<ChartYaml, ChartError> {
    let mut found = None;
    archive::walk(bytes, place, LIMITS, |path, file| {
        if inside(path) != Some("Chart.yaml") {
            return Ok(ControlFlow::Continue(()));
        }
        found = Some(text(file)?);
        Ok(ControlFlow::Break(()))
    })?;
    chart_yaml(found.as_deref(), place)
}

/// Reads the whole archive.
pub(crate) fn read(bytes: Bytes, path: &Path, place: &str) -> Result<Chart, ChartError> {
    let mut parts = Parts::default();
    let mut unpacked = parts.collect(&bytes, place, LIMITS)?;
    // Charts inside the chart, packed or not, render with it.
    let mut waiting = std::mem::take(&mut parts.packed);
    let mut depth = 0;
    while !waiting.is_empty() {
        depth += 1;
        if depth > 5 {
            return Err(ChartError::TooMany {
                what: format!("the nesting of charts in {place}"),
                limit: 5,
            });
        }
        let mut deeper = Vec::new();
        for (name, bytes) in waiting {
            let mut inner = Parts::default();
            let limits = Limits {
                unpacked: LIMITS.unpacked.saturating_sub(unpacked),
                ..LIMITS
            };
            unpacked += inner.collect(&bytes, &format!("{name} in {place}"), limits)?;
            if depth == 1
                && let Ok(about) = chart_yaml(inner.chart_yaml.as_deref(), &name)
            {
                parts.inner.insert(about.name);
            }
            parts.uses_lookup |= inner.uses_lookup;
            parts.schema_refers_out |= inner.schema_refers_out;
            deeper.append(&mut inner.packed);
        }
        waiting = deeper;
    }

    let about = chart_yaml(parts.chart_yaml.as_deref(), place)?;
    if about.kind.as_deref() == Some("library") {
        let reason = format!(
            "{} {} is a library for other charts and installs nothing",
            about.name, about.version
        );
        return Err(ChartError::NotAChart {
            place: place.into(),
            reason,
        });
    }
    for said in [parts.chart_yaml.as_deref(), parts.requirements.as_deref()]
        .into_iter()
        .flatten()
    {
        let inner: Inner = yaml::read(said).unwrap_or_default();
        let keys = inner.dependencies.into_iter().flat_map(Dependency::keys);
        parts.inner.extend(keys);
    }
    let values_schema = match parts.values_schema {
        Some(text) => Some(
            serde_json::from_str::<Value>(&text).map_err(|error| ChartError::NotAChart {
                place: place.into(),
                reason: format!("values.schema.json is not JSON: {error}"),
            })?,
        ),
        None => None,
    };
    Ok(Chart {
        name: about.name,
        version: about.version,
        app_version: about.app_version,
        sha256: sha256(&bytes),
        path: path.into(),
        archive: bytes,
        chart_yaml: parts.chart_yaml.unwrap_or_default(),
        values_yaml: parts.values_yaml.unwrap_or_default(),
        values_schema,
        inner: parts.inner,
        templates_use_lookup: parts.uses_lookup,
        has_notes: parts.has_notes,
        schema_refers_out: parts.schema_refers_out,
        kube_version: about.kube_version.filter(|range| !range.is_empty()),
    })
}

#[derive(Default)]
struct Parts {
    chart_yaml: Option<String>,
    values_yaml: Option<String>,
    values_schema: Option<String>,
    requirements: Option<String>,
    /// Keys of the values that belong to charts inside.
    inner: BTreeSet<String>,
    packed: Vec<(String, Vec<u8>)>,
    uses_lookup: bool,
    has_notes: bool,
    schema_refers_out: bool,
}

impl Parts {
    /// Takes what is of interest from one archive and says how many bytes its files have.
    fn collect(&mut self, bytes: &[u8], place: &str, limits: Limits) -> Result<u64, ChartError> {
        let mut top: Option<String> = None;
        let mut astray = None;
        let mut unpacked = 0;
        archive::walk(bytes, place, limits, |path, file| {
            let (folder, rest) = path.split_once('/').unwrap_or((path, ""));
            if rest.is_empty() || top.as_deref().is_some_and(|top| top != folder) {
                astray = Some(path.to_owned());
                return Ok(ControlFlow::Break(()));
            }
            top.get_or_insert_with(|| folder.to_owned());
            unpacked += self.take(rest, file)?;
            Ok(ControlFlow::Continue(()))
        })?;
        match astray {
            None => Ok(unpacked),
            Some(path) => Err(ChartError::NotAChart {
                place: place.into(),
                reason: format!("\"{path}\" is outside the chart's folder"),
            }),
        }
    }

    fn take(&mut self, path: &str, file: &mut dyn Read) -> io::Result<u64> {
        let name = path.rsplit('/').next().unwrap_or(path);
        let own =
            |folder: &str| path.starts_with(&format!("{folder}/")) || path.contains(&format!("/{folder}/"));
        let packed_chart = own("charts") && Path::new(name).extension().is_some_and(|e| e == "tgz");
        if !(packed_chart
            || own("templates")
            || matches!(
                name,
                "Chart.yaml" | "requirements.yaml" | "values.yaml" | "values.schema.json"
            ))
        {
            return io::copy(file, &mut io::sink());
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let size = bytes.len() as u64;
        if packed_chart {
            self.packed.push((path.into(), bytes));
            return Ok(size);
        }
        let text = String::from_utf8_lossy(&bytes);
        if own("templates") {
            self.uses_lookup |= templates::use_lookup(&text);
        } else if name == "values.schema.json" {
            self.schema_refers_out |= refers_out(&text);
        }
        match path {
            "Chart.yaml" => self.chart_yaml = Some(text.into_owned()),
            "requirements.yaml" => self.requirements = Some(text.into_owned()),
            "values.yaml" => self.values_yaml = Some(text.into_owned()),
            "values.schema.json" => self.values_schema = Some(text.into_owned()),
            "templates/NOTES.txt" => self.has_notes = true,
            _ => {
                let inside = path.strip_prefix("charts/");
                let folder = inside.and_then(|inside| inside.strip_suffix("/Chart.yaml"));
                self.inner
                    .extend(folder.filter(|folder| !folder.contains('/')).map(str::to_owned));
            }
        }
        Ok(size)
    }
}

/// The path inside the chart's folder.
fn inside(path: &str) -> Option<&str> {
    path.split_once('/').map(|(_, rest)| rest)
}

fn text(file: &mut dyn Read) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn chart_yaml(text: Option<&str>, place: &str) -> Result<ChartYaml, ChartError> {
    let fault = |reason: String| ChartError::NotAChart {
        place: place.into(),
        reason,
    };
    let text = text.ok_or_else(|| fault("it has no Chart.yaml".into()))?;
    let about: ChartYaml = yaml::read(text).map_err(|error| fault(format!("Chart.yaml: {error}")))?;
    for (what, value) in [("name", &about.name), ("version", &about.version)] {
        if value.is_empty() || value.len() > 250 || !value.chars().all(|c| c.is_ascii_graphic() && c != '/') {
            return Err(fault(format!(
                "Chart.yaml: \"{}\" is no {what} for a chart",
                value.escape_debug()
            )));
        }
    }
    Ok(about)
}

/// Whether a schema refers to something outside itself: helm would fetch or open that.
fn refers_out(schema: &str) -> bool {
    fn any(value: &Value) -> bool {
        match value {
            Value::Object(map) => map.iter().any(|(key, value)| {
                let reference = matches!(key.as_str(), "$ref" | "$dynamicRef" | "$recursiveRef");
                (reference && value.as_str().is_some_and(|to| !to.starts_with('#'))) || any(value)
            }),
            Value::Array(items) => items.iter().any(any),
            _ => false,
        }
    }
    serde_json::from_str(schema).is_ok_and(|value: Value| any(&value))
}

#[cfg(test)]
mod tests {
    use super::super::packer::Packer;
    use super::*;

    const ABOUT: &str = "apiVersion: v2\nname: demo\nversion: 1.2.3\nappVersion: 1.10\n";

    fn chart(packer: Packer) -> Result<Chart, ChartError> {
        read(packer.finish().into(), Path::new("demo.tgz"), "demo.tgz")
    }

    fn demo() -> Packer {
        Packer::new().file("demo/Chart.yaml", ABOUT)
    }

    #[test]
    fn the_repositorys_own_chart_is_read_with_values_schema_and_range() {
        let chart = read(Packer::chart("demo").into(), Path::new("demo.tgz"), "demo.tgz").unwrap();
        assert_eq!((chart.name.as_str(), chart.version.as_str()), ("demo", "0.1.0"));
        assert!(chart.values_yaml.contains("replicas"));
        assert_eq!(chart.values_schema.unwrap()["type"], "object");
        assert_eq!(chart.kube_version.as_deref(), Some(">=1.25.0-0"));
        assert!(!chart.templates_use_lookup && !chart.schema_refers_out);
        assert_eq!(chart.sha256.len(), 64);
    }

    #[test]
    fn an_app_version_that_looks_like_a_number_keeps_its_digits() {
        assert_eq!(chart(demo()).unwrap().app_version, "1.10");
    }

    #[test]
    fn lookup_is_found_in_charts_inside_the_chart_packed_or_not() {
        let template = "{{ $x := (lookup \"v1\" \"Secret\" \"ns\" \"x\") }}";
        let inner = Packer::new()
            .file("sub/Chart.yaml", ABOUT)
            .file("sub/templates/x.yaml", template)
            .finish();
        for packer in [
            demo().file("demo/templates/x.yaml", template),
            demo().file("demo/charts/sub/templates/x.yaml", template),
            demo().raw("demo/charts/sub.tgz", tar::EntryType::Regular, &inner),
        ] {
            assert!(chart(packer).unwrap().templates_use_lookup);
        }
        let text = "{{/* lookup \"v1\" */}} lookup \"v1\"";
        assert!(
            !chart(demo().file("demo/templates/x.yaml", text))
                .unwrap()
                .templates_use_lookup
        );
    }

    #[test]
    fn an_unsafe_archive_inside_the_chart_is_refused_like_the_chart_itself() {
        let inner = Packer::new().raw("../x", tar::EntryType::Regular, b"x").finish();
        let error = chart(demo().raw("demo/charts/sub.tgz", tar::EntryType::Regular, &inner)).unwrap_err();
        assert!(matches!(&error, ChartError::Unsafe { .. }), "{error}");
        assert!(
            error.to_string().contains("charts/sub.tgz in demo.tgz"),
            "{error}"
        );
    }

    #[test]
    fn a_schema_that_leads_elsewhere_is_noticed() {
        for (schema, out) in [
            (r##"{"properties": {"a": {"$ref": "#/definitions/x"}}}"##, false),
            (
                r#"{"properties": {"a": {"$ref": "https://schema.example/x.json"}}}"#,
                true,
            ),
            (r#"{"allOf": [{"$ref": "file:///etc/passwd"}]}"#, true),
        ] {
            let chart = chart(demo().file("demo/values.schema.json", schema)).unwrap();
            assert_eq!(chart.schema_refers_out, out, "{schema}");
        }
    }

    #[test]
    fn an_archive_that_is_no_chart_says_what_is_missing() {
        for (packer, expected) in [
            (Packer::new().file("demo/x", "y"), "no Chart.yaml"),
            (Packer::new().file("demo/Chart.yaml", "name: demo\n"), "version"),
            (
                Packer::new().file("demo/Chart.yaml", "name: a/../b\nversion: 1.0.0\n"),
                "is no name for a chart",
            ),
            (Packer::new().file("demo/Chart.yaml", "name: [\n"), "Chart.yaml"),
            (demo().file("other/x", "y"), "outside the chart's folder"),
            (demo().file("x", "y"), "outside the chart's folder"),
            (
                Packer::new().file("demo/Chart.yaml", &format!("{ABOUT}type: library\n")),
                "is a library",
            ),
            (
                demo().file("demo/values.schema.json", "{"),
                "values.schema.json is not JSON",
            ),
        ] {
            match chart(packer) {
                Err(ChartError::NotAChart { reason, .. }) => assert!(reason.contains(expected), "{reason}"),
                other => panic!("{expected}: {other:?}"),
            }
        }
    }
}
