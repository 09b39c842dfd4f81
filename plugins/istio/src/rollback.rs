//! What a release of Istio's that goes back to an earlier revision must show, and what is to be minded about it.

use meshery_mesh_kit::mesh_releases::MeshReleases;
use meshery_mesh_kit::object::name;
use meshery_mesh_kit::ownership::{ReleaseId, release_of};
use meshery_mesh_kit::step::holds;
use meshery_mesh_kit::webhook;
use meshery_plugin_api::message::facts::Facts;
use meshery_plugin_api::message::finding::Finding;
use meshery_plugin_api::message::plan::{Readiness, Rule};

use crate::control_plane::{
    DEFAULT_REVISION, DEFAULT_VALIDATOR, WEBHOOKS, default_validator, is_istiod, revision,
};
use crate::releases::{Part, of_istio};
use crate::{MESH, detect, proxies};

/// Istio's releases, for the operations on one that is named.
pub const RELEASES: MeshReleases = MeshReleases {
    mesh: MESH,
    needs: detect::needs,
    demand_whole: detect::demand_whole,
    all: |facts| of_istio(facts).into_iter().map(|release| release.id).collect(),
    ready,
    minds,
};

fn part(facts: &Facts, id: &ReleaseId) -> Option<Part> {
    let mut releases = of_istio(facts).into_iter();
    releases.find(|release| release.id == *id).map(|found| found.part)
}

/// The revision of the control plane that a release has made, whatever either is called.
fn revision_of<'a>(facts: &'a Facts, id: &ReleaseId) -> &'a str {
    let mut planes = facts
        .objects("apps", "Deployment")
        .filter(|object| is_istiod(object));
    let plane = planes.find(|object| release_of(object).as_ref() == Some(id));
    plane.map_or(DEFAULT_REVISION, revision)
}

fn ready(facts: &Facts, id: &ReleaseId) -> Vec<Readiness> {
    match part(facts, id) {
        // The validator that comes with the definitions is another release's.
        Some(Part::Istiod) => webhook::of_release(facts, id)
            .flat_map(|configuration| {
                // istiod lets everything pass until it can validate, then it closes the door itself.
                let closes = configuration.kind == "ValidatingWebhookConfiguration";
                let closed = closes.then(|| holds(Rule::FailsClosed, configuration.clone()));
                [holds(Rule::Serving, configuration)].into_iter().chain(closed)
            })
            .collect(),
        Some(Part::Base) if has_default_validator(facts, id) => vec![
            holds(Rule::Serving, default_validator()),
            holds(Rule::FailsClosed, default_validator()),
        ],
        // The workloads of the revision gone back to are awaited anyway.
        Some(Part::Base | Part::Gateway | Part::Cni | Part::Ztunnel) | None => Vec::new(),
    }
}

/// Whether it has brought the validator of the default revision, and there is a control plane that can serve it.
fn has_default_validator(facts: &Facts, id: &ReleaseId) -> bool {
    let brought = facts
        .objects(WEBHOOKS, "ValidatingWebhookConfiguration")
        .any(|object| name(object) == DEFAULT_VALIDATOR && release_of(object).as_ref() == Some(id));
    brought && facts.objects("apps", "Deployment").any(is_istiod)
}

fn minds(facts: &Facts, id: &ReleaseId) -> Vec<Finding> {
    match part(facts, id) {
        Some(Part::Base) => vec![
            Finding::warning(
                "rollback-of-definitions",
                format!(
                    "the definitions of release {} go back: what only the newer ones know is dropped \
                     from custom resources when they are next written, and definitions that only the \
                     newer revision has stay",
                    id.name
                ),
            )
            .remedy(
                "take the control plane back before its definitions, and keep a copy of the custom \
                 resources",
            ),
        ],
        Some(Part::Istiod) => {
            let running: Vec<String> = proxies::versions(facts, revision_of(facts, id))
                .iter()
                .map(|(version, namespaces)| format!("{version} ({})", proxies::counted(namespaces)))
                .collect();
            let with = if running.is_empty() {
                String::new()
            } else {
                format!("; there are now proxies of {}", running.join(", "))
            };
            vec![
                Finding::warning(
                    "rollback-of-control-plane",
                    format!(
                        "definitions and gateways stay as they are, and proxies keep their version \
                         until they are restarted; none may be newer than its control plane{with}"
                    ),
                )
                .remedy(
                    "the notes of the plan say which version the revision is of: restart newer \
                     proxies and gateways afterwards",
                ),
            ]
        }
        _ => Vec::new(),
    }
}
