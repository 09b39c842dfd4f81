//! Who may ask: the Host and Origin checks against pages of other sites, and the token.
//!
//! A page whose name is made to point to 127.0.0.1 (DNS rebinding) still sends its own name as `Host`, and a page of
//! another site still sends its `Origin`; both are refused before anything is looked at, token or not.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::uri::Authority;
use http::{HeaderMap, StatusCode, header};
use meshery_core::problem::{Problem, ProblemKind};
use percent_encoding::percent_decode_str;

use crate::app::App;
use crate::failure::{Failure, Result};
use crate::settings::{Loopback, Settings};
use crate::token::Token;

/// Where a request comes from; put into each request by the server.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// The rules, from the settings.
pub struct Access {
    token: Token,
    open_loopback: bool,
    names: Vec<String>,
    any_address: bool,
}

/// What is said without a token: whether the host is well, not what it holds.
const FREE: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

impl Access {
    pub fn new(token: Token, settings: &Settings) -> Self {
        Self {
            token,
            open_loopback: settings.auth.loopback == Loopback::Open,
            names: settings
                .auth
                .hosts
                .iter()
                .map(|name| name.to_lowercase())
                .collect(),
            // An address cannot be rebound; it is only foreign when nobody outside is meant to reach us.
            any_address: !settings.listen.ip().is_loopback(),
        }
    }

    fn check(&self, path: &str, headers: &HeaderMap, peer: Option<Peer>) -> Result<()> {
        let host = self.host(headers)?;
        Self::origin(headers, &host)?;
        let from_loopback = peer.is_some_and(|peer| peer.0.ip().to_canonical().is_loopback());
        if FREE.contains(&path) || (self.open_loopback && from_loopback) {
            return Ok(());
        }
        self.token(headers)
    }

    fn host(&self, headers: &HeaderMap) -> Result<Authority> {
        let mut all = headers.get_all(header::HOST).iter();
        let text = match (all.next(), all.next()) {
            (Some(one), None) => one.to_str().unwrap_or_default(),
            _ => "",
        };
        let known = text.parse::<Authority>().ok().filter(|host| {
            let name = host.host().trim_matches(['[', ']']).to_lowercase();
            let known_name = match name.parse::<IpAddr>() {
                Ok(address) => self.any_address || address.to_canonical().is_loopback(),
                Err(_) => name == "localhost",
            };
            !text.contains('@') && (known_name || self.names.contains(&name))
        });
        known.ok_or_else(|| {
            let message = format!("this host is not called \"{}\"", text.escape_debug());
            let problem = Problem::new(ProblemKind::Forbidden, "unknown-host", message)
                .cause("the request was made by a page of another site, or through a proxy that is not known here")
                .remedy("use 127.0.0.1 or localhost, or add the name to `hosts` under [auth] in the settings");
            Failure::new(StatusCode::MISDIRECTED_REQUEST, problem)
        })
    }

    fn origin(headers: &HeaderMap, host: &Authority) -> Result<()> {
        let Some(origin) = headers.get(header::ORIGIN) else {
            return Ok(());
        };
        let own = origin.to_str().is_ok_and(|origin| {
            ["http://", "https://"].iter().any(|scheme| {
                origin
                    .strip_prefix(scheme)
                    .is_some_and(|rest| rest.eq_ignore_ascii_case(host.as_str()))
            })
        });
        if own {
            return Ok(());
        }
        let origin = String::from_utf8_lossy(origin.as_bytes());
        let message = format!("a page of \"{}\" may not ask this host", origin.escape_debug());
        Err(Problem::new(ProblemKind::Forbidden, "foreign-origin", message)
            .remedy("ask from a page of this host, or from a program")
            .into())
    }

    fn token(&self, headers: &HeaderMap) -> Result<()> {
        let shown = headers
            .get(header::AUTHORIZATION)
            .map(http::HeaderValue::as_bytes);
        let bearer = shown
            .and_then(|value| value.split_at_checked(7))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer "))
            .map(|(_, token)| token.trim_ascii());
        let message = match bearer {
            Some(token) if self.token.is(token) => return Ok(()),
            Some(_) => "the token is not the one of this host",
            None if shown.is_some() => "the header Authorization holds no Bearer token",
            None => "a token is needed",
        };
        let problem = Problem::new(ProblemKind::Forbidden, "unauthorized", message).remedy(
            "send `Authorization: Bearer TOKEN` with the content of the file `token` in the host's data folder",
        );
        Err(Failure::new(StatusCode::UNAUTHORIZED, problem).header(header::WWW_AUTHENTICATE, "Bearer"))
    }
}

/// The layer.
pub async fn check(State(app): State<App>, request: Request, next: Next) -> Result<Response> {
    let peer = request.extensions().get::<Peer>().copied();
    let path = request.uri().path();
    app.access.check(path, request.headers(), peer)?;
    if percent_decode_str(path).decode_utf8().is_err() {
        let message = format!("the path {path} does not stand for UTF-8");
        let problem = Problem::new(ProblemKind::Invalid, "bad-path", message)
            .remedy("write each byte of a name's UTF-8 that is not allowed in an address as %XX");
        return Err(problem.into());
    }
    Ok(next.run(request).await)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    fn access(settings: &Settings) -> Access {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), TOKEN).unwrap();
        Access::new(Token::open(folder.path()).unwrap(), settings)
    }

    fn code(access: &Access, headers: &[(&'static str, &str)]) -> String {
        let headers = headers
            .iter()
            .map(|(k, v)| (http::HeaderName::from_static(k), v.parse().unwrap()))
            .collect();
        let peer = Peer("127.0.0.1:4000".parse().unwrap());
        match access.check("/api/v1/version", &headers, Some(peer)) {
            Ok(()) => "ok".to_owned(),
            Err(failure) => {
                let body: serde_json::Value =
                    serde_json::from_str(&crate::failure::body(&failure, "")).unwrap();
                body["code"].as_str().unwrap().to_owned()
            }
        }
    }

    #[test]
    fn only_names_of_this_machine_are_hosts() {
        let bearer = format!("Bearer {TOKEN}");
        let with_host =
            |access: &Access, host: &str| code(access, &[("host", host), ("authorization", &bearer)]);
        let access = access(&Settings::default());
        for own in [
            "127.0.0.1:9081",
            "localhost",
            "LOCALHOST:1",
            "[::1]:9081",
            "127.9.9.9",
        ] {
            assert_eq!(with_host(&access, own), "ok", "{own}");
        }
        for foreign in [
            "evil.example:9081",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1",
            "user@localhost",
            "",
            "a b",
        ] {
            assert_eq!(with_host(&access, foreign), "unknown-host", "{foreign}");
        }
        assert_eq!(code(&access, &[("authorization", &bearer)]), "unknown-host");
        let mut settings = Settings::default();
        settings.auth.hosts = vec!["Mesh.Example".to_owned()];
        settings.listen = "0.0.0.0:9081".parse().unwrap();
        let access = self::access(&settings);
        for own in ["mesh.example", "10.0.0.1:9081", "[2001:db8::1]"] {
            assert_eq!(with_host(&access, own), "ok", "{own}");
        }
        assert_eq!(with_host(&access, "evil.example"), "unknown-host");
    }

    #[test]
    fn only_own_pages_may_ask() {
        let mut settings = Settings::default();
        settings.auth.loopback = Loopback::Open;
        let access = access(&settings);
        let from = |origin: &str| code(&access, &[("host", "localhost:9081"), ("origin", origin)]);
        assert_eq!(from("http://localhost:9081"), "ok");
        for foreign in [
            "http://localhost:3000",
            "https://evil.example",
            "null",
            "http://127.0.0.1:9081",
        ] {
            assert_eq!(from(foreign), "foreign-origin", "{foreign}");
        }
    }

    #[test]
    fn token_is_needed_unless_the_loopback_is_open() {
        let closed = access(&Settings::default());
        let with = |value: &str| code(&closed, &[("host", "localhost"), ("authorization", value)]);
        assert_eq!(code(&closed, &[("host", "localhost")]), "unauthorized");
        assert_eq!(with(&format!("bearer {TOKEN} ")), "ok");
        for wrong in [
            TOKEN.to_owned(),
            format!("Basic {TOKEN}"),
            "Bearer ".to_owned(),
            format!("Bearer {}", &TOKEN[1..]),
        ] {
            assert_eq!(with(&wrong), "unauthorized", "{wrong}");
        }
        let mut settings = Settings::default();
        settings.auth.loopback = Loopback::Open;
        let open = access(&settings);
        assert_eq!(code(&open, &[("host", "localhost")]), "ok");
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, "localhost".parse().unwrap());
        let far = Peer("192.0.2.1:4000".parse().unwrap());
        assert!(open.check("/api/v1/version", &headers, Some(far)).is_err());
    }
}
