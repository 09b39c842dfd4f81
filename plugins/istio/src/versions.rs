//! Which versions of Istio the adapter knows, from the project's release announcements and support table.

use meshery_mesh_kit::catalogue::{Catalogue, PinnedChart, PinnedVersion};

/// The pinned versions. No digest is pinned: a mirror's archive is packed by whoever made the mirror, and the
/// repository's index has digests of its own.
pub const CATALOGUE: Catalogue = Catalogue {
    mesh: crate::MESH,
    repository: "https://istio-release.storage.googleapis.com/charts",
    pinned: &[
        PinnedVersion {
            version: "1.31.0-rc.0",
            kubernetes: ">=1.32",
            charts: &charts("1.31.0-rc.0"),
        },
        PinnedVersion {
            version: "1.30.3",
            kubernetes: ">=1.32, <1.37",
            charts: &charts("1.30.3"),
        },
        PinnedVersion {
            version: "1.30.2",
            kubernetes: ">=1.32, <1.37",
            charts: &charts("1.30.2"),
        },
        PinnedVersion {
            version: "1.30.1",
            kubernetes: ">=1.32, <1.37",
            charts: &charts("1.30.1"),
        },
        PinnedVersion {
            version: "1.30.0",
            kubernetes: ">=1.32, <1.37",
            charts: &charts("1.30.0"),
        },
        PinnedVersion {
            version: "1.29.1",
            kubernetes: ">=1.31, <1.36",
            charts: &charts("1.29.1"),
        },
    ],
};

/// The path below a registry where a version's charts look for images.
pub fn hub(version: &semver::Version) -> &'static str {
    if (version.major, version.minor) < (1, 30) {
        "istio"
    } else {
        "release"
    }
}

/// Charts of a version all have its number.
const fn charts(version: &'static str) -> [PinnedChart; 5] {
    [
        chart("base", version),
        chart("istiod", version),
        chart("cni", version),
        chart("ztunnel", version),
        chart("gateway", version),
    ]
}

const fn chart(name: &'static str, version: &'static str) -> PinnedChart {
    PinnedChart {
        name,
        version,
        sha256: "",
    }
}
