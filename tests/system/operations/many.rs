//! As many objects in one plan as anybody has, and as many who listen.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::ensure;
use meshery_tests::host::Host;
use meshery_tests::snapshot::Snapshot;
use serde_json::json;

use super::host;
use crate::cluster;
use crate::invented::{LIMIT, request};

/// How many listen meanwhile; one more does not read what it is sent.
const LISTENERS: usize = 99;

/// Also who listens: nobody misses an event, whoever else is slow. What it costs of memory is printed.
pub fn five_thousand() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let host = host(&cluster)?;
    let before = Snapshot::take(&cluster)?;
    let idle = host.resident()?;
    let many = request(
        "many",
        json!({"namespace": "five-thousand", "objects": 5000, "steps": 1}),
    );
    let planned = host.plan(&many)?;
    let client = host.client()?;
    let listeners: Vec<_> = (0..LISTENERS)
        .map(|_| client.events(&planned, 0))
        .collect::<anyhow::Result<_>>()?;
    let stalled = stalled(&host, &planned)?;
    host.order(&planned, "run")?;
    let mut most = 0;
    let end = Instant::now() + LIMIT;
    let record = loop {
        let record = host.record(&planned)?;
        most = most.max(host.resident()?);
        if record["state"] == "succeeded" {
            break record;
        }
        ensure!(
            record["state"] != "failed" && Instant::now() < end,
            "{}: {}",
            record["state"],
            record["error"]
        );
        std::thread::sleep(Duration::from_millis(100));
    };
    let mut all: Vec<u64> = Vec::new();
    for listener in &listeners {
        let (frames, end) = listener.until_end(LIMIT)?;
        ensure!(end["state"] == "succeeded", "{end:#}");
        let seen: Vec<u64> = frames.iter().filter_map(|frame| frame.id.parse().ok()).collect();
        ensure!(seen.len() > 5001 && seen.is_sorted_by(|one, next| one < next));
        if all.is_empty() {
            all.clone_from(&seen);
        }
        ensure!(seen == all, "two listeners have heard different events");
    }
    drop(stalled);
    most = most.max(host.resident()?);
    let done = record["steps"].as_array().into_iter().flatten();
    let done: u64 = done.filter_map(|step| step["done"].as_u64()).sum();
    ensure!(done == 5001, "{done} objects");
    host.take_back(&planned, "undone", LIMIT)?;
    most = most.max(host.resident()?);
    println!("{} MiB idle, {} MiB at most", idle >> 20, most >> 20);
    before.await_same(&cluster)
}

/// Listens to an operation and never reads.
fn stalled(host: &Host, id: &str) -> anyhow::Result<TcpStream> {
    let address = host
        .url()?
        .trim_start_matches("http://")
        .trim_end_matches('/')
        .to_owned();
    let token = std::fs::read_to_string(host.token_file())?;
    let mut stream = TcpStream::connect(&address)?;
    write!(
        stream,
        "GET /api/v1/operations/{id}/events HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\n\
         Accept: text/event-stream\r\n\r\n",
        token.trim()
    )?;
    Ok(stream)
}
