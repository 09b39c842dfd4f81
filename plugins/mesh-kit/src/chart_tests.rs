//! Running the tests that the charts of a mesh's releases bring, as `helm test` does it.
//!
//! Whether a chart brings any is in Helm's record of the release, which only the engine reads: it says which bring none, and
//! refuses a plan none of whose releases has tests.

use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::descriptor::{Category, Operation};
use meshery_plugin_api::message::finding::Finding;
use meshery_plugin_api::message::plan::{Action, Plan, PlanRequest, TestRelease};

use crate::application::{deadline, deadline_parameter};
use crate::mesh_releases::{MeshReleases, namespace_parameter, release_parameter};
use crate::step::{id_for, plan as in_order, step};
use crate::{readable, schema};

/// The operation.
pub fn operation(releases: &MeshReleases) -> Operation {
    let (_, mut deadline_schema) = deadline_parameter();
    deadline_schema["description"] =
        "Seconds that the tests of one release may take; the host's own limit when 0".into();
    Operation {
        name: "test".into(),
        category: Category::Validate,
        description: "Runs the tests that the charts of the mesh's Helm releases bring, as `helm test`"
            .into(),
        parameters: schema::object(
            [
                release_parameter("Name of one release; all of the mesh when it is left out"),
                namespace_parameter(),
                ("deadline", deadline_schema),
            ],
            &[],
        ),
        needs: (releases.needs)(),
    }
}

/// The plan of it: what others depend on is tested first.
pub fn plan(releases: &MeshReleases, request: &PlanRequest) -> Result<Plan, PluginError> {
    let mut chosen = releases.chosen(request)?;
    chosen.reverse();
    let deadline_s = deadline(request)?;
    let steps = chosen
        .iter()
        .enumerate()
        .map(|(at, id)| {
            let action = Action::TestRelease(TestRelease {
                name: id.name.clone(),
                namespace: id.namespace.clone(),
            });
            let twins = chosen[..at].iter().filter(|other| other.name == id.name).count();
            let word = if twins == 0 {
                "test".to_owned()
            } else {
                format!("test-{}", twins + 1)
            };
            let title = format!("tests of release {} in {}", id.name, id.namespace);
            let mut step = step(&id_for(&word, &id.name, at), title, action);
            step.deadline_s = deadline_s;
            step
        })
        .collect();
    let names: Vec<&str> = chosen.iter().map(|id| id.name.as_str()).collect();
    Ok(in_order(
        format!("Test {} of {}", names.join(", "), releases.mesh),
        steps,
        Vec::new(),
        Vec::new(),
    ))
}

/// What speaks against it: only what could not be read, and that there is no such release.
pub fn check(releases: &MeshReleases, request: &PlanRequest) -> Result<Vec<Finding>, PluginError> {
    releases.chosen(request)?;
    Ok(readable::gaps(&request.facts))
}
