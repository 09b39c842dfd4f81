//! Objects that undos have made again: what carries another uid since is still what earlier operations know.

use std::collections::{HashMap, HashSet};

use meshery_plugin_api::message::document::Query;
use meshery_plugin_api::message::object_ref::ObjectRef;
use tokio::sync::OnceCell;

use crate::cluster::Cluster;
use crate::operation::journal::history::History;
use crate::operation::state::OperationState;
use crate::operation::stored::KIND;
use crate::problem::Problem;
use crate::provider::Store;

/// How many undos of either ending are looked through, the newest first.
const MOST: u32 = 100;

/// The uids that undos on one cluster have given to objects; read when it is asked for.
#[derive(Debug, Default)]
pub(in crate::operation) struct Lineage(OnceCell<HashMap<ObjectRef, HashSet<String>>>);

impl Lineage {
    /// Whether an undo has made this object.
    pub async fn has(
        &self,
        store: &Store,
        cluster: &Cluster,
        object: &ObjectRef,
        uid: &str,
    ) -> Result<bool, Problem> {
        let known = self.0.get_or_try_init(|| read(store, cluster.uid())).await?;
        Ok(known.get(object).is_some_and(|uids| uids.contains(uid)))
    }
}

/// Reads the journals of what was taken back on a cluster.
async fn read(store: &Store, cluster: &str) -> Result<HashMap<ObjectRef, HashSet<String>>, Problem> {
    let mut known: HashMap<ObjectRef, HashSet<String>> = HashMap::new();
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
                known.entry(object).or_default().insert(uid);
            }
        }
    }
    Ok(known)
}
