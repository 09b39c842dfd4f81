//! The local provider: the user "meshery", and everything the host must not lose, in one SQLite file.
//!
//! `<data>/meshery.db` is the store, `lock` beside it keeps a second provider out, `reserve` is room set aside for
//! journals. A store that is found damaged at the start can be read and replaced, and nothing else. One thread writes, two read; the futures given to the host only wait for their answers, so they need
//! no runtime. What an answer promises: it was on the disk before it was given.

mod backup;
mod blob;
mod document;
mod error;
mod folder;
mod journal;
mod limits;
mod queue;
mod readers;
mod reserve;
mod restore;
mod schema;
mod session;
mod store;
#[cfg(test)]
mod tests;
mod work;
mod writer;

use std::sync::Arc;

use meshery_plugin_api::message::backup::{AfterRecords, BackupPart, ReadBackup, Restoring, WriteBackup};
use meshery_plugin_api::message::document::{Blob, Document, Page, Query, StoreHealth, User, Write};
use meshery_plugin_api::message::journal::{Append, Entry, Read, Reserve};
use meshery_plugin_api::{PluginError, Provider, ProviderConfig, export_provider};
use parking_lot::RwLock;

use backup::Reading;
use error::StoreError;
use folder::Folder;
use restore::Staging;
use session::Sessions;
use store::OpenStore;
use work::Work;

export_provider! {
    name: "local",
    open: LocalProvider::open,
}

/// The provider. Fields are dropped in their order: the threads end before the folder is unlocked.
struct LocalProvider {
    backups: Sessions<Reading>,
    restores: Sessions<Staging>,
    /// Replaced by a restore. After the sessions, so that the writer's connection is closed last and leaves no log.
    store: Arc<RwLock<Arc<OpenStore>>>,
    folder: Arc<Folder>,
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
            let folder = Arc::new(Folder::lock(&config.data)?);
            let store = Arc::new(OpenStore::open(&folder)?);
            Ok(Self {
                store: Arc::new(RwLock::new(store)),
                backups: Sessions::new(),
                restores: Sessions::new(),
                folder,
            })
        };
        open().map_err(|error: StoreError| error.report(&config.data))
    }

    fn store(&self) -> Arc<OpenStore> {
        self.store.read().clone()
    }

    fn report(&self, error: StoreError) -> PluginError {
        error.report(self.folder.path())
    }

    async fn submit(&self, work: Result<(Work, usize), StoreError>) -> Result<Vec<u64>, PluginError> {
        let done = match work {
            Ok(work) => self.store().submit(work).await,
            Err(error) => Err(error),
        };
        done.map_err(|error| self.report(error))
    }

    async fn next_part(&self, read: ReadBackup) -> Result<BackupPart, StoreError> {
        if read.end {
            self.backups.end(&read.session);
            return Ok(BackupPart {
                last: true,
                ..BackupPart::default()
            });
        }
        let session = if read.session.is_empty() {
            let folder = self.folder.clone();
            self.backups
                .begin(move || Reading::begin(folder.reader()?))
                .await?
        } else {
            read.session
        };
        let part = self.backups.work(&session, Reading::part, |part| part.last);
        let part = part.await?;
        Ok(BackupPart { session, ..part })
    }

    async fn take_part(&self, write: WriteBackup) -> Result<Restoring, StoreError> {
        let WriteBackup {
            session,
            replace,
            records,
            then,
        } = write;
        let session = if session.is_empty() {
            if !replace {
                self.store().refuse_what_is_there().await?;
            }
            let folder = self.folder.clone();
            self.restores.begin(move || Staging::begin(folder.path())).await?
        } else {
            session
        };
        let taken = move |staging: &mut Staging| staging.take(records);
        match then {
            AfterRecords::More => self.restores.work(&session, taken, |()| false).await?,
            AfterRecords::Abandon => self.restores.end(&session),
            AfterRecords::Unknown => return Err(limits::bad("what to do after a part is not known")),
            AfterRecords::Commit => {
                let (folder, current) = (self.folder.clone(), self.store.clone());
                // On the session's thread to its end, whether the caller waits for it or not.
                let commit = move |staging: &mut Staging| {
                    taken(staging)?;
                    current.read().close();
                    let replaced = store::replace(&folder, staging, replace);
                    // Whatever came of it, there is a store again.
                    *current.write() = Arc::new(OpenStore::open(&folder)?);
                    replaced
                };
                self.restores.work(&session, commit, |()| true).await?;
            }
        }
        Ok(Restoring { session })
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
            .store()
            .read(256, move |conn| document::get(conn, &kind, &id))
            .await;
        found.map_err(|error| self.report(error))
    }

    async fn write(&self, batch: Vec<Write>) -> Result<Vec<u64>, PluginError> {
        self.submit(Work::write(batch)).await
    }

    async fn list(&self, query: Query) -> Result<Page, PluginError> {
        let page = self.store().list(query).await;
        page.map_err(|error| self.report(error))
    }

    async fn put_blobs(&self, owner: &str, blobs: Vec<Blob>) -> Result<(), PluginError> {
        let owner = owner.to_owned();
        let bytes = blobs.iter().map(|blob| blob.data.len()).sum();
        let work = self
            .store()
            .read(bytes, move |_| Work::put_blobs(owner, &blobs))
            .await;
        self.submit(work).await.map(drop)
    }

    async fn get_blobs(&self, sha256: Vec<String>) -> Result<Vec<Blob>, PluginError> {
        let blobs = self
            .store()
            .read(sha256.len() * 64, move |conn| blob::get(conn, &sha256))
            .await;
        blobs.map_err(|error| self.report(error))
    }

    async fn append(&self, append: Append) -> Result<u64, PluginError> {
        let last = self.submit(Work::append(append)).await?;
        Ok(last.first().copied().unwrap_or_default())
    }

    async fn read(&self, read: Read) -> Result<Vec<Entry>, PluginError> {
        let entries = self
            .store()
            .read(256, move |conn| journal::read(conn, &read))
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
        Ok(self.store().health(&self.folder).await)
    }

    async fn backup(&self, read: ReadBackup) -> Result<BackupPart, PluginError> {
        self.next_part(read).await.map_err(|error| self.report(error))
    }

    async fn restore(&self, write: WriteBackup) -> Result<Restoring, PluginError> {
        self.take_part(write).await.map_err(|error| self.report(error))
    }
}
