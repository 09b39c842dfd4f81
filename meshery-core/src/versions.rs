//! The versions of a mesh that can be installed: those that its adapter has pinned, those that the mirror holds, and
//! those that the repositories of its charts list.
//!
//! The first are there by themselves and the second are looked at each time. The last are asked for when somebody says
//! so and at no other moment; what the indexes said is kept by the provider, as a whole or not at all, and adapters are
//! told it with each request for a plan. Nothing that a repository lists changes what is installed without a wish.

use std::collections::BTreeMap;
use std::time::Duration;

use meshery_plugin_api::message::descriptor::{AdapterDescriptor, ChartRepository, MeshVersion};
use meshery_plugin_api::message::document::{Document, Expect};
use meshery_plugin_api::message::facts::ChartFact;
use semver::Version;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::MutexGuard;

use crate::meshery::Meshery;
use crate::operation::clock;
use crate::plugin::Adapter;
use crate::problem::{Problem, ProblemKind};
use crate::provider::Store;

/// Kind of the documents; the id is the adapter's name.
const KIND: &str = "mesh-versions";
/// Repositories of an adapter that are asked at most, and charts that are kept of all of them.
const REPOSITORIES: usize = 8;
const CHARTS: usize = 2000;
/// Indexes are large: they are read one after the other, and this is how long one waits for its turn.
const TURN: Duration = Duration::from_secs(30);

/// The versions of an adapter's mesh.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct VersionList {
    /// Name of the adapter.
    pub adapter: String,
    /// Name of the mesh.
    pub mesh: String,
    /// When the repositories were asked last; none when they never were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refreshed: Option<String>,
    /// The versions, newest first.
    pub items: Vec<KnownVersion>,
}

/// A version and how it is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KnownVersion {
    /// What is known of it; digests as far as the adapter, the mirror or the repository's index says them.
    #[serde(flatten)]
    pub version: MeshVersion,
    /// How it is known.
    pub source: VersionSource,
    /// Address of the repository whose index lists it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub repository: String,
}

/// How a version is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum VersionSource {
    /// The adapter has pinned it.
    Pinned,
    /// The mirror, or a bundle that was loaded, holds its charts.
    Mirror,
    /// A repository lists its charts.
    Repository,
}

/// What the repositories of an adapter listed.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Listing {
    /// When the repositories were asked; empty when all of it came with a bundle.
    at: String,
    charts: Vec<ChartFact>,
}

impl Listing {
    fn find(&self, chart: &ChartFact) -> Option<&ChartFact> {
        let key = |chart: &ChartFact| {
            (
                chart.name.clone(),
                chart.version.clone(),
                chart.repository.clone(),
            )
        };
        self.charts.iter().find(|there| key(there) == key(chart))
    }

    async fn keep(&self, store: &Store, adapter: &Adapter) -> Result<(), Problem> {
        let document = Document {
            kind: KIND.into(),
            id: adapter.name().to_owned(),
            owner: store.user().await?.name,
            body: json!(self),
            ..Document::default()
        };
        store.put(document, Expect::Any).await.map(drop)
    }

    /// What is kept for an adapter, as far as it is of the repositories that it names now.
    async fn load(store: &Store, adapter: &Adapter) -> Result<Option<Self>, Problem> {
        let repositories = &adapter.descriptor().repositories;
        if repositories.is_empty() {
            return Ok(None);
        }
        let Some(document) = store.get(KIND, adapter.name()).await? else {
            return Ok(None);
        };
        match serde_json::from_value::<Self>(document.body) {
            Ok(mut listing) => {
                listing.charts.retain(|chart| {
                    repositories
                        .iter()
                        .any(|repository| repository.address == chart.repository)
                });
                Ok(Some(listing))
            }
            Err(error) => {
                tracing::warn!(adapter = adapter.name(), %error, "what repositories listed cannot be read and is left out");
                Ok(None)
            }
        }
    }
}

/// The versions that a bundle tells of: they are known without the mirror, which does not go with it.
pub(crate) fn carried(descriptor: &AdapterDescriptor, listed: &[ChartFact]) -> Vec<MeshVersion> {
    known(descriptor, &[], listed)
        .into_iter()
        .map(|known| known.version)
        .collect()
}

/// The charts that repositories have listed for an adapter.
pub(crate) async fn listed(store: &Store, adapter: &Adapter) -> Result<Vec<ChartFact>, Problem> {
    let listing = Listing::load(store, adapter).await?;
    Ok(listing.map(|listing| listing.charts).unwrap_or_default())
}

impl Meshery {
    /// The versions of an adapter's mesh, without asking any repository.
    pub async fn versions(&self, adapter: &str) -> Result<VersionList, Problem> {
        let adapter = self.adapter(adapter)?;
        let listing = match self.store() {
            Ok(store) => Listing::load(store, &adapter).await?,
            Err(_) => None,
        };
        let mirror = self.charts().facts().await?;
        let Listing { at, charts: listed } = listing.unwrap_or_default();
        Ok(VersionList {
            adapter: adapter.name().to_owned(),
            mesh: adapter.descriptor().mesh.clone(),
            refreshed: (!at.is_empty()).then_some(at),
            items: known(adapter.descriptor(), &mirror, &listed),
        })
    }

    /// Asks the repositories of an adapter's charts for their versions, and keeps what they list in the place of what
    /// they listed before. When one of them fails, nothing changes. Where none may be asked, the mirror is all there is.
    pub async fn refresh_versions(&self, adapter: &str) -> Result<VersionList, Problem> {
        let adapter = self.adapter(adapter)?;
        let repositories = &adapter.descriptor().repositories;
        if repositories.is_empty() {
            let message = format!(
                "adapter {} names no repository that lists versions",
                adapter.name()
            );
            return Err(
                Problem::new(ProblemKind::Invalid, "no-repositories", message).remedy(
                    "choose one of the versions that it knows by itself, or put charts into the mirror",
                ),
            );
        }
        if self.charts().is_offline() {
            // The mirror is what there is to ask, and is read each time.
            let mirror = self.charts().facts().await?;
            let held: Vec<&ChartFact> = mirror.iter().collect();
            if repositories
                .iter()
                .any(|repository| !complete(repository, &held).is_empty())
            {
                return self.versions(adapter.name()).await;
            }
            let message = format!(
                "the versions of {} are not refreshed: repositories may not be asked (offline)",
                adapter.descriptor().mesh
            );
            return Err(Problem::new(ProblemKind::Forbidden, "versions-offline", message).remedy(
                "put the charts into the mirror or load a bundle: what is there is known without a refresh; or set \
                 `offline = false`",
            ));
        }
        let store = self.store()?;
        let _turn = self.turn().await?;
        let mut charts = Vec::new();
        for repository in repositories.iter().take(REPOSITORIES) {
            let names: Vec<String> = repository
                .charts
                .iter()
                .chain(&repository.optional)
                .cloned()
                .collect();
            charts.extend(self.charts().list(&repository.address, &names).await?);
        }
        charts.truncate(CHARTS);
        let count = charts.len();
        let listing = Listing {
            at: clock::now(),
            charts,
        };
        listing.keep(store, &adapter).await?;
        tracing::info!(
            adapter = adapter.name(),
            charts = count,
            "versions were refreshed"
        );
        self.versions(adapter.name()).await
    }

    async fn turn(&self) -> Result<MutexGuard<'_, ()>, Problem> {
        let turn = tokio::time::timeout(TURN, self.refreshing().lock()).await;
        turn.map_err(|_| {
            let message = format!("other refreshes have not ended within {} seconds", TURN.as_secs());
            Problem::new(ProblemKind::Timeout, "versions-busy", message)
                .remedy("ask again")
                .retryable(true)
        })
    }

    /// Takes over what repositories had listed elsewhere, as far as it is of those that the adapters here name, and says
    /// how many versions are known by it. What is known already stays as it is.
    pub(crate) async fn take_listed(
        &self,
        catalogue: BTreeMap<String, Vec<MeshVersion>>,
    ) -> Result<usize, Problem> {
        let mut taken = 0;
        for (name, versions) in catalogue {
            // Of a mesh that this host does not know nothing can be installed.
            let Ok(adapter) = self.adapter(&name) else {
                continue;
            };
            let is_listed = |chart: &ChartFact| {
                !chart.sha256.is_empty()
                    && adapter.descriptor().repositories.iter().any(|repository| {
                        repository.address == chart.repository
                            && repository
                                .charts
                                .iter()
                                .chain(&repository.optional)
                                .any(|name| *name == chart.name)
                    })
            };
            if !versions.iter().flat_map(|version| &version.charts).any(is_listed) {
                continue;
            }
            let Ok(store) = self.store() else {
                tracing::warn!(
                    adapter = name,
                    "there is no provider to keep the versions of a bundle"
                );
                continue;
            };
            let _turn = self.turn().await?;
            let mut listing = Listing::load(store, &adapter).await?.unwrap_or_default();
            let of_before = taken;
            for version in versions {
                let new: Vec<ChartFact> = version
                    .charts
                    .into_iter()
                    .filter(|chart| is_listed(chart) && listing.find(chart).is_none())
                    .collect();
                if !new.is_empty() && listing.charts.len() + new.len() <= CHARTS {
                    listing.charts.extend(new);
                    taken += 1;
                }
            }
            if taken > of_before {
                listing.keep(store, &adapter).await?;
            }
        }
        Ok(taken)
    }

    /// The charts that repositories have listed for an adapter; none without a provider.
    pub(crate) async fn listed(&self, adapter: &Adapter) -> Result<Vec<ChartFact>, Problem> {
        match self.store() {
            Ok(store) => listed(store, adapter).await,
            Err(_) => Ok(Vec::new()),
        }
    }
}

/// The versions, newest first. What is pinned counts more than what the mirror says, and that more than an index.
fn known(descriptor: &AdapterDescriptor, mirror: &[ChartFact], listed: &[ChartFact]) -> Vec<KnownVersion> {
    let mut known = BTreeMap::<Version, KnownVersion>::new();
    for repository in &descriptor.repositories {
        let of_index: Vec<&ChartFact> = listed
            .iter()
            .filter(|chart| chart.repository == repository.address)
            .collect();
        for (source, charts) in [
            (VersionSource::Repository, of_index),
            (VersionSource::Mirror, mirror.iter().collect()),
        ] {
            for (number, charts) in complete(repository, &charts) {
                let version = MeshVersion {
                    version: number.to_string(),
                    stable: number.pre.is_empty(),
                    kubernetes: ranges(&charts),
                    end_of_life: end_of_life(descriptor, &number),
                    charts,
                };
                let is_listed = source == VersionSource::Repository;
                let repository = if is_listed {
                    repository.address.clone()
                } else {
                    String::new()
                };
                let entry = KnownVersion {
                    version,
                    source,
                    repository,
                };
                known.insert(number, entry);
            }
        }
    }
    for pinned in &descriptor.versions {
        let Some(number) = parse(&pinned.version) else {
            continue;
        };
        let mut version = pinned.clone();
        for chart in version.charts.iter_mut().filter(|chart| chart.sha256.is_empty()) {
            let same = |other: &&ChartFact| (&other.name, &other.version) == (&chart.name, &chart.version);
            if let Some(other) = mirror.iter().find(same).or_else(|| listed.iter().find(same)) {
                chart.sha256.clone_from(&other.sha256);
            }
        }
        let entry = KnownVersion {
            version,
            source: VersionSource::Pinned,
            repository: String::new(),
        };
        known.insert(number, entry);
    }
    known.into_values().rev().collect()
}

/// The versions of which every chart is there that an installation takes.
fn complete(repository: &ChartRepository, charts: &[&ChartFact]) -> BTreeMap<Version, Vec<ChartFact>> {
    let mut found = BTreeMap::<Version, Vec<ChartFact>>::new();
    for name in repository.charts.iter().chain(&repository.optional) {
        for chart in charts.iter().filter(|chart| chart.name == *name) {
            let number = parse(&chart.app_version).or_else(|| parse(&chart.version));
            let Some(number) = number else { continue };
            let of_version = found.entry(number).or_default();
            if of_version.iter().all(|there| there.name != *name) {
                of_version.push((*chart).clone());
            }
        }
    }
    found.retain(|_, charts| {
        let is_there = |name: &String| charts.iter().any(|chart| chart.name == *name);
        !repository.charts.is_empty() && repository.charts.iter().all(is_there)
    });
    found
}

/// What all of the charts demand of the cluster.
fn ranges(charts: &[ChartFact]) -> String {
    let mut ranges = Vec::<&str>::new();
    for chart in charts {
        let range = chart.kubernetes.trim();
        if !range.is_empty() && !ranges.contains(&range) {
            ranges.push(range);
        }
    }
    ranges.join(", ")
}

fn end_of_life(descriptor: &AdapterDescriptor, version: &Version) -> String {
    let line = format!("{}.{}", version.major, version.minor);
    let end = descriptor.support_ends.iter().find(|end| end.line == line);
    end.map(|end| end.date.clone()).unwrap_or_default()
}

fn parse(version: &str) -> Option<Version> {
    Version::parse(version.strip_prefix('v').unwrap_or(version)).ok()
}

#[cfg(test)]
mod tests {
    use meshery_plugin_api::message::descriptor::SupportEnd;

    use super::*;

    const ADDRESS: &str = "https://charts.example";

    fn chart(name: &str, version: &str, sha256: &str, repository: &str) -> ChartFact {
        ChartFact {
            name: name.into(),
            version: version.into(),
            app_version: format!("v{version}"),
            sha256: sha256.into(),
            kubernetes: ">=1.30".into(),
            repository: repository.into(),
        }
    }

    fn descriptor() -> AdapterDescriptor {
        AdapterDescriptor {
            versions: vec![MeshVersion {
                version: "1.2.0".into(),
                stable: true,
                charts: vec![chart("a", "1.2.0", "", ""), chart("b", "1.2.0", "pinned", "")],
                ..MeshVersion::default()
            }],
            repositories: vec![ChartRepository {
                address: ADDRESS.into(),
                charts: vec!["a".into(), "b".into()],
                optional: vec!["c".into()],
            }],
            support_ends: vec![SupportEnd {
                line: "1.1".into(),
                date: "2025-01-01".into(),
            }],
            ..AdapterDescriptor::default()
        }
    }

    fn shown(mirror: &[ChartFact], listed: &[ChartFact]) -> Vec<(String, VersionSource, Vec<String>)> {
        known(&descriptor(), mirror, listed)
            .into_iter()
            .map(|known| {
                let digests = known.version.charts.into_iter().map(|chart| chart.sha256);
                (known.version.version, known.source, digests.collect())
            })
            .collect()
    }

    #[test]
    fn what_is_pinned_counts_more_than_the_mirror_and_that_more_than_an_index() {
        let of = |place: &str, digest: &str| {
            ["1.2.0", "1.3.0"]
                .iter()
                .flat_map(|version| ["a", "b"].map(|name| chart(name, version, digest, place)))
                .collect::<Vec<_>>()
        };
        let mut listed = of(ADDRESS, "listed");
        assert_eq!(
            shown(&[], &listed),
            [
                (
                    "1.3.0".into(),
                    VersionSource::Repository,
                    vec!["listed".into(), "listed".into()]
                ),
                (
                    "1.2.0".into(),
                    VersionSource::Pinned,
                    vec!["listed".into(), "pinned".into()]
                ),
            ]
        );
        listed.push(chart("a", "1.4.0", "listed", ADDRESS));
        assert_eq!(
            shown(&of("", "held"), &listed),
            [
                (
                    "1.3.0".into(),
                    VersionSource::Mirror,
                    vec!["held".into(), "held".into()]
                ),
                (
                    "1.2.0".into(),
                    VersionSource::Pinned,
                    vec!["held".into(), "pinned".into()]
                ),
            ]
        );
    }

    #[test]
    fn a_listed_version_has_the_range_of_its_charts_and_the_end_of_its_line() {
        let listed = ["a", "b"].map(|name| chart(name, "1.1.7-rc.1", "x", ADDRESS));
        let found = known(&descriptor(), &[], &listed).pop().unwrap();
        assert_eq!(found.version.kubernetes, ">=1.30");
        assert_eq!(found.version.end_of_life, "2025-01-01");
        assert!(!found.version.stable);
    }

    #[test]
    fn charts_of_another_repository_make_no_version() {
        let listed = ["a", "b"].map(|name| chart(name, "1.9.0", "x", "https://other.example"));
        assert_eq!(known(&descriptor(), &[], &listed).len(), 1);
    }
}
