//! What a release of Istio's that goes back to an earlier revision must show, and what is to be minded about it.

use meshery_mesh_kit::mesh_releases::MeshReleases;
use meshery_mesh_kit::object::name;
use meshery_mesh_kit::ownership::{ReleaseId, release_of};
use meshery_mesh_kit::step::holds;
use meshery_plugin_api::message::facts::Facts;
use meshery_plugin_api::message::finding::{Finding, Severity};
use meshery_plugin_api::message::plan::{Readiness, Rule};

use crate::control_plane::{
    CNI_NODE, DEFAULT_VALIDATOR, ISTIOD, Plane, WEBHOOKS, ZTUNNEL, daemon_set, default_validator, deployment,
    is_istiod, shown,
};
use crate::parts::plane_works;
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

/// The control plane of a release, by the name that it gives it.
fn plane(id: &ReleaseId) -> Plane<'_> {
    let revision = id.name.strip_prefix(ISTIOD).unwrap_or_default();
    Plane {
        namespace: &id.namespace,
        revision: revision.strip_prefix('-').unwrap_or_default(),
    }
}

fn ready(facts: &Facts, id: &ReleaseId) -> Vec<Readiness> {
    match part(facts, id) {
        // The validator that comes with the definitions is another release's.
        Some(Part::Istiod) => plane_works(plane(id), false),
        Some(Part::Base) if has_default_validator(facts, id) => vec![
            holds(Rule::Serving, default_validator()),
            holds(Rule::FailsClosed, default_validator()),
        ],
        Some(Part::Gateway) => vec![holds(Rule::Ready, deployment(&id.namespace, &id.name))],
        Some(Part::Cni) => vec![holds(Rule::Ready, daemon_set(&id.namespace, CNI_NODE))],
        Some(Part::Ztunnel) => vec![holds(Rule::Ready, daemon_set(&id.namespace, ZTUNNEL))],
        Some(Part::Base) | None => Vec::new(),
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
    let warning = |code: &str, message: String, remedy: &str| Finding {
        code: code.into(),
        severity: Severity::Warning,
        message,
        object: None,
        remedy: remedy.into(),
    };
    match part(facts, id) {
        Some(Part::Base) => vec![warning(
            "rollback-of-definitions",
            format!(
                "the definitions of release {} go back: what only the newer ones know is dropped from custom resources \
                 when they are next written, and definitions that only the newer revision has stay",
                id.name
            ),
            "take the control plane back before its definitions, and keep a copy of the custom resources",
        )],
        Some(Part::Istiod) => {
            let running: Vec<String> = proxies::versions(facts, shown(plane(id).revision))
                .iter()
                .map(|(version, namespaces)| format!("{version} ({})", proxies::counted(namespaces)))
                .collect();
            let with = if running.is_empty() {
                String::new()
            } else {
                format!("; there are now proxies of {}", running.join(", "))
            };
            vec![warning(
                "rollback-of-control-plane",
                format!(
                    "definitions and gateways stay as they are, and proxies keep their version until they are restarted; \
                     none may be newer than its control plane{with}"
                ),
                "the notes of the plan say which version the revision is of: restart newer proxies and gateways afterwards",
            )]
        }
        _ => Vec::new(),
    }
}
