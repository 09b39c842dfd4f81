//! Which versions of Istio the adapter knows, from the project's release announcements and support table.

use meshery_mesh_kit::catalogue::{Catalogue, PinnedChart, PinnedVersion};

/// The pinned versions, and the ends of support from the project's table of supported releases; of lines
/// that are left out the day is not known for certain. No digest is pinned: a mirror's archive is packed by whoever made the mirror, so that no two
/// of one version need be alike, and the repository's index has digests of its own, which a refresh of the versions
/// keeps.
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
    support_ends: &[
        ("1.13", "2022-10-12"),
        ("1.14", "2022-12-27"),
        ("1.15", "2023-04-04"),
        ("1.16", "2023-07-25"),
        ("1.17", "2023-10-27"),
        ("1.18", "2024-01-04"),
        ("1.19", "2024-04-24"),
        ("1.20", "2024-06-25"),
        ("1.21", "2024-09-27"),
        ("1.23", "2025-04-16"),
        ("1.25", "2025-09-30"),
        ("1.26", "2025-12-22"),
        ("1.29", "2026-10-12"),
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
        PinnedChart::new("base", version),
        PinnedChart::new("istiod", version),
        PinnedChart::new("cni", version),
        PinnedChart::new("ztunnel", version),
        PinnedChart::new("gateway", version),
    ]
}
