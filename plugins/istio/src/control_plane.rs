//! What Istio calls the parts of its control plane.

use meshery_mesh_kit::object::{label, text};
use meshery_plugin_api::message::object_ref::ObjectRef;
use serde_json::Value;

/// Where Istio lives unless somebody wants it elsewhere.
pub const NAMESPACE: &str = "istio-system";
/// Where the ingress gateway lives unless somebody wants it elsewhere.
pub const GATEWAY_NAMESPACE: &str = "istio-ingress";
/// Release of the definitions.
pub const BASE: &str = "istio-base";
/// Release and Deployment of the control plane's default revision.
pub const ISTIOD: &str = "istiod";
/// Release, Deployment and Service of the ingress gateway.
pub const GATEWAY: &str = "istio-ingressgateway";
/// Where the egress gateway lives unless somebody wants it elsewhere.
pub const EGRESS_NAMESPACE: &str = "istio-egress";
/// Release, Deployment and Service of the egress gateway.
pub const EGRESS_GATEWAY: &str = "istio-egressgateway";
/// Release of the CNI plugin.
pub const CNI: &str = "istio-cni";
/// DaemonSet of the CNI plugin.
pub const CNI_NODE: &str = "istio-cni-node";
/// Release and DaemonSet of the nodes' proxies.
pub const ZTUNNEL: &str = "ztunnel";
/// The validator that `base` brings.
pub const DEFAULT_VALIDATOR: &str = "istiod-default-validator";
/// The revision of an installation that names none.
pub const DEFAULT_REVISION: &str = "default";
/// Label of namespaces that the default revision injects.
pub const INJECTION_LABEL: &str = "istio-injection";
/// Label of namespaces and control planes with their revision.
pub const REVISION_LABEL: &str = "istio.io/rev";
/// Label of what is made for a Gateway of the Gateway API, with the name of that.
pub const MADE_GATEWAY: &str = "gateway.networking.k8s.io/gateway-name";
/// Label of Deployments that istiod has made for one, or for a waypoint.
pub const MADE_BY_ISTIOD: &str = "gateway.istio.io/managed";
/// API group of webhook configurations.
pub const WEBHOOKS: &str = "admissionregistration.k8s.io";

/// A control plane: its namespace and its revision, "" for the default one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plane<'a> {
    pub namespace: &'a str,
    pub revision: &'a str,
}

impl Plane<'_> {
    /// Its release, Deployment and Service.
    pub fn istiod(self) -> String {
        self.named(ISTIOD)
    }

    fn named(self, name: &str) -> String {
        match self.revision {
            "" => name.to_owned(),
            revision => format!("{name}-{revision}"),
        }
    }

    /// Its Deployment.
    pub fn deployment(self) -> ObjectRef {
        deployment(self.namespace, &self.istiod())
    }

    /// The injector's configuration. Outside the usual namespace its name has the namespace at its end.
    pub fn injector(self) -> ObjectRef {
        let mut name = self.named("istio-sidecar-injector");
        if self.namespace != NAMESPACE {
            name = format!("{name}-{}", self.namespace);
        }
        webhook("MutatingWebhookConfiguration", &name)
    }

    /// The injector's configuration under another name of it.
    pub fn tag(self, tag: &str) -> ObjectRef {
        let mut name = format!("istio-revision-tag-{tag}");
        if self.namespace != NAMESPACE {
            name = format!("{name}-{}", self.namespace);
        }
        webhook("MutatingWebhookConfiguration", &name)
    }

    /// The validator's configuration.
    pub fn validator(self) -> ObjectRef {
        let name = format!("{}-{}", self.named("istio-validator"), self.namespace);
        webhook("ValidatingWebhookConfiguration", &name)
    }
}

/// The validator's configuration that `base` brings, for the default revision.
pub fn default_validator() -> ObjectRef {
    webhook("ValidatingWebhookConfiguration", DEFAULT_VALIDATOR)
}

fn webhook(kind: &str, name: &str) -> ObjectRef {
    ObjectRef::new("admissionregistration.k8s.io/v1", kind, "", name)
}

/// A DaemonSet.
pub fn daemon_set(namespace: &str, name: &str) -> ObjectRef {
    ObjectRef::new("apps/v1", "DaemonSet", namespace, name)
}

/// A Deployment.
pub fn deployment(namespace: &str, name: &str) -> ObjectRef {
    ObjectRef::new("apps/v1", "Deployment", namespace, name)
}

/// A Service.
pub fn service(namespace: &str, name: &str) -> ObjectRef {
    ObjectRef::new("v1", "Service", namespace, name)
}

/// Whether a Deployment is a control plane.
pub fn is_istiod(deployment: &Value) -> bool {
    label(deployment, "app") == Some(ISTIOD)
}

/// The revision that an object of a control plane says it is of.
pub fn revision(object: &Value) -> &str {
    label(object, REVISION_LABEL).unwrap_or(DEFAULT_REVISION)
}

/// The revision whose injector a gateway's pods ask for, or by which istiod says that it has made them.
pub fn revision_of_pods(deployment: &Value) -> &str {
    ["labels", "annotations"]
        .iter()
        .map(|of| text(deployment, &format!("/spec/template/metadata/{of}/istio.io~1rev")))
        .find(|revision| !revision.is_empty())
        .unwrap_or(DEFAULT_REVISION)
}

/// A revision as objects show it: the default one has a name there.
pub fn shown(revision: &str) -> &str {
    if revision.is_empty() {
        DEFAULT_REVISION
    } else {
        revision
    }
}
