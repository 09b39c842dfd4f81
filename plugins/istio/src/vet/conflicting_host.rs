//! Several VirtualServices for one host on one gateway, seen by the same proxies: only one of them counts (IST0109 for sidecars).

use std::collections::BTreeMap;

use meshery_mesh_kit::object::{name, namespace};
use meshery_plugin_api::message::finding::{Finding, Severity};
use serde_json::Value;

use super::{ROUTING_VERSION, Seen, hosts, qualified, reference};

/// What routes are for: a gateway, or "mesh" for the sidecars, and a host.
type Place = (String, String);

pub fn vet(seen: &Seen<'_>) -> Vec<Finding> {
    let mut claims = BTreeMap::<Place, Claims<'_>>::new();
    for route in seen.routes() {
        for gateway in gateways(route) {
            for host in hosts(route) {
                let host = qualified(host, namespace(route));
                claims.entry((gateway.clone(), host)).or_default().add(route);
            }
        }
    }
    claims
        .iter()
        .flat_map(|(place, claims)| claims.conflicts(place))
        .collect()
}

fn gateways(route: &Value) -> Vec<String> {
    let named = route.pointer("/spec/gateways").and_then(Value::as_array);
    let mut gateways: Vec<String> = named
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(|gateway| {
            if gateway == "mesh" || gateway.contains('/') {
                gateway.to_owned()
            } else {
                format!("{}/{gateway}", namespace(route))
            }
        })
        .collect();
    if gateways.is_empty() {
        gateways.push("mesh".into());
    }
    gateways
}

/// The routes for one place, each once, by who sees them.
#[derive(Default)]
struct Claims<'a> {
    everywhere: Vec<&'a Value>,
    /// Those that are exported to single namespaces, by these.
    only_in: BTreeMap<&'a str, Vec<&'a Value>>,
}

impl<'a> Claims<'a> {
    /// A route may say its host twice, in the short form and in the long one.
    fn add(&mut self, route: &'a Value) {
        let exported: Vec<&str> = route
            .pointer("/spec/exportTo")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        if exported.is_empty() || exported.contains(&"*") {
            push_once(&mut self.everywhere, route);
            return;
        }
        // "~" is nobody.
        for to in exported.into_iter().filter(|to| *to != "~") {
            let to = if to == "." { namespace(route) } else { to };
            push_once(self.only_in.entry(to).or_default(), route);
        }
    }

    fn conflicts(&self, place: &Place) -> Vec<Finding> {
        let mut findings = Vec::new();
        if self.everywhere.len() > 1 {
            findings.push(conflict(place, &self.everywhere, &[]));
        }
        // Namespaces that see the same routes are named together.
        let mut seen_in = BTreeMap::<Vec<(&str, &str)>, (Vec<&Value>, Vec<&str>)>::new();
        for (of_namespace, only) in &self.only_in {
            let routes: Vec<&Value> = self.everywhere.iter().chain(only).copied().collect();
            if routes.len() > 1 {
                let names = routes.iter().map(|route| (namespace(route), name(route)));
                let entry = seen_in
                    .entry(names.collect())
                    .or_insert_with(|| (routes, Vec::new()));
                entry.1.push(of_namespace);
            }
        }
        findings.extend(
            seen_in
                .values()
                .map(|(routes, namespaces)| conflict(place, routes, namespaces)),
        );
        findings
    }
}

fn push_once<'a>(routes: &mut Vec<&'a Value>, route: &'a Value) {
    // Routes come one after the other: the same one can only be the last.
    if routes.last().is_none_or(|last| !std::ptr::eq(*last, route)) {
        routes.push(route);
    }
}

fn conflict((gateway, host): &Place, routes: &[&Value], namespaces: &[&str]) -> Finding {
    let names: Vec<String> = routes
        .iter()
        .map(|route| format!("{}/{}", namespace(route), name(route)))
        .collect();
    // A gateway puts them together; sidecars take one and leave the rest.
    let (severity, on) = if gateway == "mesh" {
        (Severity::Error, "the sidecars".to_owned())
    } else {
        (Severity::Warning, format!("gateway {gateway}"))
    };
    let seen_in = if namespaces.is_empty() {
        String::new()
    } else {
        format!(", as seen from {}", namespaces.join(", "))
    };
    let message = format!(
        "VirtualServices {} are all for host \"{host}\" on {on}{seen_in}",
        names.join(", ")
    );
    let remedy = "put their routes into one VirtualService, give each a host of its own, or export them to different namespaces (exportTo)";
    Finding::new(severity, "conflictingvirtualservicehost", message)
        .about(reference(ROUTING_VERSION, "VirtualService", routes[0]))
        .remedy(remedy)
}
