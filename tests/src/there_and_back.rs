//! Operations taken back, the cluster compared object by object: run and undone, and removed, given back by the undo of the
//! removal, and undone.

use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;

use crate::cluster::Cluster;
use crate::host::Host;
use crate::snapshot::Snapshot;

impl Host {
    /// Performs an operation that makes pods anew, or nothing but objects, and takes it back.
    pub fn and_back(&self, cluster: &Cluster, request: &Value, limit: Duration) -> anyhow::Result<()> {
        let before = Snapshot::take(cluster)?;
        let record = self.perform(request, "succeeded", limit)?;
        self.take_back(id(&record)?, "undone", limit)?;
        before.await_restarted(cluster).context("undone")
    }

    /// Performs an operation, and then the one that removes what it has made; takes back the second one, and then the first.
    pub fn there_and_back(
        &self,
        cluster: &Cluster,
        there: &Value,
        back: &Value,
        limit: Duration,
    ) -> anyhow::Result<()> {
        let before = Snapshot::take(cluster)?;
        let made = self.perform(there, "succeeded", limit)?;
        let with = Snapshot::take(cluster)?;
        let removed = self.perform(back, "succeeded", limit)?;
        before.await_same(cluster).context("removed")?;
        self.take_back(id(&removed)?, "undone", limit)?;
        with.await_remade(cluster).context("given back")?;
        self.take_back(id(&made)?, "undone", limit)?;
        before.await_same(cluster).context("undone")
    }
}

fn id(record: &Value) -> anyhow::Result<&str> {
    record["id"].as_str().context("a record has an id")
}
