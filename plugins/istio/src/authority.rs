//! Certificates that istiod does not renew by itself: those of the authority that somebody has plugged in (Secret `cacerts`), and
//! the root that its webhooks are trusted by. The authority that istiod makes for itself it renews in time.

use meshery_mesh_kit::expiry::{Expiry, Said};
use meshery_mesh_kit::need;
use meshery_mesh_kit::object::{name, namespace};
use meshery_mesh_kit::webhook;
use meshery_plugin_api::message::facts::{Detail, Facts, Need};
use meshery_plugin_api::message::finding::Finding;
use meshery_plugin_api::message::object_ref::ObjectRef;
use serde_json::Value;

/// The Secret with a plugged-in authority, in the control plane's namespace.
const PLUGGED_IN: &str = "cacerts";
/// Under which names it has the authority's certificate and the root; cert-manager writes the last two.
const CERTIFICATES: [&str; 4] = ["ca-cert.pem", "root-cert.pem", "tls.crt", "ca.crt"];

/// It, in a namespace, or in all ("").
pub fn need(in_namespace: &str) -> Need {
    need::one(in_namespace, "", "Secret", PLUGGED_IN, Detail::Full)
}

/// What is said of a plugged-in authority that ends soon, or has ended.
pub fn of(facts: &Facts, in_namespace: &str) -> Option<Finding> {
    let secret = facts
        .objects("", "Secret")
        .find(|secret| name(secret) == PLUGGED_IN && namespace(secret) == in_namespace)?;
    let said = Said {
        word: "istio-ca",
        what: &format!("the certificate authority in Secret {in_namespace}/{PLUGGED_IN}"),
        consequence: "proxies get no certificate that others accept, and istiod does not start",
        remedy: "sign its certificate anew with the root that is there, put it into the Secret and restart istiod; another root has \
                 to be believed by everybody before it signs",
        object: ObjectRef::new("v1", "Secret", in_namespace, PLUGGED_IN),
    };
    Some(Expiry::of_secret(secret, &CERTIFICATES, &facts.now)?.finding(&said))
}

/// What is said of a webhook configuration whose CA bundle ends soon, or has ended.
pub fn of_webhooks(facts: &Facts, configuration: &Value, object: ObjectRef) -> Option<Finding> {
    let passes = !webhook::read(configuration).failing_open.is_empty();
    let consequence = match (object.kind.starts_with("Mutating"), passes) {
        (true, true) => "new pods get no sidecar",
        (true, false) => "new pods that ask for a sidecar are refused",
        (false, true) => "the configuration that it checks passes unchecked",
        (false, false) => "the configuration that it checks is refused",
    };
    let said = Said {
        word: "istio-webhook",
        what: &format!("the CA bundle of {}", name(configuration)),
        consequence,
        remedy: "istiod writes it from its own root: renew that where somebody has made it (Secret cacerts), restart istiod, and look \
                 at its log if the bundle stays",
        object,
    };
    Some(Expiry::of_webhooks(configuration, &facts.now)?.finding(&said))
}
