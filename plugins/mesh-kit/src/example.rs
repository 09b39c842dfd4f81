//! Examples of an adapter's operations: what is asked of each, and a cluster in which it has something to do. They stand
//! in `tests/operations.yaml` of an adapter, for its own tests and for whatever else wants a plan of each operation.
//!
//! They panic where the file is not as it should be, as assertions do.
#![allow(clippy::missing_panics_doc, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use meshery_plugin_api::MeshAdapter;
use meshery_plugin_api::message::facts::ChartFact;
use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_plugin_api::message::plan::{Action, PlanRequest, TextFile};
use meshery_plugin_api::testkit::Cluster;
use serde::Deserialize;
use serde_json::{Map, Value};

/// The cluster with nothing of the mesh in it.
const EMPTY: &str = "empty";

/// One operation, as it is asked for.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Example {
    /// The operation.
    pub operation: String,
    /// Name of the snapshot of its plan, where that is another one than the operation's.
    #[serde(default)]
    snapshot: String,
    /// Its parameters.
    #[serde(default)]
    given: Map<String, Value>,
    /// Its files.
    #[serde(default)]
    files: Vec<TextFile>,
    /// The cluster, by its file in `tests/clusters`.
    #[serde(default)]
    cluster: String,
    /// In its place, what this example's operation has applied to the empty one, with these parameters.
    #[serde(default)]
    after: Option<Before>,
    /// What else the objects of a name have.
    #[serde(default)]
    with: BTreeMap<String, Value>,
    /// The moment.
    #[serde(default)]
    now: String,
    /// What the mirror has.
    #[serde(default)]
    charts: Vec<ChartFact>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Before {
    operation: String,
    #[serde(default)]
    given: Map<String, Value>,
}

/// Those of one adapter.
#[derive(Debug)]
pub struct Examples {
    folder: PathBuf,
    all: Vec<Example>,
}

impl Examples {
    /// Reads them from the folder `tests` of an adapter.
    pub fn read(folder: &Path) -> Self {
        let file = folder.join("operations.yaml");
        let all = serde_saphyr::from_str(&text(&file)).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        Self {
            folder: folder.to_owned(),
            all,
        }
    }

    /// That of an operation.
    pub fn of(&self, operation: &str) -> &Example {
        let found = self.all.iter().find(|example| example.operation == operation);
        found.unwrap_or_else(|| {
            panic!("{operation} has no example in operations.yaml, so that nobody sees what its plan is")
        })
    }

    /// The request that a host would make.
    pub fn request(&self, adapter: &impl MeshAdapter, example: &Example) -> PlanRequest {
        let cluster = self.cluster(adapter, example);
        let request = cluster.request(adapter, &example.operation, example.given.clone().into());
        PlanRequest {
            files: example.files.clone(),
            ..request.unwrap_or_else(|e| panic!("{}: {e:?}", example.operation))
        }
    }

    fn cluster(&self, adapter: &impl MeshAdapter, example: &Example) -> Cluster {
        let mut cluster = match &example.after {
            Some(before) => self.after(adapter, before),
            None => self.of_file(&example.cluster),
        };
        for (name, more) in &example.with {
            cluster = cluster.change(name, |object| merge(object, more));
        }
        if !example.now.is_empty() {
            cluster = cluster.now(&example.now);
        }
        example.charts.iter().cloned().fold(cluster, Cluster::chart)
    }

    fn of_file(&self, name: &str) -> Cluster {
        let file = self.folder.join("clusters").join(format!("{name}.yaml"));
        Cluster::from_yaml(&text(&file)).unwrap_or_else(|e| panic!("{}: {e:?}", file.display()))
    }

    /// What an operation has applied, marked as the engine marks it.
    fn after(&self, adapter: &impl MeshAdapter, before: &Before) -> Cluster {
        let example = Example {
            given: before.given.clone(),
            cluster: EMPTY.into(),
            after: None,
            ..self.of(&before.operation).clone()
        };
        let plan = adapter.plan(self.request(adapter, &example));
        let plan = plan.unwrap_or_else(|e| panic!("{}: {e:?}", before.operation));
        let mut objects: Vec<Value> = Vec::new();
        for step in plan.steps {
            let Action::Apply(apply) = step.action else {
                continue;
            };
            for mut object in apply.objects {
                object["metadata"]["annotations"]["meshery.io/operation"] = "01J".into();
                objects.retain(|before| ObjectRef::of(before) != ObjectRef::of(&object));
                objects.push(object);
            }
        }
        Cluster::from_yaml(&Value::from(objects).to_string()).unwrap()
    }
}

impl Example {
    /// Name of the snapshot of its plan.
    pub fn snapshot(&self) -> &str {
        if self.snapshot.is_empty() {
            &self.operation
        } else {
            &self.snapshot
        }
    }
}

fn text(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

fn merge(into: &mut Value, more: &Value) {
    match more {
        Value::Object(fields) => {
            for (field, value) in fields {
                merge(&mut into[field], value);
            }
        }
        value => into.clone_from(value),
    }
}
