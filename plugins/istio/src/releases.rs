//! Istio's Helm releases as facts show them, by the chart each was made from.

use meshery_mesh_kit::ownership;
use meshery_plugin_api::message::facts::Facts;

use crate::control_plane::{BASE, CNI, EGRESS_GATEWAY, GATEWAY, ISTIOD, ZTUNNEL};

/// What a release is for, in the order of removal: what others depend on goes last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Gateway,
    Ztunnel,
    Cni,
    Istiod,
    Base,
}

impl Part {
    /// Name of the chart, and of the step that removes a release of it.
    pub fn chart(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Ztunnel => "ztunnel",
            Self::Cni => "cni",
            Self::Istiod => "istiod",
            Self::Base => "base",
        }
    }

    /// Objects of old charts do not say which chart they are from; the conventional names do.
    fn of(chart: &str, release: &str) -> Option<Self> {
        match (chart, release) {
            ("gateway", _) | ("", GATEWAY | EGRESS_GATEWAY) => Some(Self::Gateway),
            ("ztunnel", _) | ("", ZTUNNEL) => Some(Self::Ztunnel),
            ("cni", _) | ("", CNI) => Some(Self::Cni),
            ("istiod", _) | ("", ISTIOD) => Some(Self::Istiod),
            ("base", _) | ("", BASE) => Some(Self::Base),
            _ => None,
        }
    }
}

/// A release of a part.
pub type PartRelease = ownership::PartRelease<Part>;

/// Istio's releases, in the order of removal.
pub fn of_istio(facts: &Facts) -> Vec<PartRelease> {
    ownership::part_releases(facts, Part::of)
}

/// What the release of a part is called in a namespace: as it is there, whoever has named it, else as usual.
pub fn named(facts: &Facts, namespace: &str, part: Part, usual: &str) -> String {
    let releases = of_istio(facts).into_iter();
    let mut names = releases
        .filter(|release| release.part == part && release.id.namespace == namespace)
        .map(|release| release.id.name);
    let first = names.next();
    let is_there = first.as_deref() == Some(usual) || names.any(|name| name == usual);
    first.filter(|_| !is_there).unwrap_or_else(|| usual.to_owned())
}
