//! Platforms whose nodes are not as others are: where the network's plugins lie, and what pods may do.

use meshery_plugin_api::message::facts::Facts;

/// What the version and the kinds of a server give away. k3d is k3s inside, and says so.
pub fn recognised(facts: &Facts) -> Option<&'static str> {
    let version = &facts.cluster.version;
    let openshift = facts
        .cluster
        .apis
        .iter()
        .any(|api| api.starts_with("security.openshift.io/"));
    if openshift {
        Some("openshift")
    } else if version.contains("-gke.") {
        Some("gke")
    } else if version.contains("+k3s") {
        Some("k3s")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use meshery_plugin_api::message::facts::ClusterFacts;

    use super::*;

    #[test]
    fn a_platform_is_recognised_by_what_its_server_says() {
        let of = |version: &str, apis: &[&str]| {
            recognised(&Facts {
                cluster: ClusterFacts {
                    version: version.into(),
                    apis: apis.iter().map(ToString::to_string).collect(),
                    ..ClusterFacts::default()
                },
                ..Facts::default()
            })
        };
        assert_eq!(of("v1.36.3", &[]), None);
        assert_eq!(of("v1.36.3-gke.1080000", &[]), Some("gke"));
        assert_eq!(of("v1.36.3+k3s1", &[]), Some("k3s"));
        let scc = "security.openshift.io/v1/SecurityContextConstraints";
        assert_eq!(of("v1.36.3", &[scc]), Some("openshift"));
    }
}
