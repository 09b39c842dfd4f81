//! Which versions of a mesh can be installed: a table pinned in the adapter, and what the mirror and the repository's
//! index add to it.
//!
//! The table is data, not the answer of a web page at start-up: no network, no rate limit, never empty. A version
//! that was asked for is used or refused, never replaced. Without a wish the newest release is taken that is pinned or
//! held by the mirror, because somebody has chosen those; what an index lists nobody here has tried, so that it is
//! installed only when it is asked for, as a candidate is.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::descriptor::{ChartRepository, MeshVersion, SupportEnd};
use meshery_plugin_api::message::facts::{ChartFact, Facts};
use meshery_plugin_api::message::finding::Finding;
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
    /// Lines of versions (`1.29`) and the last day of their support, oldest first; those that are not known are left
    /// out.
    pub support_ends: &'static [(&'static str, &'static str)],
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
    /// SHA-256 of the archive in hexadecimal, which is held against every archive, wherever it comes from; empty when
    /// none is pinned, and then it is the mirror's, if it has the version, or else what the repository's index said
    /// when the versions were refreshed, or says when the archive is fetched.
    pub sha256: &'static str,
}

impl PinnedChart {
    /// One of which no digest is pinned.
    pub const fn new(name: &'static str, version: &'static str) -> Self {
        Self {
            name,
            version,
            sha256: "",
        }
    }
}

/// A version that was chosen, with the charts that make it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// Version of the mesh.
    pub version: Version,
    /// Range of Kubernetes versions it supports, empty if unknown.
    pub kubernetes: String,
    /// How it is known.
    pub source: Source,
    charts: Vec<ChartRef>,
}

/// How a version is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The adapter has pinned it.
    Pinned,
    /// Only the mirror has it.
    Mirror,
    /// Only the repository's index lists it.
    Repository,
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

    /// What whoever installs it should know of where it is known from, under this name of it.
    pub fn note(&self, name: &str) -> Option<String> {
        let known = match self.source {
            Source::Pinned => return None,
            Source::Mirror => format!("{name} is known from the mirror only"),
            Source::Repository => format!(
                "{name} is known from the repository's index only: this adapter's plans were not tried with it"
            ),
        };
        Some(if self.kubernetes.is_empty() {
            format!("{known}; which versions of Kubernetes it supports is not known.")
        } else {
            format!(
                "{known}; its charts say that it supports Kubernetes {}.",
                self.kubernetes
            )
        })
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
                    end_of_life: self.end_of_life(&version).unwrap_or_default().into(),
                    charts: pinned
                        .charts
                        .iter()
                        .map(|chart| ChartFact {
                            name: chart.name.into(),
                            version: chart.version.into(),
                            app_version: pinned.version.into(),
                            sha256: chart.sha256.into(),
                            ..ChartFact::default()
                        })
                        .collect(),
                };
                Some((version, listed))
            })
            .collect();
        versions.sort_by(|(a, _), (b, _)| b.cmp(a));
        versions.into_iter().map(|(_, listed)| listed).collect()
    }

    /// The repository, as a descriptor names it, with the charts that every installation takes and that some take.
    pub fn chart_repository(&self, charts: &[&str], optional: &[&str]) -> ChartRepository {
        let named = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        ChartRepository {
            address: self.repository.into(),
            charts: named(charts),
            optional: named(optional),
        }
    }

    /// When support of lines of versions ends, as a descriptor says it.
    pub fn support_ends(&self) -> Vec<SupportEnd> {
        let ends = self.support_ends.iter();
        ends.map(|(line, date)| SupportEnd {
            line: (*line).into(),
            date: (*date).into(),
        })
        .collect()
    }

    /// The last day of a version's support, if it is known.
    pub fn end_of_life(&self, version: &Version) -> Option<&'static str> {
        let line = (version.major, version.minor);
        let mut ends = self.support_ends.iter();
        ends.find(|(of, _)| line_of(of) == Some(line))
            .map(|(_, end)| *end)
    }

    /// A warning when support of a version has ended at a moment (RFC 3339). A line whose own end is not known has
    /// ended when a newer one has.
    pub fn ended(&self, version: &Version, now: &str) -> Option<Finding> {
        let today = now.get(..10)?;
        let line = (version.major, version.minor);
        let has_ended = |(of, end): &&(&str, &str)| line_of(of) >= Some(line) && *end < today;
        let (of, end) = self.support_ends.iter().find(has_ended)?;
        let when = if line_of(of) == Some(line) {
            "on"
        } else {
            "at the latest on"
        };
        Some(
            Finding::warning(
                "version-end-of-life",
                format!(
                    "support of {} {}.{} has ended {when} {end}: {version} gets no corrections any \
                     more, also not of its security",
                    self.mesh, version.major, version.minor
                ),
            )
            .remedy(match self.newest_supported(today) {
                Some(newest) => format!("go over to a version that is supported, such as {newest}"),
                None => "go over to a version that is supported".into(),
            }),
        )
    }

    fn newest_supported(&self, today: &str) -> Option<Version> {
        self.pinned
            .iter()
            .filter_map(|pinned| Version::parse(pinned.version).ok())
            .filter(|version| version.pre.is_empty())
            .filter(|version| self.end_of_life(version).is_none_or(|end| end >= today))
            .max()
    }

    /// The version that was asked for ("" for the newest release), made of these charts.
    pub fn choose(&self, asked: &str, charts: &[&str], facts: &Facts) -> Result<Chosen, PluginError> {
        let mut known = self.complete(Source::Repository, charts, self.of_index(facts));
        // What is pinned counts more than what a mirror says, and that more than an index.
        for (version, mirrored) in self.complete(Source::Mirror, charts, facts.charts.iter()) {
            known.insert(version, mirrored);
        }
        for (version, mut pinned) in self.pinned(charts)? {
            if let Some(other) = known.get(&version) {
                pinned.take_digests(other);
            }
            known.insert(version, pinned);
        }
        let asked = asked.trim();
        if asked.is_empty() {
            return known
                .into_values()
                .rev()
                .find(|chosen| chosen.version.pre.is_empty() && chosen.source != Source::Repository)
                .ok_or_else(|| self.nothing());
        }
        let wanted = Version::parse(asked.strip_prefix('v').unwrap_or(asked)).ok();
        match wanted.as_ref().and_then(|version| known.remove(version)) {
            Some(chosen) => Ok(chosen),
            None => Err(self.unknown(asked, wanted.as_ref(), charts, facts, &known)),
        }
    }

    /// Every version that can be asked for of these charts: pinned, in the mirror or in the index; the oldest first.
    pub fn known(&self, charts: &[&str], facts: &Facts) -> Vec<Version> {
        let mut known = self.complete(Source::Repository, charts, self.of_index(facts));
        known.extend(self.complete(Source::Mirror, charts, facts.charts.iter()));
        known.extend(self.pinned(charts).unwrap_or_default());
        known.into_keys().collect()
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
                    source: Source::Pinned,
                    charts: found,
                };
                known.insert(version, chosen);
            }
        }
        Ok(known)
    }

    /// Versions of which every chart is there. Mirrors hold other projects' charts too, and names such as "base" are
    /// common; that all are there with one version of the application tells them apart.
    fn complete<'a>(
        &self,
        source: Source,
        charts: &[&str],
        there: impl Iterator<Item = &'a ChartFact> + Clone,
    ) -> BTreeMap<Version, Chosen> {
        let mut found = BTreeMap::<Version, (Vec<ChartRef>, Vec<&str>)>::new();
        for name in charts {
            let mut of_this_name = BTreeSet::new();
            for fact in there.clone().filter(|fact| fact.name == *name) {
                let Some(version) = mesh_version(fact) else {
                    continue;
                };
                if of_this_name.insert(version.clone()) {
                    let (refs, ranges) = found.entry(version).or_default();
                    refs.push(ChartRef {
                        name: fact.name.clone(),
                        version: fact.version.clone(),
                        repository: self.repository.into(),
                        sha256: fact.sha256.clone(),
                    });
                    let range = fact.kubernetes.trim();
                    if !range.is_empty() && !ranges.contains(&range) {
                        ranges.push(range);
                    }
                }
            }
        }
        found
            .into_iter()
            .filter(|(_, (refs, _))| !refs.is_empty() && refs.len() == charts.len())
            .map(|(version, (charts, ranges))| {
                let chosen = Chosen {
                    version: version.clone(),
                    kubernetes: ranges.join(", "),
                    source,
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
        facts: &Facts,
        known: &BTreeMap<Version, Chosen>,
    ) -> PluginError {
        let error = PluginError::new(
            "unknown-version",
            format!("{} has no version \"{asked}\" here", self.mesh),
        )
        .remedy(format!(
            "choose one of {}, have the versions refreshed from the repository, or add the charts of \"{asked}\" ({}) to \
             the mirror",
            listed(wanted, known),
            charts.join(", ")
        ));
        let in_part = |place: &str, there: &[&ChartFact]| {
            let is_there = |name: &&str| {
                let mut of_name = there.iter().filter(|fact| fact.name == **name);
                wanted.is_some() && of_name.any(|fact| mesh_version(fact).as_ref() == wanted)
            };
            let (held, missing): (Vec<&str>, Vec<&str>) = charts.iter().partition(|name| is_there(name));
            (!held.is_empty()).then(|| {
                format!(
                    "{place} {} of that version, but not {}",
                    held.join(", "),
                    missing.join(", ")
                )
            })
        };
        let mirror: Vec<&ChartFact> = facts.charts.iter().collect();
        let cause = in_part("the mirror holds", &mirror)
            .or_else(|| in_part("the repository lists", &self.of_index(facts).collect::<Vec<_>>()));
        error.cause(cause.unwrap_or_else(|| {
            "neither the adapter's catalogue nor the mirror has it, nor did the repository list it when it was last asked"
                .into()
        }))
    }

    /// What the index of this repository lists.
    fn of_index<'a>(&self, facts: &'a Facts) -> impl Iterator<Item = &'a ChartFact> + Clone + use<'a> {
        let repository = self.repository;
        let listed = facts.listed.iter();
        listed.filter(move |chart| chart.repository == repository)
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

/// Major and minor number.
fn line_of(text: &str) -> Option<(u64, u64)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
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
