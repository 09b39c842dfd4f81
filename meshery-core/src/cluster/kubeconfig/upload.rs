//! Kubeconfigs that come from outside: what may be in them, and where they may lead.
//!
//! A kubeconfig can name programs to run, files to read and proxies to go through. From whoever may talk to us but
//! does not own this machine, none of that is taken; what is refused is named. The server's address is looked at
//! after its name was resolved, and the address that passed is the one that is used.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use kube::config::Kubeconfig;
use serde_json::Value;
use serde_saphyr::options::DuplicateKeyPolicy;
use serde_saphyr::{Location, Options};

use super::Entry;
use crate::cluster::error::ClusterError;

const LARGEST: usize = 1 << 20;
const RESOLVE: Duration = Duration::from_secs(10);

/// Fields of a cluster's and of a user's entry that reach out of the file.
const REFUSED: &[(&str, &str, &[&str])] = &[
    ("clusters", "cluster", &["certificate-authority", "proxy-url"]),
    (
        "users",
        "user",
        &[
            "exec",
            "auth-provider",
            "client-certificate",
            "client-key",
            "tokenFile",
        ],
    ),
];

fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: 32,
            max_events: 200_000,
            max_nodes: 100_000,
            max_documents: 1,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 10_000 },
        duplicate_keys: DuplicateKeyPolicy::Error,
        emit_comments: false,
        with_snippet: false,
    }
}

/// Reads one, and says what is dangerous in it.
pub(in crate::cluster) fn read(
    source_name: &str,
    text: &str,
) -> Result<(Kubeconfig, Vec<String>), ClusterError> {
    let bad = |reason: String| ClusterError::BadKubeconfig {
        source_name: source_name.to_owned(),
        line: None,
        column: None,
        reason,
    };
    if text.len() > LARGEST {
        return Err(ClusterError::TooLarge {
            what: format!("the kubeconfig \"{source_name}\""),
            message: format!("it has {} bytes and may have {LARGEST}", text.len()),
        });
    }
    let value: Value = serde_saphyr::from_str_with_options(text, options())
        .map_err(|error| unreadable(source_name, &error))?;
    if !value.is_object() {
        return Err(bad(
            "it is not a kubeconfig: expected clusters, users and contexts".into(),
        ));
    }
    refuse_what_reaches_out(source_name, &value)?;
    let mut config: Kubeconfig = serde_saphyr::from_str_with_options(text, options())
        .map_err(|error| unreadable(source_name, &error))?;
    config.current_context.take_if(|context| context.is_empty());
    if config.contexts.is_empty() {
        return Err(bad("it has no contexts".into()));
    }
    if config.contexts.len() > 1
        && let Some(current) = &config.current_context
        && Entry::find(&config, current).is_none()
    {
        return Err(bad(format!("its current-context \"{current}\" is not in it")));
    }
    let mut warnings = Vec::new();
    for context in &config.contexts {
        let name = &context.name;
        let entry = Entry {
            config: &config,
            context,
        };
        let Some(cluster) = entry.cluster() else {
            return Err(bad(format!(
                "context \"{name}\" names a cluster that is not in it"
            )));
        };
        address_of(source_name, entry)?;
        if cluster.insecure_skip_tls_verify == Some(true) {
            warnings.push(format!(
                "context \"{name}\" does not verify the server's certificate: anybody between it and us can read \
                 and change everything"
            ));
        }
    }
    Ok((config, warnings))
}

fn refuse_what_reaches_out(source_name: &str, value: &Value) -> Result<(), ClusterError> {
    for (section, entry_name, fields) in REFUSED {
        let entries = value.get(section).and_then(Value::as_array);
        for named in entries.into_iter().flatten() {
            let name = named.get("name").and_then(Value::as_str).unwrap_or_default();
            let Some(entry) = named.get(entry_name) else {
                continue;
            };
            for field in *fields {
                let empty = |value: &Value| value.is_null() || value.as_str() == Some("");
                if entry.get(field).is_some_and(|value| !empty(value)) {
                    return Err(ClusterError::KubeconfigRefused {
                        source_name: source_name.to_owned(),
                        what: format!("{field} of {entry_name} \"{name}\""),
                        reason: match *field {
                            "exec" => "would run a program on this machine",
                            "auth-provider" => "is not supported any more, and would run a program",
                            "proxy-url" => "would lead this machine through somebody's proxy",
                            _ => "would read a file of this machine",
                        }
                        .into(),
                    });
                }
            }
        }
    }
    Ok(())
}

/// Host and port of a server that is reached by https.
fn address_of(source_name: &str, entry: Entry<'_>) -> Result<(String, u16), ClusterError> {
    let server = entry.address();
    let refuse = |reason: &str| ClusterError::KubeconfigRefused {
        source_name: source_name.to_owned(),
        what: format!("server of context \"{}\"", entry.context.name),
        reason: reason.to_owned(),
    };
    let url: http::Uri = server.parse().map_err(|_| refuse("is not an address"))?;
    if url.scheme_str() != Some("https") {
        return Err(refuse("does not begin with https:"));
    }
    let authority = url.authority().ok_or_else(|| refuse("has no host"))?;
    if authority.as_str().contains('@') {
        return Err(refuse("holds a user name or a password"));
    }
    let host = authority.host().trim_matches(['[', ']']);
    if host.is_empty() {
        return Err(refuse("has no host"));
    }
    Ok((host.to_owned(), authority.port_u16().unwrap_or(443)))
}

/// Resolves the server's name and looks at every address; hands back the first.
pub(in crate::cluster) async fn check_address(
    source_name: &str,
    entry: Entry<'_>,
) -> Result<SocketAddr, ClusterError> {
    let (host, port) = address_of(source_name, entry)?;
    let addresses: Vec<SocketAddr> = if let Ok(ip) = host.parse::<IpAddr>() {
        vec![SocketAddr::new(ip, port)]
    } else {
        let failed = |reason: String| ClusterError::Unreachable {
            server: entry.server(),
            reason,
        };
        tokio::time::timeout(RESOLVE, tokio::net::lookup_host((host.as_str(), port)))
            .await
            .map_err(|_| failed(format!("the name {host} was not resolved in time")))?
            .map_err(|error| failed(format!("the name {host} cannot be resolved: {error}")))?
            .collect()
    };
    if let Some(address) = addresses.iter().find(|address| !may_be_cluster(address.ip())) {
        return Err(ClusterError::KubeconfigRefused {
            source_name: source_name.to_owned(),
            what: format!("server of context \"{}\"", entry.context.name),
            reason: format!(
                "leads to {}, an address of this machine's own network and not of a cluster",
                address.ip()
            ),
        });
    }
    addresses
        .first()
        .copied()
        .ok_or_else(|| ClusterError::Unreachable {
            server: entry.server(),
            reason: format!("the name {host} has no address"),
        })
}

/// Clusters are met in private networks and on the loopback too; where metadata services live, there is none.
fn may_be_cluster(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            !(ip.is_unspecified()
                || ip.is_link_local()
                || ip.is_multicast()
                || ip.is_broadcast()
                || ip.octets() == [100, 100, 100, 200])
        }
        IpAddr::V6(ip) => {
            !(ip.is_unspecified()
                || ip.is_multicast()
                || ip.is_unicast_link_local()
                // An IPv4 address in another dress, and a metadata service of its own.
                || matches!(ip.segments(), [0x64, 0xff9b, ..] | [0x2002, 0xa9fe, ..] | [0xfd00, 0xec2, ..]))
        }
    }
}

/// Sends the client to the address that was checked, whatever the name resolves to later.
pub(in crate::cluster) fn pin(config: &mut kube::Config, address: SocketAddr) -> Option<()> {
    let authority = config.cluster_url.authority()?.clone();
    let host = authority.host().trim_matches(['[', ']']).to_owned();
    let mut parts = config.cluster_url.clone().into_parts();
    parts.authority = Some(address.to_string().parse().ok()?);
    config.cluster_url = http::Uri::from_parts(parts).ok()?;
    config.tls_server_name.get_or_insert(host);
    let value = http::HeaderValue::from_str(authority.as_str()).ok()?;
    config.headers.push((http::header::HOST, value));
    config.proxy_url = None;
    Some(())
}

/// What is wrong with a text, and where; without the text itself, which may be a token.
pub(super) fn unreadable(source_name: &str, error: &serde_saphyr::Error) -> ClusterError {
    let location = error.location().filter(|location| *location != Location::UNKNOWN);
    let number = |n: u64| u32::try_from(n).ok();
    let text = error.to_string();
    let reason = text.lines().next().unwrap_or_default();
    let reason = reason
        .split_once(" at line ")
        .map_or(reason, |(before, _)| before);
    let reason = reason.strip_prefix("error: ").unwrap_or(reason);
    ClusterError::BadKubeconfig {
        source_name: source_name.to_owned(),
        line: location.and_then(|l| number(l.line())),
        column: location.and_then(|l| number(l.column())),
        reason: without_values(reason),
    }
}

/// `invalid type: string "hunter2", expected ...` says too much.
fn without_values(reason: &str) -> String {
    let mut parts = reason.split(['"', '`', '\'']);
    let mut text = parts.next().unwrap_or_default().to_owned();
    if text.contains("invalid type") || text.contains("invalid value") {
        for (n, part) in parts.enumerate() {
            text.push_str(if n % 2 == 0 { "\"...\"" } else { part });
        }
        text
    } else {
        reason.to_owned()
    }
}
