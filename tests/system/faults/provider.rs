//! A provider that does not append as it should: an answer that is lost, entries that are appended twice, or when later
//! ones have been, or slowly, or not at all. The operation ends as if nothing had been, and each entry is there once.

use anyhow::{Context as _, ensure};
use meshery_tests::snapshot::Snapshot;
use serde_json::{Value, json};

use crate::cluster;
use crate::invented::{LIMIT, request};
use crate::kills::boundaries::killing_host;

const TROUBLES: [&str; 5] = ["lost", "repeated", "late", "slow", "refused"];

pub fn troubled() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let folder = tempfile::tempdir()?;
    let mut host = killing_host(&cluster, folder.path())?;
    let before = Snapshot::take(&cluster)?;
    let trouble = folder.path().join("trouble");
    let many = request(
        "many",
        json!({"namespace": "troubled", "objects": 12, "steps": 4}),
    );
    let mut known: Vec<(String, Value)> = Vec::new();
    for word in TROUBLES {
        std::fs::write(&trouble, word)?;
        let ended = host
            .perform(&many, "succeeded", LIMIT)
            .and_then(|record| {
                let id = record["id"].as_str().context("an id")?.to_owned();
                host.take_back(&id, "undone", LIMIT)?;
                Ok(id)
            })
            .with_context(|| word.to_owned())?;
        std::fs::remove_file(&trouble)?;
        before.await_same(&cluster).context(word)?;
        let record = host
            .get(&format!("/api/v1/operations/{ended}/record"))?
            .expect(200)?;
        let events = record["events"].as_array().context("events")?;
        let changes = |change: &str| events.iter().filter(|event| event["change"] == change).count();
        ensure!(
            // The namespace is one of them.
            changes("created") == 13 && changes("removed") == 13,
            "{word}: {record:#}"
        );
        let numbers: Vec<u64> = events.iter().filter_map(|event| event["seq"].as_u64()).collect();
        ensure!(
            numbers.is_sorted_by(|one, next| one < next),
            "{word}: {numbers:?}"
        );
        known.push((ended, record));
    }
    // What has been told is what is durable.
    host.kill()?;
    host.restart()?;
    for (id, record) in known {
        let now = host
            .get(&format!("/api/v1/operations/{id}/record"))?
            .expect(200)?;
        ensure!(now == record, "{now:#}\nis not\n{record:#}");
    }
    Ok(())
}
