//! A provider that does not append as it should: an answer that is lost, entries that are appended twice, or when later
//! ones have been, or slowly, or not at all. The operation ends as if nothing had been, and each entry is there once.

use anyhow::{Context as _, ensure};
use libtest_mimic::Trial;
use meshery_tests::snapshot::Snapshot;
use serde_json::json;

use crate::invented::{LIMIT, request};
use crate::kills::boundaries::killing_host;
use crate::{cluster, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("faults::an_append_whose_answer_is_lost_is_there_once", || {
            troubled("lost")
        }),
        trial("faults::an_append_that_is_repeated_is_there_once", || {
            troubled("repeated")
        }),
        trial(
            "faults::an_append_that_comes_after_later_ones_is_there_once",
            || troubled("late"),
        ),
        trial("faults::an_append_that_is_slow_is_awaited", || troubled("slow")),
        trial("faults::an_append_that_is_refused_is_made_again", || {
            troubled("refused")
        }),
    ]
}

fn troubled(word: &str) -> anyhow::Result<()> {
    let cluster = cluster()?;
    let folder = tempfile::tempdir()?;
    let mut host = killing_host(&cluster, folder.path())?;
    let before = Snapshot::take(&cluster)?;
    let many = request(
        "many",
        json!({"namespace": "troubled", "objects": 12, "steps": 4}),
    );
    let trouble = folder.path().join("trouble");
    std::fs::write(&trouble, word)?;
    let id = host.plan(&many)?;
    host.order(&id, "run")?;
    host.await_state(&id, &["succeeded"], LIMIT)?;
    host.take_back(&id, "undone", LIMIT)?;
    std::fs::remove_file(&trouble)?;
    before.await_same(&cluster)?;
    let struck = std::fs::read_to_string(folder.path().join("struck"))?;
    let struck = struck.lines().count();
    ensure!(struck >= 5, "only {struck} appends have met with it");

    let path = format!("/api/v1/operations/{id}/record");
    let record = host.get(&path)?.expect(200)?;
    let events = record["events"].as_array().context("events")?;
    let changes = |change: &str| events.iter().filter(|event| event["change"] == change).count();
    ensure!(
        // The namespace is one of them.
        changes("created") == 13 && changes("removed") == 13,
        "{record:#}"
    );
    let numbers: Vec<u64> = events.iter().filter_map(|event| event["seq"].as_u64()).collect();
    ensure!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
    // What has been told is what is durable.
    host.kill()?;
    host.restart()?;
    let now = host.get(&path)?.expect(200)?;
    ensure!(now == record, "{now:#}\nis not\n{record:#}");
    Ok(())
}
