//! That each operation has a snapshot of a plan: an operation that is added without one fails here.

use meshery_mesh_kit::contract::{assert_documented, assert_renamed, assert_summary};
use meshery_mesh_kit::example::Examples;
use meshery_mesh_kit::review::{assert_snapshot, plan_text};
use meshery_plugin_api::MeshAdapter;
use meshery_plugin_api::message::plan::{Action, Plan};

use super::cluster::folder;
use crate::{Istio, OPERATIONS};

fn plan(operation: &str) -> Plan {
    let examples = examples();
    Istio
        .plan(examples.request(&Istio, examples.of(operation)))
        .unwrap_or_else(|error| panic!("{operation}: {error:?}"))
}

fn examples() -> Examples {
    Examples::read(&folder(""))
}

#[test]
fn each_operation_has_a_snapshot_of_its_plan() {
    let examples = examples();
    for entry in OPERATIONS.entries() {
        let snapshot = examples.of(entry.name).snapshot();
        let file = folder("snapshots").join(format!("{snapshot}.txt"));
        assert_snapshot(&file, &plan_text(&plan(entry.name)));
    }
}

#[test]
fn what_was_added_or_deployed_is_named_by_its_removal() {
    for entry in OPERATIONS.entries() {
        let (Some(removed), true) = (entry.name.strip_prefix("remove-"), entry.name != "remove-gateway")
        else {
            continue;
        };
        let undone = ["add", "deploy", "set", "apply"].map(|verb| format!("{verb}-{removed}"));
        let made = OPERATIONS
            .entries()
            .find(|made| undone.iter().any(|name| name == made.name));
        assert!(made.is_some(), "{} takes back nothing", entry.name);
        let plan = plan(entry.name);
        let deletes =
            |action: &Action| matches!(action, Action::Delete(delete) if !delete.targets.is_empty());
        assert!(plan.steps.iter().any(|step| deletes(&step.action)), "{plan:?}");
    }
}

#[test]
fn a_removal_says_that_it_removes_and_nothing_else_does() {
    for entry in OPERATIONS.entries() {
        assert_summary(entry.name, &plan(entry.name).summary);
    }
}

#[test]
fn each_operation_and_each_parameter_is_in_the_readme() {
    assert_documented(include_str!("../../README.md"), &Istio);
}

#[test]
fn the_names_of_before_lead_to_operations_that_there_are() {
    assert_renamed(include_str!("../../README.md"), &Istio);
}
