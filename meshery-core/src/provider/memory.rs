//! A provider in memory, for tests of what is built on the store.
//!
//! It keeps the promises of a real one, except for the one that matters most: nothing in it is durable. Failures
//! are made to order: answers that are errors, acknowledgements that are lost, a process that is away.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use k8s_openapi::jiff::Timestamp;
use meshery_plugin_api::message::document::{Blob, Document, Expect, Page, Query, StoreHealth, User, Write};
use meshery_plugin_api::message::journal::{Append, Entry, Read, Reserve};
use meshery_plugin_api::{PluginError, Provider, dispatch};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::watch;

use super::call::ProviderCall;
use super::content::verified;

/// A provider that forgets everything when it is dropped.
#[derive(Debug)]
pub struct MemoryProvider {
    state: Mutex<State>,
    alive: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct State {
    documents: BTreeMap<(String, String), Document>,
    blobs: BTreeMap<String, (Blob, BTreeSet<String>)>,
    journals: BTreeMap<String, Vec<Value>>,
    reserved: BTreeMap<String, u64>,
    trouble: VecDeque<Trouble>,
    calls: Vec<String>,
}

/// What goes wrong with one call.
#[derive(Debug, Clone)]
enum Trouble {
    None,
    Fails(PluginError),
    LosesAcknowledgement,
}

impl Default for MemoryProvider {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            alive: watch::Sender::new(true),
        }
    }
}

impl MemoryProvider {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next `n` calls are not carried out and fail with this error.
    pub fn fail_next(&self, n: usize, error: PluginError) {
        self.state
            .lock()
            .trouble
            .extend(std::iter::repeat_n(Trouble::Fails(error), n));
    }

    /// The next `n` calls go well; the trouble that is made to order after this comes after them.
    pub fn pass_next(&self, n: usize) {
        self.state
            .lock()
            .trouble
            .extend(std::iter::repeat_n(Trouble::None, n));
    }

    /// The next `n` calls are carried out, but the caller is told that they were not answered.
    pub fn lose_next(&self, n: usize) {
        self.state
            .lock()
            .trouble
            .extend(std::iter::repeat_n(Trouble::LosesAcknowledgement, n));
    }

    /// While it is not alive, every call fails with `plugin-unavailable`.
    pub fn set_alive(&self, alive: bool) {
        self.alive.send_replace(alive);
    }

    /// Bytes set aside for a stream.
    pub fn reserved(&self, stream: &str) -> u64 {
        let state = self.state.lock();
        state.reserved.get(stream).copied().unwrap_or_default()
    }

    /// How many blobs it holds.
    pub fn blob_count(&self) -> usize {
        self.state.lock().blobs.len()
    }

    /// The methods called so far, in order, the failed calls included.
    pub fn calls(&self) -> Vec<String> {
        self.state.lock().calls.clone()
    }
}

impl ProviderCall for MemoryProvider {
    fn call<'a>(
        &'a self,
        method: &'a str,
        payload: Vec<u8>,
        deadline: Duration,
    ) -> BoxFuture<'a, Result<Vec<u8>, PluginError>> {
        async move {
            let trouble = {
                let mut state = self.state.lock();
                state.calls.push(method.to_owned());
                if !*self.alive.borrow() {
                    return Err(
                        PluginError::new("plugin-unavailable", "the provider is not running").retryable(),
                    );
                }
                state.trouble.pop_front()
            };
            let timeout =
                || PluginError::new("plugin-timeout", format!("no answer within {deadline:?}")).retryable();
            match trouble {
                Some(Trouble::Fails(error)) => Err(error),
                Some(Trouble::LosesAcknowledgement) => dispatch::provider(self, method, &payload)
                    .await
                    .and(Err(timeout())),
                None | Some(Trouble::None) => dispatch::provider(self, method, &payload).await,
            }
        }
        .boxed()
    }

    fn alive(&self) -> watch::Receiver<bool> {
        self.alive.subscribe()
    }
}

impl Provider for MemoryProvider {
    async fn user(&self) -> Result<User, PluginError> {
        Ok(User {
            name: "meshery".into(),
            display_name: "Meshery".into(),
        })
    }

    async fn get(&self, kind: &str, id: &str) -> Result<Option<Document>, PluginError> {
        Ok(self
            .state
            .lock()
            .documents
            .get(&(kind.to_owned(), id.to_owned()))
            .cloned())
    }

    async fn write(&self, batch: Vec<Write>) -> Result<Vec<u64>, PluginError> {
        self.state.lock().write(batch)
    }

    async fn list(&self, query: Query) -> Result<Page, PluginError> {
        Ok(self.state.lock().list(&query))
    }

    async fn put_blobs(&self, owner: &str, blobs: Vec<Blob>) -> Result<(), PluginError> {
        self.state.lock().put_blobs(owner, blobs)
    }

    async fn get_blobs(&self, sha256: Vec<String>) -> Result<Vec<Blob>, PluginError> {
        self.state.lock().get_blobs(&sha256)
    }

    async fn append(&self, append: Append) -> Result<u64, PluginError> {
        self.state.lock().append(append)
    }

    async fn read(&self, read: Read) -> Result<Vec<Entry>, PluginError> {
        Ok(self.state.lock().read(&read))
    }

    async fn reserve(&self, reserve: Reserve) -> Result<(), PluginError> {
        self.state.lock().reserved.insert(reserve.stream, reserve.bytes);
        Ok(())
    }

    async fn forget(&self, stream: &str) -> Result<(), PluginError> {
        self.state.lock().forget(stream);
        Ok(())
    }

    async fn health(&self) -> Result<StoreHealth, PluginError> {
        Ok(StoreHealth {
            writable: true,
            schema: 1,
            ..StoreHealth::default()
        })
    }
}

impl State {
    fn write(&mut self, batch: Vec<Write>) -> Result<Vec<u64>, PluginError> {
        // Written to a copy, so that a batch fails as a whole.
        let mut documents = self.documents.clone();
        let now = format!("{:.3}", Timestamp::now());
        let mut revisions = Vec::with_capacity(batch.len());
        for write in batch {
            match write {
                Write::Put { mut document, expect } => {
                    let key = (document.kind.clone(), document.id.clone());
                    let before = documents.get(&key);
                    check(&key, before.map(|d| d.revision), expect)?;
                    document.revision = before.map_or(0, |d| d.revision) + 1;
                    document.created = before.map_or_else(|| now.clone(), |d| d.created.clone());
                    document.updated.clone_from(&now);
                    revisions.push(document.revision);
                    documents.insert(key, document);
                }
                Write::Delete { kind, id, expect } => {
                    let key = (kind, id);
                    check(&key, documents.get(&key).map(|d| d.revision), expect)?;
                    documents.remove(&key);
                    revisions.push(0);
                }
                Write::Unknown => {
                    return Err(bad_request("a write of a kind that this provider does not know"));
                }
            }
        }
        self.documents = documents;
        Ok(revisions)
    }

    fn list(&self, query: &Query) -> Page {
        let limit = if query.limit == 0 {
            100
        } else {
            query.limit.min(1000) as usize
        };
        let wanted = |document: &&Document| {
            document.kind == query.kind
                && (query.owner.is_empty() || document.owner == query.owner)
                && query
                    .labels
                    .iter()
                    .all(|(name, value)| document.labels.get(name) == Some(value))
                && (query.after.is_empty()
                    || if query.descending {
                        document.id < query.after
                    } else {
                        document.id > query.after
                    })
        };
        let mut documents: Vec<Document> = if query.descending {
            self.documents
                .values()
                .rev()
                .filter(wanted)
                .take(limit + 1)
                .cloned()
                .collect()
        } else {
            self.documents
                .values()
                .filter(wanted)
                .take(limit + 1)
                .cloned()
                .collect()
        };
        let more = documents.len() > limit;
        documents.truncate(limit);
        let next = documents
            .last()
            .filter(|_| more)
            .map(|d| d.id.clone())
            .unwrap_or_default();
        Page { documents, next }
    }

    fn put_blobs(&mut self, owner: &str, blobs: Vec<Blob>) -> Result<(), PluginError> {
        for blob in &blobs {
            verified(blob, &blob.sha256).map_err(|problem| bad_request(problem.message))?;
        }
        for blob in blobs {
            let (_, owners) = self
                .blobs
                .entry(blob.sha256.clone())
                .or_insert_with(|| (blob, BTreeSet::new()));
            owners.insert(owner.to_owned());
        }
        Ok(())
    }

    fn get_blobs(&self, sha256: &[String]) -> Result<Vec<Blob>, PluginError> {
        let blob = |name: &String| {
            let found = self.blobs.get(name).map(|(blob, _)| blob.clone());
            found.ok_or_else(|| PluginError::new("no-such-blob", format!("there is no blob {name}")))
        };
        sha256.iter().map(blob).collect()
    }

    fn append(&mut self, append: Append) -> Result<u64, PluginError> {
        if append.first == 0 || append.entries.is_empty() {
            return Err(bad_request(
                "an append needs entries and a first number of at least 1",
            ));
        }
        let journal = self.journals.entry(append.stream.clone()).or_default();
        let last = journal.len() as u64;
        let wanted = append.first + append.entries.len() as u64 - 1;
        if append.first == last + 1 {
            journal.extend(append.entries);
            return Ok(wanted);
        }
        let there = usize::try_from(append.first - 1)
            .ok()
            .and_then(|start| journal.get(start..));
        match there {
            Some(there) if there.starts_with(&append.entries) => Ok(wanted),
            _ => Err(PluginError::new(
                "journal-conflict",
                format!(
                    "journal {}: {} entries from {} on do not follow the {last} that are there",
                    append.stream,
                    append.entries.len(),
                    append.first
                ),
            )),
        }
    }

    fn read(&self, read: &Read) -> Vec<Entry> {
        let limit = if read.limit == 0 {
            1000
        } else {
            read.limit.min(1000) as usize
        };
        let journal = self
            .journals
            .get(&read.stream)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let skip = usize::try_from(read.after).unwrap_or(usize::MAX);
        (1..)
            .zip(journal)
            .skip(skip)
            .take(limit)
            .map(|(seq, entry)| Entry {
                seq,
                entry: entry.clone(),
            })
            .collect()
    }

    fn forget(&mut self, stream: &str) {
        self.reserved.remove(stream);
        self.journals.remove(stream);
        self.blobs.retain(|_, (_, owners)| {
            owners.remove(stream);
            !owners.is_empty()
        });
    }
}

fn check(key: &(String, String), found: Option<u64>, expect: Expect) -> Result<(), PluginError> {
    let holds = match expect {
        Expect::Any => true,
        Expect::Absent => found.is_none(),
        Expect::Revision(revision) => found == Some(revision),
    };
    if holds {
        return Ok(());
    }
    let found = found.map_or_else(
        || "absent".to_owned(),
        |revision| format!("at revision {revision}"),
    );
    Err(PluginError::new(
        "revision-conflict",
        format!("document {}/{} is {found}, not {expect:?}", key.0, key.1),
    ))
}

fn bad_request(message: impl Into<String>) -> PluginError {
    PluginError::new("bad-request", message)
}
