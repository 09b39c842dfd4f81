//! A test kit: an adapter's methods, called as a host calls them, against a cluster that is written down in YAML.
//!
//! No host, no cluster, no async: plain `#[test]`s. A [`Cluster`] holds objects; from them each need of an operation
//! gets what it asks for and nothing else, with defaults filled in, Secrets without their data, and the kinds that the
//! test calls forbidden unreadable. Arguments and results pass through JSON and the panic guard as they do in a host,
//! and a plan is held against the rules that a host holds it against.
//!
//! ```
//! use meshery_plugin_api::message::descriptor::{AdapterDescriptor, Operation, Rights};
//! use meshery_plugin_api::message::facts::{Facts, Need};
//! use meshery_plugin_api::message::finding::Installation;
//! use meshery_plugin_api::message::plan::{Action, Plan, PlanRequest, Restart, Step};
//! use meshery_plugin_api::message::object_ref::ObjectRef;
//! use meshery_plugin_api::serde_json::json;
//! use meshery_plugin_api::testkit::Cluster;
//! use meshery_plugin_api::{MeshAdapter, PluginError};
//!
//! /// Restarts every deployment of a namespace.
//! struct Restarter;
//!
//! impl MeshAdapter for Restarter {
//!     fn describe(&self) -> AdapterDescriptor {
//!         AdapterDescriptor {
//!             operations: vec![Operation {
//!                 name: "restart".into(),
//!                 parameters: json!({"type": "object", "properties": {
//!                     "namespace": {"type": "string", "default": "shop"},
//!                 }}),
//!                 needs: vec![Need {
//!                     group: "apps".into(),
//!                     kind: "Deployment".into(),
//!                     namespace: "{namespace}".into(),
//!                     ..Need::default()
//!                 }],
//!                 ..Operation::default()
//!             }],
//!             rights: Rights { namespaces: vec!["*".into()], ..Rights::default() },
//!             ..AdapterDescriptor::default()
//!         }
//!     }
//!     fn plan(&self, request: PlanRequest) -> Result<Plan, PluginError> {
//!         let workloads = request.facts.objects("apps", "Deployment").filter_map(ObjectRef::of).collect();
//!         let action = Action::Restart(Restart { workloads, in_undo: false });
//!         Ok(Plan { steps: vec![Step::new("all", "Everything again", action)], ..Plan::default() })
//!     }
//!     fn detect(&self, _: Facts) -> Result<Vec<Installation>, PluginError> {
//!         Ok(Vec::new())
//!     }
//! }
//!
//! let cluster = Cluster::from_yaml("
//! - apiVersion: apps/v1
//!   kind: Deployment
//!   metadata: {name: web, namespace: shop}
//! - apiVersion: apps/v1
//!   kind: Deployment
//!   metadata: {name: web, namespace: elsewhere}
//! ").unwrap();
//! let plan = cluster.plan(&Restarter, "restart", json!({})).unwrap();
//! let Action::Restart(restart) = &plan.steps[0].action else { panic!("{plan:?}") };
//! assert_eq!(restart.workloads[0].to_string(), "apps/v1/Deployment/shop/web");
//! assert_eq!(restart.workloads.len(), 1);
//! ```

pub mod conformance;
mod objects;
mod reading;

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::message::descriptor::{AdapterDescriptor, Operation};
use crate::message::expansion::{Expand, ExpandRequest, Expansion};
use crate::message::facts::{ChartFact, ClusterFacts, Facts, Need, Readability};
use crate::message::finding::{Finding, Installation};
use crate::message::plan::{Plan, PlanRequest};
use crate::{MeshAdapter, PluginError, dispatch, guard, plan_check};

/// A cluster as an adapter's test has written it down.
#[derive(Debug, Clone, PartialEq)]
pub struct Cluster {
    objects: Vec<Value>,
    facts: ClusterFacts,
    now: String,
    charts: Vec<ChartFact>,
    listed: Vec<ChartFact>,
    unreadable: Vec<(String, String, Readability)>,
}

impl Cluster {
    /// A cluster with nothing in it.
    pub fn empty() -> Self {
        Self {
            objects: Vec::new(),
            facts: ClusterFacts {
                uid: "00000000-0000-0000-0000-000000000001".into(),
                version: "v1.36.0".into(),
                apis: Vec::new(),
                ahead_s: None,
            },
            now: "2026-01-01T00:00:00Z".into(),
            charts: Vec::new(),
            listed: Vec::new(),
            unreadable: Vec::new(),
        }
    }

    /// A cluster with the objects of a text: a list of objects, what `kubectl get -o yaml` prints, or several
    /// documents. An error has line and column.
    pub fn from_yaml(text: &str) -> Result<Self, PluginError> {
        Ok(Self {
            objects: objects::parse(text)?,
            ..Self::empty()
        })
    }

    /// Sets the version of Kubernetes, for example `v1.36.3`.
    pub fn version(mut self, version: &str) -> Self {
        version.clone_into(&mut self.facts.version);
        self
    }

    /// Adds a kind that the server offers, as `group/version/Kind`, to those of the objects.
    pub fn api(mut self, api: &str) -> Self {
        self.facts.apis.push(api.to_owned());
        self
    }

    /// Sets the moment, RFC 3339 in UTC.
    pub fn now(mut self, now: &str) -> Self {
        now.clone_into(&mut self.now);
        self
    }

    /// Adds a chart to those that the mirror has.
    pub fn chart(mut self, chart: ChartFact) -> Self {
        self.charts.push(chart);
        self
    }

    /// Adds a chart to those that a repository's index has listed.
    pub fn listed(mut self, chart: ChartFact) -> Self {
        self.listed.push(chart);
        self
    }

    /// Says of a kind that it cannot be read as it should: [`Readability::Forbidden`] and
    /// [`Readability::NotServed`] show no objects, [`Readability::Truncated`] the first one only.
    pub fn readable(mut self, group: &str, kind: &str, as_far_as: Readability) -> Self {
        self.unreadable
            .push((group.to_owned(), kind.to_owned(), as_far_as));
        self
    }

    /// Changes each object that has this name; panics when there is none, because a test that changes nothing
    /// tests nothing.
    pub fn change(mut self, name: &str, change: impl Fn(&mut Value)) -> Self {
        let mut changed = 0;
        for object in &mut self.objects {
            if object.pointer("/metadata/name").and_then(Value::as_str) == Some(name) {
                change(object);
                changed += 1;
            }
        }
        assert!(changed > 0, "no object has the name \"{name}\"");
        self
    }

    /// What a host would hand over for these needs, whose braces are filled in.
    pub fn facts(&self, needs: &[Need]) -> Result<Facts, PluginError> {
        let kinds = needs.iter().map(|need| reading::read(self, need));
        let mut cluster = self.facts.clone();
        cluster.apis.extend(self.objects.iter().filter_map(objects::api));
        cluster.apis.sort();
        cluster.apis.dedup();
        Ok(Facts {
            now: self.now.clone(),
            cluster,
            kinds: kinds.collect::<Result<_, _>>()?,
            charts: self.charts.clone(),
            listed: self.listed.clone(),
        })
    }

    /// The request that a host would make of these parameters: defaults filled in, facts read.
    ///
    /// Parameters that the operation does not have are refused here; whether the others fit the rest of the
    /// operation's JSON Schema is checked by a host only.
    pub fn request(
        &self,
        adapter: &impl MeshAdapter,
        operation: &str,
        parameters: Value,
    ) -> Result<PlanRequest, PluginError> {
        let descriptor = describe(adapter)?;
        let operation = find(&descriptor, operation)?;
        let parameters = with_defaults(operation, parameters)?;
        let needs = operation
            .needs
            .iter()
            .map(|need| reading::fill(need, &parameters));
        let needs: Vec<Need> = needs.collect::<Result<_, _>>()?;
        Ok(PlanRequest {
            operation: operation.name.clone(),
            facts: self.facts(&needs)?,
            parameters,
            ..PlanRequest::default()
        })
    }

    /// The adapter's plan, which a host would accept: ids, order, rights.
    pub fn plan(
        &self,
        adapter: &impl MeshAdapter,
        operation: &str,
        parameters: Value,
    ) -> Result<Plan, PluginError> {
        let request = self.request(adapter, operation, parameters)?;
        let plan = call(adapter, "adapter.plan", &request)?;
        plan_check::check(&plan, &describe(adapter)?.rights)?;
        Ok(plan)
    }

    /// What an `expand` of a plan becomes now, which a host would accept; the outputs are those of the steps before it,
    /// of which none is a secret.
    pub fn expand(
        &self,
        adapter: &impl MeshAdapter,
        operation: &str,
        expand: &Expand,
        outputs: BTreeMap<String, Value>,
    ) -> Result<Expansion, PluginError> {
        let known = outputs.keys().map(|name| (name.clone(), false)).collect();
        let request = ExpandRequest {
            operation: operation.to_owned(),
            what: expand.what.clone(),
            with: expand.with.clone(),
            facts: self.facts(&expand.needs)?,
            outputs,
            ..ExpandRequest::default()
        };
        let expansion = call(adapter, "adapter.expand", &request)?;
        plan_check::check_expansion(expand, &expansion, &describe(adapter)?.rights, &known)?;
        Ok(expansion)
    }

    /// What the adapter says about an operation before it runs.
    pub fn check(
        &self,
        adapter: &impl MeshAdapter,
        operation: &str,
        parameters: Value,
    ) -> Result<Vec<Finding>, PluginError> {
        let request = self.request(adapter, operation, parameters)?;
        call(adapter, "adapter.check", &request)
    }

    /// The installations that the adapter recognises.
    pub fn detect(&self, adapter: &impl MeshAdapter) -> Result<Vec<Installation>, PluginError> {
        let facts = self.facts(&describe(adapter)?.detect_needs)?;
        call(adapter, "adapter.detect", &facts)
    }

    /// What the adapter finds wrong with what these needs show.
    pub fn analyze(&self, adapter: &impl MeshAdapter, needs: &[Need]) -> Result<Vec<Finding>, PluginError> {
        call(adapter, "adapter.analyze", &self.facts(needs)?)
    }
}

/// What the adapter says about itself, as a host would understand it.
pub fn describe(adapter: &impl MeshAdapter) -> Result<AdapterDescriptor, PluginError> {
    call(adapter, "adapter.describe", &json!({}))
}

fn call<R: DeserializeOwned>(
    adapter: &impl MeshAdapter,
    method: &str,
    argument: &impl Serialize,
) -> Result<R, PluginError> {
    let protocol =
        |error: serde_json::Error| PluginError::new("plugin-protocol", format!("{method}: {error}"));
    let argument = serde_json::to_vec(argument).map_err(protocol)?;
    let result = guard::guarded(|| dispatch::adapter(adapter, method, &argument))?;
    serde_json::from_slice(&result).map_err(protocol)
}

fn find<'a>(descriptor: &'a AdapterDescriptor, name: &str) -> Result<&'a Operation, PluginError> {
    let known = || {
        let names: Vec<&str> = descriptor.operations.iter().map(|o| o.name.as_str()).collect();
        names.join(", ")
    };
    descriptor
        .operations
        .iter()
        .find(|o| o.name == name)
        .ok_or_else(|| {
            PluginError::new("unknown-operation", format!("there is no operation \"{name}\""))
                .remedy(format!("use one of: {}", known()))
        })
}

fn with_defaults(operation: &Operation, given: Value) -> Result<Map<String, Value>, PluginError> {
    let bad =
        |what: String| PluginError::new("bad-parameter", format!("operation {}: {what}", operation.name));
    let Value::Object(mut parameters) = given else {
        return Err(bad("the parameters are not an object".into()));
    };
    let none = Map::new();
    let known = operation.parameters["properties"].as_object().unwrap_or(&none);
    if let Some(name) = parameters.keys().find(|name| !known.contains_key(*name)) {
        return Err(bad(format!("it takes no \"{name}\"")));
    }
    for (name, schema) in known {
        match schema.get("default") {
            Some(default) if !parameters.contains_key(name) => {
                parameters.insert(name.clone(), default.clone());
            }
            _ => {}
        }
    }
    let required = operation.parameters["required"].as_array().into_iter().flatten();
    let missing = required
        .filter_map(Value::as_str)
        .find(|name| !parameters.contains_key(*name));
    match missing {
        Some(name) => Err(bad(format!("it needs \"{name}\""))),
        None => Ok(parameters),
    }
}
