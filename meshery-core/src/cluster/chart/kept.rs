//! A chart as Helm keeps it in the record of a release: what was installed can be looked at, and rolled back to,
//! when the archive is long gone.

use std::ops::ControlFlow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value, json};

use super::archive::{self, LIMITS};
use super::error::ChartError;
use super::{Chart, yaml};

impl Chart {
    /// The chart in Helm's own form. Charts inside it are left out, as Helm leaves them out.
    pub(crate) fn kept(&self) -> Result<Value, ChartError> {
        let place = format!("{} {}", self.name, self.version);
        let fault = |error: yaml::YamlError, file: &str| ChartError::NotAChart {
            place: place.clone(),
            reason: format!("{file}: {error}"),
        };
        let (mut templates, mut files) = (Vec::new(), Vec::new());
        let (mut lock, mut schema) = (Value::Null, Value::Null);
        archive::walk(&self.archive, &place, LIMITS, |path, file| {
            let path = path.split_once('/').map_or(path, |(_, inside)| inside);
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            match path {
                "Chart.yaml" | "values.yaml" => {}
                "values.schema.json" => schema = BASE64.encode(&bytes).into(),
                // Only a help for whoever builds the chart: one that cannot be read is left out.
                "Chart.lock" | "requirements.lock" => {
                    lock = yaml::read(&String::from_utf8_lossy(&bytes)).unwrap_or_default();
                }
                _ if path.starts_with("charts/") => {}
                _ => {
                    let file = json!({"name": path, "data": BASE64.encode(&bytes)});
                    if path.starts_with("templates/") {
                        templates.push(file);
                    } else {
                        files.push(file);
                    }
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        let metadata: Value = yaml::read(&self.chart_yaml).map_err(|error| fault(error, "Chart.yaml"))?;
        let values: Option<Map<String, Value>> =
            yaml::read(&self.values_yaml).map_err(|error| fault(error, "values.yaml"))?;
        Ok(json!({
            "metadata": metadata,
            "lock": lock,
            "templates": templates,
            "values": values.unwrap_or_default(),
            "schema": schema,
            "files": files,
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::content;
    use super::super::packer::Packer;
    use super::*;

    #[test]
    fn a_chart_is_kept_with_its_templates_values_and_files_but_without_charts_inside_it() {
        let archive = Packer::new()
            .file(
                "demo/Chart.yaml",
                "apiVersion: v2\nname: demo\nversion: 1.0.0\nappVersion: \"7\"\n",
            )
            .file("demo/values.yaml", "replicas: 1\n")
            .file("demo/values.schema.json", "{\"type\": \"object\"}")
            .file("demo/templates/a.yaml", "a: 1")
            .file("demo/crds/c.yaml", "c: 1")
            .file("demo/README.md", "read me")
            .file("demo/charts/inner/Chart.yaml", "name: inner\nversion: 1.0.0\n")
            .finish();
        let chart = content::read(archive.into(), Path::new("demo.tgz"), "demo.tgz").unwrap();
        let kept = chart.kept().unwrap();
        assert_eq!(kept["metadata"]["appVersion"], "7");
        assert_eq!(kept["values"], json!({"replicas": 1}));
        assert_eq!(
            kept["templates"],
            json!([{"name": "templates/a.yaml", "data": BASE64.encode("a: 1")}])
        );
        let names: Vec<&str> = kept["files"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|file| file["name"].as_str())
            .collect();
        assert_eq!(names, ["crds/c.yaml", "README.md"]);
        assert_eq!(kept["schema"], BASE64.encode("{\"type\": \"object\"}"));
    }
}
