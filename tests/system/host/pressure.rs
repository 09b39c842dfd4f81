//! Clients that take more than they should.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use libtest_mimic::Trial;
use meshery_tests::host::Host;

use crate::trial;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("host::a_huge_body_is_refused_without_being_kept", huge_body),
        trial(
            "host::a_huge_body_of_unknown_length_is_refused",
            huge_chunked_body,
        ),
        trial("host::huge_headers_are_refused", huge_headers),
        trial(
            "host::a_client_that_never_ends_its_header_is_cut_off",
            endless_header,
        ),
        trial(
            "host::a_client_that_never_ends_its_body_is_answered",
            endless_body,
        ),
        trial(
            "host::connections_over_the_limit_are_told_so",
            too_many_connections,
        ),
        trial("host::metrics_count", metrics_count),
    ]
}

const MIB: usize = 1 << 20;

fn head(host: &Host, rest: &str) -> anyhow::Result<String> {
    let token = std::fs::read_to_string(host.token_file())?;
    Ok(format!(
        "POST /api/v1/operations HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\n{rest}\r\n\r\n",
        token.trim()
    ))
}

fn connect(host: &Host) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect(host.client()?.address())?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.set_write_timeout(Some(Duration::from_secs(30)))?;
    Ok(stream)
}

/// What comes back until the host hangs up, or nothing more comes for long.
fn answer(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut some = [0; 4096];
    while let Ok(n) = stream.read(&mut some)
        && n > 0
    {
        bytes.extend_from_slice(&some[..n]);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn huge_body() -> anyhow::Result<()> {
    let host = Host::builder().start()?;
    host.get("/api/v1/version")?.expect(200)?;
    let before = host.resident()?;
    let mut stream = connect(&host)?;
    stream.write_all(
        head(
            &host,
            &format!("connection: close\r\ncontent-length: {}", 100 * MIB),
        )?
        .as_bytes(),
    )?;
    let chunk = vec![b' '; MIB];
    for _ in 0..100 {
        if stream.write_all(&chunk).is_err() {
            break;
        }
    }
    let said = answer(&mut stream);
    ensure!(said.starts_with("HTTP/1.1 413 "), "{said}");
    ensure!(
        said.contains("body-too-large") && said.contains("1048576"),
        "{said}"
    );
    let grown = host.resident()?.saturating_sub(before);
    ensure!(grown < 16 << 20, "the host has grown by {grown} bytes");
    host.get("/healthz")?.expect(200)?;
    Ok(())
}

fn huge_chunked_body() -> anyhow::Result<()> {
    let host = Host::builder().start()?;
    let mut stream = connect(&host)?;
    stream.write_all(head(&host, "connection: close\r\ntransfer-encoding: chunked")?.as_bytes())?;
    let chunk = [b"10000\r\n".as_slice(), &vec![b' '; 0x1_0000], b"\r\n"].concat();
    for _ in 0..64 {
        if stream.write_all(&chunk).is_err() {
            break;
        }
    }
    let _ = stream.write_all(b"0\r\n\r\n");
    let said = answer(&mut stream);
    ensure!(said.starts_with("HTTP/1.1 413 "), "{said}");
    Ok(())
}

fn huge_headers() -> anyhow::Result<()> {
    let host = Host::builder().start()?;
    let mut stream = connect(&host)?;
    let large = format!("x-large: {}", "x".repeat(100_000));
    let _ = stream.write_all(head(&host, &large)?.as_bytes());
    let said = answer(&mut stream);
    ensure!(said.starts_with("HTTP/1.1 431 "), "{said}");
    host.get("/healthz")?.expect(200)?;
    Ok(())
}

fn endless_header() -> anyhow::Result<()> {
    let host = Host::builder()
        .settings("[limits]\nheader_seconds = 1\nconnections = 8\n")
        .start()?;
    let began = Instant::now();
    let mut slow = Vec::new();
    for _ in 0..6 {
        let mut stream = connect(&host)?;
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: loc")?;
        slow.push(stream);
    }
    // Others are served meanwhile.
    host.get("/healthz")?.expect(200)?;
    for stream in &mut slow {
        // One byte now and then does not help.
        let _ = stream.write_all(b"a");
        answer(stream);
    }
    ensure!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    Ok(())
}

fn endless_body() -> anyhow::Result<()> {
    let host = Host::builder().settings("[limits]\nplan_seconds = 1\n").start()?;
    let mut stream = connect(&host)?;
    stream.write_all(head(&host, "connection: close\r\ncontent-length: 100")?.as_bytes())?;
    stream.write_all(b"{\"adapter\"")?;
    let began = Instant::now();
    let said = answer(&mut stream);
    ensure!(said.starts_with("HTTP/1.1 504 "), "{said}");
    ensure!(said.contains("request-timeout"), "{said}");
    ensure!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    Ok(())
}

fn too_many_connections() -> anyhow::Result<()> {
    let host = Host::builder().settings("[limits]\nconnections = 4\n").start()?;
    let address = host.client()?.address();
    let mut open = Vec::new();
    // The harness itself may still hold one.
    for _ in 0..8 {
        open.push(connect(&host)?);
    }
    let mut last = open.pop().context("one was opened")?;
    let said = answer(&mut last);
    ensure!(said.starts_with("HTTP/1.1 503 "), "{said}");
    ensure!(
        said.contains("too-many-connections") && said.contains("retry-after"),
        "{said}"
    );
    drop((open, last));
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        if answer(&mut stream).starts_with("HTTP/1.1 200 ") {
            return Ok(());
        }
        ensure!(Instant::now() < end, "no place although all others hung up");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn metrics_count() -> anyhow::Result<()> {
    let host = Host::builder().start()?;
    for _ in 0..3 {
        host.get("/api/v1/version")?.expect(200)?;
    }
    host.get("/api/v1/nothing")?.expect(404)?;
    let text = host.get("/metrics")?.text();
    for line in [
        "meshery_requests_total{method=\"GET\",route=\"/api/v1/version\",status=\"200\"} 3",
        "meshery_requests_total{method=\"GET\",route=\"none\",status=\"404\"} 1",
        "meshery_request_seconds_count{route=\"/api/v1/version\"} 3",
        "meshery_event_listeners 0",
        "meshery_plugins{kind=\"provider\",name=\"local\",state=\"loaded\"} 1",
        "process_resident_memory_bytes ",
    ] {
        ensure!(text.contains(line), "no {line} in {text}");
    }
    Ok(())
}
