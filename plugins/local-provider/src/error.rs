//! What can go wrong in the store, and what its user can do about it.

use std::io;
use std::path::{Path, PathBuf};

use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::document::Expect;
use rusqlite::ErrorCode;
use rusqlite::ffi::{SQLITE_IOERR_SHMSIZE, SQLITE_IOERR_WRITE};

/// What to do with a store that can only be read.
pub const RESCUE: &str = "restore a backup: `mesheryctl provider restore FILE --replace`; without one, save what can be \
     read with `mesheryctl provider backup FILE` and restore that";

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("there is no room on the disk")]
    Full,
    #[error("the store is damaged: {0}")]
    Corrupt(String),
    #[error("the store is damaged and can only be read: {0}")]
    ReadOnly(String),
    #[error("the store is not empty")]
    NotEmpty,
    #[error("there is no session {0:?}")]
    NoSuchSession(String),
    #[error("the store has schema version {found}, this provider knows versions up to {known}")]
    Newer { found: u32, known: u32 },
    #[error("the folder is in use by another provider{}", holder(.0))]
    Locked(String),
    #[error("document {kind}/{id} is {}, expected {}", found_text(*.found), expected_text(*.expected))]
    RevisionConflict {
        kind: String,
        id: String,
        found: Option<u64>,
        expected: Expect,
    },
    #[error("journal {stream}: {what}")]
    JournalConflict { stream: String, what: String },
    #[error("there is no blob {0}")]
    NoSuchBlob(String),
    #[error("{0}")]
    BadRequest(String),
    #[error("too many writes are waiting")]
    Busy,
    #[error("the store has been closed")]
    Closed,
    #[error("the database refused: {0}")]
    Database(#[source] rusqlite::Error),
    #[error("{what} {}", .path.display())]
    Io {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl StoreError {
    pub fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::Io { what, path, source },
        }
    }

    /// Whether the caller asked for something that cannot be, so that others in the same transaction are fine.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::RevisionConflict { .. }
                | Self::JournalConflict { .. }
                | Self::NoSuchBlob(_)
                | Self::BadRequest(_)
        )
    }

    /// Whether more room may help. SQLite reports a quota, or a limit on the size of files, as a plain failure to
    /// write.
    pub fn may_be_room(&self) -> bool {
        match self {
            Self::Full => true,
            Self::Database(error) => error
                .sqlite_error()
                .is_some_and(|error| error.extended_code == SQLITE_IOERR_WRITE),
            _ => false,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Full => "store-full",
            Self::Corrupt(_) | Self::ReadOnly(_) => "store-corrupt",
            Self::NotEmpty => "store-not-empty",
            Self::NoSuchSession(_) => "no-such-session",
            Self::Newer { .. } => "store-newer",
            Self::Locked(_) => "store-locked",
            Self::RevisionConflict { .. } => "revision-conflict",
            Self::JournalConflict { .. } => "journal-conflict",
            Self::NoSuchBlob(_) => "no-such-blob",
            Self::BadRequest(_) => "bad-request",
            Self::Busy => "store-busy",
            Self::Closed | Self::Database(_) | Self::Io { .. } => "store-failed",
        }
    }

    /// The error as it crosses the boundary. `place` is the store's folder.
    pub fn report(&self, place: &Path) -> PluginError {
        let place = place.display();
        let error = PluginError::new(self.code(), self.to_string());
        match self {
            Self::Full => PluginError::new(self.code(), format!("there is no room on the disk of {place}"))
                .cause("the disk or the quota is full; nothing of this write was stored")
                .remedy(format!(
                    "make room on the disk of {place}; the store goes on by itself"
                )),
            Self::ReadOnly(what) => PluginError::new(
                self.code(),
                format!("the store in {place} is damaged and can only be read: {what}"),
            )
            .cause("a fault of the disk, or the file was changed by another program")
            .remedy(RESCUE),
            Self::NotEmpty => PluginError::new(self.code(), format!("the store in {place} is not empty"))
                .cause("a restore does not mix with what is there")
                .remedy("make a backup of it, and restore with the word to replace it (`--replace`)"),
            Self::NoSuchSession(_) => error
                .cause("it has ended, nobody went on with it for a minute, or another was begun")
                .remedy("begin again"),
            Self::Corrupt(what) => PluginError::new(
                self.code(),
                format!("the store in {place} is damaged: {what}"),
            )
            .cause("a fault of the disk, or the file was changed by another program")
            .remedy(
                "move the folder away, start the host with an empty store, and restore a backup: `mesheryctl provider \
                 restore FILE`; without one, `sqlite3 meshery.db .recover` may save something",
            ),
            Self::Newer { .. } => error
                .cause(format!("{place} was written by a newer version of this provider"))
                .remedy("use that version or a later one, or another data folder; there is no way back"),
            Self::Locked(_) => PluginError::new(self.code(), format!("{place}: {self}"))
                .cause("another host works with it")
                .remedy("stop the other host, or give this one a data folder of its own (`--data DIR`)"),
            Self::RevisionConflict { .. } => error
                .cause("somebody else has written it in between")
                .remedy("read it again and decide anew"),
            Self::JournalConflict { .. } => error
                .cause("two writers have worked on one journal")
                .remedy("read the journal again"),
            Self::NoSuchBlob(_) => error
                .cause("its owner was forgotten, or it was never stored")
                .remedy("make again what it belongs to"),
            Self::BadRequest(_) => error,
            Self::Busy => error
                .cause("the disk is slower than the requests come")
                .remedy("try again")
                .retryable(),
            Self::Closed => error.remedy("start the host again").retryable(),
            Self::Database(source) if source.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => error
                .cause(format!("another program holds {place}/meshery.db"))
                .remedy("close it")
                .retryable(),
            Self::Database(_) => error.cause(format!(
                "a fault of the disk of {place}, or its rights have changed"
            )),
            Self::Io { source, .. } => error
                .cause(source.to_string())
                .remedy(format!("check the rights of {place}")),
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        let extended = error.sqlite_error().map(|error| error.extended_code);
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full,
            // The index of the write-ahead log could not grow: nothing else than a full disk does that.
            _ if extended == Some(SQLITE_IOERR_SHMSIZE) => Self::Full,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Corrupt(error.to_string()),
            _ => Self::Database(error),
        }
    }
}

fn holder(process: &str) -> String {
    if process.is_empty() {
        String::new()
    } else {
        format!(" (process {process})")
    }
}

fn found_text(found: Option<u64>) -> String {
    found.map_or_else(|| "absent".into(), |revision| format!("at revision {revision}"))
}

fn expected_text(expected: Expect) -> String {
    match expected {
        Expect::Any => "anything".into(),
        Expect::Absent => "nothing there".into(),
        Expect::Revision(revision) => format!("revision {revision}"),
    }
}
