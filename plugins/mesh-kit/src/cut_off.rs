//! Who would lose its control plane: told before the control plane goes, workload by workload.

use meshery_plugin_api::message::finding::Finding;
use serde_json::Value;

use crate::object::namespace;
use crate::owner::{self, Owner};

/// How many workloads are named: all of them, but for meshes whose list nobody would read.
const NAMED: usize = 500;

/// What these pods with proxies are of, each once: `Deployment shop/web`.
pub fn workloads<'a>(pods: impl Iterator<Item = &'a Value>) -> Vec<String> {
    let mut workloads: Vec<String> = pods.map(workload).collect();
    workloads.sort();
    workloads.dedup();
    workloads
}

fn workload(pod: &Value) -> String {
    let Owner { kind, name } = owner::of(pod);
    format!("{kind} {}/{name}", namespace(pod))
}

/// The same in words, and how many there are beyond those that are named; nothing when there are none.
pub fn listed<'a>(pods: impl Iterator<Item = &'a Value>) -> Option<String> {
    in_words(workloads(pods))
}

fn in_words(mut workloads: Vec<String>) -> Option<String> {
    let count = workloads.len();
    workloads.truncate(NAMED);
    if count > NAMED {
        workloads.push(format!("and {} more", count - NAMED));
    }
    (count > 0).then(|| workloads.join(", "))
}

/// A warning that names them; nothing when there are none.
pub fn warning<'a>(pods: impl Iterator<Item = &'a Value>, remedy: &str) -> Option<Finding> {
    let workloads = workloads(pods);
    let count = workloads.len();
    let named = in_words(workloads)?;
    Some(
        Finding::warning(
            "workloads-cut-off",
            format!("{count} workloads have proxies that would lose their control plane: {named}"),
        )
        .remedy(remedy),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pods_are_told_by_what_they_are_of() {
        let pod = |name: &str, owner: Value, hash: &str| {
            let owners = if owner.is_null() {
                json!([])
            } else {
                json!([owner])
            };
            json!({"metadata": {"name": name, "namespace": "shop", "labels": {"pod-template-hash": hash},
                "ownerReferences": owners}})
        };
        let owner = |kind: &str, name: &str| json!({"kind": kind, "name": name, "controller": true});
        let pods = [
            pod("web-5d8f-a", owner("ReplicaSet", "web-5d8f"), "5d8f"),
            pod("web-5d8f-b", owner("ReplicaSet", "web-5d8f"), "5d8f"),
            pod("db-0", owner("StatefulSet", "db"), ""),
            pod("lonely", Value::Null, ""),
        ];
        assert_eq!(
            workloads(pods.iter()),
            ["Deployment shop/web", "Pod shop/lonely", "StatefulSet shop/db"]
        );
        let found = warning(pods.iter(), "restart them").unwrap();
        assert!(found.message.starts_with("3 workloads"), "{}", found.message);
        assert!(warning(pods[..0].iter(), "").is_none());
    }

    #[test]
    fn each_workload_is_named_and_of_very_many_how_many_more_there_are() {
        let said = |count: usize| {
            let pods: Vec<Value> = (0..count)
                .map(|at| json!({"metadata": {"name": format!("pod-{at:04}"), "namespace": "shop"}}))
                .collect();
            warning(pods.iter(), "").unwrap().message
        };
        let all = said(NAMED);
        assert!(
            all.ends_with("Pod shop/pod-0499") && all.contains("Pod shop/pod-0250"),
            "{all}"
        );
        assert!(said(NAMED + 3).ends_with("Pod shop/pod-0499, and 3 more"));
    }
}
