//! Linkerd's Helm releases as facts show them, by the chart each was made from.

use meshery_mesh_kit::ownership;
use meshery_plugin_api::message::facts::Facts;

use crate::control_plane::{CNI, CONTROL_PLANE, CRDS};

/// What a release is for, in the order of removal: what others depend on goes last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Smi,
    Multicluster,
    Viz,
    ControlPlane,
    Crds,
    Cni,
}

impl Part {
    /// Name of the step that removes a release of it.
    pub fn step(self) -> &'static str {
        match self {
            Self::Smi => "smi",
            Self::Multicluster => "multicluster",
            Self::Viz => "viz",
            Self::ControlPlane => "control-plane",
            Self::Crds => "crds",
            Self::Cni => "cni",
        }
    }

    /// Most objects of Linkerd's charts do not say which chart they are from; the usual names of releases do.
    fn of(chart: &str, release: &str) -> Option<Self> {
        match (chart, release) {
            ("linkerd-smi", _) | ("", "linkerd-smi") => Some(Self::Smi),
            ("linkerd-multicluster", _) | ("", "linkerd-multicluster") => Some(Self::Multicluster),
            ("linkerd-viz", _) | ("", "linkerd-viz") => Some(Self::Viz),
            ("linkerd-control-plane", _) | ("", CONTROL_PLANE) => Some(Self::ControlPlane),
            ("linkerd-crds", _) | ("", CRDS) => Some(Self::Crds),
            ("linkerd2-cni", _) | ("", CNI) => Some(Self::Cni),
            _ => None,
        }
    }
}

/// A release of a part.
pub type PartRelease = ownership::PartRelease<Part>;

/// Linkerd's releases, in the order of removal.
pub fn of_linkerd(facts: &Facts) -> Vec<PartRelease> {
    ownership::part_releases(facts, Part::of)
}
