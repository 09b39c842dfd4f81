//! Documents: checked and written as text before they are queued, then one statement each.

use meshery_plugin_api::message::document::{Document, Expect, Page, Query, Write};
use meshery_plugin_api::serde_json;
use rusqlite::types::Value as Sql;
use rusqlite::{Connection, OptionalExtension as _, Row, params, params_from_iter};

use crate::error::StoreError;
use crate::limits;

/// A write that was found valid.
pub enum Change {
    Put {
        kind: String,
        id: String,
        owner: String,
        labels: String,
        body: String,
        expect: Expect,
    },
    Delete {
        kind: String,
        id: String,
        expect: Expect,
    },
}

/// Checks a batch and returns its size with it.
pub fn prepare(batch: Vec<Write>) -> Result<(Vec<Change>, usize), StoreError> {
    limits::size("writes in a batch", batch.len(), limits::BATCH_WRITES)?;
    let mut bytes = 0;
    let changes = batch
        .into_iter()
        .map(|write| {
            let change = Change::of(write)?;
            bytes += change.bytes();
            limits::size("bytes in a batch", bytes, limits::BATCH_BYTES)?;
            Ok(change)
        })
        .collect::<Result<_, StoreError>>()?;
    Ok((changes, bytes))
}

impl Change {
    fn of(write: Write) -> Result<Self, StoreError> {
        match write {
            Write::Put { document, expect } => {
                let Document {
                    kind,
                    id,
                    owner,
                    labels,
                    body,
                    ..
                } = document;
                limits::kind(&kind)?;
                limits::id("id", &id)?;
                limits::owner(&owner)?;
                limits::size("labels of a document", labels.len(), limits::LABELS)?;
                labels
                    .iter()
                    .try_for_each(|(key, value)| limits::label(key, value))?;
                let body = text(&body)?;
                limits::size("bytes of a document", body.len(), limits::DOCUMENT_BYTES)?;
                let labels =
                    serde_json::to_string(&labels).map_err(|error| limits::bad(error.to_string()))?;
                Ok(Self::Put {
                    kind,
                    id,
                    owner,
                    labels,
                    body,
                    expect,
                })
            }
            Write::Delete { kind, id, expect } => {
                limits::kind(&kind)?;
                limits::id("id", &id)?;
                Ok(Self::Delete { kind, id, expect })
            }
            Write::Unknown => Err(limits::bad("a write of a kind that this provider does not know")),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Put { labels, body, .. } => labels.len() + body.len() + 256,
            Self::Delete { .. } => 256,
        }
    }

    /// Carries it out and returns the revision after it.
    pub fn apply(&self, conn: &Connection, now: &str) -> Result<u64, StoreError> {
        match self {
            Self::Put {
                kind,
                id,
                owner,
                labels,
                body,
                expect,
            } => {
                // Found first and then written under its row's number: half the work of an upsert that returns.
                let found = row_of(conn, kind, id)?;
                let revision = found.map(|(_, revision)| revision);
                if !holds(*expect, revision) {
                    return Err(conflict(kind, id, revision, *expect));
                }
                if let Some((row, revision)) = found {
                    conn.prepare_cached(
                        "UPDATE document SET owner = ?2, revision = ?3, updated = ?4, labels = ?5, body = ?6
                         WHERE rowid = ?1",
                    )?
                    .execute(params![row, owner, revision + 1, now, labels, body])?;
                    return Ok(revision + 1);
                }
                conn.prepare_cached(
                    "INSERT INTO document (kind, id, owner, revision, created, updated, labels, body)
                     VALUES (?1, ?2, ?3, 1, ?4, ?4, ?5, ?6)",
                )?
                .execute(params![kind, id, owner, now, labels, body])?;
                Ok(1)
            }
            Self::Delete { kind, id, expect } => {
                let found = row_of(conn, kind, id)?;
                let revision = found.map(|(_, revision)| revision);
                if !holds(*expect, revision) {
                    return Err(conflict(kind, id, revision, *expect));
                }
                if let Some((row, _)) = found {
                    conn.prepare_cached("DELETE FROM document WHERE rowid = ?1")?
                        .execute([row])?;
                }
                Ok(0)
            }
        }
    }
}

/// One document, or nothing.
pub fn get(conn: &Connection, kind: &str, id: &str) -> Result<Option<Document>, StoreError> {
    limits::kind(kind)?;
    limits::id("id", id)?;
    let mut statement = conn.prepare_cached(
        "SELECT kind, id, owner, revision, created, updated, labels, body FROM document WHERE kind = ?1 AND id = ?2",
    )?;
    let found = statement
        .query_row(params![kind, id], |row| Ok(from_row(row, 0)))
        .optional()?;
    found.transpose().map(|found| found.map(|(document, _)| document))
}

/// As [`list`], of a damaged store: documents that cannot be read are passed over.
pub fn list_readable(conn: &Connection, query: &Query) -> Result<Page, StoreError> {
    match list(conn, query) {
        Err(StoreError::Corrupt(_)) => {}
        other => return other,
    }
    limits::size("labels of a query", query.labels.len(), limits::LABELS)?;
    let (beyond, order) = if query.descending {
        ("<", "DESC")
    } else {
        (">", "ASC")
    };
    let all = query.after.is_empty();
    // The index alone, one by one: what it leads to may be on a damaged page.
    let mut ids = conn.prepare_cached(&format!(
        "SELECT id FROM document WHERE kind = ?1 AND (?2 OR id {beyond} ?3) ORDER BY id {order}"
    ))?;
    let mut rows = ids.query(params![query.kind, all, query.after])?;
    let limit = page_items(query);
    let (mut page, mut bytes) = (Page::default(), 0);
    while let Some(row) = rows.next()? {
        let id: String = row.get(0)?;
        let document = match get(conn, &query.kind, &id) {
            Ok(Some(document)) => document,
            Ok(None) | Err(StoreError::Corrupt(_)) => continue,
            Err(error) => return Err(error),
        };
        let wanted = (query.owner.is_empty() || document.owner == query.owner)
            && query
                .labels
                .iter()
                .all(|(label, value)| document.labels.get(label) == Some(value));
        if !wanted {
            continue;
        }
        bytes += document.body.to_string().len();
        let full = page.documents.len() == limit || bytes > limits::PAGE_BYTES;
        if let Some(last) = page.documents.last().filter(|_| full) {
            page.next.clone_from(&last.id);
            break;
        }
        page.documents.push(document);
    }
    Ok(page)
}

fn page_items(query: &Query) -> usize {
    if query.limit == 0 {
        100
    } else {
        query.limit.min(limits::PAGE_ITEMS) as usize
    }
}

/// A page of documents, cut short where it would become too large.
pub fn list(conn: &Connection, query: &Query) -> Result<Page, StoreError> {
    limits::kind(&query.kind)?;
    limits::owner(&query.owner)?;
    limits::size("labels of a query", query.labels.len(), limits::LABELS)?;
    if !query.after.is_empty() {
        limits::id("after", &query.after)?;
    }
    let limit = page_items(query);

    let mut sql = String::from(
        "SELECT kind, id, owner, revision, created, updated, labels, body FROM document WHERE kind = ?",
    );
    let mut values = vec![Sql::from(query.kind.clone())];
    if !query.owner.is_empty() {
        sql.push_str(" AND owner = ?");
        values.push(query.owner.clone().into());
    }
    for (key, value) in &query.labels {
        sql.push_str(
            " AND EXISTS (SELECT 1 FROM json_each(labels) AS label WHERE label.key = ? AND label.value = ?)",
        );
        values.extend([key.clone().into(), value.clone().into()]);
    }
    if !query.after.is_empty() {
        sql.push_str(if query.descending {
            " AND id < ?"
        } else {
            " AND id > ?"
        });
        values.push(query.after.clone().into());
    }
    sql.push_str(if query.descending {
        " ORDER BY id DESC"
    } else {
        " ORDER BY id"
    });

    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let (mut page, mut bytes) = (Page::default(), 0);
    while let Some(row) = rows.next()? {
        let (document, size) = from_row(row, 0)?;
        bytes += size;
        let full = page.documents.len() == limit || bytes > limits::PAGE_BYTES;
        if let Some(last) = page.documents.last().filter(|_| full) {
            page.next.clone_from(&last.id);
            break;
        }
        page.documents.push(document);
    }
    Ok(page)
}

/// A document and its size, from the columns from this one on.
pub fn from_row(row: &Row<'_>, first: usize) -> Result<(Document, usize), StoreError> {
    let (labels, body) = (row.get_ref(first + 6)?, row.get_ref(first + 7)?);
    let (labels, body) = (
        labels.as_bytes().unwrap_or_default(),
        body.as_bytes().unwrap_or_default(),
    );
    let (kind, id): (String, String) = (row.get(first)?, row.get(first + 1)?);
    let damaged = |error: serde_json::Error| StoreError::Corrupt(format!("document {kind}/{id}: {error}"));
    let document = Document {
        owner: row.get(first + 2)?,
        revision: row.get(first + 3)?,
        created: row.get(first + 4)?,
        updated: row.get(first + 5)?,
        labels: serde_json::from_slice(labels).map_err(damaged)?,
        body: serde_json::from_slice(body).map_err(damaged)?,
        kind,
        id,
    };
    Ok((document, labels.len() + body.len() + 256))
}

/// The row of a document, and its revision.
fn row_of(conn: &Connection, kind: &str, id: &str) -> Result<Option<(i64, u64)>, StoreError> {
    let mut statement =
        conn.prepare_cached("SELECT rowid, revision FROM document WHERE kind = ?1 AND id = ?2")?;
    let found = statement.query_row([kind, id], |row| Ok((row.get(0)?, row.get(1)?)));
    Ok(found.optional()?)
}

fn holds(expect: Expect, found: Option<u64>) -> bool {
    match expect {
        Expect::Any => true,
        Expect::Absent => found.is_none(),
        Expect::Revision(revision) => found == Some(revision),
    }
}

fn conflict(kind: &str, id: &str, found: Option<u64>, expected: Expect) -> StoreError {
    StoreError::RevisionConflict {
        kind: kind.into(),
        id: id.into(),
        found,
        expected,
    }
}

fn text(value: &serde_json::Value) -> Result<String, StoreError> {
    serde_json::to_string(value)
        .map_err(|error| limits::bad(format!("the body cannot be written as JSON: {error}")))
}
