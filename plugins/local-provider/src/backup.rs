//! Reading everything, as it is at one moment, part by part; of a damaged store whatever can be read.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use meshery_plugin_api::message::backup::{BackupPart, Record};
use meshery_plugin_api::message::document::Document;
use meshery_plugin_api::message::journal::{Append, Reserve};
use meshery_plugin_api::serde_json;
use rusqlite::{Connection, Row, params};

use crate::error::StoreError;
use crate::{document, journal, limits};

/// A part ends after the record that makes it as large as this, or as many.
const PART_BYTES: usize = 3 << 20;
const PART_RECORDS: usize = 1000;
/// So many words about damage, and a number for the rest.
const MOST_WORDS: usize = 20;

const DOCUMENTS: &str =
    "SELECT rowid, kind, id, owner, revision, created, updated, labels, body FROM document
     WHERE rowid >= ?1 ORDER BY rowid";
const ENTRIES: &str = "SELECT id, entry FROM entry WHERE id >= ?1 ORDER BY id";
const BLOBS: &str = "SELECT id, sha256, data FROM blob WHERE id >= ?1 ORDER BY id";
const STREAMS: &str = "SELECT id, name FROM stream WHERE id >= ?1 ORDER BY id";

/// A backup that is being read.
pub struct Reading {
    conn: Connection,
    stage: Stage,
    /// The row that was read last in this stage.
    last: i64,
    streams: HashMap<i64, String>,
    /// The journal that is being read, and the number its next entry must have; 0 after a gap.
    journal: (i64, u64),
    damage: Vec<String>,
    more_damage: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Documents,
    Entries,
    Reservations,
    Blobs,
    Done,
}

/// What is read for one part.
#[derive(Default)]
struct Part {
    records: Vec<Record>,
    bytes: usize,
}

impl Part {
    fn add(&mut self, record: Record, bytes: usize) {
        self.records.push(record);
        self.bytes += bytes + 256;
    }

    fn is_full(&self) -> bool {
        self.bytes >= PART_BYTES || self.records.len() >= PART_RECORDS
    }
}

impl Reading {
    /// Begins on a connection of its own, whose view of the store stays as it is now.
    pub fn begin(conn: Connection) -> Result<Self, StoreError> {
        conn.execute_batch("BEGIN")?;
        conn.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        let mut reading = Self {
            conn,
            stage: Stage::Documents,
            last: i64::MIN,
            streams: HashMap::new(),
            journal: (0, 0),
            damage: Vec::new(),
            more_damage: 0,
        };
        let mut streams = HashMap::new();
        let mut last = i64::MIN;
        while let Some(()) = reading.rows(STREAMS, "journals' names", &mut last, |row, id| {
            streams.insert(id, row.get(1)?);
            Ok(Next::Row)
        })? {}
        reading.streams = streams;
        Ok(reading)
    }

    /// The next part; the session's name is the caller's to add.
    pub fn part(&mut self) -> Result<BackupPart, StoreError> {
        let mut part = Part::default();
        while !part.is_full() && self.stage != Stage::Done {
            let before = self.last;
            let full = match self.stage {
                Stage::Documents => self.documents(&mut part)?,
                Stage::Entries => self.entries(&mut part)?,
                Stage::Reservations => self.reservations(&mut part)?,
                Stage::Blobs => self.blobs(&mut part)?,
                Stage::Done => false,
            };
            if !full {
                self.stage = match self.stage {
                    Stage::Documents => Stage::Entries,
                    Stage::Entries => Stage::Reservations,
                    Stage::Reservations => Stage::Blobs,
                    Stage::Blobs | Stage::Done => Stage::Done,
                };
                self.last = i64::MIN;
            } else if self.last == before {
                return Err(StoreError::Corrupt("a table leads back to itself".into()));
            }
        }
        let last = self.stage == Stage::Done;
        let mut damage = Vec::new();
        if last {
            damage.append(&mut self.damage);
            if self.more_damage > 0 {
                damage.push(format!("and {} more", self.more_damage));
            }
        }
        Ok(BackupPart {
            session: String::new(),
            records: part.records,
            last,
            damage,
        })
    }

    fn documents(&mut self, part: &mut Part) -> Result<bool, StoreError> {
        let mut unreadable = Vec::new();
        let mut last = self.last;
        let more = self.rows(DOCUMENTS, "documents", &mut last, |row, rowid| {
            match document::from_row(row, 1) {
                Ok((document, bytes)) => {
                    let Document { kind, id, .. } = &document;
                    let named = limits::kind(kind).and_then(|()| limits::id("id", id));
                    match named {
                        Ok(()) => part.add(Record::Document(document), bytes),
                        Err(error) => unreadable.push(format!("the document in row {rowid}: {error}")),
                    }
                }
                Err(StoreError::Corrupt(what)) => unreadable.push(what),
                Err(error) => return Err(error),
            }
            Ok(if part.is_full() { Next::Enough } else { Next::Row })
        })?;
        self.last = last;
        self.note_all(unreadable);
        Ok(more.is_some())
    }

    /// Entries of one journal become one record; a journal with a gap ends before it.
    fn entries(&mut self, part: &mut Part) -> Result<bool, StoreError> {
        let (streams, mut at) = (std::mem::take(&mut self.streams), self.journal);
        let mut unreadable = Vec::new();
        let mut last = self.last;
        let more = self.rows(ENTRIES, "journals' entries", &mut last, |row, id| {
            let (stream, seq) = journal::of_key(id);
            if at.0 != stream {
                at = (stream, 1);
            }
            if at.1 == 0 {
                return Ok(Next::Row);
            }
            let text = row.get_ref(1)?.as_bytes().unwrap_or_default();
            let entry = serde_json::from_slice(text);
            let (Some(name), Ok(entry), true) = (streams.get(&stream), entry, seq == at.1) else {
                let name = streams.get(&stream).map_or("without a name", String::as_str);
                unreadable.push(format!("journal {name}: entries from {} on", at.1));
                at.1 = 0;
                return Ok(Next::Row);
            };
            at.1 = seq + 1;
            match part.records.last_mut() {
                Some(Record::Entries(append))
                    if append.stream == *name && append.entries.len() < limits::ENTRIES =>
                {
                    append.entries.push(entry);
                    part.bytes += text.len() + 16;
                }
                _ => {
                    let append = Append {
                        stream: name.clone(),
                        first: seq,
                        entries: vec![entry],
                    };
                    part.add(Record::Entries(append), text.len());
                }
            }
            Ok(if part.is_full() { Next::Enough } else { Next::Row })
        })?;
        (self.last, self.streams, self.journal) = (last, streams, at);
        self.note_all(unreadable);
        Ok(more.is_some())
    }

    fn reservations(&mut self, part: &mut Part) -> Result<bool, StoreError> {
        let read = || -> Result<Vec<Reserve>, StoreError> {
            let mut select = self
                .conn
                .prepare("SELECT stream, bytes FROM reservation ORDER BY stream")?;
            let rows = select.query_map([], |row| {
                let (stream, bytes) = (row.get(0)?, row.get(1)?);
                Ok(Reserve { stream, bytes })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        };
        match read() {
            // Few and small: one for each operation that runs.
            Ok(found) => found
                .into_iter()
                .for_each(|reserve| part.add(Record::Reserve(reserve), 64)),
            Err(StoreError::Corrupt(what)) => self.note(format!("what is reserved for journals: {what}")),
            Err(error) => return Err(error),
        }
        Ok(false)
    }

    fn blobs(&mut self, part: &mut Part) -> Result<bool, StoreError> {
        let mut unreadable = Vec::new();
        let mut found = Vec::new();
        let (mut last, mut bytes) = (self.last, part.bytes);
        let more = self.rows(BLOBS, "blobs", &mut last, |row, id| {
            let (name, data): (Vec<u8>, Vec<u8>) = (row.get(1)?, row.get(2)?);
            let hash = ring::digest::digest(&ring::digest::SHA256, &data);
            if hash.as_ref() == name {
                bytes += data.len().div_ceil(3) * 4 + 256;
                found.push((id, name, data));
            } else {
                unreadable.push(format!("blob {}: its content has changed", hex(&name)));
            }
            let full = bytes >= PART_BYTES || found.len() + part.records.len() >= PART_RECORDS;
            Ok(if full { Next::Enough } else { Next::Row })
        })?;
        self.last = last;
        for (id, name, data) in found {
            match self.owners(id) {
                Ok(owners) => {
                    let data = BASE64.encode(data);
                    let bytes = data.len();
                    let sha256 = hex(&name);
                    part.add(Record::Blob { sha256, data, owners }, bytes);
                }
                Err(StoreError::Corrupt(what)) => {
                    unreadable.push(format!("who owns blob {}: {what}", hex(&name)));
                }
                Err(error) => return Err(error),
            }
        }
        self.note_all(unreadable);
        Ok(more.is_some())
    }

    fn owners(&self, blob: i64) -> Result<Vec<String>, StoreError> {
        let mut select = self
            .conn
            .prepare_cached("SELECT owner FROM blob_owner WHERE blob = ?1 ORDER BY owner")?;
        let rows = select.query_map([blob], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Reads rows after `last`, until it is enough (`Some`) or there are no more. Rows on a damaged page are noted and
    /// passed over.
    fn rows(
        &mut self,
        sql: &str,
        what: &str,
        last: &mut i64,
        mut take: impl FnMut(&Row<'_>, i64) -> Result<Next, StoreError>,
    ) -> Result<Option<()>, StoreError> {
        loop {
            match scan(&self.conn, sql, last, &mut take) {
                Ok(more) => return Ok(more),
                Err(StoreError::Corrupt(why)) => {
                    let Some(next) = after_damage(&self.conn, sql, *last)? else {
                        self.note(format!("{what} after row {}: {why}", (*last).max(0)));
                        return Ok(None);
                    };
                    self.note(format!(
                        "{what} between rows {} and {next}: {why}",
                        (*last).max(0)
                    ));
                    *last = next - 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn note_all(&mut self, all: Vec<String>) {
        for what in all {
            self.note(what);
        }
    }

    fn note(&mut self, what: String) {
        if self.damage.len() < MOST_WORDS {
            self.damage.push(what);
        } else {
            self.more_damage += 1;
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Row,
    Enough,
}

fn scan(
    conn: &Connection,
    sql: &str,
    last: &mut i64,
    take: &mut impl FnMut(&Row<'_>, i64) -> Result<Next, StoreError>,
) -> Result<Option<()>, StoreError> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query([last.saturating_add(1)])?;
    while let Some(row) = rows.next()? {
        let rowid = row.get(0)?;
        let next = take(row, rowid)?;
        *last = rowid;
        if next == Next::Enough {
            return Ok(Some(()));
        }
    }
    Ok(None)
}

/// The least row after `last` from which on something can be read again: a damaged page spoils a range of rows, and
/// what looks for one of them ends on that page, even if the next row is elsewhere.
fn after_damage(conn: &Connection, sql: &str, last: i64) -> Result<Option<i64>, StoreError> {
    let readable = |row: i64| -> Result<bool, StoreError> {
        let mut statement = conn.prepare_cached(sql)?;
        let mut rows = statement.query(params![row])?;
        let found = rows.next().map_err(StoreError::from).and_then(|row| {
            // To the last column: content may lie on pages of its own.
            let Some(row) = row else { return Ok(()) };
            (0..row.as_ref().column_count()).try_for_each(|column| Ok(row.get_ref(column).map(drop)?))
        });
        match found {
            Ok(()) => Ok(true),
            Err(StoreError::Corrupt(_)) => Ok(false),
            Err(error) => Err(error),
        }
    };
    let last = last.max(0);
    let (mut bad, mut good) = (0_i64, 1_i64);
    while !readable(last.saturating_add(good))? {
        bad = good;
        good = match good.checked_mul(2) {
            Some(twice) if last.checked_add(twice).is_some() => twice,
            _ => return Ok(None),
        };
    }
    while good - bad > 1 {
        let middle = bad + (good - bad) / 2;
        if readable(last.saturating_add(middle))? {
            good = middle;
        } else {
            bad = middle;
        }
    }
    Ok(Some(last.saturating_add(good)))
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}
