//! Who is in the mesh, by what asks for it: the annotation of a namespace is for all of its pods, that of a workload for its own.

use std::collections::{BTreeMap, BTreeSet};

use meshery_mesh_kit::members::{self, Place};
use meshery_mesh_kit::object::{annotation, label, name, namespace, text};
use meshery_plugin_api::message::facts::Facts;
use meshery_plugin_api::message::finding::Finding;
use meshery_plugin_api::message::member::Members;
use semver::Version;
use serde_json::Value;

use crate::control_plane::{CONTROL_PLANE_NS, INJECT, PROXY_VERSION};
use crate::detect::proxies;
use crate::versions;

/// How many names a finding lists.
const LISTED: usize = 5;

/// What is said of the proxies that are there, and of those that are not.
pub fn findings(facts: &Facts, of_namespace: &str, version: &str) -> Vec<Finding> {
    let mut findings: Vec<Finding> = proxied(facts, of_namespace).into_iter().collect();
    findings.extend(behind(facts, of_namespace, version));
    findings.extend(without_proxy(facts, of_namespace));
    findings
}

/// Whether a value of the annotation asks for a proxy.
fn asks(value: &str) -> bool {
    matches!(value, "enabled" | "ingress")
}

fn is_over(pod: &Value) -> bool {
    matches!(text(pod, "/status/phase"), "Succeeded" | "Failed")
}

/// Namespaces whose new pods get a proxy, unless they decline.
fn annotated(facts: &Facts) -> BTreeSet<&str> {
    let all = facts.objects("", "Namespace");
    all.filter(|object| annotation(object, INJECT).is_some_and(asks))
        .map(name)
        .collect()
}

/// Namespaces in the mesh, by their annotation or by pods that have proxies; and how many pods those are.
pub fn of(facts: &Facts, of_namespace: &str) -> (Vec<String>, usize) {
    let mut names = annotated(facts);
    let mut pods = 0;
    for pod in proxies(facts, of_namespace) {
        names.insert(namespace(pod));
        pods += 1;
    }
    (names.into_iter().map(str::to_owned).collect(), pods)
}

/// Which workloads are in the mesh, and which are out of it.
pub fn members(facts: &Facts, of_namespace: &str, version: &str) -> Members {
    let ours = Version::parse(version).ok();
    let annotated = annotated(facts);
    let namespaces = facts.objects("", "Namespace").map(name);
    let pods = facts.objects("", "Pod").map(|pod| {
        let place = if is_over(pod) {
            Place::Elsewhere
        } else if label(pod, CONTROL_PLANE_NS) != Some(of_namespace) {
            Place::Out
        } else if is_of_another(pod, ours.as_ref()) {
            Place::Behind
        } else {
            Place::Inside
        };
        (pod, place)
    });
    let namespaces = namespaces.map(|name| (name, annotated.contains(name)));
    members::of(of_namespace, namespaces, pods)
}

/// Whether a proxy is of another version than the control plane, as far as both are known.
fn is_of_another(pod: &Value, ours: Option<&Version>) -> bool {
    let theirs = annotation(pod, PROXY_VERSION).and_then(versions::parse);
    matches!((ours, theirs), (Some(ours), Some(theirs)) if theirs != *ours)
}

/// How many proxies each namespace has.
fn proxied(facts: &Facts, of_namespace: &str) -> Option<Finding> {
    let mut counts = BTreeMap::<&str, usize>::new();
    for pod in proxies(facts, of_namespace) {
        *counts.entry(namespace(pod)).or_default() += 1;
    }
    if counts.is_empty() {
        return None;
    }
    let counted: Vec<String> = counts
        .iter()
        .map(|(namespace, count)| format!("{count} in {namespace}"))
        .collect();
    let message = format!("proxies: {}", counted.join(", "));
    Some(Finding::info("linkerd-proxies", message))
}

/// Pods that ask for a proxy, by their own annotation or by their namespace's, and have none; but for those that no proxy is put
/// into, on their node's network, and those that are over. To restart any other one would do nothing.
fn without_proxy(facts: &Facts, of_namespace: &str) -> Vec<Finding> {
    let annotated = annotated(facts);
    let mut by_namespace = BTreeMap::<&str, Vec<&str>>::new();
    for pod in facts.objects("", "Pod") {
        let is_in = label(pod, CONTROL_PLANE_NS) == Some(of_namespace);
        let asks = annotation(pod, INJECT).map_or_else(|| annotated.contains(namespace(pod)), asks);
        let cannot = pod.pointer("/spec/hostNetwork").and_then(Value::as_bool) == Some(true) || is_over(pod);
        if !is_in && asks && !cannot {
            by_namespace.entry(namespace(pod)).or_default().push(name(pod));
        }
    }
    by_namespace
        .into_iter()
        .map(|(member, mut pods)| {
            pods.sort_unstable();
            let count = pods.len();
            pods.truncate(LISTED);
            let more = if count > LISTED { ", ..." } else { "" };
            Finding::warning(
                "linkerd-pods-without-proxy",
                format!(
                    "{count} pods in namespace \"{member}\" ask for a proxy and have none: {}{more}",
                    pods.join(", ")
                ),
            )
            .remedy(
                "restart their workloads (operation restart): they were made before they asked for it, \
                 or while no injector answered",
            )
        })
        .collect()
}

/// Proxies of another version than the control plane's.
fn behind(facts: &Facts, of_namespace: &str, version: &str) -> Option<Finding> {
    let ours = Version::parse(version).ok()?;
    let mut old = BTreeMap::<&str, usize>::new();
    for pod in proxies(facts, of_namespace) {
        if is_of_another(pod, Some(&ours)) {
            *old.entry(namespace(pod)).or_default() += 1;
        }
    }
    if old.is_empty() {
        return None;
    }
    let (pods, of): (usize, usize) = (old.values().sum(), old.len());
    let listed: Vec<&str> = old.keys().copied().take(LISTED).collect();
    let more = if of > LISTED { ", ..." } else { "" };
    Some(
        Finding::warning(
            "linkerd-proxies-behind",
            format!(
                "{pods} pods have proxies of another version than {}: in {}{more}",
                versions::name(&ours),
                listed.join(", ")
            ),
        )
        .remedy("restart them, one namespace after the other (operation restart)"),
    )
}
