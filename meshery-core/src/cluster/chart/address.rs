//! Which addresses may be asked for a chart.
//!
//! Whoever names a repository must not thereby reach what only this machine or its network can reach: cloud metadata,
//! routers, the API servers of clusters. So every address is looked at after its name was resolved, the answer is the
//! one that is used, and each redirect is a new address. Only a proxy that the host's owner has set resolves names
//! itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use reqwest::Url;

use super::error::ChartError;

const RESOLVE: Duration = Duration::from_secs(10);

/// Rules for addresses.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rules {
    /// This machine's own addresses will do, with and without TLS: for tests.
    pub(super) loopback: bool,
}

/// An address that passed, and what its host's name resolves to.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) url: Url,
    pub(super) addresses: Vec<SocketAddr>,
}

/// An address for people: without what may be secret in it.
pub(super) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}

/// Looks at an address and at what its name resolves to; behind a proxy, names are for that to resolve.
pub(super) async fn check(url: Url, rules: Rules, proxied: bool) -> Result<Checked, ChartError> {
    let refuse = |reason: String| ChartError::AddressRefused {
        url: shown(&url),
        reason,
    };
    if !(url.scheme() == "https" || url.scheme() == "http" && rules.loopback) {
        return Err(refuse(format!(
            "it begins with {}:, not with https:",
            url.scheme()
        )));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refuse("it holds a user name or a password".into()));
    }
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().unwrap_or(443);
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let addresses = if let Ok(ip) = bare.parse::<IpAddr>() {
        vec![SocketAddr::new(ip, port)]
    } else if proxied {
        Vec::new()
    } else {
        let failed = |reason: String| ChartError::Unreachable {
            url: shown(&url),
            reason,
            mirror: String::new(),
        };
        tokio::time::timeout(RESOLVE, tokio::net::lookup_host((host, port)))
            .await
            .map_err(|_| failed(format!("the name {host} was not resolved in time")))?
            .map_err(|error| failed(format!("the name {host} cannot be resolved: {error}")))?
            .collect()
    };
    for address in &addresses {
        let ip = address.ip();
        let fine = if rules.loopback && url.scheme() == "http" {
            ip.is_loopback()
        } else {
            is_public(ip) || rules.loopback && ip.is_loopback()
        };
        if !fine {
            return Err(refuse(format!("{ip} is not a public address")));
        }
    }
    Ok(Checked { url, addresses })
}

/// Whether an address is one of the internet's, and not of this machine, a private network or a special use.
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    !(ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_broadcast()
        || ip.is_documentation()
        || a == 0
        // Multicast and reserved.
        || a >= 224
        // Shared by carriers, and used inside clusters.
        || (a == 100 && (64..128).contains(&b))
        || (a == 198 && (18..20).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99))
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let segments = ip.segments();
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match segments {
        // An IPv4 address in another dress: mapped, translated, tunnelled.
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => embedded(high, low),
        // Teredo and documentation.
        [0x2001, 0 | 0xdb8, ..] | [0x3fff, ..] => false,
        // Only this eighth of all addresses is in public use.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn reason(url: &str, rules: Rules) -> Option<String> {
        check(url.parse().unwrap(), rules, false)
            .await
            .err()
            .map(|error| error.to_string())
    }

    #[test]
    fn only_addresses_of_the_internet_are_public() {
        for ip in [
            "140.82.112.3",
            "8.8.8.8",
            "100.128.0.1",
            "2606:50c0:8000::153",
            "64:ff9b::8.8.8.8",
        ] {
            assert!(is_public(ip.parse().unwrap()), "{ip}");
        }
        for ip in [
            "127.0.0.1",
            "127.96.0.1",
            "0.0.0.0",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "198.18.0.1",
            "192.0.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "fc00::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::10.0.0.1",
            "2002:7f00:1::",
            "2001::1",
            "fec0::1",
        ] {
            assert!(!is_public(ip.parse().unwrap()), "{ip}");
        }
    }

    #[tokio::test]
    async fn plain_http_credentials_and_private_addresses_are_refused() {
        for (url, expected) in [
            ("http://8.8.8.8/charts", "not with https"),
            ("file:///etc/passwd", "not with https"),
            ("https://user:secret@8.8.8.8/charts", "a user name or a password"),
            ("https://127.0.0.1/charts", "127.0.0.1 is not a public address"),
            ("https://[::1]/charts", "::1 is not a public address"),
            ("https://0x7f.1/charts", "127.0.0.1 is not a public address"),
            ("https://2130706433/charts", "127.0.0.1 is not a public address"),
            (
                "https://169.254.169.254/latest",
                "169.254.169.254 is not a public address",
            ),
            ("https://localhost/charts", "is not a public address"),
        ] {
            let reason = reason(url, Rules::default()).await.unwrap_or_default();
            assert!(reason.contains(expected), "{url}: {reason}");
            assert!(!reason.contains("secret"), "{reason}");
        }
    }

    #[tokio::test]
    async fn tests_may_use_this_machine_and_nothing_else_without_tls() {
        let rules = Rules { loopback: true };
        assert_eq!(reason("http://127.0.0.1:8080/charts", rules).await, None);
        assert!(reason("http://8.8.8.8/charts", rules).await.is_some());
        assert!(reason("https://10.0.0.1/charts", rules).await.is_some());
    }

    #[test]
    fn an_address_is_shown_without_what_may_be_secret() {
        let url: Url = "https://user:secret@charts.example/x.tgz?token=secret#secret"
            .parse()
            .unwrap();
        assert_eq!(shown(&url), "https://charts.example/x.tgz");
    }
}
