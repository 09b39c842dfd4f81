//! A store that is written beside the one in use, and takes its place in one step.
//!
//! Records go into `restore.db`. Committing makes that durable and renames it to `meshery.db.next`: from then on the
//! new store is the store. Moving it to its place takes several steps, which the next start finishes if this process
//! is killed in between. What was there before is kept as `replaced.db` until the next restore.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use meshery_plugin_api::message::backup::Record;
use meshery_plugin_api::message::document::{Blob, Document, Write};
use rusqlite::{Connection, params};

use crate::error::StoreError;
use crate::folder::DATABASE;
use crate::{blob, document, journal, limits, schema};

const STAGED: &str = "restore.db";
const NEXT: &str = "meshery.db.next";
const REPLACED: &str = "replaced.db";
/// What SQLite has beside a database.
const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];

/// The store to be. Dropped, it is thrown away.
pub struct Staging {
    conn: Option<Connection>,
    folder: PathBuf,
}

impl Staging {
    pub fn begin(folder: &Path) -> Result<Self, StoreError> {
        let mut staging = Self {
            conn: None,
            folder: folder.to_owned(),
        };
        staging.discard();
        let file = folder.join(STAGED);
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&file)
            .map_err(StoreError::io("cannot make", &file))?;
        let mut conn = Connection::open(&file)?;
        // Nothing of it counts before it is whole, and then it is made durable at once.
        conn.pragma_update(None, "synchronous", "OFF")?;
        conn.pragma_update(None, "temp_store", "MEMORY")?;
        schema::migrate(&mut conn, schema::MIGRATIONS)?;
        conn.execute_batch("BEGIN")?;
        staging.conn = Some(conn);
        Ok(staging)
    }

    fn conn(&self) -> Result<&Connection, StoreError> {
        self.conn.as_ref().ok_or(StoreError::Closed)
    }

    pub fn take(&mut self, records: Vec<Record>) -> Result<(), StoreError> {
        let conn = self.conn()?;
        records.into_iter().try_for_each(|record| store(conn, record))
    }

    /// Makes it the store to be, durably. Nothing may use the folder's database any more.
    pub fn commit(&mut self) -> Result<(), StoreError> {
        let conn = self.conn.take().ok_or(StoreError::Closed)?;
        conn.execute_batch("COMMIT")?;
        conn.close().map_err(|(_, error)| StoreError::from(error))?;
        let staged = self.folder.join(STAGED);
        File::open(&staged)
            .and_then(|file| file.sync_all())
            .map_err(StoreError::io("cannot make durable", &staged))?;
        remove(&self.folder, REPLACED)?;
        rename(&self.folder, STAGED, NEXT)?;
        sync(&self.folder)
    }

    fn discard(&self) {
        // If it cannot be removed, making it anew says why.
        let _ = remove(&self.folder, STAGED);
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        drop(self.conn.take());
        self.discard();
    }
}

/// Moves a committed store to its place, as far as that was not done yet.
pub fn finish(folder: &Path) -> Result<(), StoreError> {
    if !folder.join(NEXT).exists() {
        return Ok(());
    }
    for beside in BESIDE {
        if beside == "-shm" {
            remove_file(&folder.join(format!("{DATABASE}{beside}")))?;
        } else {
            rename(
                folder,
                &format!("{DATABASE}{beside}"),
                &format!("{REPLACED}{beside}"),
            )?;
        }
    }
    rename(folder, DATABASE, REPLACED)?;
    // The log of the former store must be gone for good before the new one is under its name.
    sync(folder)?;
    rename(folder, NEXT, DATABASE)?;
    sync(folder)
}

/// Whether there is anything in the store.
pub fn is_empty(conn: &Connection) -> Result<bool, StoreError> {
    let any = "SELECT EXISTS (SELECT 1 FROM document) OR EXISTS (SELECT 1 FROM stream)
         OR EXISTS (SELECT 1 FROM blob)";
    Ok(!conn.query_row(any, [], |row| row.get::<_, bool>(0))?)
}

fn store(conn: &Connection, record: Record) -> Result<(), StoreError> {
    match record {
        Record::Document(document) => store_document(conn, document),
        Record::Entries(append) => {
            let (appending, _) = journal::prepare(append)?;
            appending.apply(conn).map(drop)
        }
        Record::Reserve(reserve) => {
            limits::id("stream", &reserve.stream)?;
            limits::reserve(&reserve.stream, reserve.bytes)?;
            conn.prepare_cached("INSERT INTO reservation (stream, bytes) VALUES (?1, ?2)")?
                .execute(params![reserve.stream, reserve.bytes])?;
            Ok(())
        }
        Record::Blob { sha256, data, owners } => {
            let blobs = [Blob { sha256, data }];
            for owner in owners {
                blob::prepare(owner, &blobs)?.0.apply(conn)?;
            }
            Ok(())
        }
        Record::Unknown => Err(limits::bad("a record of a kind that this provider does not know")),
    }
}

fn store_document(conn: &Connection, document: Document) -> Result<(), StoreError> {
    let Document {
        revision,
        created,
        updated,
        ..
    } = &document;
    let (revision, created, updated) = (*revision, created.clone(), updated.clone());
    limits::time("created", &created)?;
    limits::time("updated", &updated)?;
    if revision == 0 {
        return Err(limits::bad("a document of a backup has no revision"));
    }
    let (kind, id) = (document.kind.clone(), document.id.clone());
    let write = Write::Put {
        document,
        expect: meshery_plugin_api::message::document::Expect::Absent,
    };
    let (changes, _) = document::prepare(vec![write])?;
    for change in changes {
        change.apply(conn, &updated)?;
    }
    conn.prepare_cached("UPDATE document SET revision = ?3, created = ?4 WHERE kind = ?1 AND id = ?2")?
        .execute(params![kind, id, revision, created])?;
    Ok(())
}

/// Removes a database with what SQLite has beside it.
fn remove(folder: &Path, name: &str) -> Result<(), StoreError> {
    remove_file(&folder.join(name))?;
    BESIDE
        .iter()
        .try_for_each(|beside| remove_file(&folder.join(format!("{name}{beside}"))))
}

fn remove_file(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::io("cannot remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// What is not there needs no other name.
fn rename(folder: &Path, from: &str, to: &str) -> Result<(), StoreError> {
    let from = folder.join(from);
    match fs::rename(&from, folder.join(to)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::io("cannot rename", &from)(error))
        }
        _ => Ok(()),
    }
}

fn sync(folder: &Path) -> Result<(), StoreError> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(StoreError::io("cannot make durable", folder))
}
