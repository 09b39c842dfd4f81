//! The CNI plugin: where it finds the network's own on the nodes of a platform, and whether it is there.

use meshery_mesh_kit::object::{label, name, namespace};
use meshery_mesh_kit::platform::recognised;
use meshery_mesh_kit::{need, precheck};
use meshery_plugin_api::message::facts::{Detail, Facts, Need};
use meshery_plugin_api::message::finding::Finding;
use serde_json::{Value, json};

use crate::MESH;
use crate::control_plane::CNI;

/// Platforms whose nodes have these elsewhere; the first asks the facts, the second is none of them.
pub const PLATFORMS: [&str; 7] = ["auto", "none", "gke", "k3d", "k3s", "microk8s", "openshift"];
/// Label of what the plugin's chart makes.
pub const OF_PLUGIN: &str = "linkerd.io/cni-resource";

/// The platform that is meant, if it is one of them.
pub fn platform(asked: &'static str, facts: &Facts) -> Option<&'static str> {
    match asked {
        "auto" => recognised(facts).filter(|platform| PLATFORMS.contains(platform)),
        "none" => None,
        named => Some(named),
    }
}

/// Where plugins and their configuration lie on nodes, as values of the plugin's chart; its own are those of most.
pub fn values(platform: Option<&str>) -> Value {
    let (programs, configuration) = match platform {
        Some("gke") => ("/home/kubernetes/bin", "/etc/cni/net.d"),
        Some("k3d") => ("/bin", "/var/lib/rancher/k3s/agent/etc/cni/net.d"),
        Some("k3s") => (
            "/var/lib/rancher/k3s/data/cni",
            "/var/lib/rancher/k3s/agent/etc/cni/net.d",
        ),
        Some("microk8s") => (
            "/var/snap/microk8s/current/opt/cni/bin",
            "/var/snap/microk8s/current/args/cni-network",
        ),
        Some("openshift") => ("/var/lib/cni/bin", "/etc/kubernetes/cni/net.d"),
        _ => return json!({}),
    };
    json!({"destCNIBinDir": programs, "destCNINetDir": configuration})
}

/// What `OpenShift` demands beyond that, which no chart of Linkerd's brings.
pub fn of_openshift(platform: Option<&str>, with_plugin: bool) -> Option<Finding> {
    if platform != Some("openshift") {
        return None;
    }
    Some(if with_plugin {
        Finding::warning(
            "linkerd-openshift",
            format!("OpenShift lets no pod reach into its node unless its service account may: {CNI}/{CNI}"),
        )
        .remedy(format!(
            "`oc adm policy add-scc-to-user privileged -z {CNI} -n {CNI}`, before the plugin is waited for"
        ))
    } else {
        Finding::warning(
            "linkerd-openshift",
            format!("OpenShift refuses the rights that the init container of a proxy of {MESH} needs"),
        )
        .remedy("install it with the CNI plugin (parameter cni)")
    })
}

/// What tells whether the plugin is there.
pub fn need() -> Need {
    need::everywhere("apps", "DaemonSet", &format!("{OF_PLUGIN}=true"), Detail::Full)
}

/// Whether the plugin is seen.
pub fn is_there(facts: &Facts) -> bool {
    facts.objects("apps", "DaemonSet").any(is_plugin)
}

/// Whether a `DaemonSet` is it.
pub fn is_plugin(object: &Value) -> bool {
    label(object, OF_PLUGIN) == Some("true") || name(object) == CNI
}

/// The plugin is there and not on every node: where it is not, pods with a proxy do not start.
pub fn missing_on_nodes(facts: &Facts) -> Option<Finding> {
    let plugin = facts
        .objects("apps", "DaemonSet")
        .find(|object| is_plugin(object))?;
    let count = |what: &str| plugin.pointer(&format!("/status/{what}")).and_then(Value::as_u64);
    let ready = count("numberReady").unwrap_or(0);
    // It may be kept from nodes by a selector or by taints, as far as nodes were read.
    let wanted = count("desiredNumberScheduled")?.max(precheck::nodes(facts));
    (ready < wanted).then(|| {
        Finding::warning(
            "linkerd-cni-nodes",
            format!(
                "the CNI plugin is ready on {ready} of {wanted} nodes: on the others pods with a \
                 proxy do not start"
            ),
        )
        .remedy(format!(
            "`kubectl get pods --namespace {} --output wide` says on which it is not; its \
             taints and selectors are values of chart linkerd2-cni",
            namespace(plugin)
        ))
    })
}

#[cfg(test)]
mod tests {
    use meshery_plugin_api::message::facts::KindFacts;

    use super::*;

    #[test]
    fn each_platform_has_its_own_places_and_the_others_the_chart_s() {
        let told = PLATFORMS
            .iter()
            .filter(|name| values(Some(name)) != json!({}))
            .count();
        assert_eq!(told, PLATFORMS.len() - 2);
        assert_eq!(values(None), json!({}));
        assert_eq!(values(Some("gke"))["destCNIBinDir"], "/home/kubernetes/bin");
        assert_eq!(
            values(Some("openshift"))["destCNINetDir"],
            "/etc/kubernetes/cni/net.d"
        );
        assert!(of_openshift(Some("k3s"), true).is_none());
        assert!(
            of_openshift(Some("openshift"), true)
                .unwrap()
                .remedy
                .contains("add-scc")
        );
        assert!(
            of_openshift(Some("openshift"), false)
                .unwrap()
                .remedy
                .contains("cni")
        );
    }

    #[test]
    fn a_plugin_that_is_not_ready_on_every_node_is_told() {
        let said = |status: Value, nodes: usize| {
            let plugin = json!({"metadata": {"name": CNI, "namespace": CNI}, "status": status});
            let kinds = [
                ("apps", "DaemonSet", vec![plugin]),
                ("", "Node", vec![json!({}); nodes]),
            ];
            let kinds = kinds.into_iter().map(|(group, kind, objects)| KindFacts {
                need: need::everywhere(group, kind, "", Detail::Full),
                objects,
                ..KindFacts::default()
            });
            let facts = Facts {
                kinds: kinds.collect(),
                ..Facts::default()
            };
            missing_on_nodes(&facts).map(|finding| finding.message)
        };
        let status = |ready: u64| json!({"desiredNumberScheduled": 2, "numberReady": ready});
        assert_eq!(said(status(2), 0), None);
        assert_eq!(said(status(2), 2), None);
        let told = said(status(1), 0);
        assert!(told.is_some_and(|told| told.contains("ready on 1 of 2 nodes")));
        let kept_from_one = said(status(2), 3);
        assert!(kept_from_one.is_some_and(|told| told.contains("ready on 2 of 3 nodes")));
        assert!(missing_on_nodes(&Facts::default()).is_none());
    }
}
