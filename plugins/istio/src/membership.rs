//! Who is in a mesh, and how: what detection says of a control plane beyond its own parts.

use std::collections::{BTreeMap, HashSet};

use meshery_mesh_kit::members::{self, Place};
use meshery_mesh_kit::need;
use meshery_mesh_kit::object::{name, namespace, text};
use meshery_mesh_kit::readable::kind_is_whole;
use meshery_plugin_api::message::facts::{Detail, Facts, Need};
use meshery_plugin_api::message::finding::{Finding, Installation, Severity};
use meshery_plugin_api::message::member::Members;
use meshery_plugin_api::message::object_ref::ObjectRef;
use semver::Version;
use serde_json::Value;

use crate::policy::SECURITY;
use crate::{ambient, proxies, skew};

/// How many pods are named at most.
const NAMED: usize = 5;

pub fn need() -> Need {
    need::everywhere(SECURITY, "PeerAuthentication", "", Detail::Full)
}

/// All namespaces: those that are out of the mesh bear no mark of it.
pub fn need_of_namespaces() -> Need {
    need::everywhere("", "Namespace", "", Detail::Metadata)
}

/// What is to be said about an installation's proxies, its mutual TLS and the addresses of its gateways.
pub fn findings(facts: &Facts, installation: &Installation) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(proxied(facts, installation));
    findings.extend(behind(facts, installation));
    findings.extend(without_proxy(facts, installation));
    findings.extend(mutual_tls(facts, installation));
    findings.extend(addresses(facts, installation));
    findings
}

/// Which workloads are in the mesh, and which are out of it. The nodes' proxies are of one installation only.
pub fn members(facts: &Facts, installation: &Installation, has_nodes: bool) -> Members {
    let plane = Version::parse(&installation.version).ok();
    let injected: HashSet<&str> = installation.namespaces.iter().map(String::as_str).collect();
    let ambient = ambient::Members::of(facts);
    let pods = facts.objects("", "Pod").map(|pod| {
        let place = match proxies::of_pod(pod) {
            _ if proxies::is_over(pod) => Place::Elsewhere,
            Some(proxy) if proxy.revision != installation.revision => Place::Elsewhere,
            Some(proxy) if proxy.version.is_some() && plane.is_some() && proxy.version != plane => {
                Place::Behind
            }
            Some(_) => Place::Inside,
            None if !ambient.has(pod) => Place::Out,
            None if has_nodes => Place::Inside,
            None => Place::Elsewhere,
        };
        (pod, place)
    });
    let namespaces = facts.objects("", "Namespace").map(name);
    let asks = |name: &str| injected.contains(name) || (has_nodes && ambient.asks(name));
    members::of(
        &installation.namespace,
        namespaces.map(|name| (name, asks(name))),
        pods,
    )
}

/// How many proxies each namespace has.
fn proxied(facts: &Facts, installation: &Installation) -> Option<Finding> {
    let mut counts = BTreeMap::<String, usize>::new();
    for proxy in proxies::all(facts).filter(|proxy| proxy.revision == installation.revision) {
        *counts.entry(proxy.namespace.to_owned()).or_default() += 1;
    }
    (!counts.is_empty()).then(|| {
        let message = format!("proxies: {}", proxies::counted(&counts));
        Finding::info("istio-proxies", message)
    })
}

/// Proxies of another version than the control plane's.
fn behind(facts: &Facts, installation: &Installation) -> Vec<Finding> {
    let Ok(plane) = Version::parse(&installation.version) else {
        return Vec::new();
    };
    let versions = proxies::versions(facts, &installation.revision);
    versions
        .iter()
        .filter(|(version, _)| **version != plane)
        .map(|(version, namespaces)| {
            let (severity, what) = if skew::unsupported(version, &plane) {
                (Severity::Error, "which it does not support")
            } else {
                (Severity::Warning, "which it still supports")
            };
            Finding::new(
                severity,
                "istio-proxies-behind",
                format!(
                    "proxies of version {version} ({}) under a control plane of {plane}, {what}",
                    proxies::counted(namespaces)
                ),
            )
            .remedy("restart their workloads (operation inject, with restart)")
        })
        .collect()
}

/// Pods of the mesh's namespaces that are out of it, but for those that have to be.
fn without_proxy(facts: &Facts, installation: &Installation) -> Vec<Finding> {
    let members: HashSet<&str> = installation.namespaces.iter().map(String::as_str).collect();
    let mut by_namespace = BTreeMap::<&str, Vec<&str>>::new();
    for pod in facts.objects("", "Pod").filter(|pod| !proxies::is_over(pod)) {
        let is_member = members.contains(namespace(pod));
        if is_member && proxies::of_pod(pod).is_none() && !proxies::stays_out(pod) {
            by_namespace.entry(namespace(pod)).or_default().push(name(pod));
        }
    }
    by_namespace
        .into_iter()
        .map(|(of_namespace, mut pods)| {
            pods.sort_unstable();
            let count = pods.len();
            pods.truncate(NAMED);
            let more = if count > NAMED { ", ..." } else { "" };
            let message = format!(
                "{count} pods in namespace \"{of_namespace}\" are out of the mesh: {}{more}",
                pods.join(", ")
            );
            let remedy = "restart their workloads, if they are to be in it (operation inject, with restart)";
            Finding::warning("istio-pods-without-proxy", message).remedy(remedy)
        })
        .collect()
}

/// The mode of mutual TLS, of the mesh and where a namespace has another one. Istio's own is permissive.
fn mutual_tls(facts: &Facts, installation: &Installation) -> Option<Finding> {
    if !kind_is_whole(facts, SECURITY, "PeerAuthentication") {
        return None;
    }
    let for_all = |policy: &&Value| policy.pointer("/spec/selector").is_none();
    let mode = |policy: &Value| match text(policy, "/spec/mtls/mode") {
        "" | "UNSET" => "permissive".to_owned(),
        mode => mode.to_lowercase(),
    };
    let mut modes: BTreeMap<&str, String> = facts
        .objects(SECURITY, "PeerAuthentication")
        .filter(for_all)
        .map(|policy| (namespace(policy), mode(policy)))
        .collect();
    let of_mesh = modes
        .remove(installation.namespace.as_str())
        .unwrap_or_else(|| "permissive".into());
    let others: Vec<String> = modes
        .iter()
        .map(|(namespace, mode)| format!("{mode} in {namespace}"))
        .collect();
    let more = if others.is_empty() {
        String::new()
    } else {
        format!("; {}", others.join(", "))
    };
    Some(Finding::info(
        "istio-mtls",
        format!("mutual TLS: {of_mesh}{more}"),
    ))
}

/// Where gateways are reached from outside.
fn addresses(facts: &Facts, installation: &Installation) -> Vec<Finding> {
    let mut findings = Vec::new();
    for gateway in &installation.components {
        let service = facts.objects("", "Service").find(|service| {
            namespace(service) == gateway.object.namespace && name(service) == gateway.object.name
        });
        let Some(message) = service.and_then(reached) else {
            continue;
        };
        let service = ObjectRef::new("v1", "Service", &gateway.object.namespace, &gateway.object.name);
        findings.push(Finding::info("istio-address", message).about(service));
    }
    findings
}

/// Where a Service is reached from outside, in words; nothing where it is not.
fn reached(service: &Value) -> Option<String> {
    let list = |pointer: &str| service.pointer(pointer).and_then(Value::as_array);
    match text(service, "/spec/type") {
        "LoadBalancer" => {
            let ingress = list("/status/loadBalancer/ingress").into_iter().flatten();
            let found: Vec<&str> = ingress
                .map(|address| match text(address, "/hostname") {
                    "" => text(address, "/ip"),
                    hostname => hostname,
                })
                .filter(|address| !address.is_empty())
                .collect();
            Some(if found.is_empty() {
                format!("{} has no address yet", name(service))
            } else {
                format!("{} is reached at {}", name(service), found.join(", "))
            })
        }
        "NodePort" => {
            let ports = list("/spec/ports").into_iter().flatten();
            let found: Vec<String> = ports
                .filter_map(|port| {
                    Some(format!(
                        "{} ({})",
                        port["nodePort"].as_u64()?,
                        text(port, "/name")
                    ))
                })
                .collect();
            (!found.is_empty()).then(|| {
                format!(
                    "{} is reached at each node, on ports {}",
                    name(service),
                    found.join(", ")
                )
            })
        }
        _ => None,
    }
}
