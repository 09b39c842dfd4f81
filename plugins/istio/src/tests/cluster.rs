//! A cluster in a YAML file, read as the core reads one: each need gets the objects that it asks for, no others.

use std::path::{Path, PathBuf};

use meshery_mesh_kit::object::{name, namespace, text};
use meshery_plugin_api::message::facts::{ChartFact, ClusterFacts, Facts, KindFacts, Need, Readability};
use meshery_plugin_api::message::finding::{Finding, Installation};
use meshery_plugin_api::message::plan::{Plan, PlanRequest};
use meshery_plugin_api::{MeshAdapter, PluginError};
use serde_json::Value;

use crate::Istio;

pub struct Cluster {
    objects: Vec<Value>,
    forbidden: Vec<&'static str>,
    version: &'static str,
    charts: Vec<ChartFact>,
}

/// A folder beside the sources.
pub fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

impl Cluster {
    pub fn of(file: &str) -> Self {
        let path = folder("clusters").join(format!("{file}.yaml"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        Self {
            objects: serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display())),
            forbidden: Vec::new(),
            version: "v1.36.3",
            charts: Vec::new(),
        }
    }

    pub fn forbid(mut self, kinds: &[&'static str]) -> Self {
        self.forbidden.extend(kinds);
        self
    }

    pub fn version(mut self, version: &'static str) -> Self {
        self.version = version;
        self
    }

    /// A mirror with all charts of these versions.
    pub fn mirror(mut self, versions: &[&str]) -> Self {
        for version in versions {
            for name in ["base", "istiod", "gateway"] {
                self.charts.push(ChartFact {
                    name: name.into(),
                    version: (*version).into(),
                    app_version: (*version).into(),
                    sha256: format!("sha-of-{name}-{version}"),
                });
            }
        }
        self
    }

    /// Changes the objects of a name.
    pub fn change(mut self, of_name: &str, change: impl Fn(&mut Value)) -> Self {
        let changed = self.objects.iter_mut().filter(|object| name(object) == of_name);
        assert!(changed.map(change).count() > 0, "there is no {of_name}");
        self
    }

    pub fn facts(&self, needs: &[Need], parameters: &Value) -> Facts {
        Facts {
            now: "2026-11-22T10:00:00Z".into(),
            cluster: ClusterFacts {
                uid: "5e".into(),
                version: self.version.into(),
                apis: Vec::new(),
            },
            kinds: needs.iter().map(|need| self.read(need, parameters)).collect(),
            charts: self.charts.clone(),
        }
    }

    fn read(&self, need: &Need, parameters: &Value) -> KindFacts {
        let mut need = need.clone();
        for field in [&mut need.namespace, &mut need.name] {
            if let Some(parameter) = field.strip_prefix('{').and_then(|field| field.strip_suffix('}')) {
                let value = parameters[parameter].as_str();
                *field = value
                    .unwrap_or_else(|| panic!("{parameter} has no value"))
                    .to_owned();
            }
        }
        if self.forbidden.contains(&need.kind.as_str()) {
            return KindFacts {
                reason: format!("user \"eve\" cannot list {}", need.kind),
                state: Readability::Forbidden,
                need,
                ..KindFacts::default()
            };
        }
        let objects: Vec<Value> = self
            .objects
            .iter()
            .filter(|object| asked(object, &need))
            .cloned()
            .collect();
        KindFacts {
            state: if objects.is_empty() {
                Readability::Absent
            } else {
                Readability::Present
            },
            objects,
            need,
            ..KindFacts::default()
        }
    }

    /// A request as the core would make it: defaults filled in, facts read.
    pub fn request(&self, operation: &str, given: &Value) -> PlanRequest {
        let descriptor = Istio.describe();
        let operation = descriptor
            .operations
            .iter()
            .find(|known| known.name == operation)
            .unwrap_or_else(|| panic!("no operation {operation}"));
        let mut parameters = serde_json::Map::new();
        for (name, schema) in operation.parameters["properties"]
            .as_object()
            .into_iter()
            .flatten()
        {
            if let Some(value) = given.get(name).or_else(|| schema.get("default")) {
                parameters.insert(name.clone(), value.clone());
            }
        }
        for name in given.as_object().into_iter().flatten().map(|(name, _)| name) {
            assert!(
                parameters.contains_key(name),
                "{} takes no {name}",
                operation.name
            );
        }
        PlanRequest {
            operation: operation.name.clone(),
            facts: self.facts(&operation.needs, &Value::Object(parameters.clone())),
            parameters,
        }
    }

    pub fn plan(&self, operation: &str, given: Value) -> Result<Plan, PluginError> {
        Istio.plan(self.request(operation, &given))
    }

    pub fn check(&self, operation: &str, given: Value) -> Vec<Finding> {
        Istio.check(self.request(operation, &given)).unwrap()
    }

    pub fn detect(&self) -> Result<Vec<Installation>, PluginError> {
        Istio.detect(self.facts(&Istio.describe().detect_needs, &Value::Null))
    }
}

fn asked(object: &Value, need: &Need) -> bool {
    let api_version = text(object, "/apiVersion");
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    let labels = object.pointer("/metadata/labels");
    let selected = need.selector.is_empty()
        || need.selector.split(',').all(|part| match part.split_once('=') {
            Some((key, value)) => labels
                .and_then(|l| l.get(key))
                .is_some_and(|found| found == value),
            None => labels.and_then(|labels| labels.get(part)).is_some(),
        });
    group == need.group
        && text(object, "/kind") == need.kind
        && (need.namespace.is_empty() || namespace(object) == need.namespace)
        && (need.name.is_empty() || name(object) == need.name)
        && selected
}
