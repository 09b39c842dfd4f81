//! Blobs: content under its hash, kept as long as somebody owns it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use meshery_plugin_api::message::document::Blob;
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::error::StoreError;
use crate::limits::{self, bad};

/// Blobs that are what their names say.
pub struct Storing {
    owner: String,
    blobs: Vec<([u8; 32], Vec<u8>)>,
}

/// Checks blobs and returns their size with them. Hashing makes this the one check that takes time.
pub fn prepare(owner: String, blobs: &[Blob]) -> Result<(Storing, usize), StoreError> {
    limits::id("owner", &owner)?;
    limits::size("blobs in a call", blobs.len(), limits::BLOBS)?;
    let mut bytes = 0;
    let mut checked = Vec::with_capacity(blobs.len());
    for blob in blobs {
        let name = name(&blob.sha256)?;
        // A bound on the text comes first, so that nothing large is decoded only to be refused.
        limits::size(
            "bytes of a blob in base64",
            blob.data.len(),
            limits::BLOB_BYTES.div_ceil(3) * 4,
        )?;
        let data = BASE64
            .decode(&blob.data)
            .map_err(|error| bad(format!("blob {} is not base64: {error}", blob.sha256)))?;
        limits::size("bytes of a blob", data.len(), limits::BLOB_BYTES)?;
        if ring::digest::digest(&ring::digest::SHA256, &data).as_ref() != name {
            return Err(bad(format!("blob {} has content with another hash", blob.sha256)));
        }
        bytes += data.len() + 128;
        limits::size("bytes of blobs in a call", bytes, limits::BLOBS_BYTES)?;
        checked.push((name, data));
    }
    Ok((
        Storing {
            owner,
            blobs: checked,
        },
        bytes,
    ))
}

impl Storing {
    pub fn apply(&self, conn: &Connection) -> Result<(), StoreError> {
        let mut insert =
            conn.prepare_cached("INSERT INTO blob (sha256, data) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?;
        let mut own = conn.prepare_cached(
            "INSERT INTO blob_owner (owner, blob) SELECT ?1, id FROM blob WHERE sha256 = ?2 ON CONFLICT DO NOTHING",
        )?;
        for (name, data) in &self.blobs {
            insert.execute(params![name, data])?;
            own.execute(params![self.owner, name])?;
        }
        Ok(())
    }
}

/// The blobs with these names, in that order.
pub fn get(conn: &Connection, names: &[String]) -> Result<Vec<Blob>, StoreError> {
    limits::size("blobs in a call", names.len(), limits::BLOBS)?;
    let mut select = conn.prepare_cached("SELECT data FROM blob WHERE sha256 = ?1")?;
    let mut bytes = 0;
    names
        .iter()
        .map(|text| {
            let name = name(text)?;
            let data: Option<Vec<u8>> = select.query_row([name], |row| row.get(0)).optional()?;
            let data = data.ok_or_else(|| StoreError::NoSuchBlob(text.clone()))?;
            bytes += data.len();
            limits::size("bytes of blobs in an answer", bytes, limits::BLOBS_BYTES)?;
            Ok(Blob {
                sha256: text.clone(),
                data: BASE64.encode(data),
            })
        })
        .collect()
}

/// Takes an owner from its blobs, and removes those that nobody else has.
pub fn forget(conn: &Connection, owner: &str) -> Result<(), StoreError> {
    let orphans: Vec<i64> = conn
        .prepare_cached(
            "SELECT blob FROM blob_owner AS mine WHERE owner = ?1
             AND NOT EXISTS (SELECT 1 FROM blob_owner WHERE blob = mine.blob AND owner <> ?1)",
        )?
        .query_map([owner], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    conn.execute("DELETE FROM blob_owner WHERE owner = ?1", [owner])?;
    let mut delete = conn.prepare_cached("DELETE FROM blob WHERE id = ?1")?;
    for blob in orphans {
        delete.execute([blob])?;
    }
    Ok(())
}

/// The bytes of a hash written as 64 lower-case hexadecimal digits.
fn name(text: &str) -> Result<[u8; 32], StoreError> {
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; 32];
    let fine = text.len() == 64
        && bytes
            .iter_mut()
            .zip(text.as_bytes().chunks_exact(2))
            .all(|(byte, pair)| match (digit(pair[0]), digit(pair[1])) {
                (Some(high), Some(low)) => {
                    *byte = high << 4 | low;
                    true
                }
                _ => false,
            });
    if fine {
        return Ok(bytes);
    }
    let short: String = text.chars().take(80).collect();
    Err(bad(format!(
        "{short:?} is not the name of a blob: 64 lower-case hexadecimal digits"
    )))
}
