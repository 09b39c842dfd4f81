//! The journal as a provider sees it: an append-only list of opaque entries for each stream.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Entries to append to a stream.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Append {
    /// The stream: an operation's id.
    pub stream: String,
    /// Sequence number that the first entry gets: one more than the last in the stream, from 1.
    ///
    /// If the stream already holds exactly these entries from there on, the append is acknowledged again and
    /// nothing is written, so that a lost acknowledgement can be asked for again. Anything else is an error
    /// with the code `journal-conflict`.
    pub first: u64,
    /// The entries.
    pub entries: Vec<Value>,
}

/// One entry as it is read back.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Entry {
    /// Its sequence number.
    pub seq: u64,
    /// The entry.
    pub entry: Value,
}

/// Which part of a stream to read.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Read {
    /// The stream.
    pub stream: String,
    /// Entries after this sequence number; 0 for all.
    pub after: u64,
    /// At most so many, 1,000 when zero.
    pub limit: u32,
}

/// Room to set aside for a stream.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Reserve {
    /// The stream.
    pub stream: String,
    /// Bytes that later appends to the stream may need even when the disk is full; 0 gives the room back.
    pub bytes: u64,
}
