//! Whether the host's key is the one that the provider's content was sealed with.
//!
//! The key has an id that tells nothing of it. The provider keeps the id of the key that is the right one, in one
//! document, and each uploaded kubeconfig has the id of the key that sealed it beside it; so that a lost key is
//! noticed when the host starts and not when something is needed, and one that is put back is recognised. A key that was
//! changed on purpose is known by the one before it, which is kept: the document follows at the first start that can
//! write it, whatever has become of the start that changed the key.

use std::fmt;

use meshery_plugin_api::message::document::{Document, Expect};
use serde_json::json;

use crate::operation::secret::seal::HostKey;
use crate::problem::{Problem, ProblemKind};
use crate::provider::Store;

/// Kind and id of the document.
pub(super) const KIND: &str = "host-key";
const ID: &str = "current";

/// Which key it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyId(String);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl KeyId {
    /// The id of the key that seals.
    pub fn of(key: &HostKey) -> Self {
        Self(key.id().to_owned())
    }

    /// As it was stored.
    pub fn stored(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self(text.to_owned()))
    }
}

/// What became of the kubeconfigs that are kept sealed.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Opened {
    pub opened: usize,
    pub closed: usize,
}

/// Compares the key with what the store remembers, and remembers it where nothing says otherwise, when the one before it
/// was retired, or when it is to be accepted. The problem, if it is another one than before.
pub(super) async fn compare(
    store: &Store,
    key: &HostKey,
    sealed: Opened,
    accept: bool,
) -> Result<Option<Problem>, Problem> {
    let known = store.get(KIND, ID).await?;
    let before = known
        .as_ref()
        .and_then(|document| KeyId::stored(document.body["id"].as_str().unwrap_or_default()));
    // A store from before ids were kept.
    let strange = before.is_none() && sealed.closed > 0 && sealed.opened == 0;
    let present = KeyId::of(key);
    if before.as_ref() == Some(&present) {
        return Ok(None);
    }
    let expected = match &before {
        None => !strange,
        Some(KeyId(before)) => key.has(before),
    };
    if expected || accept {
        let document = Document {
            kind: KIND.into(),
            id: ID.into(),
            owner: store.user().await?.name,
            body: json!({"id": present.0}),
            ..Document::default()
        };
        store.put(document, Expect::Any).await?;
        return Ok(None);
    }
    Ok(Some(changed(before.as_ref(), &present, sealed.closed)))
}

/// Takes the document away if it is `alone` in the store, which is then empty.
pub(super) async fn take_alone(store: &Store, alone: bool) -> Result<Option<Document>, Problem> {
    let own = if alone { store.get(KIND, ID).await? } else { None };
    if own.is_some() {
        store.delete(KIND, ID).await?;
    }
    Ok(own)
}

/// Puts back what was taken away.
pub(super) async fn put_back(store: &Store, own: Document) -> Result<(), Problem> {
    store.put(own, Expect::Any).await.map(drop)
}

fn changed(before: Option<&KeyId>, present: &KeyId, clusters: usize) -> Problem {
    let before = before.map_or_else(String::new, |before| format!(" (id {before})"));
    let clusters = match clusters {
        0 => String::new(),
        1 => "1 uploaded cluster cannot be opened; ".to_owned(),
        n => format!("{n} uploaded clusters cannot be opened; "),
    };
    Problem::new(
        ProblemKind::Conflict,
        "host-key-changed",
        format!(
            "the host's key (id {present}) is another than the one{before} that sealed what the provider keeps: \
             {clusters}operations from before can be undone only as far as they kept no secrets"
        ),
    )
    .cause("host.key was lost, and a new one was made; or it is that of another data folder")
    .remedy(
        "stop the host, put the old host.key back into the data folder and start again; if it is lost for good, \
         upload the clusters again and start once with --accept-key",
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::provider::memory::MemoryProvider;

    const NONE: Opened = Opened { opened: 0, closed: 0 };

    #[tokio::test]
    async fn another_key_is_recognised_until_the_old_one_is_back_or_the_new_one_is_accepted() {
        let store = Store::new(Arc::new(MemoryProvider::new()));
        let folder = tempfile::tempdir().unwrap();
        let key = |name: &str| HostKey::load_or_create(&folder.path().join(name)).unwrap();
        let (old, new) = (key("old.key"), key("new.key"));
        let compare = async |key: &HostKey, accept| compare(&store, key, NONE, accept).await.unwrap();
        assert_eq!(compare(&old, false).await, None);
        for _ in 0..2 {
            let problem = compare(&new, false).await.unwrap();
            assert_eq!(problem.code, "host-key-changed");
            assert!(
                problem.message.contains(old.id()) && problem.message.contains(new.id()),
                "{problem}"
            );
        }
        assert_eq!(compare(&old, false).await, None);
        assert_eq!(compare(&new, true).await, None);
        assert_eq!(compare(&new, false).await, None);
        assert!(compare(&old, false).await.is_some());
    }

    #[tokio::test]
    async fn a_key_that_was_changed_on_purpose_follows_those_it_has_retired_and_no_other() {
        let store = Store::new(Arc::new(MemoryProvider::new()));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("host.key");
        let first = HostKey::load_or_create(&path).unwrap();
        assert_eq!(compare(&store, &first, NONE, false).await.unwrap(), None);
        // Twice without the store having heard of the one in between.
        for _ in 0..2 {
            HostKey::retire(&path).unwrap();
        }
        let third = HostKey::load_or_create(&path).unwrap();
        assert_eq!(compare(&store, &third, NONE, false).await.unwrap(), None);
        assert_eq!(store.get(KIND, ID).await.unwrap().unwrap().body["id"], third.id());

        // A change does not hide that the one before it was lost.
        std::fs::remove_file(&path).unwrap();
        HostKey::load_or_create(&path).unwrap();
        HostKey::retire(&path).unwrap();
        std::fs::remove_file(folder.path().join("host.key.retired")).unwrap();
        let strange = HostKey::load_or_create(&path).unwrap();
        let problem = compare(&store, &strange, NONE, false).await.unwrap().unwrap();
        assert!(problem.message.contains(third.id()), "{problem}");
    }

    #[tokio::test]
    async fn a_key_that_opens_nothing_of_an_older_store_is_not_taken_for_the_right_one() {
        let store = Store::new(Arc::new(MemoryProvider::new()));
        let folder = tempfile::tempdir().unwrap();
        let key = HostKey::load_or_create(&folder.path().join("host.key")).unwrap();
        let closed = Opened { opened: 0, closed: 2 };
        for _ in 0..2 {
            let problem = compare(&store, &key, closed, false).await.unwrap().unwrap();
            assert!(problem.message.contains("2 uploaded clusters"), "{problem}");
        }
        let some = Opened { opened: 1, closed: 2 };
        assert_eq!(compare(&store, &key, some, false).await.unwrap(), None);
    }
}
