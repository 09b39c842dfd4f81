//! The same request twice is one operation, or one set of them: a caller names its request by a key, and gets what it has
//! made already instead of a second one.
//!
//! What is kept of a key is a digest of it, beside a digest of the request that is salted with the key: neither says
//! what was asked for. It is written together with the operation, all or nothing, so that a host that is killed in
//! between leaves both or none.

use std::time::Duration;

use meshery_plugin_api::message::document::{Document, Expect, Write};
use serde::{Deserialize, Serialize};

use super::plan::stored::unreadable;
use crate::problem::{Problem, ProblemKind};
use crate::provider::{Store, sha256};

/// Kind of the documents.
pub(super) const KIND: &str = "request-key";
/// How long a key is kept.
pub(super) const KEPT: Duration = Duration::from_hours(24);
/// How long a key may be.
const LONGEST: usize = 255;

/// A request that has a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    id: String,
    digest: String,
}

/// What is kept of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    digest: String,
    operation: String,
}

impl Request {
    pub fn new(key: &str, owner: &str, new: &impl Serialize) -> Result<Self, Problem> {
        let fits = !key.is_empty() && key.len() <= LONGEST && key.bytes().all(|byte| byte.is_ascii_graphic());
        if !fits {
            return Err(Problem::new(
                ProblemKind::Invalid,
                "bad-idempotency-key",
                format!("a request's key has 1 to {LONGEST} printable ASCII characters without spaces"),
            )
            .remedy("send a random one, a UUID say, and the same one again when the request is repeated"));
        }
        let asked = serde_json::to_string(new).map_err(|error| unreadable(&error))?;
        Ok(Self {
            id: sha256(format!("{}:{owner}:{key}", owner.len()).as_bytes()),
            digest: sha256(format!("{}:{key}:{asked}", key.len()).as_bytes()),
        })
    }

    /// The operation, or the set, that this request has made already.
    pub async fn made(&self, store: &Store) -> Result<Option<String>, Problem> {
        let Some(document) = store.get(KIND, &self.id).await? else {
            return Ok(None);
        };
        let kept: Kept = serde_json::from_value(document.body).map_err(|error| unreadable(&error))?;
        if store.get(super::stored::KIND, &kept.operation).await?.is_none()
            && store.get(super::set::KIND, &kept.operation).await?.is_none()
        {
            // It is no more, and its key is worth nothing without it.
            store.delete(KIND, &self.id).await?;
            return Ok(None);
        }
        if kept.digest == self.digest {
            return Ok(Some(kept.operation));
        }
        Err(Problem::new(
            ProblemKind::Conflict,
            "idempotency-key-reused",
            format!(
                "this key was sent with another request, which has made operation {}",
                kept.operation
            ),
        )
        .remedy("send a new key with each new request"))
    }

    /// What is written beside the operation.
    pub fn write(&self, owner: &str, operation: &str) -> Result<Write, Problem> {
        let kept = Kept {
            digest: self.digest.clone(),
            operation: operation.to_owned(),
        };
        Ok(Write::Put {
            document: Document {
                kind: KIND.into(),
                id: self.id.clone(),
                owner: owner.to_owned(),
                body: serde_json::to_value(kept).map_err(|error| unreadable(&error))?,
                ..Document::default()
            },
            expect: Expect::Absent,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::record::NewOperation;
    use super::*;

    fn new(namespace: &str) -> NewOperation {
        let asked = json!({"adapter": "a", "operation": "o", "parameters": {"namespace": namespace}});
        serde_json::from_value(asked).unwrap()
    }

    #[test]
    fn a_key_belongs_to_who_sent_it_and_to_what_was_asked() {
        let first = Request::new("key", "ann", &new("x")).unwrap();
        assert_eq!(first, Request::new("key", "ann", &new("x")).unwrap());
        assert_ne!(first.id, Request::new("key", "bob", &new("x")).unwrap().id);
        let other = Request::new("key", "ann", &new("y")).unwrap();
        assert_eq!(first.id, other.id);
        assert_ne!(first.digest, other.digest);
    }

    #[test]
    fn a_key_that_cannot_be_one_is_refused() {
        for key in ["", "a b", "\u{e9}", &"x".repeat(256)] {
            let refused = Request::new(key, "ann", &new("x")).unwrap_err();
            assert_eq!(refused.code, "bad-idempotency-key");
        }
    }
}
