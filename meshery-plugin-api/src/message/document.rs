//! Documents, blobs and users: what a provider keeps besides journals.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A typed document as the provider returns it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Document {
    /// Kind: `operation`, `cluster`, `preference`, ... Lower-case letters, digits and dashes.
    pub kind: String,
    /// Unique within the kind: letters, digits, `-`, `_`, `.`, at most 128 characters.
    pub id: String,
    /// Who it belongs to: a user's name.
    pub owner: String,
    /// Grows by one with each write, from 1.
    pub revision: u64,
    /// When it was first written, RFC 3339 in UTC with milliseconds.
    pub created: String,
    /// When it was last written.
    pub updated: String,
    /// Small values that lists can be filtered by: `state=running`.
    pub labels: std::collections::BTreeMap<String, String>,
    /// The content.
    pub body: Value,
}

/// One write of a batch. A batch is written as a whole or not at all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "write", rename_all = "kebab-case")]
pub enum Write {
    /// Writes a document; `revision`, `created` and `updated` of the argument are ignored.
    Put {
        /// The document.
        document: Document,
        /// What must be there before.
        expect: Expect,
    },
    /// Deletes a document. One that is not there is no error, unless a revision is expected.
    Delete {
        /// Kind.
        kind: String,
        /// Id.
        id: String,
        /// What must be there before.
        expect: Expect,
    },
    /// A write newer than this side: the batch is refused.
    #[serde(other)]
    Unknown,
}

/// What a write expects to find. When it does not, the batch fails with the code `revision-conflict`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expect {
    /// Anything or nothing.
    #[default]
    Any,
    /// No such document.
    Absent,
    /// The document at this revision.
    Revision(u64),
}

/// Which documents to list. All conditions must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Query {
    /// Kind.
    pub kind: String,
    /// Only of this owner; empty for all.
    pub owner: String,
    /// Only with these label values.
    pub labels: std::collections::BTreeMap<String, String>,
    /// Only with ids after this one in the order of the list, from [`Page::next`].
    pub after: String,
    /// Newest ids first (ids of operations sort by time).
    pub descending: bool,
    /// At most so many, 100 when zero; the provider may return fewer, never more than 1,000.
    pub limit: u32,
}

/// A page of documents.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Page {
    /// The documents, in the order of their ids.
    pub documents: Vec<Document>,
    /// Value of [`Query::after`] for the next page; empty when this is the last.
    pub next: String,
}

/// A piece of content, named by its hash.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Blob {
    /// SHA-256 of the data in hexadecimal. The provider checks it.
    pub sha256: String,
    /// The data in standard base64; at most 1 MiB before the encoding.
    pub data: String,
}

/// Who works with the host.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct User {
    /// Name, unique with the provider.
    pub name: String,
    /// Name for people.
    pub display_name: String,
}

/// How the provider's store is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct StoreHealth {
    /// Whether it can be written to.
    pub writable: bool,
    /// Why not, or what is noteworthy.
    pub message: String,
    /// Bytes on disk.
    pub bytes: u64,
    /// Version of its schema.
    pub schema: u32,
}
