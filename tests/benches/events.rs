//! An operation's events to 99 listeners that keep up and one that does not read: how many reach everybody in a second,
//! whether each hears each of them once and in order, what the one that did not read hears afterwards and when it comes
//! back with the last number it saw, and what it all costs the host of memory.
//!
//! A real host makes 5,000 objects before a real API server, which works on the same cores and bounds the rate, and then
//! waits for them, which is told of each of them at once.
//! `cargo bench -p meshery-tests --bench events`; needs the test control plane.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use meshery_tests::artifacts;
use meshery_tests::cluster::Cluster;
use meshery_tests::host::Host;
use meshery_tests::reach::{Reach, ended, mebibytes};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const LISTENERS: usize = 99;
const OBJECTS: usize = 5_000;
/// What the project asks of itself: events a second, MiB.
const REACH: (f64, f64) = (1_000.0, 150.0);
/// For a whole operation, and for a stalled listener to be cut off.
const LIMIT: Duration = Duration::from_mins(3);
/// What a stalled listener has room for in its kernel.
const RECEIVES: usize = 4 << 10;
const SAMPLE: Duration = Duration::from_millis(50);

/// What a listener has heard.
#[derive(Default)]
struct Heard {
    ids: Vec<u64>,
    /// Whether the stream came to its proper end.
    ended: bool,
}

fn main() -> ExitCode {
    ended(bench())
}

fn bench() -> anyhow::Result<()> {
    let plane = Cluster::start()?;
    let host = Host::builder()
        .own_plugins(&["meshery_local_provider"])
        .plugins(plugins(&plane)?)
        .kubeconfig(plane.kubeconfig())
        .helm(plane.helm())
        .env("MESHERY_OFFLINE", "true")
        .start()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    println!(
        "{LISTENERS} listeners, and one that stops reading; {} MiB idle\n",
        host.resident()? >> 20
    );
    let (rate, most) = measure(&host, &runtime)?;
    println!("\n{} MiB afterwards", host.resident()? >> 20);
    let mut reach = Reach::default();
    reach.at_least("events a second to each listener", rate, REACH.0);
    reach.at_most("resident MiB", mebibytes(most), REACH.1);
    reach.end()
}

fn plugins(plane: &Cluster) -> anyhow::Result<PathBuf> {
    let folder = plane.dir().join("invented-plugins");
    std::fs::create_dir_all(&folder)?;
    let library = artifacts::build()?.library("fixture_invented_mesh")?;
    std::fs::copy(library, folder.join("libfixture_invented_mesh.so"))?;
    Ok(folder)
}

/// Runs an operation with everybody listening; how many events a second each has heard, and the most memory.
fn measure(host: &Host, runtime: &tokio::runtime::Runtime) -> anyhow::Result<(f64, u64)> {
    // As long as a name may be, so that the kernel has no room for all of it.
    let namespace = "events-".repeat(9).trim_end_matches('-').to_owned();
    let parameters = json!({"namespace": namespace, "objects": OBJECTS, "steps": 1, "await": true});
    let id = host.plan(&json!({"adapter": "invented", "operation": "many", "parameters": parameters}))?;
    let token = std::fs::read_to_string(host.token_file())?.trim().to_owned();
    let address = host.client()?.address().to_owned();
    let request = Arc::new(move |id: &str, after: u64| {
        format!(
            "GET /api/v1/operations/{id}/events HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
             Accept: text/event-stream\r\nLast-Event-ID: {after}\r\n\r\n"
        )
    });
    let address = host.client()?.address().to_owned();
    let mut stalled = runtime.block_on(stall(&address, &request(&id, 0)))?;
    let latest = Arc::new(AtomicU64::new(0));
    let mut listeners = JoinSet::new();
    for _ in 0..LISTENERS {
        let (address, request, latest) = (address.clone(), request(&id, 0), latest.clone());
        listeners.spawn_on(
            async move {
                let mut stream = TcpStream::connect(&address).await?;
                stream.write_all(request.as_bytes()).await?;
                listen(&mut stream, &latest).await
            },
            runtime.handle(),
        );
    }
    host.order(&id, "run")?;
    let began = Instant::now();
    let mut most = 0;
    let heard = runtime.block_on(async {
        let all = async {
            let mut all: Vec<Heard> = Vec::new();
            while let Some(heard) = listeners.join_next().await {
                all.push(heard??);
            }
            anyhow::Ok(all)
        };
        tokio::pin!(all);
        loop {
            tokio::select! {
                all = &mut all => return all,
                () = tokio::time::sleep(SAMPLE) => most = most.max(host.resident()?),
            }
            ensure!(
                began.elapsed() < LIMIT,
                "listeners have heard up to {latest:?} after {LIMIT:?}"
            );
        }
    })?;
    let took = began.elapsed();
    let path = format!("/api/v1/operations/{id}/events");
    let journal = host
        .client()?
        .send("GET", &path, &[("accept", "application/json")], None)?
        .expect(200)?;
    let journal: Vec<u64> = journal["items"]
        .as_array()
        .context("events")?
        .iter()
        .filter_map(|event| event["seq"].as_u64())
        .collect();
    // The first is from when it was planned.
    for heard in &heard {
        ensure!(heard.ended, "a stream was cut");
        ensure!(
            heard.ids == journal,
            "a listener has heard {} events, not the {} of the journal",
            heard.ids.len(),
            journal.len()
        );
    }
    let rate = f64::from(u32::try_from(journal.len())?) / took.as_secs_f64();
    println!(
        "{} events in {:.2} s, heard to the end by everybody once and in order: {rate:.0} a second; {} MiB at most",
        journal.len(),
        took.as_secs_f64(),
        most >> 20
    );
    let waited = runtime.block_on(until_cut_off(host))?;
    let (before, after) = runtime.block_on(async {
        // What had reached its kernel before is still there to be read.
        let before = listen(&mut stalled, &latest).await?;
        let last = before.ids.last().copied().unwrap_or_default();
        let mut stream = TcpStream::connect(&address).await?;
        stream.write_all(request(&id, last).as_bytes()).await?;
        anyhow::Ok((before, listen(&mut stream, &latest).await?))
    })?;
    ensure!(
        after.ended,
        "the stream from event {:?} on was cut",
        before.ids.last()
    );
    let all: Vec<u64> = before.ids.iter().chain(&after.ids).copied().collect();
    ensure!(
        all == journal,
        "the stalled listener has heard {} events in all",
        all.len()
    );
    let fate = if before.ended {
        "the kernel kept all of it for it"
    } else {
        "it was cut off"
    };
    println!(
        "the one that did not read: {fate} {:.0} s after the end, with {} events; back with the last number, it heard the other {}",
        waited.as_secs_f64(),
        before.ids.len(),
        after.ids.len()
    );
    Ok((rate, most))
}

/// Asks, and reads nothing.
async fn stall(address: &str, request: &str) -> anyhow::Result<TcpStream> {
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(u32::try_from(RECEIVES)?)?;
    let mut stream = socket.connect(address.parse()?).await?;
    stream.write_all(request.as_bytes()).await?;
    Ok(stream)
}

/// Waits until the host has nobody left who listens; how long that took.
async fn until_cut_off(host: &Host) -> anyhow::Result<Duration> {
    let began = Instant::now();
    loop {
        let metrics = host.get("/metrics")?.text();
        if metrics.lines().any(|line| line == "meshery_event_listeners 0") {
            return Ok(began.elapsed());
        }
        ensure!(
            began.elapsed() < LIMIT,
            "a listener that reads nothing is still served"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Reads to the end of the stream. Of the events only their numbers are looked at, so that the listeners do not take the
/// host's time.
async fn listen(stream: &mut TcpStream, latest: &AtomicU64) -> anyhow::Result<Heard> {
    let mut heard = Heard::default();
    let mut buffer = Vec::with_capacity(64 << 10);
    loop {
        let closed = matches!(stream.read_buf(&mut buffer).await, Ok(0) | Err(_));
        let mut from = 0;
        while let Some(end) = buffer[from..].iter().position(|byte| *byte == b'\n') {
            let line = &buffer[from..from + end];
            from += end + 1;
            if let Some(id) = line.strip_prefix(b"id: ") {
                let id = std::str::from_utf8(id)?.trim().parse()?;
                heard.ids.push(id);
                latest.fetch_max(id, Ordering::Relaxed);
            } else if line.starts_with(b"event: end") {
                heard.ended = true;
            }
        }
        buffer.drain(..from);
        if closed || heard.ended {
            return Ok(heard);
        }
    }
}
