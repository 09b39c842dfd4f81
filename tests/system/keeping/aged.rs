//! An operation that was done long ago: its store was saved and brought back with every moment in it moved into the past.

use std::fmt::Write as _;

use anyhow::{Context as _, ensure};
use hyper::body::Bytes;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use meshery_tests::snapshot::Snapshot;
use serde_json::{Value, json};

use super::host;
use crate::cluster;
use crate::invented::{LIMIT, request};

/// Longer ago than operations are kept by their age alone.
const AGO: SignedDuration = SignedDuration::from_hours(200 * 24);

pub fn taken_back() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let mut host = host(&cluster)?;
    let before = Snapshot::take(&cluster)?;
    let done = host.perform(
        &request("install", json!({"namespace": "long-ago"})),
        "succeeded",
        LIMIT,
    )?;
    let id = done["id"].as_str().context("an id")?;
    let backup = host.get("/api/v1/provider/backup")?;
    ensure!(backup.status == 200, "{backup:?}");
    let kind = [("content-type", "application/x-ndjson")];
    host.client()?
        .send_bytes(
            "POST",
            "/api/v1/provider/restore?replace=true",
            &kind,
            aged(&backup.body)?,
        )?
        .expect(200)?;
    host.terminate()?;
    host.restart()?;
    // It is the newest of its kind, and stays.
    host.post("/api/v1/operations/prune", &json!({}))?.expect(200)?;
    let record = host.record(id)?;
    for moment in ["created", "updated"] {
        let moment = record[moment].as_str().context("a moment")?;
        let moment: Timestamp = moment.parse()?;
        ensure!(
            Timestamp::now().duration_since(moment) > AGO - SignedDuration::from_hours(48),
            "{record:#}"
        );
    }
    host.take_back(id, "undone", LIMIT)?;
    before.await_same(&cluster)
}

/// The backup with all its moments so long ago, and an end that is right again.
fn aged(backup: &[u8]) -> anyhow::Result<Bytes> {
    let text = std::str::from_utf8(backup)?;
    let (rest, end) = text.trim_end().rsplit_once('\n').context("a backup has an end")?;
    let mut rest = format!("{rest}\n");
    let day = |moment: Timestamp| moment.strftime("%Y-%m-%dT").to_string();
    // It may have begun before midnight.
    for hours in [0, 24] {
        let moment = Timestamp::now() - SignedDuration::from_hours(hours);
        rest = rest.replace(&day(moment), &day(moment - AGO));
    }
    let mut end: Value = serde_json::from_str(end)?;
    let digest = ring::digest::digest(&ring::digest::SHA256, rest.as_bytes());
    let mut hex = String::new();
    for byte in digest.as_ref() {
        write!(hex, "{byte:02x}")?;
    }
    end["end"]["sha256"] = hex.into();
    writeln!(rest, "{end}")?;
    Ok(Bytes::from(rest))
}
