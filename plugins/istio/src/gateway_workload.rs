//! What runs a gateway: a Deployment or, where its values say so, a DaemonSet, under its release's name or one of its own, with a
//! Service unless they want none.

use meshery_mesh_kit::object::{name, namespace};
use meshery_mesh_kit::ownership::{ReleaseId, chart_of, release_of};
use meshery_mesh_kit::readable::kind_is_whole;
use meshery_mesh_kit::values::Values;
use meshery_plugin_api::message::facts::Facts;
use meshery_plugin_api::message::object_ref::ObjectRef;
use serde_json::Value;

use crate::control_plane::service;
use crate::parts::{Gateway, SERVICE_TYPES};
use crate::releases::Part;

/// The kinds that the chart knows; the first is its own choice.
const KINDS: [&str; 2] = ["Deployment", "DaemonSet"];
/// The type of Service by which the chart makes none.
const NO_SERVICE: &str = "None";

/// The workload of a gateway that is there, with its kind.
pub fn there<'a>(facts: &'a Facts, release: &ReleaseId) -> Option<(&'static str, &'a Value)> {
    let is_of = |object: &Value| match release_of(object) {
        Some(of) => of == *release,
        None => namespace(object) == release.namespace && name(object) == release.name,
    };
    KINDS.into_iter().find_map(|kind| {
        let mut workloads = facts.objects("apps", kind);
        Some((kind, workloads.find(|object| is_of(object))?))
    })
}

/// Whether a workload is a gateway of the chart.
pub fn is_one(workload: &Value) -> bool {
    chart_of(workload).is_some_and(|(chart, _)| chart == Part::Gateway.chart())
}

/// What a gateway's release has when it has been applied.
pub struct Applied {
    pub workload: ObjectRef,
    pub service: Option<ObjectRef>,
}

/// By the values that are given and, where those that were set go on (`kept`), by what is there.
pub fn applied(facts: &Facts, values: &Values<'_>, kept: bool, gateway: &Gateway<'_>) -> Applied {
    let release = ReleaseId::new(gateway.namespace, gateway.name);
    let before = there(facts, &release).filter(|_| kept);
    let given = |path: &str| values.get(Part::Gateway.chart(), path).and_then(Value::as_str);
    let named = |path: &str| given(path).filter(|text| !text.is_empty());
    let kind = named("/kind")
        .or(before.map(|(kind, _)| kind))
        .unwrap_or(KINDS[0]);
    let before = before.map(|(_, workload)| workload);
    let name = named("/name").or(before.map(name)).unwrap_or(gateway.name);
    let has_service = match given("/service/type") {
        Some(of_type) => of_type != NO_SERVICE,
        None => gateway.service_type != SERVICE_TYPES[0] || before.is_none() || !is_without(facts, &release),
    };
    Applied {
        workload: ObjectRef::new("apps/v1", kind, gateway.namespace, name),
        service: has_service.then(|| service(gateway.namespace, name)),
    }
}

/// Whether a release is known to have no Service.
fn is_without(facts: &Facts, release: &ReleaseId) -> bool {
    let mut services = facts.objects("", "Service");
    kind_is_whole(facts, "", "Service")
        && !services.any(|object| release_of(object).as_ref() == Some(release))
}
