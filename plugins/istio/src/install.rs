//! Installing Istio: definitions, control plane, and the gateway once the injector serves.

use meshery_mesh_kit::catalogue::Chosen;
use meshery_mesh_kit::step::{apply, holds, probe, release, wait};
use meshery_mesh_kit::{namespace, need, parameter, schema, skew};
use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::descriptor::{Category, Operation};
use meshery_plugin_api::message::finding::Finding;
use meshery_plugin_api::message::plan::{Action, Images, Plan, PlanRequest, Rule, Step};
use serde_json::{Map, Value, json};

use crate::control_plane::{
    BASE, GATEWAY, GATEWAY_NAMESPACE, ISTIOD, NAMESPACE, deployment, injector, service, validators,
};
use crate::{MESH, detect, versions};

const PROFILES: [&str; 2] = ["default", "minimal"];
/// The first is the chart's own.
const SERVICE_TYPES: [&str; 3] = ["LoadBalancer", "ClusterIP", "NodePort"];
const DEADLINE_S: u64 = 300;
const LONGEST_DEADLINE_S: u64 = 3600;

pub fn operation() -> Operation {
    let mut needs = vec![
        need::namespace("{namespace}"),
        need::namespace("{gateway_namespace}"),
    ];
    needs.extend(detect::needs());
    needs.push(detect::webhooks_of_all());
    Operation {
        name: "install".into(),
        category: Category::Install,
        description: "Installs Istio: custom resource definitions, control plane and, with profile default, \
                      an ingress gateway"
            .into(),
        parameters: schema::object(
            [
                (
                    "version",
                    schema::text("Version of Istio, as in 1.30.2; the newest release when empty"),
                ),
                (
                    "profile",
                    schema::choice("default: with ingress gateway; minimal: without", &PROFILES),
                ),
                (
                    "namespace",
                    schema::namespace("Namespace of the control plane", NAMESPACE),
                ),
                (
                    "gateway_namespace",
                    schema::namespace("Namespace of the ingress gateway", GATEWAY_NAMESPACE),
                ),
                (
                    "service_type",
                    schema::choice("Type of the gateway's Service", &SERVICE_TYPES),
                ),
                (
                    "wait_for_address",
                    schema::flag("Wait until the gateway's Service has an external address", false),
                ),
                (
                    "deadline",
                    schema::count(
                        "Seconds that each wait may take; the host's own limit when 0",
                        DEADLINE_S,
                        LONGEST_DEADLINE_S,
                    ),
                ),
            ],
            &[],
        ),
        needs,
    }
}

/// A request, read.
struct Install<'a> {
    chosen: Chosen,
    profile: &'a str,
    namespace: &'a str,
    gateway: Option<Gateway<'a>>,
    deadline_s: u32,
    images: &'a Images,
}

struct Gateway<'a> {
    namespace: &'a str,
    service_type: &'a str,
    wait_for_address: bool,
}

impl<'a> Install<'a> {
    fn read(request: &'a PlanRequest) -> Result<Self, PluginError> {
        let profile = parameter::choice(request, "profile", &PROFILES)?;
        let mut gateway = Some(Gateway {
            namespace: parameter::namespace(request, "gateway_namespace", GATEWAY_NAMESPACE)?,
            service_type: parameter::choice(request, "service_type", &SERVICE_TYPES)?,
            wait_for_address: parameter::flag(request, "wait_for_address", false)?,
        });
        let mut charts = vec!["base", "istiod", "gateway"];
        if profile == "minimal" {
            gateway = None;
            charts.pop();
        }
        let deadline = parameter::count(request, "deadline", DEADLINE_S, LONGEST_DEADLINE_S)?;
        let version = parameter::text(request, "version", "")?;
        Ok(Self {
            chosen: versions::CATALOGUE.choose(version, &charts, &request.facts.charts)?,
            profile,
            namespace: parameter::namespace(request, "namespace", NAMESPACE)?,
            gateway,
            deadline_s: u32::try_from(deadline).unwrap_or(u32::MAX),
            images: &request.images,
        })
    }

    /// Charts know the control plane's namespace by a value, unless it is the usual one; and where sidecars, which
    /// istiod puts into pods later, come from.
    fn values(&self) -> Value {
        let mut global = Map::new();
        if self.namespace != NAMESPACE {
            global.insert("istioNamespace".into(), self.namespace.into());
        }
        if !self.images.registry.is_empty() {
            let hub = format!("{}/{}", self.images.registry, versions::hub(&self.chosen.version));
            global.insert("hub".into(), hub.into());
        }
        if !self.images.pull_secrets.is_empty() {
            global.insert("imagePullSecrets".into(), self.images.pull_secrets.clone().into());
        }
        if global.is_empty() {
            json!({})
        } else {
            json!({"global": global})
        }
    }

    fn namespaces(&self) -> Vec<&str> {
        let mut namespaces = vec![self.namespace];
        namespaces.extend(self.gateway.as_ref().map(|gateway| gateway.namespace));
        namespaces
    }

    fn ready(&self) -> Step {
        let mut conditions = vec![
            holds(Rule::Ready, deployment(self.namespace, ISTIOD)),
            holds(Rule::Serving, injector(self.namespace)),
        ];
        for validator in validators(self.namespace) {
            // istiod lets everything pass until it can validate, then it closes the door itself.
            conditions.push(holds(Rule::Serving, validator.clone()));
            conditions.push(holds(Rule::FailsClosed, validator));
        }
        wait(
            "istiod-ready",
            "istiod runs, injects and validates",
            self.deadline_s,
            conditions,
        )
    }

    fn gateway_ready(&self, gateway: &Gateway<'_>) -> Step {
        let mut conditions = vec![
            holds(Rule::Ready, deployment(gateway.namespace, GATEWAY)),
            holds(Rule::Endpoints, service(gateway.namespace, GATEWAY)),
        ];
        if gateway.wait_for_address {
            conditions.push(holds(Rule::Address, service(gateway.namespace, GATEWAY)));
        }
        wait(
            "gateway-ready",
            "the ingress gateway runs",
            self.deadline_s,
            conditions,
        )
    }

    fn steps(&self, request: &PlanRequest) -> Result<Vec<Step>, PluginError> {
        let mut steps = Vec::new();
        let missing = namespace::missing(&request.facts, &self.namespaces());
        if !missing.is_empty() {
            steps.push(apply("namespaces", "namespaces", missing));
        }
        steps.push(release(
            "base",
            "custom resource definitions",
            (self.namespace, BASE),
            self.chosen.chart("base")?,
            self.values(),
        ));
        steps.push(release(
            "istiod",
            "control plane",
            (self.namespace, ISTIOD),
            self.chosen.chart("istiod")?,
            self.values(),
        ));
        // The gateway's pods have no image of their own until they were injected.
        steps.push(self.ready());
        if let Some(gateway) = &self.gateway {
            let values = if gateway.service_type == SERVICE_TYPES[0] {
                json!({})
            } else {
                json!({"service": {"type": gateway.service_type}})
            };
            steps.push(release(
                "gateway",
                "ingress gateway",
                (gateway.namespace, GATEWAY),
                self.chosen.chart("gateway")?,
                values,
            ));
        }
        Ok(steps)
    }

    fn verify(&self) -> Vec<Step> {
        let mut verify: Vec<Step> = self.gateway.iter().map(|g| self.gateway_ready(g)).collect();
        verify.push(injection_works(self.namespace));
        verify.push(validation_works(self.namespace));
        verify
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = vec![
            "Pods that run already get a sidecar only when their namespace is labelled (operation inject) and \
             they are restarted."
                .to_owned(),
            "Istio marks its custom resource definitions to be kept: they stay when it is removed.".into(),
        ];
        if !self.chosen.pinned {
            notes.push(format!(
                "{MESH} {} is known from the mirror only; which versions of Kubernetes it supports is not known.",
                self.chosen.version
            ));
        }
        match &self.gateway {
            Some(gateway) if gateway.service_type == SERVICE_TYPES[0] && !gateway.wait_for_address => {
                notes.push(
                    "The gateway's Service asks for a load balancer; its address is not waited for.".into(),
                );
            }
            _ => {}
        }
        notes
    }
}

/// What the plan of a request would install, for checks.
pub struct Wish {
    pub version: semver::Version,
    pub namespaces: Vec<String>,
    pub skew: Option<Finding>,
}

pub fn wish(request: &PlanRequest) -> Result<Wish, PluginError> {
    let install = Install::read(request)?;
    let mesh = format!("{MESH} {}", install.chosen.version);
    Ok(Wish {
        skew: skew::outside(&mesh, &install.chosen.kubernetes, &request.facts.cluster.version),
        namespaces: install.namespaces().into_iter().map(Into::into).collect(),
        version: install.chosen.version,
    })
}

pub fn plan(request: &PlanRequest) -> Result<Plan, PluginError> {
    let install = Install::read(request)?;
    Ok(crate::plan(
        format!(
            "Install {MESH} {} (profile {}) in namespace {}",
            install.chosen.version, install.profile, install.namespace
        ),
        install.steps(request)?,
        install.verify(),
        install.notes(),
    ))
}

/// A pod that asks for a sidecar gets one.
pub fn injection_works(namespace: &str) -> Step {
    let mut step = probe(
        "injection",
        "a pod that asks for a sidecar would get one",
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": "meshery-injection-probe",
                "namespace": namespace,
                "labels": {"sidecar.istio.io/inject": "true"},
            },
            "spec": {"containers": [{"name": "probe", "image": "probe"}]},
        }),
    );
    if let Action::Probe(probe) = &mut step.action {
        probe.expect.insert(
            "the mark of a sidecar".into(),
            "/metadata/annotations/sidecar.istio.io~1status".into(),
        );
    }
    step
}

/// A policy is taken: its definition is served, and the validator that must see it answers.
fn validation_works(namespace: &str) -> Step {
    probe(
        "validation",
        "a policy would pass the validator",
        json!({
            "apiVersion": "security.istio.io/v1",
            "kind": "PeerAuthentication",
            "metadata": {"name": "meshery-validation-probe", "namespace": namespace},
            "spec": {"mtls": {"mode": "PERMISSIVE"}},
        }),
    )
}
