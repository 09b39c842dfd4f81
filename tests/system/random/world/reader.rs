//! Who reads what there is, past what befalls the hosts. One connection, which stays: much is read.

use futures::future::try_join_all;
use http::Request;
use meshery_tests::cluster::Cluster;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

use crate::namespace::eventually;

pub struct Reader {
    runtime: Runtime,
    client: kube::Client,
}

impl Reader {
    pub fn new(cluster: &Cluster) -> anyhow::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let client = runtime.block_on(cluster.client())?;
        Ok(Self { runtime, client })
    }

    /// What is at these places; nothing where nothing is, or nothing of that kind is defined.
    pub fn read(&self, paths: &[String]) -> anyhow::Result<Vec<Option<Value>>> {
        let read = |path: &String| {
            let request = Request::get(path).body(Vec::new());
            async move {
                match self.client.request::<Value>(request?).await {
                    Ok(found) => Ok(Some(found)),
                    Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
                    Err(error) => Err(anyhow::Error::from(error)),
                }
            }
        };
        // Of a kind that was defined a moment ago, nothing may be told yet.
        eventually(|| self.runtime.block_on(try_join_all(paths.iter().map(read))))
    }
}
