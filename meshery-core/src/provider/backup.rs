//! Backups: everything the provider keeps as one stream of lines, and that stream back into a provider.
//!
//! The form is the engine's, not the provider's, so that another provider can take it: see `docs/backup-format.md`.
//! Restoring hands record after record to the provider, which shows none of them before it is told to; it is told so
//! when the last line was read and the checksum in it is right.

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use meshery_plugin_api::message::backup::{
    AfterRecords, BackupPart, ReadBackup, Record, Restoring, WriteBackup,
};
use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

use super::content::hex;
use super::store::Store;
use crate::operation::clock;
use crate::problem::{Problem, ProblemKind};

/// Version of the form that is written; older ones are read as well.
pub const FORMAT: u32 = 1;
/// A longer line is none of ours.
const LONGEST_LINE: usize = 16 << 20;
/// A part for the provider is handed over when it is as large as this, or has as many records.
const PART_BYTES: usize = 4 << 20;
const PART_RECORDS: usize = 1000;

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    #[serde(rename = "meshery-backup")]
    format: u32,
    #[serde(default)]
    created: String,
}

/// The last line.
#[derive(Debug, Serialize, Deserialize)]
struct Last {
    end: Summary,
}

/// What the last line says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Summary {
    /// How many records there are.
    pub records: u64,
    /// What of the store could not be read when the backup was made, in words.
    #[serde(default)]
    pub damage: Vec<String>,
    /// SHA-256 of all lines before, line ends included, in hexadecimal.
    pub sha256: String,
}

/// A backup that is being made: the store as it was when it began.
#[derive(Debug)]
pub struct Backup {
    store: Store,
    part: Option<BackupPart>,
    hash: Hash,
    records: u64,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    First,
    Records,
    Ended,
}

struct Hash(Context);

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hash")
    }
}

impl Hash {
    fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    fn text(&self) -> String {
        hex(self.0.clone().finish().as_ref())
    }
}

impl Backup {
    /// Begins: what is written from now on is not in it.
    pub(super) async fn begin(store: Store) -> Result<Self, Problem> {
        let part = store.backup_part(&ReadBackup::default()).await?;
        Ok(Self {
            store,
            part: Some(part),
            hash: Hash::new(),
            records: 0,
            state: State::First,
        })
    }

    /// The next bytes; nothing after the last line. After a problem the stream is of no use.
    pub async fn next(&mut self) -> Option<Result<Vec<u8>, Problem>> {
        if self.state == State::Ended {
            return None;
        }
        let piece = self.piece().await;
        if piece.is_err() {
            self.end();
        }
        Some(piece)
    }

    async fn piece(&mut self) -> Result<Vec<u8>, Problem> {
        let mut bytes = Vec::new();
        if self.state == State::First {
            let header = Header {
                format: FORMAT,
                created: clock::now(),
            };
            line(&mut bytes, &header)?;
            self.state = State::Records;
        }
        let Some(part) = self.part.take() else {
            return Ok(bytes);
        };
        for record in &part.records {
            line(&mut bytes, record)?;
        }
        self.records += part.records.len() as u64;
        self.hash.0.update(&bytes);
        if part.last {
            let end = Summary {
                records: self.records,
                damage: part.damage,
                sha256: self.hash.text(),
            };
            line(&mut bytes, &Last { end })?;
            self.state = State::Ended;
        } else {
            let read = ReadBackup {
                session: part.session.clone(),
                end: false,
            };
            // Kept while the next is asked for: its session is to be ended if this is dropped meanwhile.
            self.part = Some(BackupPart {
                session: part.session,
                ..BackupPart::default()
            });
            self.part = Some(self.store.backup_part(&read).await?);
        }
        Ok(bytes)
    }

    /// Tells the provider that nobody reads on.
    fn end(&mut self) {
        self.state = State::Ended;
        let Some(BackupPart { session, .. }) = self.part.take() else {
            return;
        };
        let store = self.store.clone();
        // Without a runtime the provider finds out by itself.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { store.backup_part(&ReadBackup { session, end: true }).await });
        }
    }
}

impl Drop for Backup {
    fn drop(&mut self) {
        self.end();
    }
}

fn line(bytes: &mut Vec<u8>, value: &impl Serialize) -> Result<(), Problem> {
    serde_json::to_writer(&mut *bytes, value).map_err(|error| {
        Problem::new(
            ProblemKind::Internal,
            "backup-failed",
            format!("a record cannot be written as JSON: {error}"),
        )
    })?;
    bytes.push(b'\n');
    Ok(())
}

/// Takes a backup into a provider; see [`Store::restore`].
pub(super) async fn restore<E: std::fmt::Display>(
    store: &Store,
    input: impl Stream<Item = Result<Bytes, E>> + Send,
    replace: bool,
) -> Result<Summary, Problem> {
    let mut restoring = Restore {
        store,
        part: WriteBackup {
            replace,
            ..WriteBackup::default()
        },
        bytes: 0,
        hash: Hash::new(),
        lines: 0,
        records: 0,
        end: None,
    };
    let result = restoring.all(input).await;
    if result.is_err() {
        restoring.abandon().await;
    }
    result
}

struct Restore<'a> {
    store: &'a Store,
    part: WriteBackup,
    bytes: usize,
    hash: Hash,
    lines: u64,
    records: u64,
    end: Option<Summary>,
}

impl Restore<'_> {
    async fn all<E: std::fmt::Display>(
        &mut self,
        input: impl Stream<Item = Result<Bytes, E>> + Send,
    ) -> Result<Summary, Problem> {
        let mut input = std::pin::pin!(input);
        let mut rest: Vec<u8> = Vec::new();
        while let Some(chunk) = input.next().await {
            let chunk = chunk.map_err(|error| {
                broken(
                    "backup-cut-off",
                    format!("the backup did not come whole: {error}"),
                )
            })?;
            let mut chunk = &chunk[..];
            while let Some(end) = chunk.iter().position(|byte| *byte == b'\n') {
                rest.extend_from_slice(&chunk[..=end]);
                chunk = &chunk[end + 1..];
                self.line(&rest).await?;
                rest.clear();
            }
            rest.extend_from_slice(chunk);
            if rest.len() > LONGEST_LINE {
                let line = self.lines + 1;
                return Err(broken(
                    "bad-backup",
                    format!("line {line} is longer than {LONGEST_LINE} bytes"),
                ));
            }
        }
        let summary = match self.end.take() {
            Some(summary) if rest.is_empty() => summary,
            _ => {
                return Err(broken(
                    "backup-cut-off",
                    format!("the backup ends after line {} without its last line", self.lines),
                ));
            }
        };
        self.hand_over(AfterRecords::Commit).await?;
        Ok(summary)
    }

    async fn line(&mut self, line: &[u8]) -> Result<(), Problem> {
        self.lines += 1;
        let number = self.lines;
        let bad =
            |error: serde_json::Error| broken("bad-backup", format!("line {number} of the backup: {error}"));
        if self.end.is_some() {
            return Err(broken(
                "bad-backup",
                format!("line {number} comes after the backup's last line"),
            ));
        }
        if number == 1 {
            let header: Header = serde_json::from_slice(line)
                .map_err(|_| broken("bad-backup", "the file is no backup of Meshery"))?;
            if header.format == 0 || header.format > FORMAT {
                return Err(Problem::new(
                    ProblemKind::Conflict,
                    "backup-newer",
                    format!(
                        "the backup has format {}, this host knows formats up to {FORMAT}",
                        header.format
                    ),
                )
                .remedy("restore it with the version of Meshery that made it, or a later one"));
            }
        } else if line.starts_with(b"{\"end\":") {
            let Last { end } = serde_json::from_slice(line).map_err(bad)?;
            let found = self.hash.text();
            if end.sha256 != found || end.records != self.records {
                return Err(broken(
                    "backup-damaged",
                    format!(
                        "the backup's checksum is {found} over {} records, its last line says {} over {}",
                        self.records, end.sha256, end.records
                    ),
                ));
            }
            self.end = Some(end);
            return Ok(());
        } else {
            let record: Record = serde_json::from_slice(line).map_err(bad)?;
            if record == Record::Unknown {
                return Err(broken(
                    "bad-backup",
                    format!("line {number} of the backup has a record that this host does not know"),
                ));
            }
            self.part.records.push(record);
            self.records += 1;
            self.bytes += line.len();
        }
        self.hash.0.update(line);
        if self.bytes >= PART_BYTES || self.part.records.len() >= PART_RECORDS {
            self.hand_over(AfterRecords::More).await?;
        }
        Ok(())
    }

    async fn hand_over(&mut self, then: AfterRecords) -> Result<(), Problem> {
        let part = WriteBackup {
            records: std::mem::take(&mut self.part.records),
            then,
            ..self.part.clone()
        };
        self.bytes = 0;
        let Restoring { session } = self.store.restore_part(&part).await?;
        self.part.session = session;
        Ok(())
    }

    async fn abandon(&mut self) {
        if self.part.session.is_empty() {
            return;
        }
        self.part.records.clear();
        self.part.then = AfterRecords::Abandon;
        // If nobody hears it, the provider finds out by itself.
        let _ = self.store.restore_part(&self.part).await;
    }
}

fn broken(code: &str, message: impl Into<String>) -> Problem {
    Problem::new(ProblemKind::Invalid, code, message)
        .cause("the file was cut short or changed, or is none of Meshery's")
        .remedy("use another backup; nothing was changed")
}
