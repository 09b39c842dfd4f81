//! The local provider: the user "meshery", and everything the host must not lose, in one SQLite file.
//!
//! `<data>/meshery.db` is the store, `lock` beside it keeps a second provider out, `reserve` is room set aside for
//! journals. One thread writes, two read; the futures given to the host only wait for their answers, so they need
//! no runtime. What an answer promises: it was on the disk before it was given.

mod blob;
mod document;
mod error;
mod folder;
mod journal;
mod limits;
mod queue;
mod readers;
mod reserve;
mod schema;
#[cfg(test)]
mod tests;
mod work;
mod writer;

use meshery_plugin_api::message::document::{Blob, Document, Page, Query, StoreHealth, User, Write};
use meshery_plugin_api::message::journal::{Append, Entry, Read, Reserve};
use meshery_plugin_api::tracing::warn;
use meshery_plugin_api::{PluginError, Provider, ProviderConfig, export_provider};

use error::StoreError;
use folder::Folder;
use readers::Readers;
use work::Work;
use writer::Writer;

/// Less room than this on the disk is worth a word.
const LITTLE_ROOM: u64 = 64 << 20;

export_provider! {
    name: "local",
    open: LocalProvider::open,
}

/// The provider. Fields are dropped in their order: the threads end before the folder is unlocked.
struct LocalProvider {
    readers: Readers,
    writer: Writer,
    schema: u32,
    note: String,
    folder: Folder,
}

impl LocalProvider {
    fn open(config: ProviderConfig) -> Result<Self, PluginError> {
        if !config.data.is_absolute() {
            let data = config.data.display();
            return Err(PluginError::new(
                "bad-request",
                format!("\"data\" is {data:?}, not an absolute path"),
            )
            .remedy("name the folder for the store with its full path"));
        }
        let open = || {
            let folder = Folder::lock(&config.data)?;
            let opened = folder.open()?;
            if !opened.note.is_empty() {
                warn!(store = %config.data.display(), "{}", opened.note);
            }
            let readers = Readers::start(opened.readers)?;
            let writer = Writer::start(opened.writer, opened.reserve)?;
            Ok(Self {
                readers,
                writer,
                schema: opened.schema,
                note: opened.note,
                folder,
            })
        };
        open().map_err(|error: StoreError| error.report(&config.data))
    }

    fn report(&self, error: StoreError) -> PluginError {
        error.report(self.folder.path())
    }

    async fn submit(&self, work: Result<(Work, usize), StoreError>) -> Result<Vec<u64>, PluginError> {
        let done = match work {
            Ok(work) => self.writer.submit(work).await,
            Err(error) => Err(error),
        };
        done.map_err(|error| self.report(error))
    }
}

impl Provider for LocalProvider {
    async fn user(&self) -> Result<User, PluginError> {
        Ok(User {
            name: "meshery".into(),
            display_name: "Meshery".into(),
        })
    }

    async fn get(&self, kind: &str, id: &str) -> Result<Option<Document>, PluginError> {
        let (kind, id) = (kind.to_owned(), id.to_owned());
        let found = self
            .readers
            .run(256, move |conn| document::get(conn, &kind, &id))
            .await;
        found.map_err(|error| self.report(error))
    }

    async fn write(&self, batch: Vec<Write>) -> Result<Vec<u64>, PluginError> {
        self.submit(Work::write(batch)).await
    }

    async fn list(&self, query: Query) -> Result<Page, PluginError> {
        let page = self
            .readers
            .run(256, move |conn| document::list(conn, &query))
            .await;
        page.map_err(|error| self.report(error))
    }

    async fn put_blobs(&self, owner: &str, blobs: Vec<Blob>) -> Result<(), PluginError> {
        let owner = owner.to_owned();
        let bytes = blobs.iter().map(|blob| blob.data.len()).sum();
        let work = self
            .readers
            .run(bytes, move |_| Work::put_blobs(owner, &blobs))
            .await;
        self.submit(work).await.map(drop)
    }

    async fn get_blobs(&self, sha256: Vec<String>) -> Result<Vec<Blob>, PluginError> {
        let blobs = self
            .readers
            .run(sha256.len() * 64, move |conn| blob::get(conn, &sha256))
            .await;
        blobs.map_err(|error| self.report(error))
    }

    async fn append(&self, append: Append) -> Result<u64, PluginError> {
        let last = self.submit(Work::append(append)).await?;
        Ok(last.first().copied().unwrap_or_default())
    }

    async fn read(&self, read: Read) -> Result<Vec<Entry>, PluginError> {
        let entries = self
            .readers
            .run(256, move |conn| journal::read(conn, &read))
            .await;
        entries.map_err(|error| self.report(error))
    }

    async fn reserve(&self, reserve: Reserve) -> Result<(), PluginError> {
        self.submit(Work::reserve(reserve)).await.map(drop)
    }

    async fn forget(&self, stream: &str) -> Result<(), PluginError> {
        self.submit(Work::forget(stream)).await.map(drop)
    }

    async fn health(&self) -> Result<StoreHealth, PluginError> {
        // After trouble only a write shows whether it is over; without, a write for each question would be a waste.
        if self.writer.condition().lock().trouble.is_some() {
            let _ = self.writer.submit((Work::Probe, 0)).await;
        }
        let mut notes = vec![self.note.clone()];
        let (trouble, reserved, missing) = {
            let condition = self.writer.condition().lock();
            (condition.trouble.clone(), condition.reserved, condition.missing)
        };
        let writable = trouble.is_none();
        notes.extend(trouble);
        if missing > 0 {
            notes.push(format!(
                "{missing} bytes of the room reserved for journals are missing on the disk"
            ));
        }
        if let Some(free) = self.folder.free().filter(|free| *free < LITTLE_ROOM) {
            notes.push(format!("only {} KiB are free on the disk", free >> 10));
        }
        notes.retain(|note| !note.is_empty());
        Ok(StoreHealth {
            writable,
            message: notes.join("; "),
            bytes: self.folder.bytes() + reserved,
            schema: self.schema,
        })
    }
}
