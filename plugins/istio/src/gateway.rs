//! Gateways by themselves: any number of them, each a release in a namespace of its own choice.

use meshery_mesh_kit::ownership::ReleaseId;
use meshery_mesh_kit::step::{apply, delete, remove_release};
use meshery_mesh_kit::{adoption, namespace, need, parameter, schema};
use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::descriptor::{Category, Operation};
use meshery_plugin_api::message::finding::Finding;
use meshery_plugin_api::message::plan::{Plan, PlanRequest};

use crate::control_plane::{EGRESS_GATEWAY, GATEWAY, NAMESPACE, Plane, is_istiod, revision};
use crate::install::{asked_revision, deadline, deadline_parameter, revision_parameter, version_parameter};
use crate::parts::{Gateway, Parts, SERVICE_TYPES};
use crate::plane_values::Webhooks;
use crate::profile::Profile;
use crate::releases::{Part, PartRelease, of_istio};
use crate::values::VALUES;
use crate::{MESH, detect, versions};

const KINDS: [&str; 2] = ["ingress", "egress"];

fn name_parameter() -> (&'static str, serde_json::Value) {
    let text =
        "Name of release, Deployment and Service; istio-ingressgateway or istio-egressgateway when empty";
    let mut schema = schema::text(text);
    schema["pattern"] = "^([a-z]([-a-z0-9]*[a-z0-9])?)?$".into();
    schema["maxLength"] = 53.into();
    ("name", schema)
}

pub fn add_operation() -> Operation {
    let mut needs = vec![need::namespace("{gateway_namespace}")];
    needs.extend(detect::needs());
    Operation {
        name: "add-gateway".into(),
        category: Category::Configure,
        description: "Adds an ingress or egress gateway, in a namespace of its own".into(),
        parameters: schema::object(
            [
                (
                    "kind",
                    schema::choice(
                        "ingress: for traffic from outside; egress: for traffic that leaves",
                        &KINDS,
                    ),
                ),
                (
                    "gateway_namespace",
                    schema::namespace("Namespace of the gateway", ""),
                ),
                name_parameter(),
                version_parameter(),
                revision_parameter(
                    "Revision of the control plane that it belongs to; the default one when empty",
                ),
                (
                    "namespace",
                    schema::namespace("Namespace of the control plane", NAMESPACE),
                ),
                (
                    "service_type",
                    schema::choice(
                        "Type of an ingress gateway's Service; an egress gateway's is ClusterIP",
                        &SERVICE_TYPES,
                    ),
                ),
                (
                    "wait_for_address",
                    schema::flag("Wait until the Service has an external address", false),
                ),
                VALUES.parameter(),
                adoption::parameter(),
                deadline_parameter(),
            ],
            &["gateway_namespace"],
        ),
        needs,
    }
}

pub fn remove_operation() -> Operation {
    let mut needs = vec![need::namespace("{gateway_namespace}")];
    needs.extend(detect::needs());
    Operation {
        name: "remove-gateway".into(),
        category: Category::Configure,
        description: "Removes a gateway and its namespace, if that is ours and empty".into(),
        parameters: schema::object(
            [
                (
                    "kind",
                    schema::choice("Which name it has when none is given", &KINDS),
                ),
                (
                    "gateway_namespace",
                    schema::namespace("Namespace of the gateway", ""),
                ),
                name_parameter(),
                adoption::removal_parameter(),
            ],
            &["gateway_namespace"],
        ),
        needs,
    }
}

fn named(request: &PlanRequest) -> Result<(&'static str, &str), PluginError> {
    let kind = parameter::choice(request, "kind", &KINDS)?;
    let usual = if kind == "egress" { EGRESS_GATEWAY } else { GATEWAY };
    Ok((kind, parameter::text(request, "name", usual)?))
}

pub fn add(request: &PlanRequest) -> Result<Plan, PluginError> {
    let (kind, name) = named(request)?;
    let target = parameter::namespace(request, "gateway_namespace", "")?;
    let gateway = Gateway {
        id: "gateway",
        title: if kind == "egress" {
            "egress gateway"
        } else {
            "ingress gateway"
        },
        name,
        namespace: target,
        service_type: match kind {
            "egress" => "ClusterIP",
            _ => parameter::choice(request, "service_type", &SERVICE_TYPES)?,
        },
        wait_for_address: parameter::flag(request, "wait_for_address", false)?,
    };
    let plane = plane(request)?;
    let version = parameter::text(request, "version", "")?;
    // A gateway is of the version that its control plane has, unless somebody says otherwise.
    let installed = installed_version(request, plane);
    let version = if version.is_empty() { &installed } else { version };
    let values = VALUES.read(request)?;
    let parts = Parts {
        facts: &request.facts,
        chosen: versions::CATALOGUE.choose(version, &["gateway"], &request.facts)?,
        profile: Profile::of("default"),
        plane,
        is_default: false,
        webhooks: Webhooks::of(&request.facts, &values, &[]),
        platform: None,
        values,
        images: &request.images,
        deadline_s: deadline(request)?,
        keep_values: true,
    };
    let mut steps = Vec::new();
    let missing = namespace::missing(&request.facts, &[target]);
    if !missing.is_empty() {
        steps.push(apply("namespace", format!("namespace {target}"), missing));
    }
    steps.push(parts.gateway(&gateway)?);
    Ok(crate::plan(
        format!(
            "Add {kind} gateway {name} of {MESH} {} in namespace {target}",
            parts.chosen.version
        ),
        steps,
        vec![parts.gateway_ready(&gateway)],
        Vec::new(),
    ))
}

fn plane(request: &PlanRequest) -> Result<Plane<'_>, PluginError> {
    Ok(Plane {
        namespace: parameter::namespace(request, "namespace", NAMESPACE)?,
        revision: asked_revision(request)?,
    })
}

fn installed_version(request: &PlanRequest, plane: Plane<'_>) -> String {
    let installations = detect::installations(&request.facts).unwrap_or_default();
    installations
        .into_iter()
        .find(|found| found.namespace == plane.namespace && detect::is_of(found, plane.revision))
        .map(|found| found.version)
        .unwrap_or_default()
}

/// A gateway's pods get their image from the injector: without it they never run. A release of the same name may be another's.
pub fn check_add(request: &PlanRequest) -> Result<Vec<Finding>, PluginError> {
    let plane = plane(request)?;
    let facts = &request.facts;
    let mut findings = meshery_mesh_kit::readable::gaps(facts);
    let target = parameter::namespace(request, "gateway_namespace", "")?;
    findings.extend(namespace::terminating(facts, target));
    let (_, name) = named(request)?;
    findings.extend(adoption::changed(request, &ReleaseId::new(target, name))?);
    let there = facts.objects("apps", "Deployment").any(|deployment| {
        is_istiod(deployment) && revision(deployment) == crate::control_plane::shown(plane.revision)
    });
    if !there && meshery_mesh_kit::readable::kind_is_whole(facts, "apps", "Deployment") {
        findings.push(
            Finding::error(
                "istio-not-installed",
                format!(
                    "there is no control plane of revision \"{}\": the gateway's pods would have no image",
                    crate::control_plane::shown(plane.revision)
                ),
            )
            .remedy("install it first (operation install), or name another revision"),
        );
    }
    Ok(findings)
}

/// The release that is to be removed.
fn there(request: &PlanRequest) -> Result<Option<PartRelease>, PluginError> {
    let (_, name) = named(request)?;
    let target = parameter::namespace(request, "gateway_namespace", "")?;
    Ok(of_istio(&request.facts).into_iter().find(|release| {
        release.part == Part::Gateway && release.id.namespace == target && release.id.name == name
    }))
}

/// What somebody else has installed goes on explicit word only.
pub fn check_remove(request: &PlanRequest) -> Result<Vec<Finding>, PluginError> {
    let mut findings = meshery_mesh_kit::readable::gaps(&request.facts);
    if let Some(release) = there(request)?.filter(|release| !release.ours) {
        findings.push(adoption::removed(request, &release.id)?);
    }
    Ok(findings)
}

pub fn remove(request: &PlanRequest) -> Result<Plan, PluginError> {
    let (kind, name) = named(request)?;
    let target = parameter::namespace(request, "gateway_namespace", "")?;
    detect::demand_whole(&request.facts)?;
    if there(request)?.is_none() {
        return Err(PluginError::new(
            "gateway-unknown",
            format!("there is no release \"{name}\" of a gateway in namespace \"{target}\""),
        )
        .remedy("`mesheryctl mesh detect istio` lists the gateways there are"));
    }
    let steps = vec![
        remove_release("gateway", format!("release {name} in {target}"), (target, name)),
        delete(
            "namespace",
            "the namespace, if it is ours and empty",
            vec![namespace::removal(target)],
        ),
    ];
    Ok(crate::plan(
        format!("Remove {kind} gateway {name} from namespace {target}"),
        steps,
        Vec::new(),
        Vec::new(),
    ))
}
