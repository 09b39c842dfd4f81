//! What Linkerd calls the parts of its control plane.

use meshery_mesh_kit::step::holds;
use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_plugin_api::message::plan::{Readiness, Rule};

/// Where Linkerd lives unless somebody wants it elsewhere.
pub const NAMESPACE: &str = "linkerd";
/// Chart and release of the definitions.
pub const CRDS: &str = "linkerd-crds";
/// Chart and release of the control plane.
pub const CONTROL_PLANE: &str = "linkerd-control-plane";
/// Chart of the CNI plugin.
pub const CNI_CHART: &str = "linkerd2-cni";
/// Release, namespace and `DaemonSet` of the CNI plugin.
pub const CNI: &str = "linkerd-cni";
/// The control plane's Deployments.
pub const DEPLOYMENTS: [&str; 3] = [
    "linkerd-identity",
    "linkerd-destination",
    "linkerd-proxy-injector",
];
/// ConfigMap with the trust anchors.
pub const TRUST_ROOTS: &str = "linkerd-identity-trust-roots";
/// Its key.
pub const BUNDLE: &str = "ca-bundle.crt";
/// Secret with the issuer's certificate and key.
pub const ISSUER: &str = "linkerd-identity-issuer";
/// ConfigMap with the values that the control plane was installed with.
pub const CONFIG: &str = "linkerd-config";
/// Label of everything that the charts make, with the control plane's namespace; of pods with a proxy too.
pub const CONTROL_PLANE_NS: &str = "linkerd.io/control-plane-ns";
/// Annotation of namespaces and pods that says whether they get a proxy.
pub const INJECT: &str = "linkerd.io/inject";
/// Annotation of pods that have a proxy, with its version.
pub const PROXY_VERSION: &str = "linkerd.io/proxy-version";
/// Annotation of pods that have a proxy, with the digest of the trust anchors that they were given.
pub const TRUST_ROOT: &str = "linkerd.io/trust-root-sha256";
/// Annotation of namespaces and pods with what their proxies let in where no policy says it.
pub const INBOUND_POLICY: &str = "config.linkerd.io/default-inbound-policy";
/// Annotation that says what made an object: `linkerd/helm VERSION` or `linkerd/cli VERSION`.
pub const CREATED_BY: &str = "linkerd.io/created-by";
/// Label of namespaces whose pods no webhook of Linkerd's sees.
pub const WEBHOOKS_DISABLED: &str = "config.linkerd.io/admission-webhooks";
/// API group of webhook configurations.
pub const WEBHOOKS: &str = "admissionregistration.k8s.io";
/// The injector's configuration; the name is the same in every cluster, so there is one Linkerd in each.
pub const INJECTOR: &str = "linkerd-proxy-injector-webhook-config";
/// The validators' configurations.
pub const VALIDATORS: [&str; 2] = [
    "linkerd-sp-validator-webhook-config",
    "linkerd-policy-validator-webhook-config",
];

/// A webhook configuration.
pub fn webhook(kind: &str, name: &str) -> ObjectRef {
    ObjectRef::new("admissionregistration.k8s.io/v1", kind, "", name)
}

/// A Deployment.
pub fn deployment(namespace: &str, name: &str) -> ObjectRef {
    ObjectRef::new("apps/v1", "Deployment", namespace, name)
}

/// What holds when the control plane works.
pub fn ready(namespace: &str) -> Vec<Readiness> {
    let mut conditions: Vec<Readiness> = DEPLOYMENTS
        .iter()
        .map(|name| holds(Rule::Ready, deployment(namespace, name)))
        .collect();
    conditions.push(holds(
        Rule::Serving,
        webhook("MutatingWebhookConfiguration", INJECTOR),
    ));
    conditions
        .extend(VALIDATORS.map(|name| holds(Rule::Serving, webhook("ValidatingWebhookConfiguration", name))));
    conditions
}
