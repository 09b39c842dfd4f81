//! Whether the addresses of a cluster are in the networks that Linkerd takes for the cluster's own (`clusterNetworks`). What is not is
//! forwarded as it comes: not balanced, without mutual TLS, and without a word.
//!
//! Nodes' own addresses need not be in them, so pods on their node's network are left out. Of the Services only that of the API
//! server is looked at: all have addresses of the same ranges.

use std::net::IpAddr;

use meshery_mesh_kit::need;
use meshery_mesh_kit::object::{name, namespace, text};
use meshery_plugin_api::message::facts::{Detail, Facts, Need};
use meshery_plugin_api::message::finding::Finding;
use serde_json::Value;

use crate::control_plane::CONTROL_PLANE;
use crate::{MESH, config};

/// The chart's own.
const BY_CHART: &str = "10.0.0.0/8,100.64.0.0/10,172.16.0.0/12,192.168.0.0/16,fd00::/8";
const API_SERVER: (&str, &str) = ("default", "kubernetes");
/// How many addresses are named.
const NAMED: usize = 3;

/// What has to be read besides pods and nodes.
pub fn need() -> Need {
    need::one(API_SERVER.0, "", "Service", API_SERVER.1, Detail::Full)
}

/// What is outside of the networks that somebody has set now or before, else of the chart's own.
pub fn outside(facts: &Facts, in_namespace: &str, given: Option<&Value>) -> Option<Finding> {
    let networks = match given.and_then(Value::as_str) {
        Some(given) => given,
        None => config::value(facts, in_namespace, "clusterNetworks").unwrap_or(BY_CHART),
    };
    let own: Vec<Network> = networks.split(',').filter_map(Network::read).collect();
    let mut outside: Vec<String> = Vec::new();
    for (what, range) in addresses(facts) {
        let is_in = Network::read(range).is_none_or(|range| own.iter().any(|own| own.holds(&range)));
        let told = format!("{range} ({what})");
        if !is_in && !outside.contains(&told) {
            outside.push(told);
        }
    }
    let more = outside.len().saturating_sub(NAMED);
    let mut named = outside[..outside.len() - more].join(", ");
    if more > 0 {
        named = format!("{named} and {more} more");
    }
    (!outside.is_empty()).then(|| {
        Finding::warning(
            "linkerd-cluster-networks",
            format!(
                "outside of the networks that {MESH} takes for the cluster's own ({networks}): \
                 {named}: traffic to there is neither balanced nor has mutual TLS"
            ),
        )
        .remedy(format!(
            "give them with the others in values, as in {{\"{CONTROL_PLANE}\": \
             {{\"clusterNetworks\": \"{networks},...\"}}}}"
        ))
    })
}

/// Ranges and single addresses of pods and Services, and whose they are.
pub fn addresses(facts: &Facts) -> Vec<(String, &str)> {
    let mut addresses = Vec::new();
    for node in facts.objects("", "Node") {
        let what = || format!("pods of node {}", name(node));
        addresses.extend(strings(node, "/spec/podCIDRs").map(|range| (what(), range)));
    }
    for pod in facts.objects("", "Pod") {
        if pod.pointer("/spec/hostNetwork") != Some(&Value::Bool(true)) {
            let what = format!("pod {}/{}", namespace(pod), name(pod));
            addresses.push((what, text(pod, "/status/podIP")));
        }
    }
    let api_server = facts
        .objects("", "Service")
        .filter(|service| (namespace(service), name(service)) == API_SERVER);
    for service in api_server {
        let what = || format!("Service {}/{}", API_SERVER.0, API_SERVER.1);
        addresses.extend(strings(service, "/spec/clusterIPs").map(|address| (what(), address)));
    }
    addresses
}

fn strings<'a>(object: &'a Value, pointer: &str) -> impl Iterator<Item = &'a str> {
    let list = object.pointer(pointer).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str)
}

/// Addresses that begin with the same bits.
struct Network {
    bits: u128,
    /// How many bits count, of those that an address of its kind has.
    prefix: u32,
    width: u32,
}

impl Network {
    /// A range, or a single address.
    fn read(text: &str) -> Option<Self> {
        let (address, prefix) = match text.trim().split_once('/') {
            Some((address, prefix)) => (address, Some(prefix.parse().ok()?)),
            None => (text.trim(), None),
        };
        let (bits, width) = match address.parse().ok()? {
            IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
            IpAddr::V6(address) => (address.to_bits(), 128),
        };
        let prefix = prefix.unwrap_or(width);
        (prefix <= width).then_some(Self { bits, prefix, width })
    }

    fn holds(&self, other: &Self) -> bool {
        let rest = self.width - self.prefix;
        let begins = |bits: u128| bits.checked_shr(rest).unwrap_or(0);
        self.width == other.width && self.prefix <= other.prefix && begins(self.bits) == begins(other.bits)
    }
}

#[cfg(test)]
mod tests {
    use meshery_plugin_api::message::facts::KindFacts;
    use serde_json::json;

    use super::*;

    fn facts(kind: &str, object: &Value) -> Facts {
        Facts {
            kinds: vec![KindFacts {
                need: need::everywhere("", kind, "", Detail::Full),
                objects: vec![object.clone()],
                ..KindFacts::default()
            }],
            ..Facts::default()
        }
    }

    fn pod(address: &str) -> Value {
        json!({"metadata": {"name": "web", "namespace": "shop"}, "spec": {}, "status": {"podIP": address}})
    }

    fn said(kind: &str, object: &Value, given: Option<&Value>) -> Option<String> {
        outside(&facts(kind, object), "linkerd", given).map(|finding| finding.message)
    }

    #[test]
    fn pods_nodes_ranges_and_services_outside_are_named() {
        let node = |range: &str| json!({"metadata": {"name": "a"}, "spec": {"podCIDRs": [range]}});
        let service = |address: &str| json!({"metadata": {"name": "kubernetes", "namespace": "default"}, "spec": {"clusterIPs": [address]}});
        for (kind, within, beyond, whose) in [
            (
                "Pod",
                pod("10.1.2.3"),
                pod("198.18.0.7"),
                "198.18.0.7 (pod shop/web)",
            ),
            (
                "Pod",
                pod("fd00::7"),
                pod("2001:db8::7"),
                "2001:db8::7 (pod shop/web)",
            ),
            (
                "Node",
                node("172.31.0.0/24"),
                node("172.0.0.0/8"),
                "172.0.0.0/8 (pods of node a)",
            ),
            (
                "Service",
                service("10.96.0.1"),
                service("34.118.224.1"),
                "34.118.224.1 (Service default/kubernetes)",
            ),
        ] {
            assert_eq!(said(kind, &within, None), None);
            let told = said(kind, &beyond, None).unwrap_or_default();
            assert!(told.contains(whose), "{told}");
        }
    }

    #[test]
    fn what_somebody_has_set_counts_now_or_before() {
        let beyond = pod("198.18.0.7");
        assert_eq!(
            said("Pod", &beyond, Some(&json!("10.0.0.0/8, 198.18.0.0/16"))),
            None
        );
        assert!(said("Pod", &beyond, Some(&json!("198.19.0.0/16"))).is_some());
        assert_eq!(said("Pod", &beyond, Some(&json!("0.0.0.0/0"))), None);
        let mut before = facts("Pod", &beyond);
        before.kinds.push(KindFacts {
            need: config::need(""),
            objects: vec![
                json!({"metadata": {"name": "linkerd-config", "namespace": "linkerd"},
                "data": {"values": "clusterNetworks: 198.18.0.0/15\nother: x\n"}}),
            ],
            ..KindFacts::default()
        });
        assert!(outside(&before, "linkerd", None).is_none());
        assert!(outside(&before, "elsewhere", None).is_some());
    }

    #[test]
    fn pods_without_an_address_or_with_their_node_s_are_nothing_to_say() {
        assert_eq!(said("Pod", &pod(""), None), None);
        let mut of_node = pod("34.1.2.3");
        of_node["spec"]["hostNetwork"] = true.into();
        assert_eq!(said("Pod", &of_node, None), None);
    }
}
