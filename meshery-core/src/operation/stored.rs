//! An operation's document: the record, and where its plan and preview are.

use std::collections::BTreeMap;

use meshery_plugin_api::message::document::{Document, Expect, Write};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::journal::entry::Timed;
use super::plan::stored::{StoredPlan, unreadable};
use super::preview::Preview;
use super::record::OperationRecord;
use super::staleness::Baseline;
use super::state::OperationState;
use crate::problem::{Problem, ProblemKind};
use crate::provider::{BlobRef, Store};

/// Kind of the documents.
pub(super) const KIND: &str = "operation";
/// How often a document that somebody else writes at the same time is written again.
const ATTEMPTS: usize = 5;

/// What is stored of an operation beside its journal and its content.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Stored {
    /// As it was when the document was last written; the journal may be ahead.
    pub record: OperationRecord,
    pub plan: BlobRef,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preview: Option<BlobRef>,
    #[serde(rename = "relied", default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<BlobRef>,
}

impl Stored {
    /// Reads an operation, its record brought up to its journal.
    pub async fn load(store: &Store, id: &str) -> Result<Self, Problem> {
        let mut stored = Self::read(store, id).await?.0;
        stored.catch_up(store).await?;
        Ok(stored)
    }

    async fn read(store: &Store, id: &str) -> Result<(Self, u64), Problem> {
        let document = if is_id(id) {
            store.get(KIND, id).await?
        } else {
            None
        };
        let document = document.ok_or_else(|| {
            Problem::new(
                ProblemKind::NotFound,
                "unknown-operation",
                format!("there is no operation \"{}\"", id.escape_debug()),
            )
            .remedy("list the operations there are")
        })?;
        let stored = Self::of(document.body)?;
        Ok((stored, document.revision))
    }

    /// Reads the body of a document.
    pub fn of(body: Value) -> Result<Self, Problem> {
        serde_json::from_value(body).map_err(|error| unreadable(&error))
    }

    /// Takes in what the journal says beyond the document.
    async fn catch_up(&mut self, store: &Store) -> Result<(), Problem> {
        for entry in store.read(&self.record.id, self.record.seq).await? {
            let timed: Timed = serde_json::from_value(entry.entry).map_err(|error| unreadable(&error))?;
            self.record.fold(entry.seq, &timed);
        }
        Ok(())
    }

    /// Writes a new operation, and what belongs to it: all or nothing.
    pub async fn create(&self, store: &Store, beside: Option<Write>) -> Result<(), Problem> {
        let document = Write::Put {
            document: self.document()?,
            expect: Expect::Absent,
        };
        let batch = [Some(document), beside].into_iter().flatten().collect();
        store.write(batch).await.map(drop)
    }

    /// Changes what is stored of an operation.
    pub async fn update(store: &Store, id: &str, change: impl FnMut(&mut Self)) -> Result<(), Problem> {
        Self::rewrite(store, id, None, change).await
    }

    /// Lists an operation under the state that its journal is about to have: who is killed in between finds it when
    /// he looks for what he has begun.
    pub async fn announce(store: &Store, id: &str, state: OperationState) -> Result<(), Problem> {
        Self::rewrite(store, id, Some(state), |_| {}).await
    }

    async fn rewrite(
        store: &Store,
        id: &str,
        listed_as: Option<OperationState>,
        mut change: impl FnMut(&mut Self),
    ) -> Result<(), Problem> {
        let mut attempts = 0;
        loop {
            let (mut stored, revision) = Self::read(store, id).await?;
            change(&mut stored);
            let mut document = stored.document()?;
            if let Some(state) = listed_as {
                document.labels.insert("state".into(), state.to_string());
            }
            match store.put(document, Expect::Revision(revision)).await {
                Err(problem) if problem.code == "revision-conflict" && attempts < ATTEMPTS => attempts += 1,
                result => return result.map(drop),
            }
        }
    }

    fn document(&self) -> Result<Document, Problem> {
        let record = &self.record;
        Ok(Document {
            kind: KIND.into(),
            id: record.id.clone(),
            owner: record.owner.clone(),
            labels: BTreeMap::from([
                ("state".into(), record.state.to_string()),
                ("cluster".into(), record.cluster.uid.clone()),
                ("adapter".into(), record.adapter.name.clone()),
            ]),
            body: serde_json::to_value(self).map_err(|error| unreadable(&error))?,
            ..Document::default()
        })
    }

    pub async fn plan(&self, store: &Store) -> Result<StoredPlan, Problem> {
        read_content(store, &self.plan).await
    }

    pub async fn preview(&self, store: &Store) -> Result<Option<Preview>, Problem> {
        match &self.preview {
            None => Ok(None),
            Some(preview) => read_content(store, preview).await.map(Some),
        }
    }

    pub async fn baseline(&self, store: &Store) -> Result<Baseline, Problem> {
        match &self.baseline {
            None => Ok(Baseline::default()),
            Some(baseline) => read_content(store, baseline).await,
        }
    }
}

pub(super) async fn read_content<T: serde::de::DeserializeOwned>(
    store: &Store,
    name: &BlobRef,
) -> Result<T, Problem> {
    let content = store.content(name).await?;
    serde_json::from_slice(&content).map_err(|error| unreadable(&error))
}

/// Ids are ours; anything else is not asked for.
fn is_id(id: &str) -> bool {
    ulid::Ulid::from_string(id).is_ok()
}
