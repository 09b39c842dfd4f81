//! Which versions of a mesh can be installed: a table pinned in the adapter, and what the mirror adds to it.
//!
//! The table is data, not the answer of a web page at start-up: no network, no rate limit, never empty. A version
//! that was asked for is used or refused, never replaced. Without a wish the newest release is taken, and a
//! candidate only when it is asked for by its full name.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::descriptor::MeshVersion;
use meshery_plugin_api::message::facts::ChartFact;
use meshery_plugin_api::message::plan::ChartRef;
use semver::Version;

/// How many versions an error lists at most.
const LISTED: usize = 6;

/// The versions of a mesh that its adapter has pinned.
#[derive(Debug, Clone, Copy)]
pub struct Catalogue {
    /// Name of the mesh for people.
    pub mesh: &'static str,
    /// https address of the repository that holds the charts.
    pub repository: &'static str,
    /// The versions, in any order.
    pub pinned: &'static [PinnedVersion],
}

/// One version in the table.
#[derive(Debug, Clone, Copy)]
pub struct PinnedVersion {
    /// Version of the mesh (semver).
    pub version: &'static str,
    /// Range of Kubernetes versions it supports (semver range), empty if unknown.
    pub kubernetes: &'static str,
    /// Its charts.
    pub charts: &'static [PinnedChart],
}

/// A chart of a pinned version.
#[derive(Debug, Clone, Copy)]
pub struct PinnedChart {
    /// Chart name.
    pub name: &'static str,
    /// Chart version.
    pub version: &'static str,
    /// SHA-256 of the archive in hexadecimal; empty when none is pinned, and then the mirror's is taken, if it has
    /// the version, or else what the repository's index says.
    pub sha256: &'static str,
}

/// A version that was chosen, with the charts that make it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// Version of the mesh.
    pub version: Version,
    /// Range of Kubernetes versions it supports, empty if unknown.
    pub kubernetes: String,
    /// Whether the adapter has pinned it; otherwise it is the mirror's alone.
    pub pinned: bool,
    charts: Vec<ChartRef>,
}

impl Chosen {
    /// Fills in the digests that are not pinned.
    fn take_digests(&mut self, mirrored: &Self) {
        for chart in self.charts.iter_mut().filter(|chart| chart.sha256.is_empty()) {
            if let Some(held) = mirrored
                .charts
                .iter()
                .find(|held| (&held.name, &held.version) == (&chart.name, &chart.version))
            {
                chart.sha256.clone_from(&held.sha256);
            }
        }
    }

    /// The chart with this name.
    pub fn chart(&self, name: &str) -> Result<ChartRef, PluginError> {
        self.charts
            .iter()
            .find(|c| c.name == name)
            .cloned()
            .ok_or_else(|| {
                PluginError::new(
                    "chart-unknown",
                    format!("version {} has no chart \"{name}\"", self.version),
                )
                .cause("the adapter asked for a chart that it had not named when it chose the version")
            })
    }
}

impl Catalogue {
    /// The pinned versions, newest first.
    pub fn versions(&self) -> Vec<MeshVersion> {
        let mut versions: Vec<(Version, MeshVersion)> = self
            .pinned
            .iter()
            .filter_map(|pinned| {
                let version = Version::parse(pinned.version).ok()?;
                let listed = MeshVersion {
                    version: pinned.version.into(),
                    stable: version.pre.is_empty(),
                    kubernetes: pinned.kubernetes.into(),
                };
                Some((version, listed))
            })
            .collect();
        versions.sort_by(|(a, _), (b, _)| b.cmp(a));
        versions.into_iter().map(|(_, listed)| listed).collect()
    }

    /// The version that was asked for ("" for the newest release), made of these charts.
    pub fn choose(&self, asked: &str, charts: &[&str], mirror: &[ChartFact]) -> Result<Chosen, PluginError> {
        let mut known = self.mirrored(charts, mirror);
        // What is pinned counts more than what a mirror says.
        for (version, mut pinned) in self.pinned(charts)? {
            if let Some(mirrored) = known.get(&version) {
                pinned.take_digests(mirrored);
            }
            known.insert(version, pinned);
        }
        let asked = asked.trim();
        if asked.is_empty() {
            return known
                .into_values()
                .rev()
                .find(|chosen| chosen.version.pre.is_empty())
                .ok_or_else(|| self.nothing());
        }
        let wanted = Version::parse(asked.strip_prefix('v').unwrap_or(asked)).ok();
        match wanted.as_ref().and_then(|version| known.remove(version)) {
            Some(chosen) => Ok(chosen),
            None => Err(self.unknown(asked, wanted.as_ref(), charts, mirror, &known)),
        }
    }

    fn pinned(&self, charts: &[&str]) -> Result<BTreeMap<Version, Chosen>, PluginError> {
        let mut known = BTreeMap::new();
        for pinned in self.pinned {
            let version = Version::parse(pinned.version).map_err(|error| {
                PluginError::new(
                    "catalogue-broken",
                    format!("{} \"{}\" in the catalogue: {error}", self.mesh, pinned.version),
                )
            })?;
            let found: Vec<ChartRef> = charts
                .iter()
                .filter_map(|name| pinned.charts.iter().find(|chart| chart.name == *name))
                .map(|chart| ChartRef {
                    name: chart.name.into(),
                    version: chart.version.into(),
                    repository: self.repository.into(),
                    sha256: chart.sha256.into(),
                })
                .collect();
            if found.len() == charts.len() {
                let chosen = Chosen {
                    version: version.clone(),
                    kubernetes: pinned.kubernetes.into(),
                    pinned: true,
                    charts: found,
                };
                known.insert(version, chosen);
            }
        }
        Ok(known)
    }

    /// Versions of which the mirror holds every chart. Mirrors hold other projects' charts too, and names such as
    /// "base" are common; that all are there with one version of the application tells them apart.
    fn mirrored(&self, charts: &[&str], mirror: &[ChartFact]) -> BTreeMap<Version, Chosen> {
        let mut found = BTreeMap::<Version, Vec<ChartRef>>::new();
        for name in charts {
            let mut of_this_name = BTreeSet::new();
            for fact in mirror.iter().filter(|fact| fact.name == *name) {
                let Some(version) = mesh_version(fact) else {
                    continue;
                };
                if of_this_name.insert(version.clone()) {
                    found.entry(version).or_default().push(ChartRef {
                        name: fact.name.clone(),
                        version: fact.version.clone(),
                        repository: self.repository.into(),
                        sha256: fact.sha256.clone(),
                    });
                }
            }
        }
        found
            .into_iter()
            .filter(|(_, refs)| !refs.is_empty() && refs.len() == charts.len())
            .map(|(version, charts)| {
                let chosen = Chosen {
                    version: version.clone(),
                    kubernetes: String::new(),
                    pinned: false,
                    charts,
                };
                (version, chosen)
            })
            .collect()
    }

    fn unknown(
        &self,
        asked: &str,
        wanted: Option<&Version>,
        charts: &[&str],
        mirror: &[ChartFact],
        known: &BTreeMap<Version, Chosen>,
    ) -> PluginError {
        let error = PluginError::new(
            "unknown-version",
            format!("{} has no version \"{asked}\" here", self.mesh),
        )
        .remedy(format!(
            "choose one of {}, or add the charts of \"{asked}\" ({}) to the mirror",
            listed(wanted, known),
            charts.join(", ")
        ));
        let (held, missing): (Vec<&str>, Vec<&str>) = charts.iter().partition(|name| {
            wanted.is_some()
                && mirror
                    .iter()
                    .any(|fact| fact.name == **name && mesh_version(fact).as_ref() == wanted)
        });
        if held.is_empty() {
            error.cause("neither the adapter's catalogue nor the mirror has it")
        } else {
            error.cause(format!(
                "the mirror holds {} of that version, but not {}",
                held.join(", "),
                missing.join(", ")
            ))
        }
    }

    fn nothing(&self) -> PluginError {
        PluginError::new("unknown-version", format!("no release of {} is known", self.mesh))
            .cause("the catalogue and the mirror hold candidates only, or nothing")
            .remedy("name a version, or add the charts of a release to the mirror")
    }
}

/// The version of the mesh that a chart is part of: its application's, or else its own.
fn mesh_version(fact: &ChartFact) -> Option<Version> {
    let parse = |text: &str| Version::parse(text.strip_prefix('v').unwrap_or(text)).ok();
    parse(&fact.app_version).or_else(|| parse(&fact.version))
}

/// The versions nearest to the one that was wanted, newest first.
fn listed(wanted: Option<&Version>, known: &BTreeMap<Version, Chosen>) -> String {
    let mut near: Vec<&Version> = known.keys().rev().collect();
    if let Some(wanted) = wanted {
        near.sort_by_key(|v| {
            (
                v.major.abs_diff(wanted.major),
                v.minor.abs_diff(wanted.minor),
                v.patch.abs_diff(wanted.patch),
            )
        });
    }
    near.truncate(LISTED);
    near.sort_by_key(|version| Reverse(*version));
    let near: Vec<String> = near.into_iter().map(Version::to_string).collect();
    near.join(", ")
}

#[cfg(test)]
mod tests;
