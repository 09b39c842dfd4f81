//! Where a chart is looked for, and in which order: cache, mirror, bundles that were loaded, repository.
//!
//! The cache knows digests only, so it answers for pinned charts. The mirror comes before the repository, because
//! whoever set one up wants its charts, and because it works without a network.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use meshery_plugin_api::message::facts::ChartFact;
use meshery_plugin_api::message::plan::ChartRef;

use super::digest::{self, sha256};
use super::error::ChartError;
use super::mirror::{self, Entry};
use super::repository::Way;
use super::{Chart, Inner, blocking, cache, content, repository, version};

/// The charts in the mirror, then those that were brought in bundles.
pub(super) async fn in_mirror(inner: &Arc<Inner>) -> Result<Vec<Entry>, ChartError> {
    let inner = inner.clone();
    blocking(move || {
        let mut entries = match &inner.settings.mirror {
            Some(root) => inner.mirror.scan(root)?,
            None => Vec::new(),
        };
        let kept = inner.settings.kept.as_ref().map(|kept| kept.join(cache::CHARTS));
        if let Some(kept) = kept.filter(|kept| kept.is_dir()) {
            entries.extend(inner.kept.scan(&kept)?);
        }
        Ok(entries)
    })
    .await
}

/// Keeps an archive for good; whether it is new here.
pub(super) async fn keep(inner: &Arc<Inner>, archive: Bytes) -> Result<bool, ChartError> {
    let inner = inner.clone();
    blocking(move || {
        let Some(kept) = &inner.settings.kept else {
            return Err(ChartError::Request {
                what: "the chart".into(),
                value: String::new(),
                reason: "cannot be kept: there is no folder for charts that are brought".into(),
            });
        };
        let digest = sha256(&archive);
        content::read(archive.clone(), kept, "the bundle")?;
        let is_new = cache::get(kept, &digest).is_none();
        if is_new {
            cache::put(kept, &digest, &archive)?;
        }
        Ok(is_new)
    })
    .await
}

pub(super) async fn fetch(inner: &Arc<Inner>, wanted: &ChartRef) -> Result<Chart, ChartError> {
    let pin = digest::parse(&wanted.sha256)?;
    if let Some(pin) = pin.clone() {
        let cache = inner.settings.cache.clone();
        let wanted = wanted.clone();
        let read = move || match cache::get(&cache, &pin) {
            Some((bytes, path)) => {
                let place = path.display().to_string();
                named(content::read(bytes.into(), &path, &place)?, &wanted, &place).map(Some)
            }
            None => Ok(None),
        };
        if let Some(chart) = blocking(read).await? {
            return Ok(chart);
        }
    }

    let mut searched = Vec::new();
    let entries = in_mirror(inner).await?;
    let of_that_name: Vec<Entry> = entries
        .into_iter()
        .filter(|e| e.fact.name == wanted.name)
        .collect();
    let versions = of_that_name.iter().map(|e| e.fact.version.clone()).collect();
    let available = version::nearest(&wanted.version, versions);
    let matching = of_that_name
        .into_iter()
        .filter(|e| version::same(&e.fact.version, &wanted.version));
    let mut other_bytes = None;
    for entry in matching {
        match from_mirror(entry, pin.clone(), wanted).await {
            // Another file may be the right one, or the repository's.
            Err(error @ ChartError::DigestMismatch { .. }) => other_bytes = Some(error),
            result => return result,
        }
    }
    match &inner.settings.mirror {
        Some(mirror) if available.is_empty() => {
            searched.push(format!(
                "the mirror {} has no chart of that name",
                mirror.display()
            ));
        }
        Some(mirror) if other_bytes.is_none() => {
            searched.push(format!(
                "the mirror {} has {}",
                mirror.display(),
                available.join(", ")
            ));
        }
        Some(mirror) => {
            searched.push(format!(
                "the mirror {} has it with another digest",
                mirror.display()
            ));
        }
        None => searched.push("there is no mirror".into()),
    }

    let reason = if inner.settings.offline {
        "repositories may not be asked (offline)"
    } else if wanted.repository.is_empty() {
        "no repository is named"
    } else {
        return match from_repository(inner, wanted, pin).await {
            Err(ChartError::Unreachable { url, reason, .. }) => Err(ChartError::Unreachable {
                url,
                reason,
                mirror: searched.join("; "),
            }),
            result => result,
        };
    };
    if let Some(error) = other_bytes {
        return Err(error);
    }
    searched.push(reason.into());
    let (name, version) = (wanted.name.clone(), wanted.version.clone());
    Err(ChartError::NotFound {
        name,
        version,
        searched,
        available,
    })
}

async fn from_mirror(entry: Entry, pin: Option<String>, wanted: &ChartRef) -> Result<Chart, ChartError> {
    let wanted = wanted.clone();
    blocking(move || {
        let place = entry.path.display().to_string();
        let bytes = Bytes::from(mirror::read(&entry.path)?);
        if let Some(expected) = pin {
            let found = sha256(&bytes);
            if found != expected {
                let chart = format!("{} {}", wanted.name, wanted.version);
                return Err(ChartError::DigestMismatch {
                    chart,
                    place,
                    expected,
                    found,
                });
            }
        }
        named(content::read(bytes, &entry.path, &place)?, &wanted, &place)
    })
    .await
}

/// What a repository's index lists.
pub(super) async fn list(
    inner: &Arc<Inner>,
    address: &str,
    names: &[String],
) -> Result<Vec<ChartFact>, ChartError> {
    let settings = &inner.settings;
    let way = Way {
        rules: inner.rules,
        downloads: &settings.downloads,
    };
    repository::list(address, names, &settings.repositories, way).await
}

async fn from_repository(
    inner: &Arc<Inner>,
    wanted: &ChartRef,
    pin: Option<String>,
) -> Result<Chart, ChartError> {
    let settings = &inner.settings;
    let way = Way {
        rules: inner.rules,
        downloads: &settings.downloads,
    };
    let fetched = repository::fetch(wanted, pin.as_deref(), &settings.repositories, way).await?;
    let cache = settings.cache.clone();
    let wanted = wanted.clone();
    blocking(move || {
        // Read before it is kept: what is not safe does not get into the cache.
        let mut chart = named(
            content::read(fetched.bytes.clone(), &cache, &fetched.place)?,
            &wanted,
            &fetched.place,
        )?;
        chart.path = cache::put(&cache, &fetched.sha256, &fetched.bytes)?;
        Ok(chart)
    })
    .await
}

/// The chart, if it is the one that was wanted: an index or a pin may name the wrong archive.
fn named(chart: Chart, wanted: &ChartRef, place: &str) -> Result<Chart, ChartError> {
    if chart.name == wanted.name && version::same(&chart.version, &wanted.version) {
        return Ok(chart);
    }
    Err(ChartError::NotAChart {
        place: place.into(),
        reason: format!(
            "it holds {} {}, not {} {}",
            chart.name, chart.version, wanted.name, wanted.version
        ),
    })
}
