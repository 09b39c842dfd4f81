//! Who speaks no mutual TLS: pods without a proxy, wherever they are. To one that takes nothing else they cannot talk.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use meshery_mesh_kit::object::{label, namespace};
use meshery_plugin_api::message::facts::Facts;
use serde_json::Value;

use crate::control_plane::is_istiod;
use crate::{ambient, proxies};

/// How many namespaces are named.
const NAMED: usize = 10;
/// Label of what Istio's charts make.
const PART_OF: &str = "app.kubernetes.io/part-of";

/// How many pods are outside the mesh, by namespace, but for Istio's own; nothing when there are none.
pub fn pods_without_proxy(facts: &Facts) -> Option<String> {
    let ambient = ambient::Members::of(facts);
    let without_nodes_proxies = ambient::is_missing(facts);
    let is_plain = |pod: &&Value| {
        let by_its_node = ambient.has(pod) && !without_nodes_proxies;
        !proxies::is_over(pod) && !by_its_node && proxies::of_pod(pod).is_none() && !is_istios(pod)
    };
    let mut counts = BTreeMap::<&str, usize>::new();
    for pod in facts.objects("", "Pod").filter(is_plain) {
        *counts.entry(namespace(pod)).or_default() += 1;
    }
    in_words(counts)
}

fn is_istios(pod: &Value) -> bool {
    is_istiod(pod) || label(pod, PART_OF) == Some("istio")
}

/// "3 in shop, 1 in store".
fn in_words(counts: BTreeMap<&str, usize>) -> Option<String> {
    let mut counts: Vec<(&str, usize)> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| Reverse(*count));
    let (named, more) = counts.split_at(counts.len().min(NAMED));
    let mut words: Vec<String> = named
        .iter()
        .map(|(namespace, count)| format!("{count} in {namespace}"))
        .collect();
    if !more.is_empty() {
        let pods: usize = more.iter().map(|(_, count)| count).sum();
        words.push(format!("{pods} in {} more namespaces", more.len()));
    }
    (!words.is_empty()).then(|| words.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_very_many_namespaces_those_with_the_most_pods_are_named() {
        let names: Vec<String> = (1..=12).map(|number| format!("team-{number:02}")).collect();
        let counts = names.iter().zip(1..).map(|(name, count)| (name.as_str(), count));
        let said = in_words(counts.collect()).unwrap();
        assert!(
            said.starts_with("12 in team-12, ") && said.ends_with(", 3 in team-03, 3 in 2 more namespaces"),
            "{said}"
        );
        assert_eq!(in_words(BTreeMap::new()), None);
    }
}
