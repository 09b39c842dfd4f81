//! The parts of Istio: each as the step that installs it, and what must hold then.
//!
//! Installing and upgrading differ in which parts they take and whether values that are there stay; how a part is
//! installed is the same.

use meshery_mesh_kit::catalogue::Chosen;
use meshery_mesh_kit::step::{holds, keeping_values, release, wait};
use meshery_mesh_kit::values::Values;
use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::facts::Facts;
use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_plugin_api::message::plan::{Images, Readiness, Rule, Step};
use serde_json::{Map, Value, json};

use crate::control_plane::{BASE, CNI, CNI_NODE, NAMESPACE, Plane, ZTUNNEL, daemon_set, default_validator};
use crate::gateway_workload;
use crate::nodes;
use crate::plane_values::Webhooks;
use crate::profile::Profile;
use crate::proof;
use crate::releases::{self, Part};

use crate::versions;

/// The first is the chart's own.
pub const SERVICE_TYPES: [&str; 3] = ["LoadBalancer", "ClusterIP", "NodePort"];

/// What the parts have in common.
pub struct Parts<'a> {
    /// What is there before.
    pub facts: &'a Facts,
    pub chosen: Chosen,
    pub profile: Profile,
    pub plane: Plane<'a>,
    /// Whether the validator that `base` brings calls this control plane.
    pub is_default: bool,
    /// Which webhooks the control plane has.
    pub webhooks: Webhooks,
    pub platform: Option<&'static str>,
    pub values: Values<'a>,
    pub images: &'a Images,
    pub deadline_s: u32,
    /// Values that releases have stay, where the step says nothing else.
    pub keep_values: bool,
}

/// A gateway.
#[derive(Debug, Clone, Copy)]
pub struct Gateway<'a> {
    /// Name of the step.
    pub id: &'a str,
    pub title: &'a str,
    /// Of release, Deployment and Service.
    pub name: &'a str,
    pub namespace: &'a str,
    pub service_type: &'a str,
    pub wait_for_address: bool,
}

impl Parts<'_> {
    /// Whether nodes redirect the traffic of pods.
    pub fn has_cni(&self) -> bool {
        self.profile.has_cni(self.platform)
    }

    /// The name of a part's release: whoever has installed it may have given it another than the usual one.
    fn named(&self, part: Part, usual: &str) -> String {
        releases::named(self.facts, self.plane.namespace, part, usual)
    }

    fn release(
        &self,
        id: &str,
        title: &str,
        name: (&str, &str),
        chart: &str,
        values: Value,
    ) -> Result<Step, PluginError> {
        let values = self.values.over(chart, values);
        let step = release(id, title, name, self.chosen.chart(chart)?, values);
        Ok(if self.keep_values {
            keeping_values(step)
        } else {
            step
        })
    }

    /// The definitions.
    pub fn base(&self) -> Result<Step, PluginError> {
        let mut values = self.global(false);
        if self.is_default && !self.plane.revision.is_empty() {
            values["defaultRevision"] = self.plane.revision.into();
        }
        let name = self.named(Part::Base, BASE);
        let step = self.release(
            "base",
            "custom resource definitions",
            (self.plane.namespace, &name),
            "base",
            values,
        )?;
        // Which control plane its validator calls is not a newcomer's to change.
        Ok(if self.is_default {
            step
        } else {
            keeping_values(step)
        })
    }

    /// The control plane.
    pub fn istiod(&self) -> Result<Step, PluginError> {
        let mut values = self.global(true);
        self.profiled(&mut values);
        if self.profile.ambient && self.platform == Some("openshift") {
            // The charts expect the nodes' proxies in another namespace there, and trust none in this one.
            values["trustedZtunnelNamespace"] = self.plane.namespace.into();
        }
        let name = self.plane.istiod();
        self.release(
            "istiod",
            "control plane",
            (self.plane.namespace, &name),
            "istiod",
            values,
        )
    }

    /// The plugin that redirects the traffic of pods on each node.
    pub fn cni(&self) -> Result<Step, PluginError> {
        let mut values = json!({});
        self.profiled(&mut values);
        if let Some(platform) = self.platform {
            values["global"]["platform"] = platform.into();
        }
        let name = self.named(Part::Cni, CNI);
        self.release("cni", "CNI plugin", (self.plane.namespace, &name), "cni", values)
    }

    /// The proxy of each node.
    pub fn ztunnel(&self) -> Result<Step, PluginError> {
        let mut values = json!({});
        if !self.plane.revision.is_empty() {
            values["revision"] = self.plane.revision.into();
        }
        if self.plane.namespace != NAMESPACE {
            values["istioNamespace"] = self.plane.namespace.into();
        }
        if let Some(platform) = self.platform {
            values["global"]["platform"] = platform.into();
        }
        let name = self.named(Part::Ztunnel, ZTUNNEL);
        self.release(
            "ztunnel",
            "proxy of each node",
            (self.plane.namespace, &name),
            "ztunnel",
            values,
        )
    }

    /// A gateway, once the injector serves: its pods have no image of their own until they were injected.
    pub fn gateway(&self, gateway: &Gateway<'_>) -> Result<Step, PluginError> {
        let mut values = json!({});
        if gateway.service_type != SERVICE_TYPES[0] {
            values["service"]["type"] = gateway.service_type.into();
        }
        if !self.plane.revision.is_empty() {
            values["revision"] = self.plane.revision.into();
        }
        let name = (gateway.namespace, gateway.name);
        self.release(gateway.id, gateway.title, name, "gateway", values)
    }

    /// Charts know the control plane's namespace by a value, unless it is the usual one; and where sidecars, which
    /// istiod puts into pods later, come from.
    fn global(&self, of_istiod: bool) -> Value {
        let mut global = Map::new();
        if self.plane.namespace != NAMESPACE {
            global.insert("istioNamespace".into(), self.plane.namespace.into());
        }
        if of_istiod {
            if let Some(platform) = self.platform {
                global.insert("platform".into(), platform.into());
            }
            if !self.images.registry.is_empty() {
                let hub = format!("{}/{}", self.images.registry, versions::hub(&self.chosen.version));
                global.insert("hub".into(), hub.into());
            }
            if !self.images.pull_secrets.is_empty() {
                global.insert("imagePullSecrets".into(), self.images.pull_secrets.clone().into());
            }
        }
        if global.is_empty() {
            json!({})
        } else {
            json!({"global": global})
        }
    }

    fn profiled(&self, values: &mut Value) {
        if let Some(profile) = self.profile.of_charts {
            values["profile"] = profile.into();
        }
        if !self.plane.revision.is_empty() {
            values["revision"] = self.plane.revision.into();
        }
    }

    /// The control plane works.
    pub fn ready(&self) -> Step {
        wait(
            "istiod-ready",
            "istiod runs, injects and validates",
            self.deadline_s,
            self.plane_works(),
        )
    }

    /// The proof that it injects, unless it has no injector.
    pub fn injects(&self) -> Option<Step> {
        let injector = self.webhooks.injector;
        injector.then(|| proof::injection_works(self.facts, self.plane, self.images, self.deadline_s))
    }

    /// Before anything is changed: nothing refuses the pod by which that is proved in the end.
    pub fn pod_is_taken(&self) -> Option<Step> {
        let injector = self.webhooks.injector;
        injector.then(|| proof::pod_is_taken(self.facts, self.plane, self.images))
    }

    /// Every node is in the mesh, perhaps with a proxy of its own.
    pub fn nodes_ready(&self, with_proxies: bool) -> Step {
        let in_namespace = self.plane.namespace;
        let (title, proxies) = if with_proxies {
            let given = self
                .values
                .get("ztunnel", "/resourceName")
                .and_then(Value::as_str);
            let there = nodes::ztunnel(self.facts, in_namespace).filter(|_| self.keep_values);
            let name = given.or(there).unwrap_or(ZTUNNEL);
            ("every node redirects and has its proxy", Some(name))
        } else {
            ("every node redirects", None)
        };
        let daemons = [CNI_NODE].into_iter().chain(proxies);
        let daemons = daemons.map(|name| holds(Rule::Ready, daemon_set(in_namespace, name)));
        wait("nodes-ready", title, self.deadline_s, daemons.collect())
    }

    /// A gateway works.
    pub fn gateway_ready(&self, gateway: &Gateway<'_>) -> Step {
        let applied = gateway_workload::applied(self.facts, &self.values, self.keep_values, gateway);
        let mut conditions = vec![holds(Rule::Ready, applied.workload)];
        if let Some(service) = applied.service {
            conditions.push(holds(Rule::Endpoints, service.clone()));
            conditions.extend(gateway.wait_for_address.then(|| holds(Rule::Address, service)));
        }
        wait(
            &format!("{}-ready", gateway.id),
            format!("{} runs", gateway.title),
            self.deadline_s,
            conditions,
        )
    }

    /// What holds when the control plane works.
    fn plane_works(&self) -> Vec<Readiness> {
        let mut conditions = vec![holds(Rule::Ready, self.plane.deployment())];
        if self.webhooks.injector {
            conditions.push(holds(Rule::Serving, self.plane.injector()));
        }
        let own = self.webhooks.validator.then(|| self.plane.validator());
        let default = self.is_default.then(default_validator);
        let validators = own.into_iter().chain(default);
        conditions.extend(validators.flat_map(validates));
        conditions
    }
}

/// istiod lets everything pass until it can validate, then it closes the door itself.
pub fn validates(validator: ObjectRef) -> [Readiness; 2] {
    [
        holds(Rule::Serving, validator.clone()),
        holds(Rule::FailsClosed, validator),
    ]
}
