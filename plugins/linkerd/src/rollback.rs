//! What a release of Linkerd's that goes back to an earlier revision must show, and what is to be minded about it.

use meshery_mesh_kit::mesh_releases::MeshReleases;
use meshery_mesh_kit::ownership::ReleaseId;
use meshery_mesh_kit::step::holds;
use meshery_mesh_kit::webhook;
use meshery_plugin_api::message::facts::Facts;
use meshery_plugin_api::message::finding::Finding;
use meshery_plugin_api::message::plan::{Readiness, Rule};

use crate::releases::{Part, of_linkerd};
use crate::{MESH, detect};

/// Linkerd's releases, for the operations on one that is named.
pub const RELEASES: MeshReleases = MeshReleases {
    mesh: MESH,
    needs: detect::needs,
    demand_whole: detect::demand_whole,
    all: |facts| of_linkerd(facts).into_iter().map(|release| release.id).collect(),
    ready,
    minds,
};

fn part(facts: &Facts, id: &ReleaseId) -> Option<Part> {
    let mut releases = of_linkerd(facts).into_iter();
    releases.find(|release| release.id == *id).map(|found| found.part)
}

fn ready(facts: &Facts, id: &ReleaseId) -> Vec<Readiness> {
    match part(facts, id) {
        Some(Part::ControlPlane) => webhook::of_release(facts, id)
            .map(|configuration| holds(Rule::Serving, configuration))
            .collect(),
        // The workloads of the revision gone back to are awaited anyway.
        Some(Part::Cni | Part::Smi | Part::Multicluster | Part::Viz | Part::Crds) | None => Vec::new(),
    }
}

fn minds(facts: &Facts, id: &ReleaseId) -> Vec<Finding> {
    match part(facts, id) {
        Some(Part::Crds) => vec![
            Finding::warning(
                "rollback-of-definitions",
                format!(
                    "the definitions of release {} go back: what only the newer ones know is dropped \
                     from custom resources when they are next written; definitions that only the newer \
                     revision has go, unless they have resources",
                    id.name
                ),
            )
            .remedy(
                "take the control plane back before its definitions, and keep a copy of the custom \
                 resources",
            ),
        ],
        Some(Part::ControlPlane) => vec![
            Finding::warning(
                "rollback-of-control-plane",
                "definitions stay as they are, and proxies keep their version until they are restarted; \
                 the certificates of the webhooks, which the chart made when that revision was \
                 rendered, come back with it, and so do an anchor and an issuer that were in its values",
            )
            .remedy(
                "restart the workloads afterwards (operation restart-all); upgrade instead where \
                 those certificates have ended",
            ),
        ],
        _ => Vec::new(),
    }
}
