//! That each operation has a snapshot of a plan, or of its refusal: an operation that is added without one fails here.

use std::fmt::Write as _;

use meshery_mesh_kit::contract::{assert_documented, assert_renamed, assert_summary};
use meshery_mesh_kit::example::Examples;
use meshery_mesh_kit::review::{assert_snapshot, plan_text};
use meshery_plugin_api::message::plan::Plan;
use meshery_plugin_api::{MeshAdapter, PluginError};

use super::cluster::folder;
use crate::{Linkerd, OPERATIONS};

fn plan(operation: &str) -> Result<Plan, PluginError> {
    let examples = examples();
    Linkerd.plan(examples.request(&Linkerd, examples.of(operation)))
}

fn examples() -> Examples {
    Examples::read(&folder(""))
}

#[test]
fn each_operation_has_a_snapshot_of_its_plan() {
    let examples = examples();
    for entry in OPERATIONS.entries() {
        let snapshot = examples.of(entry.name).snapshot();
        let text = match plan(entry.name) {
            Ok(plan) => plan_text(&plan),
            // Nothing else is always refused.
            Err(error) if entry.name == "jaeger-addon" => {
                let mut text = format!("{}: {}\n", error.code, error.message);
                let _ = writeln!(text, "cause: {}\nremedy: {}", error.cause, error.remedy);
                text
            }
            Err(error) => panic!("{}: {error:?}", entry.name),
        };
        assert_snapshot(&folder("snapshots").join(format!("{snapshot}.txt")), &text);
    }
}

#[test]
fn every_operation_is_found_by_the_name_it_describes_itself_with() {
    let named: Vec<String> = Linkerd
        .describe()
        .operations
        .into_iter()
        .map(|o| o.name)
        .collect();
    let entries: Vec<&str> = OPERATIONS.entries().map(|entry| entry.name).collect();
    assert_eq!(named, entries);
}

#[test]
fn a_removal_says_that_it_removes_and_nothing_else_does() {
    for entry in OPERATIONS.entries().filter(|entry| entry.name != "jaeger-addon") {
        assert_summary(entry.name, &plan(entry.name).unwrap().summary);
    }
}

#[test]
fn each_operation_and_each_parameter_is_in_the_readme() {
    assert_documented(include_str!("../../README.md"), &Linkerd);
}

#[test]
fn the_names_of_before_lead_to_operations_that_there_are() {
    assert_renamed(include_str!("../../README.md"), &Linkerd);
}
