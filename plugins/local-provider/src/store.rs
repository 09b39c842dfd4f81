//! The database that is in use: to be read and written, or found damaged and only to be read.

use meshery_plugin_api::message::document::{Page, Query, StoreHealth};
use meshery_plugin_api::tracing::{error, warn};
use rusqlite::Connection;

use crate::document;
use crate::error::{RESCUE, StoreError};
use crate::folder::Folder;
use crate::readers::Readers;
use crate::restore::{self, Staging};
use crate::work::{Outcome, Work};
use crate::writer::Writer;

/// Less room than this on the disk is worth a word.
const LITTLE_ROOM: u64 = 64 << 20;

/// Fields are dropped in their order.
pub struct OpenStore {
    readers: Readers,
    writing: Writing,
    schema: u32,
    note: String,
}

enum Writing {
    Possible(Writer),
    /// What is damaged.
    Refused(String),
}

impl OpenStore {
    /// Opens the store, or what can be read of it.
    pub fn open(folder: &Folder) -> Result<Self, StoreError> {
        let store = folder.path().display();
        let what = match folder.open() {
            Ok(opened) => {
                if !opened.note.is_empty() {
                    warn!(%store, "{}", opened.note);
                }
                return Ok(Self {
                    readers: Readers::start(opened.readers)?,
                    writing: Writing::Possible(Writer::start(opened.writer, opened.reserve)?),
                    schema: opened.schema,
                    note: opened.note,
                });
            }
            Err(StoreError::Corrupt(what)) => what,
            Err(error) => return Err(error),
        };
        let rescued = match folder.rescue() {
            Ok(rescued) => rescued,
            Err(StoreError::Newer { found, known }) => return Err(StoreError::Newer { found, known }),
            Err(_) => return Err(StoreError::Corrupt(what)),
        };
        error!(%store, "the store is damaged and can only be read: {what}; {RESCUE}");
        Ok(Self {
            readers: Readers::start(rescued.readers)?,
            note: format!("the store is damaged and can only be read: {what}; {RESCUE}"),
            writing: Writing::Refused(what),
            schema: rescued.schema,
        })
    }

    fn writer(&self) -> Result<&Writer, StoreError> {
        match &self.writing {
            Writing::Possible(writer) => Ok(writer),
            Writing::Refused(what) => Err(StoreError::ReadOnly(what.clone())),
        }
    }

    /// Does the work durably.
    pub async fn submit(&self, work: (Work, usize)) -> Result<Outcome, StoreError> {
        self.writer()?.submit(work).await
    }

    /// Runs this on a thread that reads; `bytes` is what waiting for it holds in memory.
    pub async fn read<T: Send + 'static>(
        &self,
        bytes: usize,
        job: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.readers.run(bytes, job).await
    }

    pub async fn list(&self, query: Query) -> Result<Page, StoreError> {
        let list = match self.writing {
            Writing::Possible(_) => document::list,
            Writing::Refused(_) => document::list_readable,
        };
        self.read(256, move |conn| list(conn, &query)).await
    }

    /// An error if there is anything in the store.
    pub async fn refuse_what_is_there(&self) -> Result<(), StoreError> {
        // A damaged store is not empty, whatever can be read of it.
        self.writer().map_err(|_| StoreError::NotEmpty)?;
        if self.read(256, restore::is_empty).await? {
            return Ok(());
        }
        Err(StoreError::NotEmpty)
    }

    /// Ends all that uses the database, after what was asked for before.
    pub fn close(&self) {
        if let Writing::Possible(writer) = &self.writing {
            writer.close();
        }
        self.readers.close();
    }

    pub async fn health(&self, folder: &Folder) -> StoreHealth {
        let mut notes = vec![self.note.clone()];
        let (mut writable, mut reserved) = (false, 0);
        if let Writing::Possible(writer) = &self.writing {
            // After trouble only a write shows whether it is over; without, a write for each question would be a
            // waste.
            if writer.condition().lock().trouble.is_some() {
                let _ = writer.submit((Work::Probe, 0)).await;
            }
            let condition = writer.condition().lock();
            writable = condition.trouble.is_none();
            reserved = condition.reserved;
            notes.extend(condition.trouble.clone());
            if condition.missing > 0 {
                notes.push(format!(
                    "{} bytes of the room reserved for journals are missing on the disk",
                    condition.missing
                ));
            }
        }
        if let Some(free) = folder.free().filter(|free| *free < LITTLE_ROOM) {
            notes.push(format!("only {} KiB are free on the disk", free >> 10));
        }
        notes.retain(|note| !note.is_empty());
        StoreHealth {
            writable,
            message: notes.join("; "),
            bytes: folder.bytes() + reserved,
            schema: self.schema,
        }
    }
}

/// Puts what was staged in the place of a store that was closed.
pub fn replace(folder: &Folder, staging: &mut Staging, replace: bool) -> Result<(), StoreError> {
    // Somebody may have written since the restore began.
    if !replace && !restore::is_empty(&folder.reader()?)? {
        return Err(StoreError::NotEmpty);
    }
    staging.commit()?;
    restore::finish(folder.path())
}
