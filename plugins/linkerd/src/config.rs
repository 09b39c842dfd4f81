//! What a control plane's chart has written down of its values: which options it has, without asking Helm.

use meshery_mesh_kit::need;
use meshery_mesh_kit::object::{name, namespace, text};
use meshery_plugin_api::message::facts::{Detail, Facts, Need};
use serde_json::Value;

use crate::control_plane::CONFIG;

/// Where the domain is not known.
const USUAL_DOMAIN: &str = "cluster.local";

/// It, in a namespace, or in all ("").
pub fn need(in_namespace: &str) -> Need {
    need::one(in_namespace, "", "ConfigMap", CONFIG, Detail::Full)
}

/// The object.
pub fn find<'a>(facts: &'a Facts, in_namespace: &str) -> Option<&'a Value> {
    facts
        .objects("", "ConfigMap")
        .find(|object| name(object) == CONFIG && namespace(object) == in_namespace)
}

fn lines<'a>(facts: &'a Facts, in_namespace: &str) -> impl Iterator<Item = &'a str> {
    let values = find(facts, in_namespace).map_or("", |object| text(object, "/data/values"));
    values.lines().map(str::trim_end)
}

/// Whether a control plane has an option, as a line of YAML.
pub fn has(facts: &Facts, in_namespace: &str, option: &str) -> bool {
    lines(facts, in_namespace).any(|line| line == option)
}

/// One of the options that are a line of their own; nothing where it is not set.
pub fn value<'a>(facts: &'a Facts, in_namespace: &str, key: &str) -> Option<&'a str> {
    lines(facts, in_namespace)
        .filter_map(|line| line.strip_prefix(key)?.strip_prefix(": "))
        .map(|value| value.trim_matches(['"', '\'']))
        .find(|value| !value.is_empty())
}

/// The domain that identities end in: that of the cluster, unless it was set apart from that.
pub fn trust_domain<'a>(facts: &'a Facts, in_namespace: &str) -> &'a str {
    let value = |key: &str| value(facts, in_namespace, key);
    value("identityTrustDomain")
        .or_else(|| value("clusterDomain"))
        .unwrap_or(USUAL_DOMAIN)
}
