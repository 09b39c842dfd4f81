//! The typed handle to the provider, and its patience with a provider that is away for a moment.
//!
//! Repeated is only what is safe to repeat: reads, blobs (named by their content), appends (numbered), and writes
//! that expect nothing. A write that expects a revision is sent once; when its acknowledgement is lost, nobody
//! knows whether it was made, and the caller is told so.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use meshery_plugin_api::PluginError;
use meshery_plugin_api::dispatch::{Forget, GetBlobs, GetDocument, PutBlobs, WriteBatch};
use meshery_plugin_api::message::backup::{BackupPart, ReadBackup, Restoring, WriteBackup};
use meshery_plugin_api::message::document::{Blob, Document, Expect, Page, Query, StoreHealth, User, Write};
use meshery_plugin_api::message::journal::{Append, Entry, Read, Reserve};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::backup::{self, Backup, Summary};
use super::call::ProviderCall;
use super::content::{self, BlobRef, MAX_CONTENT};
use crate::problem::{Problem, ProblemKind};

/// First pause before a call is repeated; doubled each time up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How many documents [`Store::list_all`] asks for at once.
const LIST_PAGE: u32 = 500;

/// How long to wait for the provider.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// For one answer.
    attempt: Duration,
    /// In all, repetitions included.
    total: Duration,
}

const READING: Patience = Patience {
    attempt: Duration::from_secs(5),
    total: Duration::from_secs(5),
};
const WRITING: Patience = Patience {
    attempt: Duration::from_secs(10),
    total: Duration::from_secs(10),
};
/// An attempt is shorter than the whole, so that one lost answer is not the end.
const APPENDING: Patience = Patience {
    attempt: Duration::from_secs(4),
    total: Duration::from_secs(10),
};
const CONTENT: Patience = Patience {
    attempt: Duration::from_secs(15),
    total: Duration::from_secs(30),
};

/// A part of a backup; the last of a restore moves the whole store.
const BACKUP: Patience = Patience {
    attempt: Duration::from_mins(5),
    total: Duration::from_mins(5),
};

/// Whether a call may be made twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Repeat {
    Safe,
    Never,
}

/// Documents, content and journals of the provider. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    provider: Arc<dyn ProviderCall>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("alive", &*self.provider.alive().borrow())
            .finish()
    }
}

impl Store {
    /// The store of this provider.
    pub fn new(provider: Arc<dyn ProviderCall>) -> Self {
        Self { provider }
    }

    /// The user who works with this host.
    pub async fn user(&self) -> Result<User, Problem> {
        self.ask("provider.user", &serde_json::json!({}), READING, Repeat::Safe)
            .await
    }

    /// One document, or nothing.
    pub async fn get(&self, kind: &str, id: &str) -> Result<Option<Document>, Problem> {
        let args = GetDocument {
            kind: kind.into(),
            id: id.into(),
        };
        self.ask("provider.get", &args, READING, Repeat::Safe).await
    }

    /// Writes a batch, as a whole or not at all, and returns the revision after each write.
    ///
    /// When every write expects nothing ([`Expect::Any`]) a lost acknowledgement is asked for again, by writing
    /// again; a revision may then grow by two.
    pub async fn write(&self, batch: Vec<Write>) -> Result<Vec<u64>, Problem> {
        let expects_nothing = |write: &Write| {
            matches!(
                write,
                Write::Put {
                    expect: Expect::Any,
                    ..
                } | Write::Delete {
                    expect: Expect::Any,
                    ..
                }
            )
        };
        let repeat = if batch.iter().all(expects_nothing) {
            Repeat::Safe
        } else {
            Repeat::Never
        };
        let count = batch.len();
        let revisions: Vec<u64> = self
            .ask("provider.write", &WriteBatch { batch }, WRITING, repeat)
            .await?;
        if revisions.len() == count {
            Ok(revisions)
        } else {
            Err(unexpected(
                "provider.write",
                &format!("{} revisions for {count} writes", revisions.len()),
            ))
        }
    }

    /// Writes one document and returns its revision.
    pub async fn put(&self, document: Document, expect: Expect) -> Result<u64, Problem> {
        let revisions = self.write(vec![Write::Put { document, expect }]).await?;
        Ok(revisions.first().copied().unwrap_or_default())
    }

    /// Deletes one document; that it is not there is no error.
    pub async fn delete(&self, kind: &str, id: &str) -> Result<(), Problem> {
        let delete = Write::Delete {
            kind: kind.into(),
            id: id.into(),
            expect: Expect::Any,
        };
        self.write(vec![delete]).await.map(drop)
    }

    /// A page of documents.
    pub async fn list(&self, query: Query) -> Result<Page, Problem> {
        self.ask("provider.list", &query, READING, Repeat::Safe).await
    }

    /// Every document of a query, page by page. For kinds whose number is known to be small.
    pub async fn list_all(&self, mut query: Query) -> Result<Vec<Document>, Problem> {
        let mut documents = Vec::new();
        query.limit = LIST_PAGE;
        loop {
            let page = self.list(query.clone()).await?;
            documents.extend(page.documents);
            if page.next.is_empty() {
                return Ok(documents);
            }
            if page.next == query.after {
                return Err(unexpected(
                    "provider.list",
                    &format!("the page after \"{}\" leads to itself", page.next),
                ));
            }
            query.after = page.next;
        }
    }

    /// Appends entries to a journal, the first of them with the number `first`; durable when it returns. The
    /// result is the number of the last entry.
    ///
    /// A lost acknowledgement is asked for again, for 10 seconds at most. After that the problem has the code
    /// `store-unavailable`, and the same append may be made again at any later time.
    pub async fn append(&self, stream: &str, first: u64, entries: Vec<Value>) -> Result<u64, Problem> {
        let append = Append {
            stream: stream.into(),
            first,
            entries,
        };
        self.ask("provider.append", &append, APPENDING, Repeat::Safe)
            .await
    }

    /// A journal's entries after the number `after`, all of them, in order.
    pub async fn read(&self, stream: &str, after: u64) -> Result<Vec<Entry>, Problem> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let last = entries.last().map_or(after, |entry| entry.seq);
            let page = self.read_page(stream, last, 0).await?;
            if page.is_empty() {
                return Ok(entries);
            }
            entries.extend(page);
        }
    }

    /// The first of a journal's entries after the number `after`, in order: at most `limit` (0 for as many as the
    /// provider gives at a time), and at least one if there are any.
    pub async fn read_page(&self, stream: &str, after: u64, limit: u32) -> Result<Vec<Entry>, Problem> {
        let read = Read {
            stream: stream.into(),
            after,
            limit,
        };
        let page: Vec<Entry> = self.ask("provider.read", &read, READING, Repeat::Safe).await?;
        let gap = (after + 1..)
            .zip(&page)
            .find_map(|(n, entry)| (n != entry.seq).then_some((n, entry.seq)));
        match gap {
            None => Ok(page),
            Some((expected, found)) => Err(Problem::new(
                ProblemKind::Internal,
                "store-corrupt",
                format!("the journal {stream} has the entry {found} where {expected} should be"),
            )
            .remedy("restore the provider's data from a backup")),
        }
    }

    /// Stores content for an owner (an operation's id) and returns the name of each, in order.
    pub async fn put_content(&self, owner: &str, contents: Vec<Vec<u8>>) -> Result<Vec<BlobRef>, Problem> {
        if let Some(large) = contents.iter().find(|content| content.len() > MAX_CONTENT) {
            return Err(content::too_large(large.len()));
        }
        let refs = contents.iter().map(|content| BlobRef::of(content)).collect();
        for blobs in content::calls_to_put(contents.iter().map(Vec::as_slice)) {
            let args = PutBlobs {
                owner: owner.into(),
                blobs,
            };
            let () = self
                .ask("provider.put_blobs", &args, CONTENT, Repeat::Safe)
                .await?;
        }
        Ok(refs)
    }

    /// The content of this name, checked against it.
    pub async fn content(&self, name: &BlobRef) -> Result<Vec<u8>, Problem> {
        let contents = self.contents(std::slice::from_ref(name)).await?;
        Ok(contents.into_iter().next().unwrap_or_default())
    }

    /// The contents of these names, in order, in as few calls as may be.
    pub async fn contents(&self, names: &[BlobRef]) -> Result<Vec<Vec<u8>>, Problem> {
        let mut chunks: HashMap<String, Vec<u8>> = HashMap::new();
        for sha256 in content::calls_to_get(names)? {
            let args = GetBlobs {
                sha256: sha256.clone(),
            };
            let blobs: Vec<Blob> = self
                .ask("provider.get_blobs", &args, CONTENT, Repeat::Safe)
                .await?;
            if blobs.len() != sha256.len() {
                let what = format!("{} blobs for {} names", blobs.len(), sha256.len());
                return Err(unexpected("provider.get_blobs", &what));
            }
            for (name, blob) in sha256.into_iter().zip(&blobs) {
                let data = content::verified(blob, &name)?;
                chunks.insert(name, data);
            }
        }
        names
            .iter()
            .map(|name| name.assemble(|chunk| chunks.get(chunk).map(Vec::as_slice)))
            .collect()
    }

    /// Sets room aside for a journal, so that its appends succeed even when the disk is full; 0 gives it back.
    pub async fn reserve(&self, stream: &str, bytes: u64) -> Result<(), Problem> {
        let reserve = Reserve {
            stream: stream.into(),
            bytes,
        };
        self.ask("provider.reserve", &reserve, WRITING, Repeat::Safe)
            .await
    }

    /// Removes a journal, the room reserved for it, and the content that no other owner has.
    pub async fn forget(&self, stream: &str) -> Result<(), Problem> {
        let args = Forget {
            stream: stream.into(),
        };
        self.ask("provider.forget", &args, WRITING, Repeat::Safe).await
    }

    /// Begins a backup of everything the provider keeps, as it is now.
    pub async fn backup(&self) -> Result<Backup, Problem> {
        Backup::begin(self.clone()).await
    }

    /// Takes a backup into the provider, as a whole or not at all; what is there goes away only if `replace` says so.
    /// Its checksum is compared before the provider shows any of it.
    pub async fn restore<E: std::fmt::Display>(
        &self,
        input: impl Stream<Item = Result<Bytes, E>> + Send,
        replace: bool,
    ) -> Result<Summary, Problem> {
        backup::restore(self, input, replace).await
    }

    pub(crate) async fn backup_part(&self, read: &ReadBackup) -> Result<BackupPart, Problem> {
        let part = self.ask("provider.backup", read, BACKUP, Repeat::Never).await;
        part.map_err(or_not_supported)
    }

    pub(super) async fn restore_part(&self, write: &WriteBackup) -> Result<Restoring, Problem> {
        let taken = self.ask("provider.restore", write, BACKUP, Repeat::Never).await;
        taken.map_err(or_not_supported)
    }

    /// How the provider's store is.
    pub async fn health(&self) -> Result<StoreHealth, Problem> {
        self.ask("provider.health", &serde_json::json!({}), READING, Repeat::Never)
            .await
    }

    /// Whether the provider is there; changes when it dies and when it is back.
    pub fn alive(&self) -> watch::Receiver<bool> {
        self.provider.alive()
    }

    async fn ask<A: Serialize + Sync, R: DeserializeOwned>(
        &self,
        method: &'static str,
        args: &A,
        patience: Patience,
        repeat: Repeat,
    ) -> Result<R, Problem> {
        let payload = serde_json::to_vec(args).map_err(|error| {
            Problem::new(
                ProblemKind::Invalid,
                "bad-request",
                format!("{method}: arguments are not JSON: {error}"),
            )
        })?;
        let end = Instant::now() + patience.total;
        let mut pause = FIRST_PAUSE;
        loop {
            // A call that was not sent yet is always safe to hold back.
            let mut alive = self.provider.alive();
            let _ = timeout(end - Instant::now(), alive.wait_for(|alive| *alive)).await;
            let deadline = patience
                .attempt
                .min(end.saturating_duration_since(Instant::now()))
                .max(FIRST_PAUSE);
            let error = match self.provider.call(method, payload.clone(), deadline).await {
                Ok(reply) => {
                    return serde_json::from_slice(&reply)
                        .map_err(|error| unexpected(method, &error.to_string()));
                }
                Err(error) if unanswered(&error) || busy(&error) => error,
                Err(error) => return Err(error.into()),
            };
            let again = repeat == Repeat::Safe || busy(&error);
            if !again || Instant::now() + pause >= end {
                return Err(unavailable(method, &error, repeat));
            }
            tracing::debug!(method, code = %error.code, "the provider did not answer; asking again");
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// Whether the error says nothing about the call having been carried out.
fn unanswered(error: &PluginError) -> bool {
    matches!(error.code.as_str(), "plugin-timeout" | "plugin-unavailable")
}

/// Whether the provider turned the call away before it began.
fn busy(error: &PluginError) -> bool {
    error.code == "store-busy"
}

fn unavailable(method: &str, error: &PluginError, repeat: Repeat) -> Problem {
    let unknown = match repeat {
        Repeat::Never if unanswered(error) => "; whether it was carried out is not known",
        _ => "",
    };
    Problem::new(
        ProblemKind::Unavailable,
        "store-unavailable",
        format!("the provider did not answer {method}{unknown}"),
    )
    .cause(error.to_string())
    .remedy("look at the provider in the list of plugins and in the host's log; it is restarted by itself")
    .retryable(true)
}

/// A provider of before there were backups says it in other words.
fn or_not_supported(problem: Problem) -> Problem {
    if problem.code != "unknown-method" {
        return problem;
    }
    Problem::new(
        ProblemKind::Invalid,
        "not-supported",
        "the provider has no backup and no restore",
    )
    .cause("it is older than these")
    .remedy("use a newer version of it, or the backup of what it keeps its data in")
}

fn unexpected(method: &str, what: &str) -> Problem {
    Problem::new(
        ProblemKind::Internal,
        "plugin-protocol",
        format!("the provider's answer to {method} is not what was asked for: {what}"),
    )
    .cause("a fault in the provider, or a provider for another version of the messages")
    .remedy("update the provider's file, or report this to its author")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::memory::MemoryProvider;
    use serde_json::json;

    fn store() -> (Arc<MemoryProvider>, Store) {
        let memory = Arc::new(MemoryProvider::new());
        (memory.clone(), Store::new(memory))
    }

    fn document(id: &str) -> Document {
        Document {
            kind: "operation".into(),
            id: id.into(),
            body: json!({"n": 1}),
            ..Document::default()
        }
    }

    #[tokio::test]
    async fn an_append_whose_acknowledgement_is_lost_is_made_once() {
        let (memory, store) = store();
        memory.lose_next(2);
        assert_eq!(
            store.append("op", 1, vec![json!("a"), json!("b")]).await.unwrap(),
            2
        );
        assert_eq!(memory.calls(), ["provider.append"; 3]);
        assert_eq!(store.read("op", 0).await.unwrap().len(), 2);
    }

    #[tokio::test]
    async fn an_append_waits_for_a_provider_that_comes_back() {
        let (memory, store) = store();
        memory.set_alive(false);
        let append = tokio::spawn(async move { store.append("op", 1, vec![json!(1)]).await });
        sleep(Duration::from_millis(100)).await;
        assert!(!append.is_finished() && memory.calls().is_empty());
        memory.set_alive(true);
        assert_eq!(append.await.unwrap().unwrap(), 1);
    }

    #[tokio::test]
    async fn a_read_from_a_provider_that_stays_away_ends_in_a_retryable_problem() {
        let (memory, store) = store();
        memory.set_alive(false);
        let problem = store.get("operation", "1").await.unwrap_err();
        assert_eq!(
            (problem.code.as_str(), problem.retryable),
            ("store-unavailable", true)
        );
        assert!(problem.cause.contains("not running"), "{problem}");
    }

    #[tokio::test]
    async fn a_write_that_expects_a_revision_is_never_sent_twice() {
        let (memory, store) = store();
        memory.lose_next(1);
        let problem = store.put(document("1"), Expect::Absent).await.unwrap_err();
        assert_eq!(problem.code, "store-unavailable");
        assert!(problem.message.contains("not known"), "{problem}");
        assert_eq!(memory.calls().len(), 1);
        let problem = store.put(document("1"), Expect::Absent).await.unwrap_err();
        assert_eq!(
            (problem.code.as_str(), problem.kind),
            ("revision-conflict", ProblemKind::Conflict)
        );
        store.put(document("1"), Expect::Revision(1)).await.unwrap();
    }

    #[tokio::test]
    async fn the_providers_own_errors_come_through_unchanged_and_at_once() {
        let (memory, store) = store();
        memory.fail_next(
            1,
            PluginError::new("store-full", "no room")
                .remedy("make room")
                .retryable(),
        );
        let problem = store.append("op", 1, vec![json!(1)]).await.unwrap_err();
        assert_eq!(
            (problem.kind, problem.remedy.as_str()),
            (ProblemKind::Full, "make room")
        );
        assert_eq!(memory.calls().len(), 1);
    }

    #[tokio::test]
    async fn a_busy_provider_is_asked_again_even_for_a_write_that_expects_a_revision() {
        let (memory, store) = store();
        memory.fail_next(
            2,
            PluginError::new("store-busy", "too many writes are waiting").retryable(),
        );
        store.put(document("1"), Expect::Absent).await.unwrap();
        assert_eq!(memory.calls().len(), 3);
    }

    #[tokio::test]
    async fn a_journal_longer_than_a_page_is_read_whole() {
        let (_, store) = store();
        for first in [1, 1501] {
            store
                .append("op", first, (0..1500).map(|n| json!(n)).collect())
                .await
                .unwrap();
        }
        let entries = store.read("op", 10).await.unwrap();
        assert_eq!((entries.len(), entries[0].seq), (2990, 11));
    }

    #[tokio::test]
    async fn a_list_longer_than_a_page_is_read_whole_in_both_directions() {
        let (_, store) = store();
        for id in 0..1100 {
            store
                .put(document(&format!("{id:04}")), Expect::Absent)
                .await
                .unwrap();
        }
        for descending in [false, true] {
            let query = Query {
                kind: "operation".into(),
                descending,
                ..Query::default()
            };
            let ids: Vec<_> = store
                .list_all(query)
                .await
                .unwrap()
                .into_iter()
                .map(|d| d.id)
                .collect();
            assert_eq!((ids.len(), ids.is_sorted()), (1100, !descending));
        }
    }

    #[tokio::test]
    async fn content_of_every_size_comes_back_as_it_was_and_goes_with_its_owner() {
        let (memory, store) = store();
        let contents: Vec<Vec<u8>> = [0, 1, (1 << 20) - 1, 1 << 20, (9 << 20) + 5]
            .iter()
            .map(|&n| vec![b'x'; n])
            .collect();
        let names = store.put_content("op", contents.clone()).await.unwrap();
        assert_eq!(store.contents(&names).await.unwrap(), contents);
        assert_eq!(store.content(&names[4]).await.unwrap(), contents[4]);
        store.forget("op").await.unwrap();
        assert_eq!(memory.blob_count(), 0);
        assert_eq!(store.content(&names[1]).await.unwrap_err().code, "no-such-blob");
    }
}
