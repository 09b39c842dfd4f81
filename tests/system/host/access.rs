//! Who may ask: token, Host, Origin.

use anyhow::ensure;
use libtest_mimic::Trial;
use meshery_tests::host::Host;

use crate::trial;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("host::every_route_needs_the_token", every_route_needs_the_token),
        trial("host::foreign_hosts_and_origins_are_refused", foreign_refused),
        trial("host::an_open_loopback_is_said", open_loopback_is_said),
        trial("host::requests_have_ids", requests_have_ids),
    ]
}

const ROUTES: [(&str, &str); 28] = [
    ("GET", "/api/v1/version"),
    ("GET", "/api/v1/plugins"),
    ("GET", "/api/v1/adapters"),
    ("GET", "/api/v1/adapters/x"),
    ("GET", "/api/v1/clusters"),
    ("POST", "/api/v1/clusters"),
    ("GET", "/api/v1/clusters/-"),
    ("DELETE", "/api/v1/clusters/x"),
    ("GET", "/api/v1/clusters/-/facts?adapter=x"),
    ("GET", "/api/v1/clusters/-/detect?adapter=x"),
    ("GET", "/api/v1/clusters/-/analyze?adapter=x"),
    ("POST", "/api/v1/operations"),
    ("GET", "/api/v1/operations"),
    ("GET", "/api/v1/operations/x"),
    ("POST", "/api/v1/operations/x/preview"),
    ("GET", "/api/v1/operations/x/preview"),
    ("POST", "/api/v1/operations/x/approve"),
    ("POST", "/api/v1/operations/x/run"),
    ("POST", "/api/v1/operations/x/cancel"),
    ("POST", "/api/v1/operations/x/undo"),
    ("POST", "/api/v1/operations/x/resume"),
    ("GET", "/api/v1/operations/x/record"),
    ("GET", "/api/v1/operations/x/events"),
    ("GET", "/api/v1/documents/note"),
    ("GET", "/api/v1/documents/note/x"),
    ("PUT", "/api/v1/documents/note/x"),
    ("DELETE", "/api/v1/documents/note/x"),
    ("GET", "/no/such/route"),
];

fn every_route_needs_the_token() -> anyhow::Result<()> {
    let host = Host::builder().start()?;
    let stranger = host.client()?.without_token();
    for (method, route) in ROUTES {
        for authorization in [None, Some("Bearer wrong"), Some("Basic dTpw")] {
            let headers: Vec<_> = authorization
                .map(|value| ("authorization", value))
                .into_iter()
                .collect();
            let answer = stranger.send(method, route, &headers, None)?;
            answer
                .problem(401, "unauthorized")
                .map_err(|error| error.context(format!("{method} {route}")))?;
            ensure!(answer.headers["www-authenticate"] == "Bearer", "{answer:?}");
        }
    }
    for free in ["/healthz", "/readyz", "/metrics"] {
        let answer = stranger.send("GET", free, &[], None)?;
        answer.expect(200)?;
        let text = answer.text();
        ensure!(
            !text.contains(&host.data().display().to_string()),
            "{free}: {text}"
        );
    }
    Ok(())
}

fn foreign_refused() -> anyhow::Result<()> {
    let host = Host::builder().start()?;
    let client = host.client()?;
    let get = |header: (&str, &str)| client.send("GET", "/api/v1/version", &[header], None);
    for foreign in [
        "evil.example",
        "evil.example:9081",
        "localhost.evil.example",
        "192.0.2.7",
    ] {
        get(("host", foreign))?.problem(421, "unknown-host")?;
    }
    for own in ["localhost", "127.0.0.1:9081", "[::1]:9081"] {
        get(("host", own))?.expect(200)?;
    }
    for foreign in ["https://evil.example", "null", "http://localhost:3000"] {
        get(("origin", foreign))?.problem(403, "foreign-origin")?;
    }
    get(("origin", host.url()?))?.expect(200)?;
    let named = Host::builder()
        .settings("[auth]\nhosts = [\"mesh.example\"]\n")
        .start()?;
    named
        .client()?
        .send("GET", "/api/v1/version", &[("host", "mesh.example")], None)?
        .expect(200)?;
    Ok(())
}

fn open_loopback_is_said() -> anyhow::Result<()> {
    let host = Host::builder()
        .settings("[auth]\nloopback = \"open\"\n")
        .start()?;
    let stranger = host.client()?.without_token();
    stranger.send("GET", "/api/v1/plugins", &[], None)?.expect(200)?;
    let origin = [("origin", "https://evil.example")];
    stranger
        .send("GET", "/api/v1/plugins", &origin, None)?
        .problem(403, "foreign-origin")?;
    let ready = host.get("/readyz")?.expect(200)?;
    ensure!(ready["notes"].to_string().contains("need no token"), "{ready}");
    ensure!(host.report().contains("need no token"), "{}", host.report());
    Ok(())
}

fn requests_have_ids() -> anyhow::Result<()> {
    let host = Host::builder().start()?;
    let client = host.client()?;
    let ask = |id: &str| client.send("GET", "/api/v1/operations/none", &[("x-request-id", id)], None);
    let answer = ask("abc-123")?;
    ensure!(answer.headers["x-request-id"] == "abc-123", "{answer:?}");
    ensure!(
        answer.json()["instance"] == "urn:meshery:request:abc-123",
        "{answer:?}"
    );
    ensure!(host.log().contains("abc-123"), "{}", host.log());
    let long = "x".repeat(65);
    for insane in ["a b", "\"", long.as_str()] {
        let answer = ask(insane)?;
        let id = answer.headers["x-request-id"].to_str()?;
        ensure!(id.len() == 26, "{id}");
    }
    Ok(())
}
