//! Namespaces that are in the mesh without sidecars, by the proxies of the nodes.

use std::collections::BTreeSet;

use meshery_mesh_kit::object::{label, name, namespace};
use meshery_mesh_kit::readable::kind_is_whole;
use meshery_mesh_kit::{cut_off, need};
use meshery_plugin_api::message::facts::{Detail, Facts, Need};
use meshery_plugin_api::message::finding::Finding;

use serde_json::Value;

use crate::control_plane::ZTUNNEL;
use crate::injection::AMBIENT_LABEL;
use crate::{MESH, proxies};

pub fn need() -> Need {
    need::everywhere("", "Namespace", AMBIENT_LABEL, Detail::Metadata)
}

/// Whether the nodes have no proxies, as far as that can be known.
pub fn is_missing(facts: &Facts) -> bool {
    let there = facts
        .objects("apps", "DaemonSet")
        .any(|object| name(object) == ZTUNNEL);
    !there && kind_is_whole(facts, "apps", "DaemonSet")
}

/// Which namespaces are in ambient mode; a warning where no node has a proxy for them.
pub fn finding(facts: &Facts) -> Option<Finding> {
    let namespaces = namespaces(facts)?;
    Some(if is_missing(facts) {
        Finding::warning(
            "istio-ambient-without-ztunnel",
            format!("namespaces in ambient mode, and no node has a proxy of {MESH}: {namespaces}"),
        )
        .remedy("install it with the profile ambient, or take them out (operation uninject)")
    } else {
        Finding::info(
            "istio-ambient-namespaces",
            format!("namespaces in ambient mode: {namespaces}"),
        )
    })
}

/// What is to be known when the nodes' proxies go.
pub fn lost(facts: &Facts) -> Option<Finding> {
    let namespaces = namespaces(facts)?;
    let members = Members::of(facts);
    let pods = facts.objects("", "Pod").filter(|pod| members.has(pod));
    let workloads = cut_off::listed(pods).map(|listed| format!("; workloads there: {listed}"));
    Some(
        Finding::warning(
            "namespaces-in-mesh",
            format!(
                "namespaces in ambient mode: {namespaces}{}",
                workloads.unwrap_or_default()
            ),
        )
        .remedy(
            "take them out first (operation uninject): without the nodes' proxies their traffic is not \
             encrypted any more",
        ),
    )
}

/// What is to be known when the nodes' proxies are made anew.
pub fn interrupted_connections(facts: &Facts) -> Option<Finding> {
    let namespaces = namespaces(facts)?;
    Some(
        Finding::warning(
            "istio-ambient-interrupted",
            format!(
                "the nodes' proxies are made anew, node by node: connections of pods in {namespaces} that last longer than their \
                 grace period end"
            ),
        )
        .remedy("upgrade when that does no harm, or move the pods of one node after the other away before it"),
    )
}

/// Who speaks mutual TLS by the nodes' proxies.
pub struct Members<'a> {
    namespaces: BTreeSet<&'a str>,
}

impl<'a> Members<'a> {
    pub fn of(facts: &'a Facts) -> Self {
        let all = facts.objects("", "Namespace");
        let namespaces = all.filter(|object| label(object, AMBIENT_LABEL) == Some("ambient"));
        Self {
            namespaces: namespaces.map(name).collect(),
        }
    }

    /// Whether a namespace asks for it.
    pub fn asks(&self, namespace: &str) -> bool {
        self.namespaces.contains(namespace)
    }

    /// Whether a pod is among them: its own label counts more than its namespace's. One with a sidecar, or on the network of
    /// its node, is left out.
    pub fn has(&self, pod: &Value) -> bool {
        let asked = match label(pod, AMBIENT_LABEL) {
            Some(mode) => mode == "ambient",
            None => self.namespaces.contains(namespace(pod)),
        };
        asked && !proxies::is_over(pod) && !proxies::is_on_node(pod) && proxies::of_pod(pod).is_none()
    }
}

/// In words; nothing when there are none.
fn namespaces(facts: &Facts) -> Option<String> {
    let names: Vec<&str> = Members::of(facts).namespaces.into_iter().collect();
    (!names.is_empty()).then(|| names.join(", "))
}
