//! What istioctl and the operators that work like it have made: no Helm release, but each object says of which component
//! and for which control plane it is.

use std::collections::BTreeMap;

use meshery_mesh_kit::object::{label, namespace};
use meshery_mesh_kit::step::delete;
use meshery_mesh_kit::unreleased;
use meshery_plugin_api::message::facts::{Facts, Need};
use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_plugin_api::message::plan::Step;

use crate::control_plane::revision;
use crate::releases::Part;
use crate::remove::Scope;

/// The installer, in words.
pub const INSTALLER: &str = "istioctl";
/// Label with the component.
const COMPONENT: &str = "operator.istio.io/component";
/// Label with the namespace of the control plane.
const OF_NAMESPACE: &str = "install.operator.istio.io/owning-resource-namespace";

/// What has to be seen to find it.
pub fn needs() -> impl Iterator<Item = Need> {
    unreleased::needs(COMPONENT)
}

/// Its objects within the scope of a removal, by part, in the order of removal.
pub fn made(facts: &Facts, scope: &Scope<'_>) -> BTreeMap<Part, Vec<ObjectRef>> {
    unreleased::by_part(facts, |object| {
        let part = part_of(label(object, COMPONENT)?);
        let of_namespace = label(object, OF_NAMESPACE)
            .filter(|named| !named.is_empty())
            .unwrap_or(match namespace(object) {
                "" => scope.namespace,
                namespace => namespace,
            });
        (of_namespace == scope.namespace && scope.takes(part, revision(object))).then_some(part)
    })
}

/// The steps that remove it.
pub fn removal(made: BTreeMap<Part, Vec<ObjectRef>>) -> Vec<Step> {
    let step = |(part, objects): (Part, Vec<ObjectRef>)| {
        let id = format!("{}-of-istioctl", part.chart());
        let title = format!("{} of {INSTALLER}", part.chart());
        delete(&id, title, unreleased::targets(objects))
    };
    made.into_iter().map(step).collect()
}

fn part_of(component: &str) -> Part {
    match component {
        "Pilot" => Part::Istiod,
        "Cni" => Part::Cni,
        "Ztunnel" => Part::Ztunnel,
        "IngressGateways" | "EgressGateways" => Part::Gateway,
        // What all others stand on, and what is not known, goes last.
        _ => Part::Base,
    }
}
