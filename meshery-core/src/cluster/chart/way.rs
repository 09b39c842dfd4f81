//! How chart repositories are reached: by which proxy, if any, and whose certificates are believed.
//!
//! A proxy is what the settings name, or else what the environment does (`HTTPS_PROXY`, `NO_PROXY`). It resolves the
//! names of repositories, often because this machine cannot; so addresses behind a proxy are its owner's to guard.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use reqwest::{Certificate, ClientBuilder, Proxy, Url};

use super::address::shown;
use super::error::ChartError;

/// How downloads reach the internet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Downloads {
    /// Address of a proxy, `http://host:port`; what the environment says when empty.
    pub proxy: String,
    /// Hosts that are reached without that proxy, separated by commas: names with all below them, addresses, networks.
    pub no_proxy: String,
    /// A PEM file of authorities that are believed beside the system's.
    pub ca_file: Option<PathBuf>,
}

/// A bundle of all the world's authorities has a quarter of this.
const LARGEST_CA_FILE: u64 = 1 << 20;

impl Downloads {
    /// What is wrong with the address of the proxy.
    pub fn proxy_fault(&self) -> Option<String> {
        if self.proxy.is_empty() {
            return None;
        }
        let url: Url = match self.proxy.parse() {
            Ok(url) => url,
            Err(error) => return Some(format!("it is no address: {error}")),
        };
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
            return Some("it is not of the form http://host:port".into());
        }
        // Settings are printed.
        (!url.username().is_empty() || url.password().is_some()).then(|| {
            "it holds a user name or a password; give a proxy that needs them by the variable HTTPS_PROXY"
                .into()
        })
    }

    /// The proxy for an address, if there is one.
    pub(super) fn proxy_for(&self, url: &Url) -> Option<Through> {
        let uri: http::Uri = url.as_str().parse().ok()?;
        let matcher = if self.proxy.is_empty() {
            Matcher::from_env()
        } else {
            Matcher::builder()
                .all(self.proxy.clone())
                .no(self.no_proxy.clone())
                .build()
        };
        matcher.intercept(&uri).map(Through)
    }

    /// Adds the authorities to a client's.
    pub(super) fn trust(&self, client: ClientBuilder) -> Result<ClientBuilder, ChartError> {
        match &self.ca_file {
            None => Ok(client),
            Some(file) => Ok(client.tls_certs_merge(authorities(file)?)),
        }
    }
}

/// The proxy that a request goes through.
#[derive(Debug)]
pub(super) struct Through(Intercept);

impl Through {
    /// Makes a client use it.
    pub(super) fn with(&self, client: ClientBuilder) -> reqwest::Result<ClientBuilder> {
        let mut proxy = Proxy::all(self.0.uri().to_string())?;
        if let Some(auth) = self.0.basic_auth() {
            proxy = proxy.custom_http_auth(auth.clone());
        }
        Ok(client.proxy(proxy))
    }

    /// Its address for people: without what may be secret in it.
    pub(super) fn shown(&self) -> String {
        self.0
            .uri()
            .to_string()
            .parse()
            .map_or_else(|_| "(unreadable)".into(), |url| shown(&url))
    }
}

fn authorities(file: &Path) -> Result<Vec<Certificate>, ChartError> {
    let fault = |source| ChartError::Files {
        what: "cannot read the certificates for downloads in".into(),
        path: file.into(),
        source,
    };
    let mut pem = Vec::new();
    std::fs::File::open(file)
        .and_then(|opened| opened.take(LARGEST_CA_FILE + 1).read_to_end(&mut pem))
        .map_err(fault)?;
    let refuse = |reason: &str| ChartError::Request {
        what: "the file of certificates".into(),
        value: file.display().to_string(),
        reason: reason.into(),
    };
    if pem.len() as u64 > LARGEST_CA_FILE {
        return Err(refuse("is larger than 1 MiB"));
    }
    let certificates = Certificate::from_pem_bundle(&pem).map_err(|_| refuse("is not PEM"))?;
    if certificates.is_empty() {
        return Err(refuse("holds no certificate in PEM"));
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by(proxy: &str, no_proxy: &str) -> Downloads {
        Downloads {
            proxy: proxy.into(),
            no_proxy: no_proxy.into(),
            ca_file: None,
        }
    }

    fn shown_for(way: &Downloads, url: &str) -> Option<String> {
        way.proxy_for(&url.parse().unwrap())
            .map(|through| through.shown())
    }

    #[test]
    fn the_proxy_is_taken_but_for_hosts_that_are_named() {
        let way = by("http://proxy.corp:3128", "charts.corp, 10.0.0.0/8,.internal");
        let proxied = Some("http://proxy.corp:3128/".to_owned());
        assert_eq!(shown_for(&way, "https://charts.example.org/x"), proxied);
        for direct in [
            "https://charts.corp/x",
            "https://a.charts.corp/x",
            "https://10.1.2.3/",
            "https://x.internal/",
        ] {
            assert_eq!(shown_for(&way, direct), None, "{direct}");
        }
    }

    #[test]
    fn a_proxy_that_cannot_be_meant_is_told() {
        for fine in ["", "http://proxy:3128", "https://proxy.corp"] {
            assert_eq!(by(fine, "").proxy_fault(), None, "{fine}");
        }
        for (wrong, word) in [
            ("proxy:3128", "form"),
            ("proxy", "no address"),
            ("socks5://proxy:1", "form"),
            ("http://me:secret@proxy:3128", "HTTPS_PROXY"),
        ] {
            let fault = by(wrong, "").proxy_fault().unwrap();
            assert!(fault.contains(word) && !fault.contains("secret"), "{fault}");
        }
    }

    #[test]
    fn files_without_certificates_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        let error = |file: &Path| authorities(file).unwrap_err().to_string();
        assert!(error(&file).contains("ca.pem"));
        std::fs::write(&file, "no certificate").unwrap();
        assert!(error(&file).contains("no certificate in PEM"), "{}", error(&file));
        std::fs::write(&file, vec![b'x'; (1 << 20) + 1]).unwrap();
        assert!(error(&file).contains("1 MiB"));
    }
}
