//! Fetches a chart from an https repository: its index, then the archive that the index promises by digest.
//!
//! Helm does not check the digest that stands in an index; this does, before anybody reads the archive. Registries
//! (`oci://`) are not asked.

use std::time::Duration;

use bytes::Bytes;
use meshery_plugin_api::message::facts::ChartFact;
use meshery_plugin_api::message::plan::ChartRef;
use reqwest::{StatusCode, Url, header};

use super::address::{self, Rules, shown};
use super::archive::LIMITS;
use super::digest::{self, sha256};
use super::error::ChartError;
use super::index;
use super::version;
use super::way::Downloads;

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
    let repository = permitted(&chart.repository, allowed)?;
    let label = format!("{} {}", chart.name, chart.version);
    let (index_url, index) = index_of(&repository, way).await?;
    let releases = {
        let (name, url) = (chart.name.clone(), shown(&index_url));
        super::blocking(move || {
            let mut found = index::releases(&[&name], &index, &url)?;
            Ok(found.remove(&name).unwrap_or_default())
        })
        .await?
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

/// The charts that a repository's index lists under these names, the newest of each.
pub(super) async fn list(
    repository: &str,
    names: &[String],
    allowed: &[String],
    way: Way<'_>,
) -> Result<Vec<ChartFact>, ChartError> {
    let address = permitted(repository, allowed)?;
    let (url, index) = index_of(&address, way).await?;
    let (names, repository) = (names.to_vec(), repository.to_owned());
    super::blocking(move || {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        index::facts(&names, &index, &shown(&url), &repository)
    })
    .await
}

async fn index_of(repository: &Url, way: Way<'_>) -> Result<(Url, Bytes), ChartError> {
    let url = below(repository, "index.yaml")?;
    let index = get(&url, INDEX_LIMIT, INDEX_DEADLINE, way).await?;
    Ok((url, index))
}

/// The address, if the settings allow it.
fn permitted(repository: &str, allowed: &[String]) -> Result<Url, ChartError> {
    let repository = parse(repository)?;
    if !allowed.is_empty() && !allowed.iter().any(|prefix| is_below(&repository, prefix)) {
        return Err(ChartError::RepositoryNotAllowed {
            repository: shown(&repository),
            reason: format!("allowed are {}", allowed.join(", ")),
        });
    }
    Ok(repository)
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
