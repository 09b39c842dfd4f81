//! The release, as its records have it: what they say of each other and of the objects.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use meshery_tests::snapshot::release_record;
use serde_json::{Value, json};

use super::super::script::releases::{After, Standing};
use super::{World, value_of};

const RECORDS: &str = "/sh.helm.release.v1.";
const PIECES: &str = "/piece-";

/// One of the release's records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    pub number: u64,
    pub status: String,
    /// The objects of its manifest, with their values.
    pub pieces: BTreeMap<String, String>,
}

impl Revision {
    fn read(secret: &Value) -> anyhow::Result<Self> {
        let packed = secret["data"]["release"].as_str().context("a record")?;
        let record = release_record(packed).context("a record that can be unpacked")?;
        let number = record["version"].as_u64().context("a number")?;
        let text = |pointer: &str| {
            record
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let status = text("/info/status").to_owned();
        let labels = &secret["metadata"]["labels"];
        ensure!(
            labels["status"] == status.as_str() && labels["version"] == json!(number.to_string()),
            "the record says {number}, {status}, and its labels {labels}"
        );
        Ok(Self {
            number,
            status,
            pieces: pieces(text("/manifest")),
        })
    }
}

/// Names and values of a manifest's objects. Its text is that of the chart `pieces`, of which all objects are alike.
fn pieces(manifest: &str) -> BTreeMap<String, String> {
    let documents = manifest.split("---");
    let after = |document: &str, key: &str| {
        let mut lines = document.lines().map(str::trim);
        let found = lines.find_map(|line| line.strip_prefix(key))?;
        Some(found.trim_matches('"').to_owned())
    };
    documents
        .filter_map(|document| Some((after(document, "name: ")?, after(document, "value: ")?)))
        .collect()
}

impl World {
    /// The release's revisions, the oldest first.
    pub fn revisions(&self) -> anyhow::Result<Vec<Revision>> {
        let records = self.0.iter().filter(|(name, _)| name.contains(RECORDS));
        let mut revisions = records
            .map(|(name, secret)| Revision::read(secret).with_context(|| name.clone()))
            .collect::<anyhow::Result<Vec<Revision>>>()?;
        revisions.sort_by_key(|revision| revision.number);
        Ok(revisions)
    }

    /// What a plan finds of the release.
    pub fn standing(&self) -> anyhow::Result<Standing> {
        Ok(Standing {
            revisions: self.revisions()?.len(),
        })
    }

    /// That the newest record is the one in force, and the objects are those of its manifest.
    pub fn release_is_whole(&self) -> anyhow::Result<()> {
        let revisions = self.revisions()?;
        let (newest, older) = revisions
            .split_last()
            .map_or((None, &[][..]), |(newest, older)| (Some(newest), older));
        ensure!(
            newest.is_none_or(|newest| newest.status == "deployed")
                && older.iter().all(|older| older.status == "superseded"),
            "not one revision is in force: {revisions:#?}"
        );
        let there: BTreeMap<String, String> = self
            .0
            .iter()
            .filter_map(|(name, object)| {
                let (_, name) = name.split_once(PIECES)?;
                Some((format!("piece-{name}"), value_of(object)?.to_owned()))
            })
            .collect();
        let wanted = newest.map(|newest| newest.pieces.clone()).unwrap_or_default();
        ensure!(
            there == wanted,
            "the release has {there:?}, and {wanted:?} by its record: {revisions:#?}"
        );
        Ok(())
    }

    /// That the release is what a plan that has succeeded was to make of it.
    pub fn release_is(&self, after: &After, before: &Self) -> anyhow::Result<()> {
        let (were, are) = (before.revisions()?, self.revisions()?);
        let wanted = match after {
            After::AsBefore => {
                ensure!(
                    were == are,
                    "nobody was to touch the release: {were:#?}, and now {are:#?}"
                );
                return Ok(());
            }
            After::Removed => {
                ensure!(are.is_empty(), "it was to be removed: {are:#?}");
                return Ok(());
            }
            After::Deployed(pieces) => pieces,
            After::RolledBack => {
                let earlier = were.iter().rev().nth(1).context("a revision to go back to")?;
                &earlier.pieces
            }
        };
        let number = were.last().map_or(0, |newest| newest.number) + 1;
        let newest = are.last().context("a record")?;
        ensure!(
            newest.number == number && newest.pieces == *wanted,
            "revision {number} was to have {wanted:?}: {are:#?}"
        );
        Ok(())
    }
}
