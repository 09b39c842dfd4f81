//! Content of any size as content-addressed blobs: cutting, naming, batching, and putting together again.
//!
//! The provider knows blobs of at most 1 MiB only. Equal chunks have one name, so two operations that render the
//! same chart store it once.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use meshery_plugin_api::message::document::Blob;
use serde::{Deserialize, Serialize};

use crate::problem::{Problem, ProblemKind};

/// The most one content may have: what an operation may have in all.
pub const MAX_CONTENT: usize = 64 << 20;

/// Size of every chunk but the last.
const CHUNK: usize = 1 << 20;

/// What one call carries at most, before base64.
const CALL_BYTES: usize = 4 << 20;

/// How many blobs one call carries at most.
const CALL_BLOBS: usize = 1000;

/// Names content that the provider keeps.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct BlobRef {
    /// Bytes in all.
    pub size: u64,
    /// SHA-256 of each chunk in hexadecimal; every chunk but the last has 1 MiB.
    pub chunks: Vec<String>,
}

impl BlobRef {
    /// The name of this content, whether the provider has it or not.
    pub fn of(content: &[u8]) -> Self {
        Self {
            size: content.len() as u64,
            chunks: content.chunks(CHUNK).map(sha256).collect(),
        }
    }

    /// Size of a chunk, or nothing when the reference contradicts itself.
    fn chunk_size(&self, index: usize) -> Option<usize> {
        let size = usize::try_from(self.size)
            .ok()
            .filter(|&size| size <= MAX_CONTENT)?;
        if size.div_ceil(CHUNK) != self.chunks.len() {
            return None;
        }
        Some(CHUNK.min(size - index * CHUNK))
    }

    /// Puts the content together from its chunks and checks all of it.
    pub(super) fn assemble<'a>(
        &self,
        mut chunk: impl FnMut(&str) -> Option<&'a [u8]>,
    ) -> Result<Vec<u8>, Problem> {
        let mut content = Vec::new();
        for (index, name) in self.chunks.iter().enumerate() {
            let data = chunk(name).ok_or_else(|| broken(name, "it is missing from the provider's answer"))?;
            if Some(data.len()) != self.chunk_size(index) {
                return Err(broken(
                    name,
                    &format!("its size is {} bytes, which is not the size expected", data.len()),
                ));
            }
            content.extend_from_slice(data);
        }
        if content.len() as u64 != self.size {
            return Err(broken(
                "content",
                &format!("{} bytes came, {} were stored", content.len(), self.size),
            ));
        }
        Ok(content)
    }
}

/// SHA-256 in hexadecimal.
pub(crate) fn sha256(data: &[u8]) -> String {
    hex(ring::digest::digest(&ring::digest::SHA256, data).as_ref())
}

/// Bytes in lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Cuts content into calls' worth of blobs, each blob once.
pub(super) fn calls_to_put<'a>(contents: impl Iterator<Item = &'a [u8]>) -> impl Iterator<Item = Vec<Blob>> {
    let mut seen = std::collections::HashSet::new();
    let mut chunks = contents
        .flat_map(|content| content.chunks(CHUNK))
        .filter_map(move |chunk| {
            let name = sha256(chunk);
            seen.insert(name.clone()).then_some((name, chunk))
        });
    let mut kept: Option<(String, &[u8])> = None;
    std::iter::from_fn(move || {
        let (mut call, mut bytes) = (Vec::new(), 0);
        while let Some((sha256, chunk)) = kept.take().or_else(|| chunks.next()) {
            if call.len() == CALL_BLOBS || (bytes + chunk.len() > CALL_BYTES && !call.is_empty()) {
                kept = Some((sha256, chunk));
                break;
            }
            bytes += chunk.len();
            call.push(Blob {
                sha256,
                data: BASE64.encode(chunk),
            });
        }
        (!call.is_empty()).then_some(call)
    })
}

/// The names to ask for, each once, in calls' worth of answers.
pub(super) fn calls_to_get(contents: &[BlobRef]) -> Result<Vec<Vec<String>>, Problem> {
    let mut seen = std::collections::HashSet::new();
    let (mut calls, mut call, mut bytes) = (Vec::new(), Vec::new(), 0);
    for content in contents {
        for (index, name) in content.chunks.iter().enumerate() {
            let size = content.chunk_size(index).ok_or_else(|| {
                broken(
                    name,
                    &format!(
                        "a reference says {} bytes in {} chunks",
                        content.size,
                        content.chunks.len()
                    ),
                )
            })?;
            if !seen.insert(name) {
                continue;
            }
            if call.len() == CALL_BLOBS || (bytes + size > CALL_BYTES && !call.is_empty()) {
                calls.push(std::mem::take(&mut call));
                bytes = 0;
            }
            bytes += size;
            call.push(name.clone());
        }
    }
    if !call.is_empty() {
        calls.push(call);
    }
    Ok(calls)
}

/// The data of a blob, if it is what its name says.
pub(super) fn verified(blob: &Blob, name: &str) -> Result<Vec<u8>, Problem> {
    let data = BASE64
        .decode(&blob.data)
        .map_err(|error| broken(name, &format!("not base64: {error}")))?;
    if sha256(&data) != name {
        return Err(broken(name, "its content has another hash"));
    }
    Ok(data)
}

/// The content is larger than the store takes.
pub(super) fn too_large(size: usize) -> Problem {
    Problem::new(
        ProblemKind::TooLarge,
        "content-too-large",
        format!("content of {size} bytes is more than the {MAX_CONTENT} that one operation may store"),
    )
    .remedy("split the operation")
}

fn broken(name: &str, why: &str) -> Problem {
    Problem::new(
        ProblemKind::Internal,
        "store-corrupt",
        format!("blob {name} cannot be used: {why}"),
    )
    .cause("the provider's data was damaged or changed from outside")
    .remedy("restore the provider's data from a backup, or plan the operation again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_call_carries_more_than_four_chunks_and_no_blob_travels_twice() {
        let same = vec![7_u8; 2 * CHUNK];
        let varied: Vec<u8> = (0..9 * CHUNK)
            .map(|i| u8::try_from((i / CHUNK + i) % 251).unwrap())
            .collect();
        let calls: Vec<_> = calls_to_put([&same[..], &varied[..]].into_iter()).collect();
        assert_eq!(
            calls.iter().map(Vec::len).collect::<Vec<_>>(),
            [4, 4, 2],
            "1 of the equal ones, 9 others"
        );

        let refs = [BlobRef::of(&same), BlobRef::of(&varied)];
        let asked = calls_to_get(&refs).unwrap();
        assert_eq!(asked.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4, 2]);
    }

    #[test]
    fn many_small_contents_share_calls() {
        let contents: Vec<Vec<u8>> = (0..2500_u32).map(|i| i.to_be_bytes().to_vec()).collect();
        let calls: Vec<_> = calls_to_put(contents.iter().map(Vec::as_slice))
            .map(|c| c.len())
            .collect();
        assert_eq!(calls, [1000, 1000, 500]);
    }

    #[test]
    fn a_reference_whose_size_and_chunks_disagree_is_an_error_not_a_panic() {
        for size in [0, (1 << 20) + 1, u64::MAX] {
            let lying = BlobRef {
                size,
                chunks: vec![sha256(b"x")],
            };
            assert_eq!(calls_to_get(&[lying]).unwrap_err().code, "store-corrupt");
        }
    }

    #[test]
    fn a_blob_with_other_content_than_its_name_says_is_refused() {
        let blob = Blob {
            sha256: sha256(b"a"),
            data: BASE64.encode(b"b"),
        };
        assert_eq!(verified(&blob, &sha256(b"a")).unwrap_err().code, "store-corrupt");
    }
}
