//! Whether a cluster has IPv6, and Linkerd is told of it: by its charts it redirects and listens on IPv4 alone (`disableIPv6`), so
//! that nothing comes up where there is nothing else, and traffic over IPv6 goes past the proxies where there are both.

use std::net::IpAddr;

use meshery_mesh_kit::object::text;
use meshery_plugin_api::message::facts::Facts;
use meshery_plugin_api::message::finding::{Finding, Severity};
use meshery_plugin_api::message::plan::PlanRequest;
use serde_json::Value;

use crate::control_plane::{CNI_CHART, CONTROL_PLANE};
use crate::install::Wish;
use crate::networks::addresses;
use crate::{MESH, config};

/// The value of the control plane's chart and of the CNI plugin's.
const DISABLED: &str = "disableIPv6";

/// What is to be said of a control plane that leaves IPv6 out.
pub fn left_out(request: &PlanRequest, wish: &Wish) -> Option<Finding> {
    let facts = &request.facts;
    let (v4, v6) = families(facts);
    if !v6 || takes_v6(request, &wish.namespace) {
        return None;
    }
    let (severity, message) = if v4 {
        let message = format!(
            "the cluster has IPv4 and IPv6, and {MESH} redirects IPv4 alone: traffic over IPv6 goes past the proxies, without \
             mutual TLS and policies"
        );
        (Severity::Warning, message)
    } else {
        let message = format!(
            "the cluster has IPv6 alone, and {MESH} listens on IPv4 alone: its control plane would not come up"
        );
        (Severity::Error, message)
    };
    let remedy = if wish.line == "stable" {
        "choose line edge, which knows IPv6 (value disableIPv6)".to_owned()
    } else {
        let of_plugin = if wish.cni {
            format!(", \"{CNI_CHART}\": {{\"{DISABLED}\": false}}")
        } else {
            String::new()
        };
        let both = if v4 {
            "; where a Service has endpoints of both, it takes those of IPv6 then"
        } else {
            ""
        };
        format!("give values {{\"{CONTROL_PLANE}\": {{\"{DISABLED}\": false}}{of_plugin}}}{both}")
    };
    Some(Finding::new(severity, "linkerd-ipv6", message).remedy(remedy))
}

/// Whether somebody has said so now or before.
fn takes_v6(request: &PlanRequest, in_namespace: &str) -> bool {
    let values = request.parameters.get("values");
    match values.and_then(|values| values.get(CONTROL_PLANE)?.get(DISABLED)) {
        Some(given) => *given == Value::Bool(false),
        None => config::value(&request.facts, in_namespace, DISABLED) == Some("false"),
    }
}

/// Whether pods and Services have addresses of IPv4, and of IPv6.
fn families(facts: &Facts) -> (bool, bool) {
    let (mut v4, mut v6) = (false, false);
    let mut see = |address: &str| {
        let address = address.split('/').next().unwrap_or_default();
        match address.parse() {
            Ok(IpAddr::V4(_)) => v4 = true,
            Ok(IpAddr::V6(_)) => v6 = true,
            Err(_) => {}
        }
    };
    for (_, address) in addresses(facts) {
        see(address);
    }
    // The addresses besides the first one that a pod has.
    for pod in facts.objects("", "Pod") {
        let all = pod.pointer("/status/podIPs").and_then(Value::as_array);
        for address in all.into_iter().flatten() {
            see(text(address, "/ip"));
        }
    }
    (v4, v6)
}
