//! Where the host is.

use std::net::IpAddr;

use reqwest::Url;

use crate::failure::Failure;

#[derive(Debug, Clone)]
pub struct Address(Url);

impl Address {
    /// Reads `http://host:port`; the scheme may be left out.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let refused = |why: &str| {
            // What stands before an @ may be a password.
            let shown = match text.rsplit_once('@') {
                Some((_, after)) => format!("...@{after}"),
                None => text.to_owned(),
            };
            Failure::usage(
                "bad-server",
                format!("\"{shown}\" is not the address of a host: {why}"),
                "give it as http://127.0.0.1:9081, with --server or MESHERY_SERVER",
            )
        };
        let text = text.trim();
        let full = if text.contains("://") {
            text.to_owned()
        } else {
            format!("http://{text}")
        };
        let url = Url::parse(&full).map_err(|e| refused(&e.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(refused("only http and https will do"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refused(
                "it holds a user name or a password; the token comes from a file",
            ));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(refused("it has a query or a fragment"));
        }
        Ok(Self(url))
    }

    pub fn as_str(&self) -> &str {
        self.0.as_str().trim_end_matches('/')
    }

    pub fn is_encrypted(&self) -> bool {
        self.0.scheme() == "https"
    }

    pub fn is_loopback(&self) -> bool {
        let host = self.0.host_str().unwrap_or("");
        let host = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    /// The address of something in the API, each part of its path as one segment whatever is in it.
    pub fn api(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Url, Failure> {
        let mut url = self.0.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["api", "v1"]);
            for part in path {
                // An URL has no way to write these as names.
                if matches!(*part, "" | "." | "..") {
                    return Err(Failure::usage(
                        "bad-name",
                        format!("\"{part}\" is not a name"),
                        "give a name",
                    ));
                }
                segments.push(part);
            }
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheme_may_be_left_out_and_loopback_is_recognised() {
        for text in ["127.0.0.1:9081", "http://localhost:9081/", "http://[::1]:9081"] {
            assert!(Address::parse(text).unwrap().is_loopback(), "{text}");
        }
        assert!(!Address::parse("https://meshery.example").unwrap().is_loopback());
    }

    #[test]
    fn names_in_a_path_stay_one_segment() {
        let address = Address::parse("http://h:1/prefix/").unwrap();
        let url = address
            .api(&["clusters", "a/b?c"], &[("adapter", "x&y")])
            .unwrap();
        assert_eq!(
            url.as_str(),
            "http://h:1/prefix/api/v1/clusters/a%2Fb%3Fc?adapter=x%26y"
        );
        assert!(address.api(&["operations", ".."], &[]).is_err());
    }

    #[test]
    fn what_is_not_an_address_is_refused_with_the_reason() {
        for (text, why) in [
            ("ftp://x", "http and https"),
            ("http://user:pw@x", "password"),
            ("http://", "empty host"),
            ("http://x:99999", "port"),
            ("http://x/?a=1", "query"),
        ] {
            let error = Address::parse(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
