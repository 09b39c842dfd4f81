//! A mesh's Helm releases by name, for operations on one of them that somebody names.

use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::facts::{Facts, Need};
use meshery_plugin_api::message::finding::Finding;
use meshery_plugin_api::message::plan::{PlanRequest, Readiness};
use serde_json::Value;

use crate::ownership::ReleaseId;
use crate::{parameter, schema};

/// How an adapter tells the releases of its mesh, and what it knows of them.
#[derive(Debug)]
pub struct MeshReleases {
    /// Name of the mesh for people.
    pub mesh: &'static str,
    /// What must be read to tell them.
    pub needs: fn() -> Vec<Need>,
    /// An error when nothing can be said without what could not be read.
    pub demand_whole: fn(&Facts) -> Result<(), PluginError>,
    /// The releases that facts show, in the order of removal.
    pub all: fn(&Facts) -> Vec<ReleaseId>,
    /// What holds, by what there is of a release now, when what it has made works; its workloads are awaited anyway.
    pub ready: fn(&Facts, &ReleaseId) -> Vec<Readiness>,
    /// What is to be minded when a release goes back to an earlier revision.
    pub minds: fn(&Facts, &ReleaseId) -> Vec<Finding>,
}

/// The parameter with the name of a release.
pub(crate) fn release_parameter(description: &str) -> (&'static str, Value) {
    let mut text = schema::text(description);
    text["pattern"] = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$".into();
    // As long as Helm lets it be.
    text["maxLength"] = 53.into();
    ("release", text)
}

/// The parameter with its namespace, which may be left out.
pub(crate) fn namespace_parameter() -> (&'static str, Value) {
    let mut namespace = schema::text("Namespace of the release, where several have its name");
    namespace["pattern"] = "^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$".into();
    namespace["maxLength"] = 63.into();
    namespace["default"] = "".into();
    ("namespace", namespace)
}

impl MeshReleases {
    /// The one that a request names.
    pub fn asked_for(&self, request: &PlanRequest) -> Result<ReleaseId, PluginError> {
        let name = parameter::text(request, "release", "")?;
        if name.is_empty() {
            return Err(
                PluginError::new("bad-parameter", "parameter \"release\" is missing")
                    .remedy(named(&self.all(&request.facts)?)),
            );
        }
        let mut found = self.chosen(request)?;
        match found.len() {
            1 => Ok(found.remove(0)),
            _ => Err(PluginError::new(
                "ambiguous-release",
                format!("{} has several releases of the name \"{name}\"", self.mesh),
            )
            .remedy(format!(
                "say in which namespace (parameter namespace): {}",
                places(&found)
            ))),
        }
    }

    /// Those that a request names by name, namespace or both: at least one.
    pub fn chosen(&self, request: &PlanRequest) -> Result<Vec<ReleaseId>, PluginError> {
        let name = parameter::text(request, "release", "")?;
        let namespace = parameter::text(request, "namespace", "")?;
        let all = self.all(&request.facts)?;
        let chosen: Vec<ReleaseId> = all
            .iter()
            .filter(|id| name.is_empty() || id.name == name)
            .filter(|id| namespace.is_empty() || id.namespace == namespace)
            .cloned()
            .collect();
        if !chosen.is_empty() {
            return Ok(chosen);
        }
        let mut wanted = format!("{} has no release", self.mesh);
        if !name.is_empty() {
            wanted = format!("{wanted} \"{name}\"");
        }
        if !namespace.is_empty() {
            wanted = format!("{wanted} in namespace \"{namespace}\"");
        }
        Err(PluginError::new("unknown-release", wanted).remedy(named(&all)))
    }

    fn all(&self, facts: &Facts) -> Result<Vec<ReleaseId>, PluginError> {
        let mut all = (self.all)(facts);
        if all.is_empty() {
            (self.demand_whole)(facts)?;
        }
        all.dedup();
        Ok(all)
    }
}

fn named(all: &[ReleaseId]) -> String {
    if all.is_empty() {
        "there are no releases of it: install it first (operation install)".into()
    } else {
        format!("name one that is there: {}", places(all))
    }
}

/// Releases for people.
fn places(all: &[ReleaseId]) -> String {
    let places: Vec<String> = all
        .iter()
        .map(|id| format!("{} in namespace {}", id.name, id.namespace))
        .collect();
    places.join("; ")
}
