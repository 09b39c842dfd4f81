//! Fetches a chart from an https repository: its index, then the archive that the index promises by digest.
//!
//! Helm does not check the digest that stands in an index; this does, before anybody reads the archive. Registries
//! (`oci://`) are not asked.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use meshery_plugin_api::message::plan::ChartRef;
use reqwest::{StatusCode, Url, header};
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};

use super::address::{self, Rules, shown};
use super::archive::LIMITS;
use super::digest::{self, sha256};
use super::error::ChartError;
use super::way::Downloads;
use super::{version, yaml};

const INDEX_LIMIT: u64 = 64 << 20;
const INDEX_DEADLINE: Duration = Duration::from_secs(30);
const ARCHIVE_DEADLINE: Duration = Duration::from_mins(1);
const CONNECT: Duration = Duration::from_secs(10);
const REDIRECTS: usize = 5;
/// Waits before the second and third try.
const PAUSES: [Duration; 2] = [Duration::from_millis(300), Duration::from_secs(1)];

/// The archive and the address it came from.
pub(super) struct Fetched {
    pub(super) bytes: Bytes,
    pub(super) sha256: String,
    pub(super) place: String,
}

/// What decides how repositories are reached, and which may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way<'a> {
    pub(super) rules: Rules,
    pub(super) downloads: &'a Downloads,
}

/// Fetches a chart. `allowed` are the beginnings that the repository's address must have one of; none allows any.
pub(super) async fn fetch(
    chart: &ChartRef,
    pin: Option<&str>,
    allowed: &[String],
    way: Way<'_>,
) -> Result<Fetched, ChartError> {
    let repository = parse(&chart.repository)?;
    if !allowed.is_empty() && !allowed.iter().any(|prefix| is_below(&repository, prefix)) {
        return Err(ChartError::RepositoryNotAllowed {
            repository: shown(&repository),
            reason: format!("allowed are {}", allowed.join(", ")),
        });
    }
    let label = format!("{} {}", chart.name, chart.version);
    let index_url = below(&repository, "index.yaml")?;
    let index = get(&index_url, INDEX_LIMIT, INDEX_DEADLINE, way).await?;
    let releases = {
        let (name, url) = (chart.name.clone(), shown(&index_url));
        super::blocking(move || releases_of(&name, &index, &url)).await?
    };
    let Some(release) = releases
        .iter()
        .find(|release| version::same(&release.version, &chart.version))
    else {
        return Err(ChartError::NotInRepository {
            name: chart.name.clone(),
            version: chart.version.clone(),
            repository: shown(&repository),
            available: version::nearest(&chart.version, releases.into_iter().map(|r| r.version).collect()),
        });
    };
    let promised = digest::parse(&release.digest).map_err(|error| ChartError::IndexInvalid {
        url: shown(&index_url),
        reason: format!("chart {label}: {error}"),
    })?;
    let Some(expected) = pin.map(str::to_owned).or(promised.clone()) else {
        return Err(ChartError::DigestMissing {
            chart: label,
            repository: shown(&repository),
        });
    };
    let mismatch = |place: String, found: String| ChartError::DigestMismatch {
        chart: label.clone(),
        place,
        expected: expected.clone(),
        found,
    };
    if let Some(promised) = promised.filter(|promised| *promised != expected) {
        return Err(mismatch(shown(&index_url), promised));
    }
    let Some(url) = release.urls.first() else {
        return Err(ChartError::IndexInvalid {
            url: shown(&index_url),
            reason: format!("chart {label} has no address"),
        });
    };
    let url = below(&repository, url)?;
    let bytes = get(&url, LIMITS.packed, ARCHIVE_DEADLINE, way).await?;
    let (bytes, found) = super::blocking(move || {
        let found = sha256(&bytes);
        Ok((bytes, found))
    })
    .await?;
    if found != expected {
        return Err(mismatch(shown(&url), found));
    }
    Ok(Fetched {
        bytes,
        sha256: found,
        place: shown(&url),
    })
}

fn parse(repository: &str) -> Result<Url, ChartError> {
    let refuse = |reason: String| ChartError::RepositoryNotAllowed {
        repository: repository.chars().take(200).collect(),
        reason,
    };
    let url: Url = repository
        .parse()
        .map_err(|error| refuse(format!("it is no address: {error}")))?;
    match url.scheme() {
        "https" | "http" => Ok(url),
        "oci" => Err(refuse("charts are not fetched from registries yet".into())),
        scheme => Err(refuse(format!("it begins with {scheme}:, not with https:"))),
    }
}

/// An address relative to a repository, whose own address is a folder with or without a slash behind it.
fn below(repository: &Url, reference: &str) -> Result<Url, ChartError> {
    let mut folder = repository.clone();
    if !folder.path().ends_with('/') {
        let path = format!("{}/", folder.path());
        folder.set_path(&path);
    }
    folder.join(reference).map_err(|error| ChartError::IndexInvalid {
        url: shown(repository),
        reason: format!("\"{}\" is no address: {error}", reference.escape_debug()),
    })
}

/// Whether an address is that of a prefix or below it, compared part by part.
fn is_below(url: &Url, prefix: &str) -> bool {
    let Ok(prefix) = prefix.parse::<Url>() else {
        return false;
    };
    let parts = |url: &Url| -> Vec<String> {
        url.path()
            .split('/')
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect()
    };
    url.scheme() == prefix.scheme()
        && url.host_str() == prefix.host_str()
        && url.port_or_known_default() == prefix.port_or_known_default()
        && parts(url).starts_with(&parts(&prefix))
}

/// Gets a body, with a few tries.
async fn get(url: &Url, limit: u64, deadline: Duration, way: Way<'_>) -> Result<Bytes, ChartError> {
    let tries = async {
        let mut pauses = PAUSES.iter();
        loop {
            let error = match get_once(url.clone(), limit, way).await {
                Ok(bytes) => return Ok(bytes),
                Err(error) => error,
            };
            let again = match &error {
                ChartError::Refused { status, .. } => *status == 429 || *status >= 500,
                ChartError::Unreachable { .. } => true,
                _ => false,
            };
            match pauses.next() {
                Some(pause) if again => tokio::time::sleep(*pause).await,
                _ => return Err(error),
            }
        }
    };
    tokio::time::timeout(deadline, tries).await.unwrap_or_else(|_| {
        let reason = format!("no answer within {} seconds", deadline.as_secs());
        Err(ChartError::Unreachable {
            url: shown(url),
            reason,
            mirror: String::new(),
        })
    })
}

async fn get_once(url: Url, limit: u64, way: Way<'_>) -> Result<Bytes, ChartError> {
    let mut next = url;
    for _ in 0..=REDIRECTS {
        let through = way.downloads.proxy_for(&next);
        let checked = address::check(next, way.rules, through.is_some()).await?;
        let url = checked.url;
        let failed = |error: reqwest::Error| ChartError::Unreachable {
            url: shown(&url),
            reason: match &through {
                Some(through) => format!(
                    "{} (through the proxy {})",
                    innermost(&error.without_url()),
                    through.shown()
                ),
                None => innermost(&error.without_url()),
            },
            mirror: String::new(),
        };
        let mut builder = way
            .downloads
            .trust(client(url.host_str().unwrap_or_default(), &checked.addresses))?;
        if let Some(through) = &through {
            builder = through.with(builder).map_err(failed)?;
        }
        let client = builder.build().map_err(failed)?;
        let mut answer = client.get(url.clone()).send().await.map_err(failed)?;
        let status = answer.status();
        if status.is_redirection() && status != StatusCode::NOT_MODIFIED {
            let to = answer
                .headers()
                .get(header::LOCATION)
                .and_then(|to| to.to_str().ok())
                .unwrap_or_default();
            next = url.join(to).map_err(|error| ChartError::AddressRefused {
                url: shown(&url),
                reason: format!("it redirects to no address: {error}"),
            })?;
            continue;
        }
        if status != StatusCode::OK {
            return Err(ChartError::Refused {
                url: shown(&url),
                status: status.as_u16(),
            });
        }
        let too_large = || ChartError::TooLarge {
            what: shown(&url),
            limit,
        };
        if answer.content_length().is_some_and(|length| length > limit) {
            return Err(too_large());
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            if (body.len() + chunk.len()) as u64 > limit {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        return Ok(body.into());
    }
    Err(ChartError::AddressRefused {
        url: shown(&next),
        reason: "it is one redirect too many".into(),
    })
}

/// A client that knows one host, at the addresses that were looked at.
fn client(host: &str, addresses: &[std::net::SocketAddr]) -> reqwest::ClientBuilder {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT)
        .user_agent(concat!("meshery/", env!("CARGO_PKG_VERSION")));
    if addresses.is_empty() {
        return client;
    }
    client.resolve_to_addrs(host, addresses)
}

/// The library's own words say only that sending failed; why is behind them.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// One release of a chart in an index.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
struct Release {
    version: String,
    #[serde(default)]
    digest: String,
    #[serde(default)]
    urls: Vec<String>,
}

/// The releases of one chart. An index may list ten thousand others; those are skipped, also where they are wrong.
fn releases_of(name: &str, index: &[u8], url: &str) -> Result<Vec<Release>, ChartError> {
    let fault = |reason: String| ChartError::IndexInvalid {
        url: url.into(),
        reason,
    };
    let text = std::str::from_utf8(index).map_err(|_| fault("it is no text".into()))?;
    let found =
        serde_saphyr::with_deserializer_from_str_with_options(text, yaml::options(), |deserializer| {
            Index { name }.deserialize(deserializer)
        });
    match found {
        Ok(Some(releases)) => Ok(releases),
        Ok(None) => Err(fault("it has no entries".into())),
        Err(error) => Err(fault(yaml::fault(error).to_string())),
    }
}

struct Index<'a> {
    name: &'a str,
}

impl<'de> DeserializeSeed<'de> for Index<'_> {
    type Value = Option<Vec<Release>>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Index<'_> {
    type Value = Option<Vec<Release>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the index of a chart repository")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut releases = None;
        while let Some(key) = map.next_key::<String>()? {
            if key == "entries" {
                releases = Some(map.next_value_seed(Entries { name: self.name })?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(releases)
    }
}

struct Entries<'a> {
    name: &'a str,
}

impl<'de> DeserializeSeed<'de> for Entries<'_> {
    type Value = Vec<Release>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Entries<'_> {
    type Value = Vec<Release>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the charts of a repository")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut releases = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            if key == self.name {
                releases = map.next_value()?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(releases)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }
}
