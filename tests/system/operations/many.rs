//! As many objects in one plan as anybody has.

use std::time::{Duration, Instant};

use anyhow::ensure;
use meshery_tests::snapshot::Snapshot;
use serde_json::json;

use super::host;
use crate::cluster;
use crate::invented::{LIMIT, request};

/// Also what that costs of memory, which is printed.
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
    let done = record["steps"].as_array().into_iter().flatten();
    let done: u64 = done.filter_map(|step| step["done"].as_u64()).sum();
    ensure!(done == 5001, "{done} objects");
    host.take_back(&planned, "undone", LIMIT)?;
    most = most.max(host.resident()?);
    println!("{} MiB idle, {} MiB at most", idle >> 20, most >> 20);
    before.await_same(&cluster)
}
