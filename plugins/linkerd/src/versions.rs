//! Which versions of Linkerd the adapter knows, and the two lines they are of.
//!
//! *Edge* is all that the project publishes since February 2024, under the date of the release. *Stable* ended in public
//! with 2.14.10; what is called stable since then is some vendor's, from elsewhere. So edge is what is installed unless
//! stable is asked for. No digest is pinned here: a mirror's archive is packed by whoever made the mirror and is named by
//! its own digest in the plan, and the repository's index has digests of its own, which a refresh of the versions keeps.
//! Only edge is refreshed, since stable gets no new versions. Edge has no ends of support: a release is supported until
//! the next one.

use meshery_mesh_kit::catalogue::{Catalogue, Chosen, PinnedChart, PinnedVersion};
use meshery_mesh_kit::parameter;
use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::descriptor::{ChartRepository, MeshVersion};
use meshery_plugin_api::message::plan::PlanRequest;
use semver::Version;

/// The lines; the first is the one that is chosen without a wish.
pub const LINES: [&str; 2] = ["edge", "stable"];
/// When the stable line ended in public.
pub const STABLE_ENDED: &str = "2024-02-20";

/// Edge: chart versions are dates, edge-26.8.3 is 2026.8.3.
pub const EDGE: Catalogue = Catalogue {
    mesh: "Linkerd (edge)",
    repository: "https://helm.linkerd.io/edge",
    pinned: &[
        PinnedVersion {
            version: "2026.8.3",
            kubernetes: ">=1.31",
            charts: &edge("2026.8.3"),
        },
        PinnedVersion {
            version: "2025.10.7",
            kubernetes: ">=1.23",
            charts: &edge("2025.10.7"),
        },
    ],
    support_ends: &[],
};

/// Stable, frozen.
pub const STABLE: Catalogue = Catalogue {
    mesh: "Linkerd (stable)",
    repository: "https://helm.linkerd.io/stable",
    pinned: &[PinnedVersion {
        version: "2.14.10",
        kubernetes: ">=1.21",
        charts: &[
            PinnedChart::new("linkerd-crds", "1.8.0"),
            PinnedChart::new("linkerd-control-plane", "1.16.11"),
        ],
    }],
    support_ends: &[("2.14", STABLE_ENDED)],
};

/// SMI is a project of its own, archived; no version is pinned, so a mirror has to have the chart.
pub const SMI: Catalogue = Catalogue {
    mesh: "Linkerd SMI",
    repository: "https://linkerd.github.io/linkerd-smi",
    pinned: &[],
    support_ends: &[],
};

const fn edge(version: &'static str) -> [PinnedChart; 5] {
    [
        PinnedChart::new("linkerd-crds", version),
        PinnedChart::new("linkerd-control-plane", version),
        PinnedChart::new("linkerd2-cni", version),
        PinnedChart::new("linkerd-viz", version),
        PinnedChart::new("linkerd-multicluster", version),
    ]
}

/// All of them, edge first.
pub fn all() -> Vec<MeshVersion> {
    let mut versions = EDGE.versions();
    versions.extend(STABLE.versions());
    versions
}

/// The repositories that may list further ones.
pub fn repositories() -> Vec<ChartRepository> {
    vec![EDGE.chart_repository(
        &["linkerd-crds", "linkerd-control-plane"],
        &["linkerd2-cni", "linkerd-viz", "linkerd-multicluster"],
    )]
}

/// A version of Linkerd and its line.
pub struct Release {
    pub line: &'static str,
    pub chosen: Chosen,
}

impl Release {
    /// As the project writes it: edge-26.8.3, stable-2.14.10.
    pub fn name(&self) -> String {
        name(&self.chosen.version)
    }
}

/// As the project writes it.
pub fn name(version: &Version) -> String {
    match line_of(version) {
        "stable" => format!("stable-{version}"),
        line => format!(
            "{line}-{}.{}.{}",
            version.major.saturating_sub(2000),
            version.minor,
            version.patch
        ),
    }
}

/// Edge has years for major versions.
pub fn line_of(version: &Version) -> &'static str {
    if version.major < 1000 { "stable" } else { "edge" }
}

/// A version in any of the forms that it is written in: `edge-26.8.3`, `26.8.3`, `2026.8.3`, `stable-2.14.10`, `2.14.10`.
pub fn parse(text: &str) -> Option<Version> {
    let (line, number) = match text.split_once('-') {
        Some((line @ ("edge" | "stable"), number)) => (line, number),
        _ => ("", text.strip_prefix('v').unwrap_or(text)),
    };
    let mut version = Version::parse(number).ok()?;
    let short_year = (20..1000).contains(&version.major);
    if line != "stable" && short_year {
        version.major += 2000;
    }
    (line.is_empty() || line == line_of(&version)).then_some(version)
}

/// The version that a request asks for, made of these charts.
pub fn choose(request: &PlanRequest, charts: &[&str]) -> Result<Release, PluginError> {
    choose_or(request, "", charts)
}

/// The same with the version that is wanted where a request names none; "" for the newest.
pub fn choose_or(request: &PlanRequest, usual: &str, charts: &[&str]) -> Result<Release, PluginError> {
    let asked = parameter::text(request, "version", usual)?;
    let line = parameter::choice(request, "line", &LINES)?;
    let wanted = parse(asked);
    // What a version is called says more than the default of a parameter.
    let line = match &wanted {
        Some(version) => line_of(version),
        None if asked.starts_with("stable-") => "stable",
        None => line,
    };
    let written = wanted.map_or_else(|| asked.to_owned(), |version| version.to_string());
    let catalogue = if line == "stable" { STABLE } else { EDGE };
    let chosen = catalogue
        .choose(&written, charts, &request.facts)
        .map_err(|error| {
            if line == "stable" {
                let charts = charts.join(", ");
                error
                    .cause(format!(
                        "the stable line ended in public with stable-2.14.10 ({STABLE_ENDED}); newer stable releases are a \
                         vendor's, and the project itself publishes edge (charts asked for: {charts})"
                    ))
                    .remedy("choose stable-2.14.10, or a version of line edge such as edge-26.8.3")
            } else {
                error
            }
        })?;
    Ok(Release { line, chosen })
}
