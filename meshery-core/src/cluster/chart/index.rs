//! What the index of a chart repository says about some charts.
//!
//! An index may list ten thousand charts of others; those are skipped, also where they are wrong.

use std::collections::BTreeMap;
use std::fmt;

use meshery_plugin_api::message::facts::ChartFact;
use semver::Version;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};

use super::error::ChartError;
use super::{digest, version, yaml};

/// Releases of a chart that are listed at most, the newest: they are kept, and adapters are told them with each plan.
const LISTED: usize = 100;
/// Longest text of a release that is taken over.
const TEXT: usize = 128;

/// One release of a chart in an index.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Release {
    pub(super) version: String,
    #[serde(default)]
    app_version: Option<String>,
    #[serde(default)]
    kube_version: Option<String>,
    #[serde(default)]
    pub(super) digest: String,
    #[serde(default)]
    pub(super) urls: Vec<String>,
}

/// The releases of these charts, by their name.
pub(super) fn releases(
    names: &[&str],
    index: &[u8],
    url: &str,
) -> Result<BTreeMap<String, Vec<Release>>, ChartError> {
    let fault = |reason: String| ChartError::IndexInvalid {
        url: url.into(),
        reason,
    };
    let text = std::str::from_utf8(index).map_err(|_| fault("it is no text".into()))?;
    let found =
        serde_saphyr::with_deserializer_from_str_with_options(text, yaml::options(), |deserializer| {
            Index { names }.deserialize(deserializer)
        });
    match found {
        Ok(Some(releases)) => Ok(releases),
        Ok(None) => Err(fault("it has no entries".into())),
        Err(error) => Err(fault(yaml::fault(error).to_string())),
    }
}

/// The newest releases of these charts, as adapters are told them. A release without an address, whose version is no
/// version, or whose digest is none, could not be had, and is left out.
pub(super) fn facts(
    names: &[&str],
    index: &[u8],
    url: &str,
    repository: &str,
) -> Result<Vec<ChartFact>, ChartError> {
    let mut facts = Vec::new();
    for (name, releases) in releases(names, index, url)? {
        let mut usable: Vec<(Version, ChartFact)> = releases
            .into_iter()
            .filter_map(|release| fact(&name, release, repository))
            .collect();
        usable.sort_by(|(a, _), (b, _)| b.cmp(a));
        // Helm takes the first one of a version that is there twice.
        usable.dedup_by(|(later, _), (first, _)| later == first);
        usable.truncate(LISTED);
        facts.extend(usable.into_iter().map(|(_, fact)| fact));
    }
    if facts.is_empty() {
        return Err(ChartError::IndexInvalid {
            url: url.into(),
            reason: format!("it lists no release of {}", names.join(", ")),
        });
    }
    Ok(facts)
}

fn fact(name: &str, release: Release, repository: &str) -> Option<(Version, ChartFact)> {
    let short = |text: Option<String>| text.filter(|text| text.len() <= TEXT).unwrap_or_default();
    let version = version::parse(&release.version).filter(|_| release.version.len() <= TEXT)?;
    let sha256 = digest::parse(&release.digest).ok()??;
    release.urls.first()?;
    let fact = ChartFact {
        name: name.to_owned(),
        version: release.version,
        app_version: short(release.app_version),
        sha256,
        kubernetes: short(release.kube_version),
        repository: repository.to_owned(),
    };
    Some((version, fact))
}

struct Index<'a> {
    names: &'a [&'a str],
}

impl<'de> DeserializeSeed<'de> for Index<'_> {
    type Value = Option<BTreeMap<String, Vec<Release>>>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Index<'_> {
    type Value = Option<BTreeMap<String, Vec<Release>>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the index of a chart repository")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut releases = None;
        while let Some(key) = map.next_key::<String>()? {
            if key == "entries" {
                releases = Some(map.next_value_seed(Entries { names: self.names })?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(releases)
    }
}

struct Entries<'a> {
    names: &'a [&'a str],
}

impl<'de> DeserializeSeed<'de> for Entries<'_> {
    type Value = BTreeMap<String, Vec<Release>>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Entries<'_> {
    type Value = BTreeMap<String, Vec<Release>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the charts of a repository")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut releases = BTreeMap::new();
        while let Some(key) = map.next_key::<String>()? {
            if self.names.contains(&key.as_str()) {
                let of_chart: Vec<Release> = map.next_value()?;
                releases.insert(key, of_chart);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(releases)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(BTreeMap::new())
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    const DIGEST: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    fn listed(entries: &str) -> Result<Vec<ChartFact>, ChartError> {
        let index = format!("apiVersion: v1\nentries:\n{entries}").replace("DIGEST", DIGEST);
        facts(&["a", "b"], index.as_bytes(), "https://x/index.yaml", "https://x")
    }

    #[test]
    fn what_can_be_had_is_listed_newest_first_with_what_the_index_says_of_it() {
        let found = listed(
            "  b:\n  - {version: 1.0.0, digest: DIGEST, urls: [b.tgz]}\n\
             \x20 a:\n  - {version: 1.9.0, digest: \"sha256:DIGEST\", urls: [a.tgz], appVersion: v1.9.0}\n\
             \x20 - {version: v1.10.0, digest: DIGEST, urls: [a.tgz], kubeVersion: \">=1.30.0-0\", appVersion: 1.10}\n\
             \x20 - {version: 1.9.0, digest: DIGEST, urls: [other.tgz]}\n\
             \x20 - {version: latest, digest: DIGEST, urls: [a.tgz]}\n\
             \x20 - {version: 1.8.0, digest: x, urls: [a.tgz]}\n\
             \x20 - {version: 1.7.0, urls: [a.tgz]}\n\
             \x20 - {version: 1.6.0, digest: DIGEST}\n\
             \x20 c: rubbish\n",
        )
        .unwrap();
        let shown: Vec<_> = found
            .iter()
            .map(|f| {
                (
                    f.name.as_str(),
                    f.version.as_str(),
                    f.app_version.as_str(),
                    f.kubernetes.as_str(),
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                ("a", "v1.10.0", "1.10", ">=1.30.0-0"),
                ("a", "1.9.0", "v1.9.0", ""),
                ("b", "1.0.0", "", "")
            ]
        );
        assert!(
            found
                .iter()
                .all(|f| f.sha256 == DIGEST && f.repository == "https://x")
        );
    }

    #[test]
    fn of_very_many_releases_the_newest_are_listed() {
        let mut entries = "  a:\n".to_owned();
        for n in 0..500 {
            let _ = writeln!(entries, "  - {{version: 1.0.{n}, digest: DIGEST, urls: [a.tgz]}}");
        }
        let found = listed(&entries).unwrap();
        assert_eq!((found.len(), found[0].version.as_str()), (LISTED, "1.0.499"));
    }

    #[test]
    fn an_index_without_the_charts_says_which_were_looked_for() {
        let error = listed("  c: []\n").unwrap_err().to_string();
        assert!(error.contains("no release of a, b"), "{error}");
        for rubbish in [
            "<html>",
            "",
            "entries: 3",
            "entries:\n  a: {}",
            "entries:\n  a: [{}]",
        ] {
            let error = facts(&["a"], rubbish.as_bytes(), "https://x/index.yaml", "").unwrap_err();
            assert!(
                matches!(error, ChartError::IndexInvalid { .. }),
                "{rubbish}: {error}"
            );
        }
    }
}
