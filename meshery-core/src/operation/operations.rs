//! Operations as they are asked for: planned, looked at, run, stopped, taken back.

use std::sync::Arc;

use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};

use super::event::Event;
use super::preview::Preview;
use super::record::{NewOperation, OperationRecord};
use super::seal::HostKey;
use super::state::OperationState;
use crate::cluster::Clusters;
use crate::cluster::chart::Charts;
use crate::plugin::Plugins;
use crate::problem::Problem;
use crate::provider::Store;

/// The operations of an engine. Cheap to clone.
#[derive(Clone)]
pub struct Operations {
    store: Store,
}

/// Events of an operation, from some point on; ends when nothing more will happen by itself. An error ends it too;
/// whoever wants more asks again, from the last number they saw.
pub type EventStream = BoxStream<'static, Result<Event, Problem>>;

/// Which operations to list; all conditions must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Selection {
    /// Only in this state.
    pub state: Option<OperationState>,
    /// Only of the cluster with this uid.
    pub cluster: Option<String>,
    /// At most so many; 100 when not given, 500 at most.
    pub limit: Option<u32>,
    /// Only those after this one in the order of the list, newest first; from [`OperationPage::next`].
    pub after: Option<String>,
}

/// A page of operations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperationPage {
    /// The operations, newest first.
    pub items: Vec<OperationRecord>,
    /// Value of [`Selection::after`] for the next page; empty when this is the last.
    pub next: String,
}

impl Operations {
    pub(crate) fn new(
        store: Store,
        plugins: Arc<Plugins>,
        clusters: Clusters,
        charts: Charts,
        key: Arc<HostKey>,
    ) -> Self {
        let _ = (plugins, clusters, charts, key);
        Self { store }
    }

    pub(crate) async fn recover(&self, take_up: bool) {
        let _ = (take_up, &self.store);
    }

    pub(crate) async fn shutdown(&self) {}

    /// Asks the adapter for a plan, resolves and stores it. Nothing is changed in the cluster.
    pub async fn plan(&self, new: NewOperation) -> Result<OperationRecord, Problem> {
        let _ = new;
        todo!()
    }

    /// The record of an operation.
    pub async fn get(&self, id: &str) -> Result<OperationRecord, Problem> {
        let _ = id;
        todo!()
    }

    /// A page of operations, newest first.
    pub async fn list(&self, selection: Selection) -> Result<OperationPage, Problem> {
        let _ = selection;
        todo!()
    }

    /// Looks what the plan would change, and keeps the answer. Writes nothing to the cluster.
    pub async fn preview(&self, id: &str) -> Result<Preview, Problem> {
        let _ = id;
        todo!()
    }

    /// The preview that was made last.
    pub async fn stored_preview(&self, id: &str) -> Result<Preview, Problem> {
        let _ = id;
        todo!()
    }

    /// Says yes to an operation whose policy asks for one.
    pub async fn approve(&self, id: &str) -> Result<OperationRecord, Problem> {
        let _ = id;
        todo!()
    }

    /// Runs the plan, as soon as no other operation is at work on the cluster. Returns at once.
    pub async fn run(&self, id: &str) -> Result<OperationRecord, Problem> {
        let _ = id;
        todo!()
    }

    /// Stops an operation at the next safe point; what it did is taken back if its policy says so.
    pub async fn cancel(&self, id: &str) -> Result<OperationRecord, Problem> {
        let _ = id;
        todo!()
    }

    /// Takes back what an operation did. Returns at once.
    pub async fn undo(&self, id: &str) -> Result<OperationRecord, Problem> {
        let _ = id;
        todo!()
    }

    /// Goes on with an interrupted operation. Returns at once.
    pub async fn resume(&self, id: &str) -> Result<OperationRecord, Problem> {
        let _ = id;
        todo!()
    }

    /// Waits until nothing more happens by itself.
    pub async fn wait_ended(&self, id: &str) -> Result<OperationRecord, Problem> {
        let _ = id;
        todo!()
    }

    /// What has happened to an operation so far, after the event with this number.
    pub async fn events_so_far(&self, id: &str, after: u64) -> Result<Vec<Event>, Problem> {
        let _ = (id, after);
        todo!()
    }

    /// What has happened and what will, after the event with this number.
    pub async fn events(&self, id: &str, after: u64) -> Result<EventStream, Problem> {
        let _ = (id, after);
        todo!()
    }
}
