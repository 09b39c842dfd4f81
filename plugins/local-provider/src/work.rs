//! What callers ask the writer to do, checked and ready, and how each is done inside a transaction.

use meshery_plugin_api::message::document::{Blob, Write};
use meshery_plugin_api::message::journal::{Append, Reserve};
use rusqlite::{Connection, params};

use crate::error::StoreError;
use crate::{blob, document, journal, limits};

/// Revisions, or a last number, or nothing, as the work has it.
pub type Outcome = Vec<u64>;

pub enum Work {
    Write(Vec<document::Change>),
    PutBlobs(blob::Storing),
    Append(journal::Appending),
    Reserve {
        stream: String,
        bytes: u64,
    },
    Forget {
        stream: String,
    },
    /// Writes what is there already, to learn whether the disk takes it.
    Probe,
}

impl Work {
    pub fn write(batch: Vec<Write>) -> Result<(Self, usize), StoreError> {
        document::prepare(batch).map(|(changes, bytes)| (Self::Write(changes), bytes))
    }

    pub fn put_blobs(owner: String, blobs: &[Blob]) -> Result<(Self, usize), StoreError> {
        blob::prepare(owner, blobs).map(|(storing, bytes)| (Self::PutBlobs(storing), bytes))
    }

    pub fn append(append: Append) -> Result<(Self, usize), StoreError> {
        journal::prepare(append).map(|(appending, bytes)| (Self::Append(appending), bytes))
    }

    pub fn reserve(reserve: Reserve) -> Result<(Self, usize), StoreError> {
        let Reserve { stream, bytes } = reserve;
        limits::id("stream", &stream)?;
        limits::reserve(&stream, bytes)?;
        Ok((Self::Reserve { stream, bytes }, 256))
    }

    pub fn forget(stream: &str) -> Result<(Self, usize), StoreError> {
        limits::id("stream", stream)?;
        Ok((
            Self::Forget {
                stream: stream.into(),
            },
            256,
        ))
    }

    /// Whether others may be in the same transaction. What changes the reserve is alone in its own.
    pub fn shares_a_transaction(&self) -> bool {
        matches!(self, Self::Write(_) | Self::PutBlobs(_) | Self::Append(_))
    }

    /// Whether it may fail with a part of it done.
    fn needs_savepoint(&self) -> bool {
        matches!(self, Self::Write(changes) if changes.len() > 1)
    }

    /// The stream whose reserved room it may use.
    pub fn stream(&self) -> Option<&str> {
        match self {
            Self::Append(appending) => Some(&appending.stream),
            Self::Reserve { stream, .. } | Self::Forget { stream } => Some(stream),
            Self::Write(_) | Self::PutBlobs(_) | Self::Probe => None,
        }
    }

    /// Carries it out; refused, it leaves no trace in the transaction.
    pub fn apply(&self, conn: &Connection, now: &str) -> Result<Outcome, StoreError> {
        if !self.needs_savepoint() {
            return self.carry_out(conn, now);
        }
        conn.prepare_cached("SAVEPOINT work")?.execute([])?;
        let result = self.carry_out(conn, now);
        // After an error such as a full disk, SQLite may have rolled all of it back, the savepoint with it.
        if result.is_err() && !conn.is_autocommit() {
            conn.prepare_cached("ROLLBACK TO work")?.execute([])?;
        }
        if !conn.is_autocommit() {
            conn.prepare_cached("RELEASE work")?.execute([])?;
        }
        result
    }

    fn carry_out(&self, conn: &Connection, now: &str) -> Result<Outcome, StoreError> {
        match self {
            Self::Write(changes) => changes.iter().map(|change| change.apply(conn, now)).collect(),
            Self::PutBlobs(storing) => storing.apply(conn).map(|()| Vec::new()),
            Self::Append(appending) => appending.apply(conn).map(|last| vec![last]),
            Self::Reserve { stream, bytes: 0 } => {
                conn.execute("DELETE FROM reservation WHERE stream = ?1", [stream])?;
                Ok(Vec::new())
            }
            Self::Reserve { stream, bytes } => {
                conn.execute(
                    "INSERT OR REPLACE INTO reservation (stream, bytes) VALUES (?1, ?2)",
                    params![stream, i64::try_from(*bytes).unwrap_or(i64::MAX)],
                )?;
                Ok(Vec::new())
            }
            Self::Forget { stream } => {
                conn.execute("DELETE FROM reservation WHERE stream = ?1", [stream])?;
                blob::forget(conn, stream)?;
                journal::forget(conn, stream)?;
                Ok(Vec::new())
            }
            Self::Probe => {
                conn.execute("UPDATE schema SET version = version", [])?;
                Ok(Vec::new())
            }
        }
    }
}
