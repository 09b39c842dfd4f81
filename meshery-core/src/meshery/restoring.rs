//! A backup back into the provider of a running engine, and the engine's own memory brought in line with it.

use std::fmt::Display;

use bytes::Bytes;
use futures::Stream;
use meshery_plugin_api::message::backup::{ReadBackup, Record};

use super::Meshery;
use super::key_watch;
use crate::problem::Problem;
use crate::provider::{BackupSummary, Store};

/// What a restore led to.
#[derive(Debug, Clone, PartialEq)]
pub struct Restored {
    /// What the backup says of itself.
    pub backup: BackupSummary,
    /// What its owner should know, as after a start: that it was sealed with another key, for example.
    pub notices: Vec<Problem>,
}

impl Meshery {
    /// Whether a restore could begin now: it is refused while operations are active.
    pub async fn check_restore(&self) -> Result<(), Problem> {
        self.store()?;
        self.operations()?.check_idle().await
    }

    /// Takes a backup into the provider, as a whole or not at all, and goes on with what it has: uploaded kubeconfigs
    /// as after a start, and operations that were not ended, which wait for somebody to say what becomes of them: how
    /// far their clusters are by now nobody can tell. Refused while operations are active, and when the provider has
    /// anything of a user's, unless `replace` says that it may go away.
    pub async fn restore<E: Display>(
        &self,
        backup: impl Stream<Item = Result<Bytes, E>> + Send,
        replace: bool,
    ) -> Result<Restored, Problem> {
        let (store, inner) = (self.store()?, &self.inner);
        let exchange = async {
            let before = match &inner.uploads {
                // Of a damaged store they may not be known; those that stay go with the next start.
                Some(uploads) => uploads.names().await.unwrap_or_default(),
                None => Vec::new(),
            };
            let own = if replace {
                None
            } else {
                key_watch::take_alone(store, is_alone(store).await?).await?
            };
            let restored = store.restore(backup, replace).await;
            if let (Some(own), Err(_)) = (own, &restored) {
                key_watch::put_back(store, own).await?;
            }
            let backup = restored?;
            for name in before {
                inner.clusters.remove_uploaded(&name);
            }
            let mut notices = Vec::new();
            if let Some(uploads) = &inner.uploads {
                let opened = uploads.restore().await?;
                notices.extend(key_watch::compare(store, uploads.key(), opened, false).await?);
            }
            Ok(Restored { backup, notices })
        };
        self.operations()?.exchange(exchange).await
    }
}

/// Whether the store has what the engine writes at its first start, and nothing else.
async fn is_alone(store: &Store) -> Result<bool, Problem> {
    let part = store.backup_part(&ReadBackup::default()).await?;
    if !part.last {
        let session = part.session;
        store.backup_part(&ReadBackup { session, end: true }).await?;
        return Ok(false);
    }
    let own =
        |record: &Record| matches!(record, Record::Document(document) if document.kind == key_watch::KIND);
    Ok(part.damage.is_empty() && part.records.iter().all(own))
}
