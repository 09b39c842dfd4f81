//! What is wrong with the configuration of a mesh that runs: seven vetters, each by its name. One that finds nothing says so,
//! and one that could not look says that instead.

mod conflicting_host;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use meshery_mesh_kit::need;
use meshery_mesh_kit::object::{label, name, namespace, text};
use meshery_mesh_kit::readable::{gaps, kind_is_whole};
use meshery_plugin_api::message::facts::{Detail, Facts, Need};
use meshery_plugin_api::message::finding::{Finding, Severity};
use meshery_plugin_api::message::object_ref::ObjectRef;
use semver::Version;
use serde_json::Value;

use crate::control_plane::{INJECTION_LABEL, MADE_GATEWAY, REVISION_LABEL, is_istiod, revision};
use crate::{detect, proxies, skew};

const ROUTING: &str = "networking.istio.io";
const ROUTING_VERSION: &str = "networking.istio.io/v1";
/// How the hosts of Services end.
const SERVICES: &str = ".svc.cluster.local";
/// What may stand before the first dash of a port's name.
const PROTOCOLS: [&str; 13] = [
    "http", "http2", "https", "grpc", "grpc-web", "mongo", "mysql", "redis", "tcp", "tls", "udp", "auto",
    "hbone",
];

pub fn needs() -> Vec<Need> {
    let mut needs = detect::needs();
    needs.extend([
        need::everywhere("", "Service", "", Detail::Full),
        need::everywhere(ROUTING, "VirtualService", "", Detail::Full),
        need::everywhere(ROUTING, "ServiceEntry", "", Detail::Full),
    ]);
    needs
}

/// A vetter: its name, the kinds that it cannot do without, and what it finds.
struct Vetter {
    name: &'static str,
    kinds: &'static [(&'static str, &'static str)],
    vet: fn(&Seen<'_>) -> Vec<Finding>,
}

const POD: (&str, &str) = ("", "Pod");
const SERVICE: (&str, &str) = ("", "Service");
const ROUTE: (&str, &str) = (ROUTING, "VirtualService");

const VETTERS: [Vetter; 7] = [
    Vetter {
        name: "podsinmesh",
        kinds: &[POD],
        vet: pods_in_mesh,
    },
    Vetter {
        name: "meshversion",
        kinds: &[POD, ("apps", "Deployment")],
        vet: mesh_version,
    },
    Vetter {
        name: "applabel",
        kinds: &[POD],
        vet: app_label,
    },
    Vetter {
        name: "serviceportprefix",
        kinds: &[POD, SERVICE],
        vet: service_port_prefix,
    },
    Vetter {
        name: "serviceassociation",
        kinds: &[POD, SERVICE],
        vet: service_association,
    },
    Vetter {
        name: "danglingroutedestinationhost",
        kinds: &[SERVICE, ROUTE],
        vet: dangling_host,
    },
    Vetter {
        name: "conflictingvirtualservicehost",
        kinds: &[ROUTE],
        vet: conflicting_host::vet,
    },
];

/// What the vetters look at, each thing gathered once.
struct Seen<'a> {
    facts: &'a Facts,
    /// Pods that are not over, each once.
    pods: Vec<&'a Value>,
    services: Vec<&'a Value>,
    /// Namespaces with at least one proxy.
    meshed: BTreeSet<&'a str>,
}

impl<'a> Seen<'a> {
    fn of(facts: &'a Facts) -> Self {
        let pods: Vec<&Value> = facts
            .objects("", "Pod")
            .filter(|pod| !proxies::is_over(pod))
            .collect();
        // Detection asks for Istio's own Services too: each once.
        let mut services = BTreeMap::new();
        for service in facts
            .objects("", "Service")
            .filter(|service| service.get("spec").is_some())
        {
            services.insert((namespace(service), name(service)), service);
        }
        Self {
            facts,
            meshed: pods
                .iter()
                .filter_map(|pod| proxies::of_pod(pod))
                .map(|proxy| proxy.namespace)
                .collect(),
            pods,
            services: services.into_values().collect(),
        }
    }

    fn routes(&self) -> impl Iterator<Item = &'a Value> {
        self.facts.objects(ROUTING, "VirtualService")
    }
}

pub fn analyze(facts: &Facts) -> Vec<Finding> {
    let mut findings = gaps(facts);
    let seen = Seen::of(facts);
    for vetter in &VETTERS {
        let partial = vetter
            .kinds
            .iter()
            .find(|(group, kind)| !kind_is_whole(facts, group, kind));
        if let Some((_, kind)) = partial {
            findings.push(
                Finding::warning(
                    vetter.name,
                    format!(
                        "not all {kind} objects could be read: what follows from them may be missing or wrong"
                    ),
                )
                .remedy("use an identity that may list them in all namespaces"),
            );
        }
        let found = (vetter.vet)(&seen);
        if found.is_empty() && partial.is_none() {
            findings.push(Finding::info(vetter.name, "nothing to mend"));
        }
        findings.extend(found);
    }
    findings
}

fn reference(api_version: &str, kind: &str, object: &Value) -> ObjectRef {
    ObjectRef::new(api_version, kind, namespace(object), name(object))
}

/// Pods that are to have a sidecar and have none.
fn pods_in_mesh(seen: &Seen<'_>) -> Vec<Finding> {
    let wants = |namespace_object: &&Value| match label(namespace_object, INJECTION_LABEL) {
        Some(value) => value == "enabled",
        None => label(namespace_object, REVISION_LABEL).is_some(),
    };
    let injected: BTreeSet<&str> = seen
        .facts
        .objects("", "Namespace")
        .filter(wants)
        .map(name)
        .collect();
    seen.pods
        .iter()
        .filter(|pod| injected.contains(namespace(pod)))
        .filter(|pod| proxies::of_pod(pod).is_none() && !proxies::stays_out(pod))
        .map(|pod| {
            let message = format!(
                "pod {} in namespace \"{}\" has no sidecar, although the namespace asks for one",
                name(pod),
                namespace(pod)
            );
            let remedy = "restart its workload; it was made before the label, or while the injector could not be called";
            Finding::warning("podsinmesh", message)
                .about(reference("v1", "Pod", pod))
                .remedy(remedy)
        })
        .collect()
}

/// Proxies of another version than their control plane's.
fn mesh_version(seen: &Seen<'_>) -> Vec<Finding> {
    let mut planes = HashMap::new();
    for installation in detect::installations(seen.facts).unwrap_or_default() {
        if let Ok(version) = Version::parse(&installation.version) {
            planes.insert(installation.revision, version);
        }
    }
    let istiods = seen
        .facts
        .objects("apps", "Deployment")
        .filter(|deployment| is_istiod(deployment));
    let revisions: BTreeSet<&str> = istiods.map(revision).collect();
    let mut findings = Vec::new();
    for pod in &seen.pods {
        let Some(proxy) = proxies::of_pod(pod) else {
            continue;
        };
        if !revisions.contains(proxy.revision.as_str()) {
            findings.push(
                Finding::error(
                    "meshversion",
                    format!(
                        "the proxy of pod {} in namespace \"{}\" is of revision \"{}\", which has no \
                         control plane",
                        proxy.pod, proxy.namespace, proxy.revision
                    ),
                )
                .about(reference("v1", "Pod", pod))
                .remedy("restart its workload, so that it gets a proxy of a control plane that is there"),
            );
            continue;
        }
        let (Some(version), Some(plane)) = (proxy.version, planes.get(&proxy.revision)) else {
            continue;
        };
        if version == *plane {
            continue;
        }
        let severity = if skew::unsupported(&version, plane) {
            Severity::Error
        } else {
            Severity::Warning
        };
        findings.push(
            Finding::new(
                severity,
                "meshversion",
                format!(
                    "the proxy of pod {} in namespace \"{}\" is of version {version}, its control plane \
                     of {plane}",
                    proxy.pod, proxy.namespace
                ),
            )
            .about(reference("v1", "Pod", pod))
            .remedy("restart its workload"),
        );
    }
    findings
}

/// Pods in the mesh that have no label `app`: metrics and traces cannot name them.
fn app_label(seen: &Seen<'_>) -> Vec<Finding> {
    let named = |pod: &Value| label(pod, "app").is_some() || label(pod, "app.kubernetes.io/name").is_some();
    seen.pods
        .iter()
        .filter(|pod| proxies::of_pod(pod).is_some() && !named(pod))
        .map(|pod| {
            let message = format!(
                "pod {} in namespace \"{}\" has no label app",
                name(pod),
                namespace(pod)
            );
            let remedy = "give its workload's template the labels app and version";
            Finding::warning("applabel", message)
                .about(reference("v1", "Pod", pod))
                .remedy(remedy)
        })
        .collect()
}

/// Ports whose protocol has to be guessed (IST0118). Those of Istio's own parts are left to whoever makes these, gateways and
/// their ports for the status above all.
fn service_port_prefix(seen: &Seen<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for service in seen
        .services
        .iter()
        .filter(|service| seen.meshed.contains(namespace(service)) && !is_of_istio(service))
    {
        for port in ports(service) {
            let port_name = text(port, "/name");
            let is_protocol = PROTOCOLS.iter().any(|protocol| {
                port_name
                    .strip_prefix(protocol)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
            });
            if is_protocol || !text(port, "/appProtocol").is_empty() || text(port, "/protocol") == "UDP" {
                continue;
            }
            let message = format!(
                "port {} (\"{port_name}\") of Service {} in namespace \"{}\" does not say its protocol",
                port["port"],
                name(service),
                namespace(service)
            );
            let remedy = "name it PROTOCOL or PROTOCOL-SOMETHING, as in http-web, or set appProtocol";
            let finding = Finding::warning("serviceportprefix", message).remedy(remedy);
            findings.push(finding.about(reference("v1", "Service", service)));
        }
    }
    findings
}

/// By the label of its charts, or by that of a gateway that istiod has made.
fn is_of_istio(service: &Value) -> bool {
    label(service, "istio").is_some() || label(service, MADE_GATEWAY).is_some()
}

fn ports(service: &Value) -> impl Iterator<Item = &Value> {
    service
        .pointer("/spec/ports")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

/// Pods in the mesh behind several Services that use one port for different protocols (IST0116).
fn service_association(seen: &Seen<'_>) -> Vec<Finding> {
    let mut by_label = HashMap::<(&str, &str, &str), Vec<&Value>>::new();
    for service in &seen.services {
        // One of the labels finds the candidates; all of them decide.
        let selector = service.pointer("/spec/selector").and_then(Value::as_object);
        if let Some((key, value)) = selector.and_then(|selector| selector.iter().next()) {
            let key = (
                namespace(service),
                key.as_str(),
                value.as_str().unwrap_or_default(),
            );
            by_label.entry(key).or_default().push(service);
        }
    }
    let mut findings = Vec::new();
    for pod in seen.pods.iter().filter(|pod| proxies::of_pod(pod).is_some()) {
        let labels = pod.pointer("/metadata/labels").and_then(Value::as_object);
        let mut used = BTreeMap::<String, (&str, String)>::new();
        let candidates = labels.into_iter().flatten().filter_map(|(key, value)| {
            by_label.get(&(namespace(pod), key.as_str(), value.as_str().unwrap_or_default()))
        });
        let mut services: Vec<&&Value> = candidates
            .flatten()
            .filter(|service| selects(service, pod))
            .collect();
        services.sort_by_key(|service| name(service));
        for service in services {
            for port in ports(service) {
                let target = if port["targetPort"].is_null() {
                    &port["port"]
                } else {
                    &port["targetPort"]
                };
                let protocol = protocol(port);
                let (other, before) = used
                    .entry(target.to_string())
                    .or_insert_with(|| (name(service), protocol.clone()));
                if *before != protocol {
                    findings.push(
                        Finding::warning(
                            "serviceassociation",
                            format!(
                                "pod {} in namespace \"{}\" gets {before} by Service {other} and \
                                 {protocol} by Service {} on port {target}",
                                name(pod),
                                namespace(pod),
                                name(service)
                            ),
                        )
                        .about(reference("v1", "Pod", pod))
                        .remedy("use one protocol for one port, in all Services of a workload"),
                    );
                }
            }
        }
    }
    findings
}

fn protocol(port: &Value) -> String {
    let of_app = text(port, "/appProtocol");
    if !of_app.is_empty() {
        return of_app.to_owned();
    }
    let first = text(port, "/name").split('-').next().unwrap_or_default();
    if PROTOCOLS.contains(&first) {
        first.to_owned()
    } else {
        "a protocol that is guessed".to_owned()
    }
}

fn selects(service: &Value, pod: &Value) -> bool {
    let selector = service.pointer("/spec/selector").and_then(Value::as_object);
    selector.is_some_and(|selector| {
        selector
            .iter()
            .all(|(key, value)| label(pod, key) == value.as_str())
    })
}

/// Routes to hosts that nobody has (IST0101).
fn dangling_host(seen: &Seen<'_>) -> Vec<Finding> {
    let mut known: BTreeSet<String> = seen
        .services
        .iter()
        .map(|service| qualified(name(service), namespace(service)))
        .collect();
    let entries: Vec<&str> = seen
        .facts
        .objects(ROUTING, "ServiceEntry")
        .flat_map(hosts)
        .collect();
    known.extend(entries.iter().map(|&host| host.to_owned()));
    // Without entries, a host outside of the cluster may well be one that is not seen.
    let entries_whole = kind_is_whole(seen.facts, ROUTING, "ServiceEntry");
    let mut findings = Vec::new();
    for route in seen.routes() {
        for host in destinations(route) {
            let full = qualified(host, namespace(route));
            let wildcard = entries
                .iter()
                .filter_map(|entry| entry.strip_prefix('*'))
                .any(|domain| host.ends_with(domain));
            let inside = full.ends_with(SERVICES);
            if known.contains(&full) || known.contains(host) || wildcard || (!inside && !entries_whole) {
                continue;
            }
            let message = format!(
                "VirtualService {} in namespace \"{}\" leads to host \"{host}\", which is no Service and no ServiceEntry",
                name(route),
                namespace(route)
            );
            let remedy = "name a Service that is there (NAME for one of the route's own namespace, \
                          NAME.NAMESPACE.svc.cluster.local for any: a host with a dot is taken as it is), or declare the host as a \
                          ServiceEntry";
            let finding = Finding::error("danglingroutedestinationhost", message).remedy(remedy);
            findings.push(finding.about(reference(ROUTING_VERSION, "VirtualService", route)));
        }
    }
    findings
}

/// The hosts that a route leads to, each once, those that only get a copy too.
fn destinations(route: &Value) -> BTreeSet<&str> {
    fn of<'a>(rule: &'a Value, list: &str) -> impl Iterator<Item = &'a str> {
        let entries = rule.get(list).and_then(Value::as_array);
        entries
            .into_iter()
            .flatten()
            .map(|entry| text(entry, "/destination/host"))
    }
    ["http", "tcp", "tls"]
        .into_iter()
        .filter_map(|kind| route["spec"][kind].as_array())
        .flatten()
        .flat_map(|rule| {
            let mirror = text(rule, "/mirror/host");
            of(rule, "route").chain(of(rule, "mirrors")).chain([mirror])
        })
        .filter(|host| !host.is_empty())
        .collect()
}

fn hosts(object: &Value) -> impl Iterator<Item = &str> {
    let hosts = object.pointer("/spec/hosts").and_then(Value::as_array);
    hosts.into_iter().flatten().filter_map(Value::as_str)
}

/// A host as Istio takes it: one without a dot is a Service of the object's own namespace, any other is what it is. A
/// cluster may have another domain than the usual one, which is not seen here: it is taken for the usual one.
fn qualified(host: &str, of_namespace: &str) -> String {
    if !host.contains('.') && !host.starts_with('*') {
        return format!("{host}.{of_namespace}{SERVICES}");
    }
    match host.split_once(".svc.") {
        Some((inside, _)) => format!("{inside}{SERVICES}"),
        None => host.to_owned(),
    }
}
