//! Upgrading in place: the control plane where it is, then what the nodes have, then the gateways. Values that were set stay.
//!
//! The sidecars that run keep their version until their pods are made anew: that is the user's to say when.

use std::collections::BTreeMap;

use meshery_mesh_kit::catalogue::Chosen;
use meshery_mesh_kit::{adoption, need, parameter, precheck, schema, webhook};
use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::descriptor::{Category, Operation};
use meshery_plugin_api::message::facts::Facts;
use meshery_plugin_api::message::finding::{Finding, Health, Installation};
use meshery_plugin_api::message::plan::{Plan, PlanRequest, Step};
use semver::Version;

use crate::control_plane::{NAMESPACE, Plane, shown};
use crate::install::{asked_revision, deadline, deadline_parameter, revision_parameter, version_parameter};
use crate::parts::{Gateway, Parts, SERVICE_TYPES};
use crate::plane_values::{self, Webhooks};
use crate::profile::Profile;
use crate::releases::{Part, PartRelease, of_istio};
use crate::skew::{self, IN_PLACE};
use crate::values::VALUES;
use crate::{MESH, ambient, authority, detect, nodes, proof, proxies, versions};

pub fn operation() -> Operation {
    let mut needs = vec![need::namespace("{namespace}"), proof::need()];
    needs.extend(detect::needs());
    needs.extend(webhook::needs());
    needs.push(authority::need("{namespace}"));
    needs.push(plane_values::need("{namespace}"));
    needs.extend(precheck::needs(&["{namespace}"]));
    Operation {
        name: "upgrade".into(),
        category: Category::Configure,
        description:
            "Brings a control plane and its gateways to another version, in place; values that were set stay"
                .into(),
        parameters: schema::object(
            [
                version_parameter(),
                (
                    "namespace",
                    schema::namespace("Namespace of the control plane", NAMESPACE),
                ),
                revision_parameter("Revision of the control plane; the default one when empty"),
                (
                    "gateways",
                    schema::flag("Upgrade the gateways of this control plane too, after it", true),
                ),
                VALUES.parameter(),
                adoption::parameter(),
                deadline_parameter(),
            ],
            &[],
        ),
        needs,
    }
}

fn plane(request: &PlanRequest) -> Result<Plane<'_>, PluginError> {
    Ok(Plane {
        namespace: parameter::namespace(request, "namespace", NAMESPACE)?,
        revision: asked_revision(request)?,
    })
}

/// The installation that is to be upgraded.
pub fn installed(facts: &Facts, plane: Plane<'_>) -> Result<Installation, PluginError> {
    let installations = detect::installations(facts)?;
    let known: Vec<String> = installations
        .iter()
        .map(|found| format!("revision {} in namespace {}", found.revision, found.namespace))
        .collect();
    installations
        .into_iter()
        .find(|found| found.namespace == plane.namespace && detect::is_of(found, plane.revision))
        .ok_or_else(|| {
            let error = PluginError::new(
                "istio-not-installed",
                format!(
                    "there is no {MESH} of revision \"{}\" in namespace \"{}\"",
                    shown(plane.revision),
                    plane.namespace
                ),
            );
            if known.is_empty() {
                error.remedy("install it (operation install)")
            } else {
                error.remedy(format!("name one that is there: {}", known.join("; ")))
            }
        })
}

/// Who has made the installation that a request is about; "" when there is none.
pub fn maker_there(request: &PlanRequest) -> Result<String, PluginError> {
    let plane = plane(request)?;
    let installations = detect::installations(&request.facts)?;
    let of_plane =
        |found: &Installation| found.namespace == plane.namespace && detect::is_of(found, plane.revision);
    let there = installations.into_iter().find(of_plane);
    Ok(there.map(|found| found.installed_by).unwrap_or_default())
}

/// The releases that this control plane and its gateways consist of.
pub fn releases(facts: &Facts, plane: Plane<'_>) -> Vec<PartRelease> {
    of_istio(facts)
        .into_iter()
        .filter(|release| match release.part {
            Part::Istiod => release.id.namespace == plane.namespace && release.id.name == plane.istiod(),
            Part::Gateway => {
                detect::gateway_revision(facts, &release.id.namespace, &release.id.name)
                    == shown(plane.revision)
            }
            _ => release.id.namespace == plane.namespace,
        })
        .collect()
}

/// An error when the control plane is of no release, and so nothing can be upgraded.
pub fn of_release(
    installed: &Installation,
    releases: &[PartRelease],
    plane: Plane<'_>,
) -> Result<(), PluginError> {
    if releases.iter().any(|release| release.part == Part::Istiod) {
        return Ok(());
    }
    Err(PluginError::new(
        "istio-of-no-release",
        format!(
            "{MESH} in namespace \"{}\" is of no Helm release \"{}\"",
            plane.namespace,
            plane.istiod()
        ),
    )
    .cause(format!("it was installed by: {}", installed.installed_by))
    .remedy("upgrade it with what installed it, or take it over first: operation install with adopt"))
}

/// The charts of an upgrade, by what there is.
pub fn charts(releases: &[PartRelease], with_gateways: bool) -> Vec<&'static str> {
    let has = |part: Part| releases.iter().any(|release| release.part == part);
    let mut charts = vec!["base", "istiod"];
    charts.extend(has(Part::Cni).then_some("cni"));
    charts.extend(has(Part::Ztunnel).then_some("ztunnel"));
    charts.extend((with_gateways && has(Part::Gateway)).then_some("gateway"));
    charts
}

/// The version that a request is about.
fn chosen(request: &PlanRequest, releases: &[PartRelease]) -> Result<Chosen, PluginError> {
    let charts = charts(releases, parameter::flag(request, "gateways", true)?);
    let version = parameter::text(request, "version", "")?;
    versions::CATALOGUE.choose(version, &charts, &request.facts)
}

pub fn plan(request: &PlanRequest) -> Result<Plan, PluginError> {
    let facts = &request.facts;
    let plane = plane(request)?;
    detect::demand_whole(facts)?;
    let installed = installed(facts, plane)?;
    let releases = releases(facts, plane);
    let has = |part: Part| releases.iter().any(|release| release.part == part);
    of_release(&installed, &releases, plane)?;
    let gateways: Vec<&PartRelease> = releases
        .iter()
        .filter(|release| release.part == Part::Gateway)
        .collect();
    let with_gateways = parameter::flag(request, "gateways", true)? && !gateways.is_empty();
    let values = VALUES.read(request)?;
    let parts = Parts {
        facts,
        chosen: chosen(request, &releases)?,
        profile: Profile::of("default"),
        plane,
        is_default: plane.revision.is_empty(),
        webhooks: Webhooks::of(facts, &values, &[plane]),
        platform: None,
        values,
        images: &request.images,
        deadline_s: deadline(request)?,
        keep_values: true,
    };
    let mut steps: Vec<Step> = parts.pod_is_taken().into_iter().collect();
    steps.extend([parts.base()?, parts.istiod()?, parts.ready()]);
    if has(Part::Cni) {
        steps.push(parts.cni()?);
    }
    if has(Part::Ztunnel) {
        steps.push(parts.ztunnel()?);
    }
    if has(Part::Cni) || has(Part::Ztunnel) {
        steps.push(parts.nodes_ready(has(Part::Ztunnel)));
    }
    let mut verify = Vec::new();
    if with_gateways {
        for (at, release) in gateways.iter().enumerate() {
            let id = if at == 0 {
                "gateway".to_owned()
            } else {
                format!("gateway-{}", at + 1)
            };
            let gateway = Gateway {
                id: &id,
                title: "gateway",
                name: &release.id.name,
                namespace: &release.id.namespace,
                // What it has stays.
                service_type: SERVICE_TYPES[0],
                wait_for_address: false,
            };
            steps.push(parts.gateway(&gateway)?);
            verify.push(parts.gateway_ready(&gateway));
        }
    }
    verify.extend(parts.injects());
    verify.push(proof::validation_works(plane.namespace, parts.deadline_s));
    let mut notes = notes(
        facts,
        plane,
        &parts.chosen.version,
        !with_gateways && !gateways.is_empty(),
    );
    if has(Part::Ztunnel) {
        notes.push(
            "The nodes' proxies are made anew, node by node: connections through them that last longer than their grace period end."
                .into(),
        );
    }
    Ok(crate::plan(
        format!(
            "Upgrade {MESH} {} to {} in namespace {}",
            installed.version, parts.chosen.version, plane.namespace
        ),
        steps,
        verify,
        notes,
    ))
}

fn notes(facts: &Facts, plane: Plane<'_>, to: &Version, gateways_stay: bool) -> Vec<String> {
    let mut notes = vec!["Values that were set when it was installed stay.".to_owned()];
    for (version, namespaces) in proxies::versions(facts, shown(plane.revision)) {
        if version != *to {
            notes.push(format!(
                "Proxies of version {version} ({}) stay until their workloads are restarted.",
                proxies::counted(&namespaces)
            ));
        }
    }
    if gateways_stay {
        notes.push("The gateways keep their version (parameter gateways).".into());
    }
    notes
}

pub fn check(request: &PlanRequest) -> Result<Vec<Finding>, PluginError> {
    let facts = &request.facts;
    let plane = plane(request)?;
    let installed = installed(facts, plane)?;
    let (there, releases) = (detect::installations(facts)?, releases(facts, plane));
    let chosen = chosen(request, &releases)?;
    let mut findings = checked(request, &installed, &chosen, IN_PLACE)?;
    let revision = shown(plane.revision);
    findings.extend(too_old(
        &proxies::versions(facts, revision),
        revision,
        &chosen.version,
    ));
    let seen = nodes::Seen::new(facts, &there, &releases);
    findings.extend(seen.in_place(plane, &chosen.version));
    findings.extend(elsewhere(facts, plane));
    if releases.iter().any(|release| release.part == Part::Ztunnel) {
        findings.extend(ambient::interrupted_connections(facts));
    }
    findings.extend(proof::refused(facts, plane));
    let with_gateways = parameter::flag(request, "gateways", true)?;
    findings.extend(carried(request, &releases, with_gateways)?);
    Ok(findings)
}

/// What goes along with the control plane may be somebody else's where that is not.
pub fn carried(
    request: &PlanRequest,
    releases: &[PartRelease],
    with_gateways: bool,
) -> Result<Vec<Finding>, PluginError> {
    let mut findings = Vec::new();
    for release in goes_along(releases).filter(|release| with_gateways || release.part != Part::Gateway) {
        findings.extend(adoption::changed(request, &release.id)?);
    }
    Ok(findings)
}

/// The releases beside that of the control plane, about which the installation says whose it is.
pub fn goes_along(releases: &[PartRelease]) -> impl Iterator<Item = &PartRelease> {
    releases.iter().filter(|release| release.part != Part::Istiod)
}

/// What the nodes have in another namespace is not upgraded with the control plane.
fn elsewhere(facts: &Facts, plane: Plane<'_>) -> Vec<Finding> {
    let of_nodes = |release: &PartRelease| {
        matches!(release.part, Part::Cni | Part::Ztunnel) && release.id.namespace != plane.namespace
    };
    let of_nodes = of_istio(facts).into_iter().filter(of_nodes);
    of_nodes
        .map(|release| {
            Finding::warning(
                "istio-part-elsewhere",
                format!(
                    "release {}/{} is not in the control plane's namespace, and keeps its version",
                    release.id.namespace, release.id.name
                ),
            )
            .remedy("upgrade it with helm, right after the control plane")
        })
        .collect()
}

/// What is to be said about bringing an installation to a version, this many minor versions up at most.
pub fn checked(
    request: &PlanRequest,
    installed: &Installation,
    chosen: &Chosen,
    most: u64,
) -> Result<Vec<Finding>, PluginError> {
    let facts = &request.facts;
    let mut findings = meshery_mesh_kit::readable::gaps(facts);
    let mesh = format!("{MESH} {}", chosen.version);
    findings.extend(meshery_mesh_kit::skew::outside(
        &mesh,
        &chosen.kubernetes,
        &facts.cluster.version,
    ));
    findings.extend(versions::CATALOGUE.ended(&chosen.version, &facts.now));
    findings.extend(authority::of(facts, &installed.namespace));
    match Version::parse(&installed.version) {
        Ok(from) => findings.push(skew::between(&from, &chosen.version, most)),
        Err(_) => findings.push(
            Finding::error(
                "istio-version-unknown",
                "which version is there cannot be told: neither istiod's image nor its chart says",
            )
            .remedy("install the version that is wanted (operation install)"),
        ),
    }
    if installed.health != Health::Healthy {
        findings.push(
            Finding::warning(
                "istio-unhealthy",
                format!(
                    "{MESH} in namespace \"{}\" is not healthy as it is",
                    installed.namespace
                ),
            )
            .remedy("mend that first: `mesheryctl mesh detect istio` says what is wrong"),
        );
    }
    findings.extend(crate::room::of_control_plane(request, &installed.namespace));
    findings.extend(crate::check::webhooks_of_others(facts));
    findings.extend(crate::check::of_others(request, installed)?);
    findings.extend(crate::maker::of_operator(installed));
    Ok(findings)
}

/// Proxies of a revision that the new control plane would not support.
pub fn too_old(
    proxies: &BTreeMap<Version, BTreeMap<String, usize>>,
    revision: &str,
    to: &Version,
) -> Vec<Finding> {
    proxies
        .iter()
        .filter(|(version, _)| skew::unsupported(version, to))
        .map(|(version, namespaces)| {
            Finding::error(
                "proxies-unsupported",
                format!(
                    "proxies of version {version} ({}) would be served by a control plane of {to}, \
                     which supports its own minor version and the one before",
                    proxies::counted(namespaces)
                ),
            )
            .remedy(format!(
                "restart their workloads first, so that they get the version of revision \
                 {revision} as it is now"
            ))
        })
        .collect()
}
