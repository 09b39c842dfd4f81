//! Installing Istio: definitions, control plane, what a profile adds, and gateways once the injector serves.

use meshery_mesh_kit::object::namespace as namespace_of;
use meshery_mesh_kit::ownership::ReleaseId;
use meshery_mesh_kit::step::apply;
use meshery_mesh_kit::{adoption, namespace, need, parameter, precheck, schema, skew, webhook};
use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::descriptor::{Category, Operation};
use meshery_plugin_api::message::facts::Facts;
use meshery_plugin_api::message::finding::Finding;
use meshery_plugin_api::message::plan::{Plan, PlanRequest, Step};
use serde_json::Value;

use crate::control_plane::{
    DEFAULT_REVISION, EGRESS_GATEWAY, EGRESS_NAMESPACE, GATEWAY, GATEWAY_NAMESPACE, NAMESPACE, Plane,
    is_istiod, revision, revision_of_pods, shown,
};
use crate::parts::{Gateway, Parts, SERVICE_TYPES};
use crate::plane_values::Webhooks;
use crate::profile::{self, NAMES, PLATFORMS, Profile};
use crate::releases::{Part, of_istio};
use crate::values::VALUES;
use crate::{MESH, authority, detect, gateway_workload, plane_values, proof, versions};

pub const DEADLINE_S: u64 = 300;
const LONGEST_DEADLINE_S: u64 = 3600;

pub fn operation() -> Operation {
    let mut needs = vec![
        need::namespace("{namespace}"),
        need::namespace("{gateway_namespace}"),
        need::namespace("{egress_namespace}"),
        proof::need(),
    ];
    needs.extend(detect::needs());
    needs.push(authority::need("{namespace}"));
    needs.push(plane_values::need("{namespace}"));
    needs.extend(webhook::needs());
    needs.extend(precheck::needs(&[
        "{namespace}",
        "{gateway_namespace}",
        "{egress_namespace}",
    ]));
    Operation {
        name: "install".into(),
        category: Category::Install,
        description: "Installs Istio: custom resource definitions, control plane, and what the profile adds: gateways, or \
                      the node's part of ambient mode"
            .into(),
        parameters: schema::object(
            [
                version_parameter(),
                (
                    "profile",
                    schema::choice(
                        "default: with ingress gateway; demo: with ingress and egress gateway, small, all traced; minimal: \
                         without gateways; ambient: without sidecars, with CNI plugin and a proxy for each node",
                        &NAMES,
                    ),
                ),
                revision_parameter("Revision of the control plane, to have several; the default one when empty"),
                (
                    "namespace",
                    schema::namespace("Namespace of the control plane", NAMESPACE),
                ),
                (
                    "gateway_namespace",
                    schema::namespace("Namespace of the ingress gateway", GATEWAY_NAMESPACE),
                ),
                (
                    "egress_namespace",
                    schema::namespace("Namespace of the egress gateway", EGRESS_NAMESPACE),
                ),
                (
                    "service_type",
                    schema::choice("Type of the ingress gateway's Service", &SERVICE_TYPES),
                ),
                (
                    "wait_for_address",
                    schema::flag("Wait until the ingress gateway's Service has an external address", false),
                ),
                platform_parameter(),
                VALUES.parameter(),
                adoption::parameter(),
                deadline_parameter(),
            ],
            &[],
        ),
        needs,
    }
}

pub fn version_parameter() -> (&'static str, Value) {
    let text = "Version of Istio, as in 1.30.2; the newest release when empty";
    ("version", schema::text(text))
}

pub fn revision_parameter(description: &str) -> (&'static str, Value) {
    ("revision", revision_schema(description))
}

pub fn revision_schema(description: &str) -> Value {
    let mut schema = schema::text(description);
    schema["pattern"] = "^([a-z]([-a-z0-9]*[a-z0-9])?)?$|^[0-9][-a-z0-9]*[a-z0-9]$".into();
    schema["maxLength"] = 40.into();
    schema
}

pub fn platform_parameter() -> (&'static str, Value) {
    let text = "Platform whose particulars the charts know; auto: by what the server says of itself";
    ("platform", schema::choice(text, &PLATFORMS))
}

pub fn deadline_parameter() -> (&'static str, Value) {
    let text = "Seconds that each wait may take; the host's own limit when 0";
    ("deadline", schema::count(text, DEADLINE_S, LONGEST_DEADLINE_S))
}

pub fn deadline(request: &PlanRequest) -> Result<u32, PluginError> {
    let deadline = parameter::count(request, "deadline", DEADLINE_S, LONGEST_DEADLINE_S)?;
    Ok(u32::try_from(deadline).unwrap_or(u32::MAX))
}

/// The revision of a request, "" for the default one, however that is said.
pub fn asked_revision(request: &PlanRequest) -> Result<&str, PluginError> {
    revision_named(request, "revision")
}

/// The same, of a parameter of another name.
pub fn revision_named<'a>(request: &'a PlanRequest, named: &str) -> Result<&'a str, PluginError> {
    let revision = parameter::text(request, named, "")?;
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    if revision == DEFAULT_REVISION {
        return Ok("");
    }
    if revision.len() > 40
        || !revision.bytes().all(plain)
        || revision.starts_with('-')
        || revision.ends_with('-')
    {
        return Err(PluginError::new(
            "bad-parameter",
            format!("parameter \"{named}\" is \"{revision}\", not the name of a revision"),
        )
        .cause("it becomes part of the names of objects")
        .remedy("use lower-case letters, digits and dashes, as in 1-30-3"));
    }
    Ok(revision)
}

/// A request, read.
struct Install<'a> {
    parts: Parts<'a>,
    gateways: Vec<Gateway<'a>>,
}

impl<'a> Install<'a> {
    fn read(request: &'a PlanRequest) -> Result<Self, PluginError> {
        let facts = &request.facts;
        let profile = Profile::of(parameter::choice(request, "profile", &NAMES)?);
        let mut gateways = Vec::new();
        let ingress = Gateway {
            id: "gateway",
            title: "ingress gateway",
            name: GATEWAY,
            namespace: parameter::namespace(request, "gateway_namespace", GATEWAY_NAMESPACE)?,
            service_type: parameter::choice(request, "service_type", &SERVICE_TYPES)?,
            wait_for_address: parameter::flag(request, "wait_for_address", false)?,
        };
        let egress = Gateway {
            id: "egress",
            title: "egress gateway",
            name: EGRESS_GATEWAY,
            namespace: parameter::namespace(request, "egress_namespace", EGRESS_NAMESPACE)?,
            // Nobody comes in through it.
            service_type: "ClusterIP",
            wait_for_address: false,
        };
        gateways.extend(profile.ingress.then_some(ingress));
        gateways.extend(profile.egress.then_some(egress));
        let version = parameter::text(request, "version", "")?;
        let platform = parameter::choice(request, "platform", &PLATFORMS)?;
        let plane = Plane {
            namespace: parameter::namespace(request, "namespace", NAMESPACE)?,
            revision: asked_revision(request)?,
        };
        // One that another revision has stays with it.
        gateways.retain(|gateway| !is_of_another(facts, gateway, plane));
        let platform = profile::platform(platform, facts);
        let values = VALUES.read(request)?;
        // What somebody has set stays when the same is installed again, to mend it say.
        let keep_values = is_there(facts, plane);
        let carried_on = [plane];
        let parts = Parts {
            facts,
            chosen: versions::CATALOGUE.choose(version, &profile.charts(platform), facts)?,
            profile,
            plane,
            is_default: is_default(facts, plane),
            webhooks: Webhooks::of(facts, &values, if keep_values { &carried_on } else { &[] }),
            platform,
            values,
            images: &request.images,
            deadline_s: deadline(request)?,
            keep_values,
        };
        Ok(Self { parts, gateways })
    }

    fn namespaces(&self) -> Vec<&str> {
        let mut namespaces = vec![self.parts.plane.namespace];
        namespaces.extend(self.gateways.iter().map(|gateway| gateway.namespace));
        namespaces
    }

    fn steps(&self, request: &PlanRequest) -> Result<Vec<Step>, PluginError> {
        let mut steps = Vec::new();
        let missing = namespace::missing(&request.facts, &self.namespaces());
        if !missing.is_empty() {
            steps.push(apply("namespaces", "namespaces", missing));
        }
        steps.extend(self.parts.pod_is_taken());
        steps.extend([self.parts.base()?, self.parts.istiod()?, self.parts.ready()]);
        if self.parts.has_cni() {
            steps.push(self.parts.cni()?);
            if self.parts.profile.ambient {
                steps.push(self.parts.ztunnel()?);
            }
            steps.push(self.parts.nodes_ready(self.parts.profile.ambient));
        }
        for gateway in &self.gateways {
            steps.push(self.parts.gateway(gateway)?);
        }
        Ok(steps)
    }

    fn verify(&self) -> Vec<Step> {
        let gateways = self.gateways.iter();
        let mut verify: Vec<Step> = gateways
            .map(|gateway| self.parts.gateway_ready(gateway))
            .collect();
        verify.extend(self.parts.injects());
        verify.push(proof::validation_works(
            self.parts.plane.namespace,
            self.parts.deadline_s,
        ));
        verify
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        notes.push(if self.parts.profile.ambient {
            "Pods are in the mesh, without a restart, once their namespace has the label istio.io/dataplane-mode=ambient \
             (operation inject, mode ambient)."
                .to_owned()
        } else {
            "Pods that run already get a sidecar only when their namespace is labelled (operation inject) and \
             they are restarted."
                .to_owned()
        });
        notes.push(
            "Istio marks its custom resource definitions to be kept: they stay when it is removed.".into(),
        );
        let chosen = &self.parts.chosen;
        notes.extend(chosen.note(&format!("{MESH} {}", chosen.version)));
        if let Some(platform) = self.parts.platform {
            notes.push(format!(
                "The charts are told that this is {platform} (parameter platform)."
            ));
            if self.parts.has_cni() && !self.parts.profile.ambient {
                notes.push(
                    "The CNI plugin comes with it: no pod may redirect its traffic by itself there.".into(),
                );
            }
        }
        if self
            .gateways
            .iter()
            .any(|gateway| gateway.service_type == SERVICE_TYPES[0] && !gateway.wait_for_address)
        {
            notes.push(
                "The gateway's Service asks for a load balancer; its address is not waited for.".into(),
            );
        }
        notes
    }
}

/// Whether there is a release of this control plane.
fn is_there(facts: &Facts, plane: Plane<'_>) -> bool {
    of_istio(facts).iter().any(|release| {
        release.part == Part::Istiod
            && release.id.namespace == plane.namespace
            && release.id.name == plane.istiod()
    })
}

/// Whether the validator of `base` is this control plane's: of the default revision, or of the only one there is.
fn is_default(facts: &Facts, plane: Plane<'_>) -> bool {
    plane.revision.is_empty()
        || !facts.objects("apps", "Deployment").any(|deployment| {
            is_istiod(deployment)
                && (namespace_of(deployment) != plane.namespace || revision(deployment) != plane.revision)
        })
}

/// Whether a gateway of this name is there and belongs to another control plane.
fn is_of_another(facts: &Facts, gateway: &Gateway<'_>, plane: Plane<'_>) -> bool {
    gateway_workload::there(facts, &ReleaseId::new(gateway.namespace, gateway.name))
        .is_some_and(|(_, workload)| revision_of_pods(workload) != shown(plane.revision))
}

/// What the plan of a request would install, for checks.
pub struct Wish<'a> {
    pub version: semver::Version,
    pub plane: Plane<'a>,
    /// Whether it puts a plugin into the nodes' network.
    pub cni: bool,
    /// Whether each node gets a proxy.
    pub ztunnel: bool,
    pub namespaces: Vec<String>,
    /// The gateways, by their releases.
    pub gateways: Vec<ReleaseId>,
    pub skew: Option<Finding>,
}

pub fn wish(request: &PlanRequest) -> Result<Wish<'_>, PluginError> {
    let install = Install::read(request)?;
    let namespaces = install.namespaces().into_iter().map(Into::into).collect();
    let of_gateway = |gateway: &Gateway<'_>| ReleaseId::new(gateway.namespace, gateway.name);
    let cni = install.parts.has_cni();
    let gateways = install.gateways.iter().map(of_gateway).collect();
    let chosen = install.parts.chosen;
    let mesh = format!("{MESH} {}", chosen.version);
    Ok(Wish {
        skew: skew::outside(&mesh, &chosen.kubernetes, &request.facts.cluster.version),
        namespaces,
        gateways,
        cni,
        ztunnel: install.parts.profile.ambient,
        plane: install.parts.plane,
        version: chosen.version,
    })
}

pub fn plan(request: &PlanRequest) -> Result<Plan, PluginError> {
    let install = Install::read(request)?;
    let parts = &install.parts;
    let of_revision = match parts.plane.revision {
        "" => String::new(),
        revision => format!(", revision {revision}"),
    };
    Ok(crate::plan(
        format!(
            "Install {MESH} {} (profile {}{of_revision}) in namespace {}",
            parts.chosen.version, parts.profile.name, parts.plane.namespace
        ),
        install.steps(request)?,
        install.verify(),
        install.notes(),
    ))
}
