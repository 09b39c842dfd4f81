//! Whether a cluster has what an installation asks for: nodes that are large enough, quotas that let its pods in, a network plugin that
//! lets others in, clocks that agree.
//!
//! Whether the identity may write what the plan writes is the preview's to say, object by object: the server itself is asked.

use std::collections::BTreeSet;

use meshery_plugin_api::message::facts::{Detail, Facts, Need};
use meshery_plugin_api::message::finding::Finding;
use meshery_plugin_api::message::object_ref::ObjectRef;
use serde_json::Value;

use crate::certificate::seconds;
use crate::need;
use crate::object::{name, namespace as namespace_of, text};

/// From how many seconds on clocks differ enough to be named: certificates are valid from the moment they are made.
const SKEW_S: i64 = 60;
/// In which namespace each node renews its Lease every ten seconds.
const NODE_LEASES: &str = "kube-node-lease";
/// Where Cilium says how it deals with other plugins of the nodes' network.
const CILIUM: (&str, &str) = ("kube-system", "cilium-config");

/// The pods that come into a namespace, and what they ask for all together.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pods<'a> {
    /// The namespace.
    pub namespace: &'a str,
    /// How many they are.
    pub count: u64,
    /// Thousandths of a processor.
    pub cpu_m: u64,
    /// Memory in MiB.
    pub memory_mib: u64,
}

/// What an installation asks for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wish<'a> {
    /// Its pods; those of a namespace may be in several parts.
    pub pods: &'a [Pods<'a>],
    /// What its largest pod asks for: thousandths of a processor.
    pub cpu_m: u64,
    /// The same for memory, in MiB.
    pub memory_mib: u64,
    /// Whether it puts a plugin into the nodes' network.
    pub uses_cni: bool,
}

/// What has to be read for it; namespaces as [`Need::namespace`] has them.
pub fn needs(namespaces: &[&str]) -> Vec<Need> {
    let mut needs = vec![
        need::everywhere("", "Node", "", Detail::Full),
        need::within(NODE_LEASES, "coordination.k8s.io", "Lease", "", Detail::Full),
        need::one(CILIUM.0, "", "ConfigMap", CILIUM.1, Detail::Full),
    ];
    needs.extend(namespaces.iter().map(|namespace| quota_need(namespace)));
    needs
}

/// What has to be read for the quotas of a namespace alone.
pub fn quota_need(namespace: &str) -> Need {
    need::within(namespace, "", "ResourceQuota", "", Detail::Full)
}

/// What speaks against it. Of what could not be read nothing is said here.
pub fn findings(facts: &Facts, wish: &Wish<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(room(facts, wish));
    findings.extend(quotas(facts, wish.pods));
    findings.extend(wish.uses_cni.then(|| network(facts)).flatten());
    findings.extend(clocks(facts));
    findings.extend(servers_clock(facts));
    findings
}

/// How many nodes are seen: of what runs on each of them there are as many pods.
pub fn nodes(facts: &Facts) -> u64 {
    facts.objects("", "Node").count() as u64
}

/// On how many nodes new pods may be put; nothing where none is seen: a cluster may get nodes when pods ask.
pub fn nodes_for_pods(facts: &Facts) -> Option<usize> {
    let mut nodes = facts.objects("", "Node").peekable();
    nodes.peek()?;
    Some(nodes.filter(|node| takes_pods(node)).count())
}

/// Whether a node would take the largest pod if it were empty: what runs there already is not looked at. A cluster without
/// nodes may get them when pods ask.
fn room(facts: &Facts, wish: &Wish<'_>) -> Option<Finding> {
    let mut nodes = facts.objects("", "Node").peekable();
    nodes.peek()?;
    let mut ready = nodes.filter(|node| takes_pods(node)).peekable();
    if ready.peek().is_none() {
        return Some(
            Finding::warning("no-node-ready", "no node is ready and takes pods").remedy(
                "`kubectl get nodes` says which are not; see \
                 https://kubernetes.io/docs/concepts/architecture/nodes/",
            ),
        );
    }
    let allocatable = |node: &Value, what: &str| quantity(text(node, &format!("/status/allocatable/{what}")));
    let fits = |node: &Value| {
        // A node that does not say how much it has is not doubted.
        allocatable(node, "cpu").is_none_or(|milli| milli >= u128::from(wish.cpu_m))
            && allocatable(node, "memory")
                .is_none_or(|milli| milli / 1000 >= u128::from(wish.memory_mib) << 20)
    };
    (!ready.any(fits)).then(|| {
        Finding::warning(
            "no-node-large-enough",
            format!(
                "no node is large enough for a pod that asks for {} m of processors and {} MiB of \
                 memory, were it empty (what runs there was not looked at)",
                wish.cpu_m, wish.memory_mib
            ),
        )
        .remedy(
            "add a larger node, or have the chart ask for less (values); see \
             https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/",
        )
    })
}

fn takes_pods(node: &Value) -> bool {
    let list = |pointer: &str| node.pointer(pointer).and_then(Value::as_array);
    let is_ready = list("/status/conditions")
        .into_iter()
        .flatten()
        .any(|condition| text(condition, "/type") == "Ready" && text(condition, "/status") == "True");
    let repels = list("/spec/taints")
        .into_iter()
        .flatten()
        .any(|taint| ["NoSchedule", "NoExecute"].contains(&text(taint, "/effect")));
    let cordoned = node.pointer("/spec/unschedulable") == Some(&Value::Bool(true));
    is_ready && !repels && !cordoned
}

/// What is left of quotas, and whether they refuse pods that name no limits.
pub fn quotas(facts: &Facts, pods: &[Pods<'_>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    // Several needs may have asked for one.
    let mut seen = BTreeSet::new();
    for quota in facts.objects("", "ResourceQuota") {
        let of_namespace = || pods.iter().filter(|pods| pods.namespace == namespace_of(quota));
        let sum = |of: fn(&Pods<'_>) -> u64| of_namespace().map(of).sum::<u64>();
        let (count, cpu_m, memory_mib) = (
            sum(|pods| pods.count),
            sum(|pods| pods.cpu_m),
            sum(|pods| pods.memory_mib),
        );
        if count == 0 || !seen.insert((namespace_of(quota), name(quota))) {
            continue;
        }
        let object = ObjectRef::new("v1", "ResourceQuota", namespace_of(quota), name(quota));
        let left = |what: &str| {
            let value = |part: &str| {
                let map = quota.pointer(&format!("/status/{part}"))?;
                quantity(map.get(what)?.as_str()?)
            };
            Some(value("hard")?.saturating_sub(value("used").unwrap_or(0)))
        };
        let (count_milli, memory_milli) = (u128::from(count) * 1_000, (u128::from(memory_mib) << 20) * 1_000);
        let short: Vec<&str> = [
            ("pods", count_milli),
            ("count/pods", count_milli),
            ("cpu", u128::from(cpu_m)),
            ("requests.cpu", u128::from(cpu_m)),
            ("memory", memory_milli),
            ("requests.memory", memory_milli),
        ]
        .into_iter()
        .filter(|(what, wanted)| left(what).is_some_and(|left| left < *wanted))
        .map(|(what, _)| what)
        .collect();
        if !short.is_empty() {
            findings.push(
                Finding::warning(
                    "quota-exceeded",
                    format!(
                        "{object} has too little left of {} for what comes: pods: {count}, with \
                         requests for {cpu_m} m of processors and {memory_mib} MiB of memory",
                        short.join(", ")
                    ),
                )
                .about(object.clone())
                .remedy(
                    "raise it, or choose another namespace; see \
                     https://kubernetes.io/docs/concepts/policy/resource-quotas/",
                ),
            );
        }
        let hard = quota.pointer("/spec/hard").and_then(Value::as_object);
        if hard.is_some_and(|hard| hard.keys().any(|key| key.starts_with("limits."))) {
            findings.push(
                Finding::warning(
                    "quota-wants-limits",
                    format!("{object} refuses pods whose containers name no limits"),
                )
                .about(object.clone())
                .remedy(
                    "have the chart name limits (values), or give the namespace a LimitRange; see \
                     https://kubernetes.io/docs/concepts/policy/limit-range/",
                ),
            );
        }
    }
    findings
}

/// Cilium takes away what other plugins put beside it, unless it is told not to.
fn network(facts: &Facts) -> Option<Finding> {
    let config = facts
        .objects("", "ConfigMap")
        .find(|object| namespace_of(object) == CILIUM.0 && name(object) == CILIUM.1)?;
    (text(config, "/data/cni-exclusive") == "true").then(|| {
        Finding::error(
            "cni-exclusive",
            "Cilium keeps the nodes' network to itself (cni-exclusive): the CNI plugin would be taken out \
             again",
        )
        .about(ObjectRef::new("v1", "ConfigMap", CILIUM.0, CILIUM.1))
        .remedy(
            "set cni.exclusive=false in Cilium's values; see \
             https://docs.cilium.io/en/stable/network/servicemesh/istio/",
        )
    })
}

/// The newest Lease of a node was renewed just now, seen from the right clock.
fn clocks(facts: &Facts) -> Option<Finding> {
    let renewed = facts
        .objects("coordination.k8s.io", "Lease")
        .filter(|lease| namespace_of(lease) == NODE_LEASES)
        .filter_map(|lease| Some((seconds(text(lease, "/spec/renewTime"))?, name(lease))));
    let (newest, node) = renewed.max()?;
    let ahead = newest - seconds(&facts.now)?;
    // Leases in the past may as well be of nodes that are gone.
    (ahead > SKEW_S).then(|| {
        Finding::warning(
            "clock-skew",
            format!("the clock of node {node} is {ahead} s ahead of this host's"),
        )
        .about(ObjectRef::new("v1", "Node", "", node))
        .remedy("set both by NTP: a certificate counts only from the moment on that its maker's clock showed")
    })
}

/// What the server says of its clock with each answer. Behind counts as much as ahead: what is made here is valid for it only later,
/// and ends for it later.
fn servers_clock(facts: &Facts) -> Option<Finding> {
    let ahead = facts.cluster.ahead_s?;
    (ahead.abs() > SKEW_S).then(|| {
        let which = if ahead > 0 { "ahead of" } else { "behind" };
        Finding::warning(
            "clock-skew",
            format!(
                "the clock of the API server is {} s {which} this host's",
                ahead.abs()
            ),
        )
        .remedy("set both by NTP: a certificate counts only from the moment on that its maker's clock showed")
    })
}

/// A quantity of Kubernetes in thousandths.
fn quantity(quantity: &str) -> Option<u128> {
    let digits = quantity
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(quantity.len());
    let (number, unit) = quantity.split_at(digits);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let fraction: String = fraction.chars().chain("000".chars()).take(3).collect();
    let milli = whole.parse::<u128>().ok()?.checked_mul(1000)? + fraction.parse::<u128>().ok()?;
    let factor = match unit {
        "m" => return Some(milli / 1000),
        "" => 1,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        _ => return None,
    };
    milli.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use meshery_plugin_api::message::facts::KindFacts;
    use serde_json::json;

    use super::*;

    fn facts(objects: &[(&str, &str, Value)]) -> Facts {
        let kinds = objects.iter().map(|(group, kind, object)| KindFacts {
            need: Need {
                group: (*group).into(),
                kind: (*kind).into(),
                ..Need::default()
            },
            objects: vec![object.clone()],
            ..KindFacts::default()
        });
        Facts {
            now: "2026-11-27T00:00:00Z".into(),
            kinds: kinds.collect(),
            ..Facts::default()
        }
    }

    const WISH: Wish<'_> = Wish {
        pods: &[
            Pods {
                namespace: "mesh",
                count: 2,
                cpu_m: 1_000,
                memory_mib: 1_024,
            },
            Pods {
                namespace: "mesh",
                count: 1,
                cpu_m: 500,
                memory_mib: 1_024,
            },
            Pods {
                namespace: "edge",
                count: 1,
                cpu_m: 100,
                memory_mib: 128,
            },
        ],
        cpu_m: 500,
        memory_mib: 2048,
        uses_cni: true,
    };

    fn codes(objects: &[(&str, &str, Value)]) -> Vec<String> {
        let found = findings(&facts(objects), &WISH);
        assert!(found.iter().all(|finding| !finding.remedy.is_empty()));
        found.into_iter().map(|finding| finding.code).collect()
    }

    fn node(ready: &str, memory: &str) -> (&'static str, &'static str, Value) {
        let node = json!({"metadata": {"name": "a"}, "status": {
            "conditions": [{"type": "Ready", "status": ready}],
            "allocatable": {"cpu": "2", "memory": memory}}});
        ("", "Node", node)
    }

    #[test]
    fn nodes_that_are_not_ready_or_too_small_are_named_and_none_at_all_is_nothing_to_say() {
        assert!(codes(&[]).is_empty());
        assert!(codes(&[node("True", "4Gi")]).is_empty());
        assert_eq!(codes(&[node("False", "4Gi")]), ["no-node-ready"]);
        assert_eq!(codes(&[node("True", "1500Mi")]), ["no-node-large-enough"]);
        let mut cordoned = node("True", "4Gi");
        cordoned.2["spec"]["unschedulable"] = true.into();
        assert_eq!(codes(&[cordoned]), ["no-node-ready"]);
    }

    #[test]
    fn quotas_with_too_little_left_or_that_want_limits_are_named() {
        let quota = |namespace: &str, used: &str, more: &str| {
            let mut hard = json!({"requests.memory": "4Gi"});
            if !more.is_empty() {
                hard[more] = "8".into();
            }
            let quota = json!({"metadata": {"name": "q", "namespace": namespace}, "spec": {"hard": hard},
                "status": {"hard": hard, "used": {"requests.memory": used}}});
            ("", "ResourceQuota", quota)
        };
        assert!(codes(&[quota("mesh", "1Gi", "")]).is_empty());
        assert_eq!(codes(&[quota("mesh", "3Gi", "")]), ["quota-exceeded"]);
        assert_eq!(codes(&[quota("mesh", "0", "limits.cpu")]), ["quota-wants-limits"]);
        assert!(codes(&[quota("other", "4Gi", "limits.cpu")]).is_empty());
    }

    #[test]
    fn a_quota_is_held_against_all_pods_of_its_namespace_and_what_they_ask_for_together() {
        let quota = |namespace: &str, what: &str, hard: &str| {
            let hard = json!({what: hard});
            let quota = json!({"metadata": {"name": "q", "namespace": namespace}, "spec": {"hard": hard},
                "status": {"hard": hard, "used": {what: "0"}}});
            ("", "ResourceQuota", quota)
        };
        for (what, enough, short) in [
            ("pods", "3", "2"),
            ("count/pods", "3", "2"),
            ("requests.cpu", "1500m", "1499m"),
            ("requests.memory", "2Gi", "2047Mi"),
        ] {
            assert!(codes(&[quota("mesh", what, enough)]).is_empty(), "{what}");
            assert_eq!(codes(&[quota("mesh", what, short)]), ["quota-exceeded"], "{what}");
            // Another namespace gets fewer.
            assert!(codes(&[quota("edge", what, short)]).is_empty(), "{what}");
        }
        let said = findings(&facts(&[quota("mesh", "pods", "2")]), &WISH);
        assert!(
            said[0].message.contains("left of pods for what comes: pods: 3"),
            "{said:?}"
        );
    }

    #[test]
    fn a_network_that_lets_no_other_plugin_in_is_an_error() {
        let config = |exclusive: &str| {
            let config = json!({"metadata": {"name": "cilium-config", "namespace": "kube-system"},
                "data": {"cni-exclusive": exclusive}});
            ("", "ConfigMap", config)
        };
        assert_eq!(codes(&[config("true")]), ["cni-exclusive"]);
        assert!(codes(&[config("false")]).is_empty());
    }

    #[test]
    fn a_node_whose_clock_is_ahead_is_named() {
        let lease = |renewed: &str| {
            let lease = json!({"metadata": {"name": "a", "namespace": "kube-node-lease"},
                "spec": {"renewTime": renewed}});
            ("coordination.k8s.io", "Lease", lease)
        };
        assert!(codes(&[lease("2026-11-27T00:00:50.000000Z")]).is_empty());
        assert!(codes(&[lease("2026-11-26T23:00:00.000000Z")]).is_empty());
        assert_eq!(codes(&[lease("2026-11-27T00:02:00.000000Z")]), ["clock-skew"]);
    }

    #[test]
    fn a_server_whose_clock_is_ahead_or_behind_is_named() {
        let said = |ahead_s| {
            let mut facts = facts(&[]);
            facts.cluster.ahead_s = ahead_s;
            findings(&facts, &WISH)
                .into_iter()
                .map(|finding| finding.message)
                .collect::<Vec<_>>()
        };
        assert!(said(None).is_empty() && said(Some(-3)).is_empty() && said(Some(60)).is_empty());
        assert!(said(Some(61))[0].contains("61 s ahead of"));
        assert!(said(Some(-3600))[0].contains("3600 s behind"));
    }

    #[test]
    fn quantities_are_read_in_all_their_units() {
        assert_eq!(quantity("500m"), Some(500));
        assert_eq!(quantity("2"), Some(2_000));
        assert_eq!(quantity("1.5"), Some(1_500));
        assert_eq!(quantity("2Ki"), Some(2_048_000));
        assert_eq!(quantity("1G"), Some(1_000_000_000_000));
        assert_eq!(quantity("many"), None);
    }
}
