//! Profiles: what a word such as "demo" means in terms of charts. The charts themselves know fewer of them than istioctl
//! does, and call an unknown one an error.

use meshery_mesh_kit::platform;
use meshery_plugin_api::message::facts::Facts;

/// A profile by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile {
    pub name: &'static str,
    /// The value `profile` of the charts; none where the charts' own defaults are meant.
    pub of_charts: Option<&'static str>,
    /// Without sidecars: nodes redirect traffic, so the CNI plugin and a proxy for each node come with it.
    pub ambient: bool,
    pub ingress: bool,
    pub egress: bool,
}

/// The first is the one that is meant when none is named.
pub const PROFILES: [Profile; 4] = [
    Profile {
        name: "default",
        of_charts: None,
        ambient: false,
        ingress: true,
        egress: false,
    },
    Profile {
        name: "demo",
        of_charts: Some("demo"),
        ambient: false,
        ingress: true,
        egress: true,
    },
    Profile {
        name: "minimal",
        of_charts: None,
        ambient: false,
        ingress: false,
        egress: false,
    },
    Profile {
        name: "ambient",
        of_charts: Some("ambient"),
        ambient: true,
        ingress: false,
        egress: false,
    },
];

pub const NAMES: [&str; 4] = ["default", "demo", "minimal", "ambient"];

impl Profile {
    /// The profile of a name that is one of [`NAMES`].
    pub fn of(name: &str) -> Self {
        PROFILES
            .into_iter()
            .find(|profile| profile.name == name)
            .unwrap_or(PROFILES[0])
    }

    /// Whether nodes redirect the traffic of pods: without sidecars, and where no pod may do that by itself, for which the charts
    /// then rely on it.
    pub fn has_cni(self, platform: Option<&str>) -> bool {
        self.ambient || platform == Some("openshift")
    }

    /// Its charts on a platform, in the order of installation.
    pub fn charts(self, platform: Option<&str>) -> Vec<&'static str> {
        let mut charts = vec!["base", "istiod"];
        charts.extend(self.has_cni(platform).then_some("cni"));
        charts.extend(self.ambient.then_some("ztunnel"));
        if self.ingress || self.egress {
            charts.push("gateway");
        }
        charts
    }
}

/// Platforms for which the charts have values; the first asks the facts, the second is none of them.
pub const PLATFORMS: [&str; 8] = [
    "auto",
    "none",
    "gke",
    "k3d",
    "k3s",
    "microk8s",
    "minikube",
    "openshift",
];

/// The value `platform` of the charts.
pub fn platform(asked: &'static str, facts: &Facts) -> Option<&'static str> {
    match asked {
        "auto" => platform::recognised(facts),
        "none" => None,
        named => Some(named),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_of_the_profiles() {
        assert_eq!(PROFILES.map(|profile| profile.name), NAMES);
        for name in NAMES {
            assert_eq!(Profile::of(name).name, name);
        }
    }

    #[test]
    fn nodes_are_prepared_after_the_control_plane_and_before_their_proxies() {
        assert_eq!(
            Profile::of("ambient").charts(None),
            ["base", "istiod", "cni", "ztunnel"]
        );
        assert_eq!(Profile::of("demo").charts(None), ["base", "istiod", "gateway"]);
        assert_eq!(Profile::of("minimal").charts(Some("gke")), ["base", "istiod"]);
        let on_openshift = Profile::of("minimal").charts(Some("openshift"));
        assert_eq!(on_openshift, ["base", "istiod", "cni"]);
    }

    #[test]
    fn a_platform_is_recognised_by_what_its_server_says() {
        let facts = |version: &str, apis: &[&str]| {
            let mut facts = Facts::default();
            facts.cluster.version = version.into();
            facts.cluster.apis = apis.iter().map(|&api| api.to_owned()).collect();
            facts
        };
        let of = |facts: &Facts| platform("auto", facts);
        assert_eq!(of(&facts("v1.33.5-gke.1080000", &[])), Some("gke"));
        assert_eq!(of(&facts("v1.36.3+k3s1", &[])), Some("k3s"));
        let scc = "security.openshift.io/v1/SecurityContextConstraints";
        assert_eq!(of(&facts("v1.36.3", &[scc])), Some("openshift"));
        assert_eq!(of(&facts("v1.36.3", &[])), None);
        assert_eq!(platform("none", &facts("v1.36.3+k3s1", &[])), None);
        assert_eq!(platform("minikube", &facts("", &[])), Some("minikube"));
    }
}
