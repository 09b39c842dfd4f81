//! Add-ons: what shows a mesh to people. Own small manifests with pinned images, compiled in, for inside the cluster unless
//! somebody asks for more.

use std::collections::BTreeMap;

use meshery_mesh_kit::object::{label, name, namespace as namespace_of, text};
use meshery_mesh_kit::readable::{gaps, kind_is_whole};
use meshery_mesh_kit::step::{apply, delete, wait};
use meshery_mesh_kit::workload::{deployment_health, deployment_ref, deployments_ready, services_answer};
use meshery_mesh_kit::{application, manifest, namespace, need, parameter, schema};
use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::descriptor::{Category, Operation};
use meshery_plugin_api::message::facts::{Detail, Facts, Need};
use meshery_plugin_api::message::finding::{Component, Finding};
use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_plugin_api::message::plan::{Condition, Plan, PlanRequest, Target};
use serde_json::Value;

use crate::control_plane::NAMESPACE;
use crate::detect;
use crate::maker::maker;

/// Label that all objects of an add-on carry.
const PART_OF: &str = "app.kubernetes.io/part-of";
/// The first is the usual one: dashboards let everybody look who reaches them.
const SERVICE_TYPES: [&str; 3] = ["ClusterIP", "NodePort", "LoadBalancer"];

/// What stands for the control plane's namespace in the manifests of an add-on that shows it.
const PLANE: &str = "{control_plane}";

/// An add-on.
pub struct Addon {
    name: &'static str,
    title: &'static str,
    /// The Service that people look at.
    front: &'static str,
    text: &'static str,
    /// Another add-on whose data it shows.
    asks: &'static str,
}

pub const PROMETHEUS: Addon = Addon {
    name: "prometheus",
    title: "Prometheus",
    front: "prometheus",
    text: include_str!("../addons/prometheus.yaml"),
    asks: "",
};

pub const GRAFANA: Addon = Addon {
    name: "grafana",
    title: "Grafana",
    front: "grafana",
    text: include_str!("../addons/grafana.yaml"),
    asks: "prometheus",
};

pub const KIALI: Addon = Addon {
    name: "kiali",
    title: "Kiali",
    front: "kiali",
    text: include_str!("../addons/kiali.yaml"),
    asks: "prometheus",
};

pub const JAEGER: Addon = Addon {
    name: "jaeger",
    title: "Jaeger",
    front: "tracing",
    text: include_str!("../addons/jaeger.yaml"),
    asks: "",
};

pub const ZIPKIN: Addon = Addon {
    name: "zipkin",
    title: "Zipkin",
    front: "tracing",
    text: include_str!("../addons/zipkin.yaml"),
    asks: "",
};

impl Addon {
    /// Whether it shows a control plane, so that it has to know where that is.
    fn shows_plane(&self) -> bool {
        self.text.contains(PLANE)
    }

    /// For a namespace, showing the control plane in another one.
    fn manifests(&self, target: &str, plane: &str, service_type: &str) -> Result<Vec<Value>, PluginError> {
        let objects = manifest::read(self.name, &self.text.replace(PLANE, plane))?;
        Ok(objects
            .into_iter()
            .map(|object| {
                let mut object = manifest::placed(object, target);
                object["metadata"]["labels"][PART_OF] = format!("meshery-{}", self.name).into();
                if object["kind"] == "Service"
                    && object["metadata"]["name"] == self.front
                    && service_type != "ClusterIP"
                {
                    object["spec"]["type"] = service_type.into();
                }
                object
            })
            .collect())
    }
}

const ALL: [&Addon; 5] = [&PROMETHEUS, &GRAFANA, &KIALI, &JAEGER, &ZIPKIN];

/// What shows add-ons, ours and the project's own, which have these names too.
pub fn needs_everywhere() -> Vec<Need> {
    ALL.map(|addon| need::one("", "apps", "Deployment", addon.name, Detail::Full))
        .into()
}

/// Whether a Deployment has the name of an add-on, and no mark of a part of the mesh.
pub fn is_one(deployment: &Value) -> bool {
    label(deployment, "istio").is_none() && ALL.iter().any(|addon| addon.name == name(deployment))
}

/// The add-ons of a control plane: those beside it, whoever made them, and ours anywhere. A Prometheus elsewhere is for something
/// else, or serves the mesh in a way that is not seen.
pub fn components(facts: &Facts, in_namespace: &str) -> Vec<Component> {
    let is_ours = |deployment: &Value| {
        label(deployment, PART_OF) == Some(format!("meshery-{}", name(deployment)).as_str())
    };
    let mut found = BTreeMap::new();
    for deployment in facts
        .objects("apps", "Deployment")
        .filter(|object| is_one(object))
    {
        if namespace_of(deployment) == in_namespace || is_ours(deployment) {
            found.insert((namespace_of(deployment), name(deployment)), deployment);
        }
    }
    found.into_values().map(component).collect()
}

fn component(deployment: &Value) -> Component {
    let (health, reason) = deployment_health(deployment);
    // They count versions of their own, by the image of the container that is called like them, or of the first one.
    let containers = deployment.pointer("/spec/template/spec/containers");
    let containers = containers
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    let named = containers
        .iter()
        .find(|container| container["name"] == name(deployment));
    let image = named
        .or(containers.first())
        .map_or("", |container| text(container, "/image"));
    let tag = image.split('@').next().unwrap_or_default().rsplit_once(':');
    let version = tag.map_or("", |(_, tag)| tag).trim_start_matches('v');
    Component {
        object: deployment_ref(deployment),
        version: if version.contains('/') { "" } else { version }.into(),
        health,
        reason,
        installed_by: maker(deployment).into(),
    }
}

pub fn deploy_operation(addon: &Addon) -> Operation {
    let mut parameters = vec![
        (
            "namespace",
            schema::namespace("Namespace of the add-on", NAMESPACE),
        ),
        (
            "service_type",
            schema::choice(
                "Type of the Service that people look at; a load balancer may be open to the whole internet",
                &SERVICE_TYPES,
            ),
        ),
        application::deadline_parameter(),
    ];
    let mut needs = needs();
    if addon.shows_plane() {
        let text = "Namespace of the control plane that it shows; the one that is found when left out";
        parameters.push(("control_plane", schema::namespace(text, "")));
        needs.extend(detect::needs());
    }
    Operation {
        name: format!("add-{}", addon.name),
        category: Category::Configure,
        description: format!("Add-on: {}", addon.title),
        parameters: schema::object(parameters, &[]),
        needs,
    }
}

/// Namespaces with a control plane, each once.
fn planes(request: &PlanRequest) -> Vec<String> {
    let found = detect::installations(&request.facts).unwrap_or_default();
    let mut planes: Vec<String> = found.into_iter().map(|found| found.namespace).collect();
    planes.dedup();
    planes
}

/// The control plane that an add-on shows: the one that is named, that in the add-on's own namespace, or the first there is.
fn plane(request: &PlanRequest, target: &str) -> Result<String, PluginError> {
    let planes = planes(request);
    let own = planes.iter().find(|plane| *plane == target);
    let found = own.or(planes.first()).map_or(NAMESPACE, String::as_str);
    Ok(parameter::namespace(request, "control_plane", found)?.to_owned())
}

pub fn remove_operation(addon: &Addon) -> Operation {
    Operation {
        name: format!("remove-{}", addon.name),
        category: Category::Configure,
        description: format!("Removes the add-on {}, as far as Meshery made it", addon.title),
        parameters: schema::object(
            [(
                "namespace",
                schema::namespace("Namespace of the add-on", NAMESPACE),
            )],
            &[],
        ),
        needs: needs(),
    }
}

fn needs() -> Vec<Need> {
    vec![
        need::namespace("{namespace}"),
        need::within("{namespace}", "", "Service", "", Detail::Full),
    ]
}

pub fn deploy(request: &PlanRequest, addon: &Addon) -> Result<Plan, PluginError> {
    let target = parameter::namespace(request, "namespace", NAMESPACE)?;
    let service_type = parameter::choice(request, "service_type", &SERVICE_TYPES)?;
    let plane = plane(request, target)?;
    let manifests = addon.manifests(target, &plane, service_type)?;
    let of = |kind: &'static str| {
        let of_kind = manifests.iter().filter(move |object| object["kind"] == kind);
        of_kind.map(name).collect::<Vec<_>>()
    };
    let mut ready = deployments_ready(target, of("Deployment"));
    ready.extend(services_answer(target, of("Service")));
    let verify = vec![wait(
        "ready",
        "it runs and answers",
        application::deadline(request)?,
        ready,
    )];
    let mut steps = Vec::new();
    let missing = namespace::missing(&request.facts, &[target]);
    if !missing.is_empty() {
        steps.push(apply("namespace", format!("namespace {target}"), missing));
    }
    steps.push(apply(addon.name, addon.title, manifests));
    let mut notes = vec![format!(
        "`kubectl port-forward --namespace {target} service/{}` leads to it from this machine.",
        addon.front
    )];
    if addon.shows_plane() {
        notes.push(format!("It shows the control plane in namespace {plane}."));
    }
    if service_type != SERVICE_TYPES[0] {
        notes.push(format!(
            "{} asks nobody for a password, and is reached from outside.",
            addon.title
        ));
    }
    Ok(crate::plan(
        format!("Add {} to namespace {target}", addon.title),
        steps,
        verify,
        notes,
    ))
}

pub fn remove(request: &PlanRequest, addon: &Addon) -> Result<Plan, PluginError> {
    let target = parameter::namespace(request, "namespace", NAMESPACE)?;
    let mut targets: Vec<Target> = addon
        .manifests(target, NAMESPACE, SERVICE_TYPES[0])?
        .iter()
        .rev()
        // The Services of the other one are not this one's to remove, whoever made them.
        .filter(|object| !of_another(request, addon, object))
        .filter_map(ObjectRef::of)
        .map(|object| Target {
            object,
            when: Condition::Ours,
        })
        .collect();
    targets.dedup();
    let mut steps = vec![delete(addon.name, "what Meshery made of it", targets)];
    // The control plane's stays with it.
    if target != NAMESPACE {
        steps.push(delete(
            "namespace",
            "the namespace, if it is ours and empty",
            vec![namespace::removal(target)],
        ));
    }
    Ok(crate::plan(
        format!("Remove {} from namespace {target}", addon.title),
        steps,
        Vec::new(),
        Vec::new(),
    ))
}

/// Whether a Service of this name is there and is another add-on's.
fn of_another(request: &PlanRequest, addon: &Addon, object: &Value) -> bool {
    object["kind"] == "Service"
        && request.facts.objects("", "Service").any(|there| {
            namespace_of(there) == namespace_of(object)
                && name(there) == name(object)
                && label(there, "app").is_some_and(|app| app != addon.name)
        })
}

pub fn check(request: &PlanRequest, addon: &Addon) -> Result<Vec<Finding>, PluginError> {
    let target = parameter::namespace(request, "namespace", NAMESPACE)?;
    let service_type = parameter::choice(request, "service_type", &SERVICE_TYPES)?;
    let facts = &request.facts;
    let mut findings = gaps(facts);
    findings.extend(namespace::terminating(facts, target));
    let plane = plane(request, target)?;
    if addon.shows_plane() && !planes(request).contains(&plane) && kind_is_whole(facts, "apps", "Deployment")
    {
        findings.push(
            Finding::warning(
                "addon-without-control-plane",
                format!(
                    "{} would show the control plane in namespace \"{plane}\", and none is there",
                    addon.title
                ),
            )
            .remedy("install it first (operation install), or name the namespace of one (control_plane)"),
        );
    }
    for object in addon.manifests(target, &plane, service_type)? {
        if of_another(request, addon, &object) {
            let reference = ObjectRef::new("v1", "Service", target, name(&object));
            findings.push(
                Finding::error(
                    "addon-clash",
                    format!(
                        "{reference} is another add-on's, and {} needs that name too",
                        addon.title
                    ),
                )
                .about(reference)
                .remedy("remove the other one first, or choose another namespace"),
            );
        }
    }
    let has = |wanted: &str| {
        facts
            .objects("", "Service")
            .any(|service| name(service) == wanted)
    };
    if !addon.asks.is_empty() && !has(addon.asks) {
        findings.push(
            Finding::warning(
                "addon-without-data",
                format!(
                    "{} shows what {} has, which is not in namespace \"{target}\"",
                    addon.title, addon.asks
                ),
            )
            .remedy(format!("add it too (operation add-{})", addon.asks)),
        );
    }
    if service_type == "LoadBalancer" {
        findings.push(
            Finding::warning(
                "addon-public",
                format!(
                    "{} would get a load balancer, and asks nobody for a password",
                    addon.title
                ),
            )
            .remedy("leave service_type out, and use kubectl port-forward"),
        );
    }
    Ok(findings)
}
