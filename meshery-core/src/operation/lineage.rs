//! Objects that undos have made again: what carries another uid since is still what earlier operations know.

use std::collections::{HashMap, HashSet};

use meshery_plugin_api::message::document::Query;
use meshery_plugin_api::message::object_ref::ObjectRef;

use super::history::History;
use super::state::OperationState;
use super::stored::KIND;
use crate::problem::Problem;
use crate::provider::Store;

/// How many undos are looked through, the newest first.
const MOST: u32 = 100;

/// The uids that undos on one cluster have given to objects.
#[derive(Debug, Default)]
pub(super) struct Lineage(HashMap<ObjectRef, HashSet<String>>);

impl Lineage {
    /// Reads the journals of what was taken back on a cluster.
    pub async fn read(store: &Store, cluster: &str) -> Result<Self, Problem> {
        let mut lineage = Self::default();
        for state in [OperationState::Undone, OperationState::UndoIncomplete] {
            let query = Query {
                kind: KIND.into(),
                labels: [
                    ("state".to_owned(), state.to_string()),
                    ("cluster".to_owned(), cluster.to_owned()),
                ]
                .into(),
                descending: true,
                limit: MOST,
                ..Query::default()
            };
            for document in store.list(query).await?.documents {
                for (object, uid) in History::read(store, &document.id).await?.remade {
                    lineage.0.entry(object).or_default().insert(uid);
                }
            }
        }
        Ok(lineage)
    }

    /// Whether an undo has made this object.
    pub fn has(&self, object: &ObjectRef, uid: &str) -> bool {
        self.0.get(object).is_some_and(|uids| uids.contains(uid))
    }
}
