//! What the store takes: names and sizes. Everything that comes in is checked here before it is queued.

use crate::error::StoreError;

pub const DOCUMENT_BYTES: usize = 4 << 20;
pub const BATCH_WRITES: usize = 1000;
pub const BATCH_BYTES: usize = 8 << 20;
pub const LABELS: usize = 32;
pub const LABEL_BYTES: usize = 256;
pub const ENTRIES: usize = 1000;
pub const ENTRY_BYTES: usize = 4 << 20;
pub const APPEND_BYTES: usize = 8 << 20;
pub const BLOB_BYTES: usize = 1 << 20;
pub const BLOBS: usize = 1000;
pub const BLOBS_BYTES: usize = 16 << 20;
pub const RESERVE_BYTES: u64 = 1 << 30;
/// A page of documents or entries ends early rather than being larger than this.
pub const PAGE_BYTES: usize = 4 << 20;
pub const PAGE_ITEMS: u32 = 1000;
/// A journal's last number: it shares a 64-bit key with the number of its stream.
pub const LAST_SEQ: u64 = u32::MAX as u64;

/// Lower-case letters, digits and dashes.
pub fn kind(text: &str) -> Result<(), StoreError> {
    let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    name("kind", text, 64, "lower-case letters, digits and \"-\"", fine)
}

/// Letters, digits, `-`, `_`, `.`: ids of documents and names of streams.
pub fn id(what: &'static str, text: &str) -> Result<(), StoreError> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    name(what, text, 128, "letters, digits, \"-\", \"_\" and \".\"", fine)
}

/// A user's name, or nothing.
pub fn owner(text: &str) -> Result<(), StoreError> {
    if text.len() <= 256 && !text.chars().any(char::is_control) {
        return Ok(());
    }
    Err(bad(format!(
        "owner {} is not valid: at most 256 bytes, no control characters",
        shown(text)
    )))
}

pub fn label(key: &str, value: &str) -> Result<(), StoreError> {
    if key.is_empty() || key.len() > LABEL_BYTES || value.len() > LABEL_BYTES {
        return Err(bad(format!(
            "label {} is not valid: 1 to {LABEL_BYTES} bytes, value included",
            shown(key)
        )));
    }
    Ok(())
}

/// Bytes to set aside for a stream.
pub fn reserve(stream: &str, bytes: u64) -> Result<(), StoreError> {
    if bytes <= RESERVE_BYTES {
        return Ok(());
    }
    Err(bad(format!(
        "{bytes} bytes for {stream} are more than the {RESERVE_BYTES} allowed"
    )))
}

/// RFC 3339 in UTC with milliseconds, as times are stored.
pub fn time(what: &str, text: &str) -> Result<(), StoreError> {
    let pattern = b"0000-00-00T00:00:00.000Z";
    let fine = text.len() == pattern.len()
        && text.bytes().zip(pattern).all(|(found, form)| {
            if *form == b'0' {
                found.is_ascii_digit()
            } else {
                found == *form
            }
        });
    if fine {
        return Ok(());
    }
    Err(bad(format!(
        "{what} {} is not a time like 2026-01-01T00:00:00.000Z",
        shown(text)
    )))
}

pub fn size(what: &str, found: usize, most: usize) -> Result<(), StoreError> {
    if found <= most {
        Ok(())
    } else {
        Err(bad(format!("{what}: {found} is more than the {most} allowed")))
    }
}

pub fn bad(message: impl Into<String>) -> StoreError {
    StoreError::BadRequest(message.into())
}

fn name(
    what: &str,
    text: &str,
    most: usize,
    allowed: &str,
    fine: impl Fn(char) -> bool,
) -> Result<(), StoreError> {
    if !text.is_empty() && text.len() <= most && text.chars().all(fine) {
        return Ok(());
    }
    Err(bad(format!(
        "{what} {} is not valid: 1 to {most} of {allowed}",
        shown(text)
    )))
}

/// The text as an error shows it: quoted, and not longer than a line.
fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(80).collect();
    if short.len() < text.len() {
        short.push_str("...");
    }
    format!("{short:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_outside_the_rules_are_refused_with_the_rule() {
        for bad in ["", "Operation", "a b", "a/b", "ü", &"x".repeat(65)] {
            assert!(kind(bad).unwrap_err().to_string().contains("lower-case"), "{bad}");
        }
        for bad in ["", "a/b", "a b", "a\0", &"x".repeat(129)] {
            assert!(id("id", bad).is_err(), "{bad}");
        }
        for good in ["01J8Z6", "a-b_c.d", &"x".repeat(128)] {
            id("id", good).unwrap();
        }
        assert!(owner("a\nb").is_err());
        assert!(label("", "x").is_err() && label("a", &"x".repeat(257)).is_err());
    }
}
