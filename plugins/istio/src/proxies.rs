//! The proxies that run, pod by pod: which version, of which revision.

use std::collections::BTreeMap;

use meshery_mesh_kit::need;
use meshery_mesh_kit::object::{annotation, label, name, namespace, text};
use meshery_mesh_kit::workload::image_version;
use meshery_plugin_api::message::facts::{Detail, Facts, Need};
use semver::Version;
use serde_json::Value;

use crate::control_plane::{DEFAULT_REVISION, REVISION_LABEL};

/// Label that the injector puts on every pod it has given a proxy.
const INJECTED: &str = "service.istio.io/canonical-name";
/// The annotation by which the injector says what it did.
const STATUS: &str = "sidecar.istio.io/status";
/// Label, once an annotation, by which a pod asks for a proxy or declines.
const INJECT: &str = "sidecar.istio.io/inject";
const CONTAINER: &str = "istio-proxy";

/// The pods that have a proxy, and the others: whether these could have one is in their spec, and whether they are over in
/// their status.
pub fn needs() -> Vec<Need> {
    vec![
        need(),
        need::everywhere("", "Pod", &format!("!{INJECTED}"), Detail::Full),
    ]
}

/// The pods that have a proxy.
pub fn need() -> Need {
    need::everywhere("", "Pod", INJECTED, Detail::Full)
}

/// Those of a namespace.
pub fn need_within(namespace: &str) -> Need {
    need::within(namespace, "", "Pod", INJECTED, Detail::Full)
}

/// A proxy in a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy<'a> {
    pub namespace: &'a str,
    pub pod: &'a str,
    /// Revision of the control plane that it was injected by.
    pub revision: String,
    /// Version of its image, if that tells.
    pub version: Option<Version>,
}

/// The proxy of a pod, if it has one. Since sidecars are a kind of container of their own, it may be among those that
/// run before the others.
pub fn of_pod(pod: &Value) -> Option<Proxy<'_>> {
    let lists = ["/spec/initContainers", "/spec/containers"];
    let containers = lists
        .iter()
        .filter_map(|list| pod.pointer(list)?.as_array())
        .flatten();
    let proxy = containers
        .into_iter()
        .find(|container| text(container, "/name") == CONTAINER)?;
    Some(Proxy {
        namespace: namespace(pod),
        pod: name(pod),
        revision: revision(pod),
        version: image_version(text(proxy, "/image")),
    })
}

fn revision(pod: &Value) -> String {
    let status = annotation(pod, STATUS).and_then(|status| serde_json::from_str::<Value>(status).ok());
    let of_status = status.as_ref().map_or("", |status| text(status, "/revision"));
    [
        of_status,
        annotation(pod, REVISION_LABEL).unwrap_or(""),
        label(pod, REVISION_LABEL).unwrap_or(""),
    ]
    .into_iter()
    .find(|revision| !revision.is_empty())
    .unwrap_or(DEFAULT_REVISION)
    .to_owned()
}

/// Whether a pod is over: Jobs leave such behind.
pub fn is_over(pod: &Value) -> bool {
    ["Succeeded", "Failed"].contains(&text(pod, "/status/phase"))
}

/// Whether a pod never gets a sidecar, however often it is restarted: it has declined, or it is on its node's network.
pub fn stays_out(pod: &Value) -> bool {
    let declined = label(pod, INJECT).or_else(|| annotation(pod, INJECT)) == Some("false");
    declined || is_on_node(pod)
}

/// Whether a pod is on the network of its node, which is no mesh's.
pub fn is_on_node(pod: &Value) -> bool {
    pod.pointer("/spec/hostNetwork").and_then(Value::as_bool) == Some(true)
}

/// All of them.
pub fn all(facts: &Facts) -> impl Iterator<Item = Proxy<'_>> {
    facts
        .objects("", "Pod")
        .filter(|pod| !is_over(pod))
        .filter_map(of_pod)
}

/// How many proxies of a revision have which version, by namespace.
pub fn versions(facts: &Facts, of_revision: &str) -> BTreeMap<Version, BTreeMap<String, usize>> {
    let mut versions = BTreeMap::<Version, BTreeMap<String, usize>>::new();
    for proxy in all(facts).filter(|proxy| proxy.revision == of_revision) {
        if let Some(version) = proxy.version {
            *versions
                .entry(version)
                .or_default()
                .entry(proxy.namespace.to_owned())
                .or_default() += 1;
        }
    }
    versions
}

/// "3 in shop, 1 in store".
pub fn counted(by_namespace: &BTreeMap<String, usize>) -> String {
    let parts: Vec<String> = by_namespace
        .iter()
        .map(|(namespace, count)| format!("{count} in {namespace}"))
        .collect();
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_proxy_is_found_beside_or_before_the_others_and_says_of_which_revision_it_is() {
        let container =
            json!([{"name": "istio-proxy", "image": "registry.istio.io/release/proxyv2:1.30.2-distroless"}]);
        let mut pod =
            json!({"metadata": {"name": "a", "namespace": "shop"}, "spec": {"containers": container}});
        assert_eq!(of_pod(&pod).unwrap().revision, "default");
        assert_eq!(of_pod(&pod).unwrap().version, Version::parse("1.30.2").ok());
        pod["spec"] = json!({"containers": [{"name": "app"}], "initContainers": container});
        pod["metadata"]["annotations"] = json!({"sidecar.istio.io/status": "{\"revision\": \"1-30-2\"}"});
        assert_eq!(of_pod(&pod).unwrap().revision, "1-30-2");
        assert_eq!(of_pod(&json!({"spec": {"containers": [{"name": "app"}]}})), None);
    }
}
