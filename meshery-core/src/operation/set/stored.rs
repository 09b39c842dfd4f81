//! A set's document: its members, and what was ordered.

use std::collections::BTreeMap;

use meshery_plugin_api::message::document::{Document, Expect, Query, Write};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{AtATime, OnMemberFailure, Order};
use crate::operation::plan::stored::unreadable;
use crate::operation::{clock, stored};
use crate::problem::{Problem, ProblemKind};
use crate::provider::Store;

/// Kind of the documents.
pub(in crate::operation) const KIND: &str = "operation-set";
/// How often a document that somebody else writes at the same time is written again.
const ATTEMPTS: usize = 5;
/// The label by which those are found that have something left to do.
const LABEL: &str = "at-rest";

/// Removes sets of which no member is left; how many.
pub(in crate::operation) async fn prune_sets(store: &Store) -> Result<usize, Problem> {
    let all = Query {
        kind: KIND.into(),
        ..Query::default()
    };
    let mut pruned = 0;
    for document in store.list_all(all).await? {
        // What cannot be read is not judged.
        let Ok(set) = StoredSet::of(document.body) else {
            continue;
        };
        let mut is_left = !set.at_rest;
        for member in &set.members {
            is_left = is_left || store.get(stored::KIND, &member.operation).await?.is_some();
        }
        if !is_left {
            store.delete(KIND, &set.id).await?;
            pruned += 1;
        }
    }
    Ok(pruned)
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct StoredSet {
    pub id: String,
    pub adapter: String,
    pub operation: String,
    pub owner: String,
    pub at_a_time: AtATime,
    pub on_member_failure: OnMemberFailure,
    pub members: Vec<StoredMember>,
    pub order: Order,
    /// Whether the order was carried out, as far as that goes without a person.
    pub at_rest: bool,
    /// Members that had failed when the order was given: it was given all the same.
    pub tolerated: usize,
    pub created: String,
    pub updated: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct StoredMember {
    pub context: String,
    pub operation: String,
    /// The order was tried on it, and this is why it could not be begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Problem>,
    /// The order has been given to it.
    #[serde(default)]
    pub told: bool,
}

impl StoredSet {
    /// Stores a new one, and `beside` with it.
    pub async fn create(&self, store: &Store, beside: Option<Write>) -> Result<(), Problem> {
        let set = Write::Put {
            document: self.document()?,
            expect: Expect::Absent,
        };
        store
            .write([Some(set), beside].into_iter().flatten().collect())
            .await
            .map(drop)
    }

    pub async fn load(store: &Store, id: &str) -> Result<Self, Problem> {
        Ok(Self::read(store, id).await?.0)
    }

    pub fn of(body: Value) -> Result<Self, Problem> {
        serde_json::from_value(body).map_err(|error| unreadable(&error))
    }

    /// Sets that have something left to do.
    pub async fn unfinished(store: &Store) -> Result<Vec<String>, Problem> {
        let query = Query {
            kind: KIND.into(),
            labels: BTreeMap::from([(LABEL.to_owned(), "false".to_owned())]),
            ..Query::default()
        };
        let documents = store.list_all(query).await?;
        Ok(documents.into_iter().map(|document| document.id).collect())
    }

    /// Gives an order: what came of earlier ones is not held against it.
    pub fn order(&mut self, order: Order, failed: usize) {
        self.order = order;
        self.at_rest = false;
        self.tolerated = failed;
        for member in &mut self.members {
            member.error = None;
            member.told = false;
        }
    }

    /// Changes the document; `change` may refuse.
    pub async fn update(
        store: &Store,
        id: &str,
        mut change: impl FnMut(&mut Self) -> Result<(), Problem>,
    ) -> Result<Self, Problem> {
        let mut attempts = 0;
        loop {
            let (mut set, revision) = Self::read(store, id).await?;
            change(&mut set)?;
            set.updated = clock::now();
            match store.put(set.document()?, Expect::Revision(revision)).await {
                Err(problem) if problem.code == "revision-conflict" && attempts < ATTEMPTS => attempts += 1,
                result => return result.map(|_| set),
            }
        }
    }

    /// Writes what was worked out from a revision, unless there is another one by now: then it is to be worked out anew.
    pub async fn put(&mut self, store: &Store, revision: u64) -> Result<(), Problem> {
        self.updated = clock::now();
        match store.put(self.document()?, Expect::Revision(revision)).await {
            Err(problem) if problem.code == "revision-conflict" => Ok(()),
            result => result.map(drop),
        }
    }

    /// A set and its revision.
    pub async fn read(store: &Store, id: &str) -> Result<(Self, u64), Problem> {
        // Ids are ours; anything else is not asked for.
        let document = match ulid::Ulid::from_string(id) {
            Ok(_) => store.get(KIND, id).await?,
            Err(_) => None,
        };
        let document = document.ok_or_else(|| {
            Problem::new(
                ProblemKind::NotFound,
                "unknown-operation-set",
                format!("there is no operation set \"{}\"", id.escape_debug()),
            )
            .remedy("list the sets there are")
        })?;
        Ok((Self::of(document.body)?, document.revision))
    }

    fn document(&self) -> Result<Document, Problem> {
        Ok(Document {
            kind: KIND.into(),
            id: self.id.clone(),
            owner: self.owner.clone(),
            labels: BTreeMap::from([
                (LABEL.into(), self.at_rest.to_string()),
                ("adapter".into(), self.adapter.clone()),
            ]),
            body: serde_json::to_value(self).map_err(|error| unreadable(&error))?,
            ..Document::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::provider::memory::MemoryProvider;

    fn set(id: &str, at_rest: bool, members: &[&str]) -> StoredSet {
        let member = |operation: &&str| StoredMember {
            context: "context".into(),
            operation: (*operation).into(),
            error: None,
            told: false,
        };
        StoredSet {
            id: id.into(),
            adapter: "adapter".into(),
            operation: "install".into(),
            owner: "owner".into(),
            at_a_time: AtATime::default(),
            on_member_failure: OnMemberFailure::default(),
            members: members.iter().map(member).collect(),
            order: Order::Nothing,
            at_rest,
            tolerated: 0,
            created: clock::now(),
            updated: clock::now(),
        }
    }

    #[tokio::test]
    async fn a_set_goes_with_the_last_of_its_members_and_never_while_there_is_something_to_do() {
        let store = Store::new(Arc::new(MemoryProvider::new()));
        let (left, gone, busy) = (
            set("left", true, &["old", "kept"]),
            set("gone", true, &["old"]),
            set("busy", false, &["old"]),
        );
        for set in [&left, &gone, &busy] {
            set.create(&store, None).await.unwrap();
        }
        let strange = |kind: &str, id: &str| Document {
            kind: kind.into(),
            id: id.into(),
            owner: "owner".into(),
            body: json!({}),
            ..Document::default()
        };
        for document in [strange(KIND, "strange"), strange(stored::KIND, "kept")] {
            store.put(document, Expect::Absent).await.unwrap();
        }
        assert_eq!(prune_sets(&store).await.unwrap(), 1);
        assert_eq!(prune_sets(&store).await.unwrap(), 0);
        store.delete(stored::KIND, "kept").await.unwrap();
        assert_eq!(prune_sets(&store).await.unwrap(), 1);
        let all = Query {
            kind: KIND.into(),
            ..Query::default()
        };
        let stay = store.list_all(all).await.unwrap();
        let stay: Vec<String> = stay.into_iter().map(|document| document.id).collect();
        assert_eq!(stay, ["busy", "strange"]);
    }
}
