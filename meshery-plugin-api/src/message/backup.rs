//! Backup and restore: all that a provider keeps, as records that another provider can take.

use serde::{Deserialize, Serialize};

use super::document::Document;
use super::journal::{Append, Reserve};

/// One thing of a backup.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "kebab-case")]
pub enum Record {
    /// A document, with its revision and its times.
    Document(Document),
    /// A part of a journal. The parts of a journal come in order, without gaps.
    Entries(Append),
    /// Room set aside for a journal.
    Reserve(Reserve),
    /// A blob with its owners.
    Blob {
        /// SHA-256 of the data in hexadecimal.
        sha256: String,
        /// The data in standard base64.
        data: String,
        /// Names of the streams that own it.
        owners: Vec<String>,
    },
    /// A record newer than this side: the restore is refused.
    #[serde(other)]
    Unknown,
}

/// Asks for the next part of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ReadBackup {
    /// Empty to begin; then what the first part said. A provider may know one at a time, and forget one that nobody
    /// asks for within a minute.
    pub session: String,
    /// Nothing more is wanted: the provider forgets the session.
    pub end: bool,
}

/// A part of a backup. All parts of a session show one moment, whatever is written meanwhile.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct BackupPart {
    /// To ask for the next part with.
    pub session: String,
    /// The records, 8 MiB at most as JSON.
    pub records: Vec<Record>,
    /// No part follows, and the session has ended.
    pub last: bool,
    /// What could not be read, in words; empty when the store is sound.
    pub damage: Vec<String>,
}

/// A part of a restore. Nothing of it can be seen before it is committed, and then all of it at once.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct WriteBackup {
    /// Empty to begin; then what the first answer said. As with [`ReadBackup::session`], it may be forgotten.
    pub session: String,
    /// Whether what the store has goes away. Without it, a store that has anything refuses with `store-not-empty`.
    pub replace: bool,
    /// The records, in the order of the backup.
    pub records: Vec<Record>,
    /// What to do after these records.
    pub then: AfterRecords,
}

/// What follows a part of a restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AfterRecords {
    /// Another part.
    #[default]
    More,
    /// The restore takes effect, durably and as a whole: whenever the process is killed, the store is the old one or
    /// the new one.
    Commit,
    /// What was handed over is thrown away.
    Abandon,
    /// Something newer than this side: the part is refused.
    #[serde(other)]
    Unknown,
}

/// The answer to a part of a restore.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Restoring {
    /// To go on with.
    pub session: String,
}
