//! Namespaces that are in the mesh without sidecars, by the proxies of the nodes.

use meshery_mesh_kit::need;
use meshery_mesh_kit::object::{label, name};
use meshery_mesh_kit::readable::kind_is_whole;
use meshery_plugin_api::message::facts::{Detail, Facts, Need};
use meshery_plugin_api::message::finding::{Finding, Severity};

use crate::MESH;
use crate::control_plane::ZTUNNEL;
use crate::injection::AMBIENT_LABEL;

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

/// What is to be known of them.
pub fn told(facts: &Facts) -> Option<Finding> {
    let namespaces = namespaces(facts)?;
    Some(if is_missing(facts) {
        finding(
            "istio-ambient-without-ztunnel",
            Severity::Warning,
            format!("namespaces in ambient mode, and no node has a proxy of {MESH}: {namespaces}"),
            "install it with the profile ambient, or take them out (operation uninject)",
        )
    } else {
        finding(
            "istio-ambient-namespaces",
            Severity::Info,
            format!("namespaces in ambient mode: {namespaces}"),
            "",
        )
    })
}

/// What is to be known when the nodes' proxies go.
pub fn lost(facts: &Facts) -> Option<Finding> {
    let namespaces = namespaces(facts)?;
    Some(finding(
        "namespaces-in-mesh",
        Severity::Warning,
        format!("namespaces in ambient mode: {namespaces}"),
        "take them out first (operation uninject): without the nodes' proxies their traffic is not encrypted any more",
    ))
}

/// In words; nothing when there are none.
fn namespaces(facts: &Facts) -> Option<String> {
    let mut names: Vec<&str> = facts
        .objects("", "Namespace")
        .filter(|object| label(object, AMBIENT_LABEL) == Some("ambient"))
        .map(name)
        .collect();
    names.sort_unstable();
    names.dedup();
    (!names.is_empty()).then(|| names.join(", "))
}

fn finding(code: &str, severity: Severity, message: String, remedy: &str) -> Finding {
    Finding {
        code: code.into(),
        severity,
        message,
        object: None,
        remedy: remedy.into(),
    }
}
