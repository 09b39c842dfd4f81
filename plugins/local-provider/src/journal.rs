//! Journals: entries under one integer key, the stream's number in its upper half.
//!
//! An entry is compared as text first; the text of equal JSON may differ when another version of the host wrote
//! it, so what differs as text is compared as JSON.

use meshery_plugin_api::message::journal::{Append, Entry, Read};
use meshery_plugin_api::serde_json::{self, Value};
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::error::StoreError;
use crate::limits;

/// An append that was found valid.
pub struct Appending {
    pub stream: String,
    first: u64,
    entries: Vec<String>,
}

/// Checks an append and returns its size with it.
pub fn prepare(append: Append) -> Result<(Appending, usize), StoreError> {
    let Append {
        stream,
        first,
        entries,
    } = append;
    limits::id("stream", &stream)?;
    limits::size("entries of an append", entries.len(), limits::ENTRIES)?;
    if entries.is_empty() {
        return Err(limits::bad(format!("an append to {stream} has no entries")));
    }
    if first == 0 || first > limits::LAST_SEQ - limits::ENTRIES as u64 {
        return Err(limits::bad(format!(
            "an append to {stream} cannot start at {first}: numbers start at 1"
        )));
    }
    let mut bytes = 0;
    let mut texts = Vec::with_capacity(entries.len());
    for entry in &entries {
        let text = serde_json::to_string(entry)
            .map_err(|error| limits::bad(format!("an entry cannot be written as JSON: {error}")))?;
        limits::size("bytes of an entry", text.len(), limits::ENTRY_BYTES)?;
        bytes += text.len() + 64;
        limits::size("bytes of an append", bytes, limits::APPEND_BYTES)?;
        texts.push(text);
    }
    Ok((
        Appending {
            stream,
            first,
            entries: texts,
        },
        bytes,
    ))
}

impl Appending {
    /// Carries it out and returns the number of its last entry.
    pub fn apply(&self, conn: &Connection) -> Result<u64, StoreError> {
        let wanted = self.first + self.entries.len() as u64 - 1;
        let stream = number(conn, &self.stream)?;
        let last = stream.map_or(Ok(0), |stream| last(conn, stream))?;
        if self.first <= last {
            // An append asked for again: acknowledged if it is all there, as it was.
            return match stream {
                Some(stream) if wanted <= last && self.is_there(conn, stream)? => Ok(wanted),
                _ => Err(self.conflict(format!(
                    "entries {} to {wanted} are there with other content",
                    self.first
                ))),
            };
        }
        if self.first != last + 1 {
            return Err(self.conflict(format!(
                "entry {} cannot follow {last}, the last that is there",
                self.first
            )));
        }
        let stream = match stream {
            Some(stream) => stream,
            None => conn
                .prepare_cached("INSERT INTO stream (name) VALUES (?1) RETURNING id")?
                .query_row([&self.stream], |row| row.get(0))?,
        };
        let mut insert = conn.prepare_cached("INSERT INTO entry (id, entry) VALUES (?1, ?2)")?;
        for (seq, entry) in (self.first..).zip(&self.entries) {
            insert.execute(params![key(stream, seq), entry])?;
        }
        Ok(wanted)
    }

    fn is_there(&self, conn: &Connection, stream: i64) -> Result<bool, StoreError> {
        let mut select = conn.prepare_cached("SELECT entry FROM entry WHERE id = ?1")?;
        for (seq, entry) in (self.first..).zip(&self.entries) {
            let there: Option<String> = select
                .query_row([key(stream, seq)], |row| row.get(0))
                .optional()?;
            let same = there.is_some_and(|there| there == *entry || same_json(&there, entry));
            if !same {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn conflict(&self, what: String) -> StoreError {
        StoreError::JournalConflict {
            stream: self.stream.clone(),
            what,
        }
    }
}

/// A part of a journal, cut short where it would become too large.
pub fn read(conn: &Connection, read: &Read) -> Result<Vec<Entry>, StoreError> {
    limits::id("stream", &read.stream)?;
    let Some(stream) = number(conn, &read.stream)? else {
        return Ok(Vec::new());
    };
    if read.after >= limits::LAST_SEQ {
        return Ok(Vec::new());
    }
    let limit = if read.limit == 0 {
        limits::PAGE_ITEMS
    } else {
        read.limit.min(limits::PAGE_ITEMS)
    };
    let mut select =
        conn.prepare_cached("SELECT id, entry FROM entry WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT ?3")?;
    let mut rows = select.query(params![
        key(stream, read.after),
        key(stream, limits::LAST_SEQ),
        limit
    ])?;
    let (mut entries, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let seq = seq(row.get(0)?);
        let text = row.get_ref(1)?.as_bytes().unwrap_or_default();
        bytes += text.len();
        if bytes > limits::PAGE_BYTES && !entries.is_empty() {
            break;
        }
        let entry = serde_json::from_slice(text)
            .map_err(|error| StoreError::Corrupt(format!("journal {}, entry {seq}: {error}", read.stream)))?;
        entries.push(Entry { seq, entry });
    }
    Ok(entries)
}

/// Removes a journal; the content of the stream is the blobs' business.
pub fn forget(conn: &Connection, stream: &str) -> Result<(), StoreError> {
    if let Some(number) = number(conn, stream)? {
        conn.execute(
            "DELETE FROM entry WHERE id >= ?1 AND id <= ?2",
            [key(number, 0), key(number, limits::LAST_SEQ)],
        )?;
        conn.execute("DELETE FROM stream WHERE id = ?1", [number])?;
    }
    Ok(())
}

fn number(conn: &Connection, stream: &str) -> Result<Option<i64>, StoreError> {
    let mut select = conn.prepare_cached("SELECT id FROM stream WHERE name = ?1")?;
    Ok(select.query_row([stream], |row| row.get(0)).optional()?)
}

fn last(conn: &Connection, stream: i64) -> Result<u64, StoreError> {
    let mut select = conn.prepare_cached("SELECT max(id) FROM entry WHERE id >= ?1 AND id <= ?2")?;
    let last: Option<i64> =
        select.query_row([key(stream, 0), key(stream, limits::LAST_SEQ)], |row| row.get(0))?;
    Ok(last.map_or(0, seq))
}

/// Sequence numbers are at most [`limits::LAST_SEQ`], which fits the lower half.
fn key(stream: i64, seq: u64) -> i64 {
    (stream << 32) | i64::from(u32::try_from(seq).unwrap_or(u32::MAX))
}

fn seq(key: i64) -> u64 {
    key.cast_unsigned() & u64::from(u32::MAX)
}

/// The stream's number and the sequence number in an entry's key.
pub fn of_key(key: i64) -> (i64, u64) {
    (key >> 32, seq(key))
}

fn same_json(a: &str, b: &str) -> bool {
    let parse = |text: &str| serde_json::from_str::<Value>(text).ok();
    parse(a).is_some_and(|a| Some(a) == parse(b))
}
