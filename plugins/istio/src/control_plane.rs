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
/// The validator that `base` brings.
pub const DEFAULT_VALIDATOR: &str = "istiod-default-validator";
/// The revision of an installation that names none.
pub const DEFAULT_REVISION: &str = "default";
/// Label of namespaces that the default revision injects.
pub const INJECTION_LABEL: &str = "istio-injection";
/// Label of namespaces and control planes with their revision.
pub const REVISION_LABEL: &str = "istio.io/rev";
/// API group of webhook configurations.
pub const WEBHOOKS: &str = "admissionregistration.k8s.io";

/// The injector's configuration. Outside the usual namespace its name has the namespace at its end.
pub fn injector(namespace: &str) -> ObjectRef {
    let name = if namespace == NAMESPACE {
        "istio-sidecar-injector".to_owned()
    } else {
        format!("istio-sidecar-injector-{namespace}")
    };
    ObjectRef::new(
        "admissionregistration.k8s.io/v1",
        "MutatingWebhookConfiguration",
        "",
        &name,
    )
}

/// The validators' configurations: istiod's own, and that of the default revision.
pub fn validators(namespace: &str) -> [ObjectRef; 2] {
    [
        format!("istio-validator-{namespace}"),
        DEFAULT_VALIDATOR.to_owned(),
    ]
    .map(|name| {
        ObjectRef::new(
            "admissionregistration.k8s.io/v1",
            "ValidatingWebhookConfiguration",
            "",
            &name,
        )
    })
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

/// The revision whose injector a gateway's pods ask for.
pub fn revision_of_pods(deployment: &Value) -> &str {
    match text(deployment, "/spec/template/metadata/labels/istio.io~1rev") {
        "" => DEFAULT_REVISION,
        revision => revision,
    }
}
