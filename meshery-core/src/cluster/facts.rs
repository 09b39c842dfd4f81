//! Facts: what adapters ask to be told about a cluster.

use meshery_plugin_api::message::facts::{KindFacts, Need};

use super::error::ClusterError;
use super::handle::Cluster;

impl Cluster {
    /// Reads what the needs ask for, their braces filled in, in their order. What cannot be read is said kind by
    /// kind; only a cluster that cannot be reached at all is an error.
    pub async fn facts(&self, needs: &[Need]) -> Result<Vec<KindFacts>, ClusterError> {
        let _ = needs;
        todo!()
    }
}
