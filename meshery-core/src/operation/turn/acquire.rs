//! Waiting for the cluster: until this host has it, or the operation is stopped.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::queue::Turn;
use crate::cluster::lease::Holder;
use crate::cluster::tenure::Tenure;
use crate::operation::conduct::Conduct;
use crate::operation::journal::entry::Entry;
use crate::operation::journal::history::History;
use crate::operation::state::OperationState;
use crate::operation::step::wait::MOST_ENTRIES;
use crate::problem::Problem;

impl Conduct {
    /// Waits until this host has the cluster; nothing when the operation was stopped while it waited.
    pub(in crate::operation) async fn hold_cluster(
        &self,
        turn: &Turn,
        patience: Duration,
        cancellable: bool,
    ) -> Result<Option<Arc<Tenure>>, Problem> {
        if let Some(tenure) = turn.tenure() {
            return Ok(Some(tenure));
        }
        let (say, mut holder) = watch::channel(None);
        let taking = Box::pin(async {
            let cluster = self.engine.cluster(&self.record).await?;
            self.engine.tenure(cluster, patience, &say).await
        });
        let telling = async {
            let mut told = 0;
            while holder.changed().await.is_ok() {
                let now: Option<Holder> = holder.borrow_and_update().clone();
                let Some(now) = now else { continue };
                self.live.wait_for(Some(now.to_string()));
                told += 1;
                if told <= MOST_ENTRIES {
                    let message = format!("{now}; waits");
                    self.journal.note(Entry::Note { step: None, message }).await?;
                }
            }
            std::future::pending::<Result<Tenure, Problem>>().await
        };
        let taken = self
            .unless_stopped(cancellable, async {
                tokio::select! {
                    taken = taking => taken,
                    failed = telling => failed,
                }
            })
            .await;
        self.live.wait_for(None);
        Ok(taken?.transpose()?.map(|tenure| turn.keep(tenure)))
    }

    /// Waits for something; nothing when the operation was stopped meanwhile, which is written down.
    pub(in crate::operation) async fn unless_stopped<T>(
        &self,
        cancellable: bool,
        what: impl Future<Output = T>,
    ) -> Result<Option<T>, Problem> {
        let (mut state, mut message) = tokio::select! {
            biased;
            () = self.live.cancel.cancelled(), if cancellable => (OperationState::Cancelled, "cancelled before its turn"),
            () = self.engine.stop.cancelled() => (OperationState::Interrupted, "the host was stopped"),
            result = what => return Ok(Some(result)),
        };
        let history = History::read(&self.engine.store, self.live.id()).await;
        if state == OperationState::Cancelled && history.is_ok_and(|history| history.has_written()) {
            // Something was done before an interruption: it stays to be resumed or undone.
            (state, message) = (OperationState::Interrupted, "cancelled before it could go on");
        }
        self.state(state, None, Some(message)).await?;
        Ok(None)
    }
}
