//! What a provider is: identity and persistence, with promises that the engine builds on.

use std::future::Future;

use crate::error::PluginError;
use crate::message::backup::{BackupPart, ReadBackup, Restoring, WriteBackup};
use crate::message::document::{Blob, Document, Page, Query, StoreHealth, User, Write};
use crate::message::journal::{Append, Entry, Read, Reserve};

/// A provider of identity and persistence.
///
/// # Promises
/// When a write's future is ready with `Ok`, the write is durable: a crash of any process, or of the machine,
/// does not lose it. A batch is written as a whole or not at all. Journals only grow, without gaps.
///
/// Futures must not need a particular runtime: the host polls them. Errors have the codes `revision-conflict`,
/// `journal-conflict`, `no-such-blob`, `bad-request`, `store-full`, `store-corrupt`, `store-failed`, `store-busy`
/// when too much waits: nothing of that call was done, and the host asks again; and for backups `not-supported`,
/// `no-such-session` and `store-not-empty`.
pub trait Provider: Send + Sync + 'static {
    /// The user who works with this host.
    fn user(&self) -> impl Future<Output = Result<User, PluginError>> + Send;

    /// One document, or nothing.
    fn get(&self, kind: &str, id: &str)
    -> impl Future<Output = Result<Option<Document>, PluginError>> + Send;

    /// Writes a batch, as a whole or not at all, and returns the revision after each write (0 after a deletion).
    fn write(&self, batch: Vec<Write>) -> impl Future<Output = Result<Vec<u64>, PluginError>> + Send;

    /// A page of documents.
    fn list(&self, query: Query) -> impl Future<Output = Result<Page, PluginError>> + Send;

    /// Stores blobs for an owner (a stream's name). The same content may be stored any number of times.
    fn put_blobs(
        &self,
        owner: &str,
        blobs: Vec<Blob>,
    ) -> impl Future<Output = Result<(), PluginError>> + Send;

    /// The blobs with these hashes, in that order. One that is missing is an error with the code `no-such-blob`.
    fn get_blobs(&self, sha256: Vec<String>) -> impl Future<Output = Result<Vec<Blob>, PluginError>> + Send;

    /// Appends to a journal and returns the sequence number of its last entry. Idempotent, see [`Append::first`].
    fn append(&self, append: Append) -> impl Future<Output = Result<u64, PluginError>> + Send;

    /// Reads a journal in order.
    fn read(&self, read: Read) -> impl Future<Output = Result<Vec<Entry>, PluginError>> + Send;

    /// Sets room aside for a stream, so that its appends succeed even when the disk has become full since.
    fn reserve(&self, reserve: Reserve) -> impl Future<Output = Result<(), PluginError>> + Send;

    /// Removes a journal, what is reserved for it, and the blobs that no other owner has.
    fn forget(&self, stream: &str) -> impl Future<Output = Result<(), PluginError>> + Send;

    /// How the store is.
    fn health(&self) -> impl Future<Output = Result<StoreHealth, PluginError>> + Send;

    /// The next part of a backup, or the first. A provider that does not override it cannot be backed up this way.
    fn backup(&self, read: ReadBackup) -> impl Future<Output = Result<BackupPart, PluginError>> + Send {
        let _ = read;
        async { Err(not_supported("backup")) }
    }

    /// Takes a part of a restore. A provider that does not override it cannot be restored this way.
    fn restore(&self, write: WriteBackup) -> impl Future<Output = Result<Restoring, PluginError>> + Send {
        let _ = write;
        async { Err(not_supported("restore")) }
    }
}

/// The error of a method that a provider leaves as it is.
fn not_supported(method: &str) -> PluginError {
    PluginError::new("not-supported", format!("the provider has no {method}"))
        .cause("its author left this to its users")
        .remedy("use the backup of what the provider keeps its data in")
}
