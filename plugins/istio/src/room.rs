//! Whether there is room for the pods of Istio, as its charts ask for it.

use meshery_mesh_kit::object::name;
use meshery_mesh_kit::precheck::{self, Pods};
use meshery_plugin_api::message::finding::Finding;
use meshery_plugin_api::message::plan::PlanRequest;

use crate::control_plane::CNI_NODE;
use crate::install::Wish;

/// What a pod asks for by its chart: thousandths of a processor, and MiB of memory.
type Requests = (u64, u64);
const ISTIOD: Requests = (500, 2048);
/// In the profile that is small.
const ISTIOD_OF_DEMO: Requests = (10, 100);
const GATEWAY: Requests = (100, 128);
const CNI: Requests = (100, 100);
const ZTUNNEL: Requests = (200, 512);

/// For an installation: the control plane, its gateways, and what each node gets.
pub fn of_installation(request: &PlanRequest, wish: &Wish<'_>) -> Vec<Finding> {
    let facts = &request.facts;
    let own = wish.plane.namespace;
    let mut pods = vec![pods_of(own, 1, istiod(request))];
    let gateway = asked(request, &["/gateway/resources"], GATEWAY);
    let gateways = wish.gateways.iter();
    pods.extend(gateways.map(|release| pods_of(&release.namespace, 1, gateway)));
    // Where they are already each is made anew in its own place.
    let there = facts
        .objects("apps", "DaemonSet")
        .any(|object| name(object) == CNI_NODE);
    if !there {
        let nodes = precheck::nodes(facts);
        let cni = asked(request, &["/cni/resources"], CNI);
        let ztunnel = asked(request, &["/ztunnel/resources"], ZTUNNEL);
        pods.extend(wish.cni.then(|| pods_of(own, nodes, cni)));
        pods.extend(wish.ztunnel.then(|| pods_of(own, nodes, ztunnel)));
    }
    found(request, &pods, wish.cni)
}

/// For a control plane that is made anew, or beside another: the old pod goes when the new one is ready.
pub fn of_control_plane(request: &PlanRequest, in_namespace: &str) -> Vec<Finding> {
    found(request, &[pods_of(in_namespace, 1, istiod(request))], false)
}

fn found(request: &PlanRequest, pods: &[Pods<'_>], uses_cni: bool) -> Vec<Finding> {
    let (cpu_m, memory_mib) = istiod(request);
    let wish = precheck::Wish {
        pods,
        cpu_m,
        memory_mib,
        uses_cni,
    };
    precheck::findings(&request.facts, &wish)
}

fn pods_of(namespace: &str, count: u64, (cpu_m, memory_mib): Requests) -> Pods<'_> {
    Pods {
        namespace,
        count,
        cpu_m: count * cpu_m,
        memory_mib: count * memory_mib,
    }
}

fn istiod(request: &PlanRequest) -> Requests {
    let is_demo = request
        .parameters
        .get("profile")
        .is_some_and(|profile| profile == "demo");
    let by_chart = if is_demo { ISTIOD_OF_DEMO } else { ISTIOD };
    asked(
        request,
        &["/istiod/resources", "/istiod/pilot/resources"],
        by_chart,
    )
}

/// What the chart asks for, unless somebody has said how much it is to ask for.
fn asked(request: &PlanRequest, values: &[&str], by_chart: Requests) -> Requests {
    let said = request
        .parameters
        .get("values")
        .is_some_and(|given| values.iter().any(|path| given.pointer(path).is_some()));
    if said { (0, 0) } else { by_chart }
}
