//! The certificates of the injector and the validators. The chart makes each anew when it is installed or upgraded, signed by
//! itself and valid for a year, and nobody renews it in between: a year later pods get no proxy, and nothing else shows why.
//!
//! Both sides are looked at, what the server trusts (`caBundle`) and what is served (a Secret), as others may make them.

use std::collections::BTreeMap;

use meshery_mesh_kit::expiry::{Expiry, Said};
use meshery_mesh_kit::need;
use meshery_mesh_kit::object::{label, name, namespace};
use meshery_mesh_kit::webhook;
use meshery_plugin_api::message::facts::{Detail, Facts, Need};
use meshery_plugin_api::message::finding::{Finding, Severity};
use serde_json::Value;

use crate::control_plane::{CONTROL_PLANE_NS, INJECTOR, VALIDATORS, WEBHOOKS, webhook as webhook_ref};

const KINDS: [&str; 2] = ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"];

/// The Secret with what the webhook of a configuration serves.
fn secret_of(configuration: &str) -> String {
    let webhook = configuration
        .strip_suffix("-webhook-config")
        .unwrap_or(configuration);
    format!("{webhook}-k8s-tls")
}

/// The Secrets, wherever the control plane is.
pub fn needs() -> [Need; 3] {
    [INJECTOR, VALIDATORS[0], VALIDATORS[1]]
        .map(|of| need::one("", "", "Secret", &secret_of(of), Detail::Full))
}

/// What is said of a webhook configuration whose certificate ends soon, or has ended.
pub fn of(facts: &Facts, configuration: &Value) -> Option<Finding> {
    let of_name = name(configuration);
    let secret_name = secret_of(of_name);
    let served = facts.objects("", "Secret").find(|secret| {
        name(secret) == secret_name && label(configuration, CONTROL_PLANE_NS) == Some(namespace(secret))
    });
    let served = served.and_then(|secret| Expiry::of_secret(secret, &["tls.crt"], &facts.now));
    let trusted = Expiry::of_webhooks(configuration, &facts.now);
    let passes = !webhook::read(configuration).failing_open.is_empty();
    let (kind, consequence) = match (of_name == INJECTOR, passes) {
        (true, true) => (KINDS[0], "new pods get no proxy"),
        (true, false) => (KINDS[0], "new pods that ask for a proxy are refused"),
        (false, true) => (KINDS[1], "the configuration that it checks passes unchecked"),
        (false, false) => (KINDS[1], "the configuration that it checks is refused"),
    };
    let said = Said {
        word: "linkerd-webhook",
        what: &format!("the certificate of {of_name}"),
        consequence,
        remedy: "upgrade, or install the same version again: the chart makes it anew; what comes from elsewhere \
                 (externalSecret, caBundle) is renewed there",
        object: webhook_ref(kind, of_name),
    };
    Some(Expiry::first(served.into_iter().chain(trusted))?.finding(&said))
}

/// The same before an operation that makes them anew: it is no reason against it.
pub fn renewed(facts: &Facts) -> Vec<Finding> {
    // Each once, whichever needs asked for it.
    let mut configurations = BTreeMap::new();
    for object in KINDS.iter().flat_map(|kind| facts.objects(WEBHOOKS, kind)) {
        if name(object) == INJECTOR || VALIDATORS.contains(&name(object)) {
            configurations.insert(name(object), object);
        }
    }
    let found = configurations.values().filter_map(|object| of(facts, object));
    found
        .map(|found| Finding {
            severity: Severity::Info,
            remedy: "go on: the chart makes it anew, unless it comes from elsewhere".into(),
            ..found
        })
        .collect()
}
