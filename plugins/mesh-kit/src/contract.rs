//! What holds for every adapter of a mesh, as functions that an adapter's tests call.
//!
//! They panic where it does not hold, as assertions do.
#![allow(clippy::missing_panics_doc, clippy::unwrap_used)]

use std::path::Path;

use meshery_plugin_api::MeshAdapter;
use meshery_plugin_api::message::descriptor::Operation;
use meshery_plugin_api::message::finding::Severity;
use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_plugin_api::message::plan::{Action, Plan, PlanRequest, TextFile};
use meshery_plugin_api::testkit::Cluster;
use serde_json::{Value, json};

use crate::object::namespace;
use crate::review::{assert_snapshot, plan_text};

/// Two objects of an application, one of them for another namespace than that of the application.
const APPLICATION: &str = "\
apiVersion: v1
kind: Service
metadata: {name: front, namespace: elsewhere}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: front}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: registry.example.com/web:1}]}
";

/// What a plan writes: of the cluster-wide objects only those of these kinds, and of the others none without a namespace.
pub fn assert_placed(plan: &Plan, cluster_wide: &[&str]) {
    for object in written(plan) {
        let anywhere = cluster_wide.contains(&object.kind.as_str());
        assert_eq!(object.namespace.is_empty(), anywhere, "{object}");
    }
}

/// That a README's table of operations names each operation in its first column and each of its parameters in its third,
/// and none that there is not.
pub fn assert_documented(readme: &str, adapter: &impl MeshAdapter) {
    let operations = adapter.describe().operations;
    let (_, table) = readme.split_once("\n| operation |").unwrap();
    // The rest of the header, and the line below it.
    let rows: Vec<(Vec<&str>, Vec<&str>)> = table
        .lines()
        .skip(2)
        .map_while(|line| line.strip_prefix('|'))
        .map(|row| {
            let cells: Vec<&str> = row.split('|').collect();
            (
                code_outside_parentheses(cells[0]),
                code_outside_parentheses(cells[2]),
            )
        })
        .collect();
    let mut wrong = Vec::new();
    for operation in &operations {
        let name = operation.name.as_str();
        let Some((_, documented)) = rows.iter().find(|(names, _)| names.contains(&name)) else {
            wrong.push(format!("operation `{name}` is in no row"));
            continue;
        };
        let missing = parameters(operation).filter(|parameter| !documented.contains(parameter));
        wrong.extend(missing.map(|missing| format!("operation `{name}` lacks its parameter `{missing}`")));
    }
    for (names, documented) in &rows {
        for name in names {
            if !operations.iter().any(|operation| operation.name == *name) {
                wrong.push(format!("`{name}` is no operation"));
            }
        }
        let of_row = || {
            operations
                .iter()
                .filter(|operation| names.contains(&operation.name.as_str()))
        };
        for parameter in documented {
            if !of_row().any(|operation| parameters(operation).any(|there| there == *parameter)) {
                wrong.push(format!("`{parameter}` is no parameter of {}", names.join(", ")));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn parameters(operation: &Operation) -> impl Iterator<Item = &str> {
    let properties = operation.parameters["properties"].as_object();
    properties.into_iter().flatten().map(|(name, _)| name.as_str())
}

/// The code of a cell; what is in parentheses are defaults and choices.
fn code_outside_parentheses(cell: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    let mut code = Vec::new();
    for (at, part) in cell.split('`').enumerate() {
        if at % 2 == 0 {
            depth = (depth + part.matches('(').count()).saturating_sub(part.matches(')').count());
        } else if depth == 0 {
            code.push(part);
        }
    }
    code
}

/// That a README's table of the names of before leads to operations that there are.
pub fn assert_renamed(readme: &str, adapter: &impl MeshAdapter) {
    let operations = adapter.describe().operations;
    let (_, section) = readme
        .split_once("\n## Names that Meshery's own adapter has\n")
        .unwrap();
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    // Code in the second column; what has a space or an equals sign is no name.
    let named: Vec<&str> = rows
        .filter_map(|row| row.split('|').nth(2))
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .filter(|name| !name.contains([' ', '=']))
        .collect();
    assert!(!named.is_empty(), "no table of names");
    for name in named {
        let is_there = operations.iter().any(|operation| operation.name == name);
        assert!(is_there, "\"{name}\" is no operation");
    }
}

fn written(plan: &Plan) -> Vec<ObjectRef> {
    let mut objects = Vec::new();
    for step in plan.steps.iter().chain(&plan.verify) {
        match &step.action {
            Action::Apply(apply) => objects.extend(apply.objects.iter().filter_map(ObjectRef::of)),
            Action::Delete(delete) => objects.extend(delete.targets.iter().map(|t| t.object.clone())),
            Action::Restart(restart) => objects.extend(restart.workloads.iter().cloned()),
            Action::Probe(probe) => assert!(!namespace(&probe.object).is_empty()),
            Action::Release(_)
            | Action::RemoveRelease(_)
            | Action::RollbackRelease(_)
            | Action::TestRelease(_)
            | Action::Wait(_)
            | Action::Gate(_) => {}
            Action::Material(material) => {
                objects.extend(material.items.iter().map(|item| item.object.clone()));
            }
            Action::Expand(_) | Action::Unknown => panic!("{step:?}"),
        }
    }
    objects
}

/// The summary of an operation's plan says `Remove ...` when the operation is named so, and only then, and says what is
/// to be done rather than what is being done.
pub fn assert_summary(operation: &str, summary: &str) {
    assert_eq!(
        summary.starts_with("Remove "),
        operation.starts_with("remove"),
        "{operation}: {summary}"
    );
    let word = summary.split(' ').next().unwrap_or_default();
    assert!(
        !word.ends_with("ing") && !word.ends_with("ed"),
        "{operation}: {summary}"
    );
}

/// What a mesh does with applications that people have dropped beside the host.
#[derive(Debug)]
pub struct DroppedApplications<'a, A> {
    /// The adapter.
    pub adapter: &'a A,
    /// Its name, as in its managers and marks.
    pub name: &'a str,
    /// A cluster without a mesh.
    pub empty: &'a Cluster,
}

impl<A: MeshAdapter> DroppedApplications<'_, A> {
    fn request(&self, cluster: &Cluster, operation: &str, given: Value) -> PlanRequest {
        let request = cluster.request(self.adapter, operation, given).unwrap();
        let file = TextFile {
            name: "web.yaml".into(),
            text: APPLICATION.into(),
        };
        PlanRequest {
            files: vec![file],
            ..request
        }
    }

    /// One is deployed into the mesh and proven as a sample application is; its plan is in this file.
    pub fn assert_deployed(&self, snapshot: &Path) {
        let given = json!({"application": "store", "namespace": "shop", "inject": true});
        let request = self.request(self.empty, "deploy-application", given);
        assert_snapshot(snapshot, &plan_text(&self.adapter.plan(request).unwrap()));
    }

    /// A removal takes the mark back that this application has set, and no other's.
    pub fn assert_mark_taken_back(&self) {
        let mark = format!("store.application.{}.meshery.io/injection", self.name);
        let cluster = Cluster::from_yaml(&format!(
            "[{{apiVersion: v1, kind: Namespace, metadata: {{name: shop, annotations: {{{mark}: enabled}}}}}}]"
        ));
        let given = json!({"application": "store", "namespace": "shop"});
        let removal = self.request(&cluster.unwrap(), "remove-application", given);
        let plan = self.adapter.plan(removal).unwrap();
        let Action::Apply(apply) = &plan.steps[0].action else {
            panic!("{plan:?}")
        };
        assert_eq!(apply.manager, format!("meshery-{}-injection-store", self.name));
        assert_eq!(
            apply.objects,
            [json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})]
        );
    }

    /// Into a mesh that is not there none is taken; without a mesh it is deployed.
    pub fn assert_mesh_needed(&self) {
        let check = |inject: bool| {
            let given = json!({"application": "store", "namespace": "shop", "inject": inject});
            let request = self.request(self.empty, "deploy-application", given);
            self.adapter.check(request).unwrap()
        };
        let findings = check(true);
        assert!(
            findings.iter().any(|finding| finding.severity == Severity::Error),
            "{findings:?}"
        );
        assert_eq!(check(false), []);
    }
}
