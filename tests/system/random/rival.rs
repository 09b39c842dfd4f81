//! Another host before the same cluster, which nothing ever happens to: it wants the cluster at the same time, gets it as a
//! whole or not at all, and what it makes is nobody else's.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use meshery_tests::cluster::Cluster;
use meshery_tests::host::Host;
use meshery_tests::proxy::{FaultProxy, Mutation};
use serde_json::{Value, json};

use crate::invented::LIMIT;
use crate::namespace::succeeded;

const NAMESPACE: &str = "random-rival";
const OBJECTS: usize = 6;

pub struct Rival {
    cluster: Arc<Cluster>,
    host: Host,
    proxy: FaultProxy,
    /// What it has done, each of which has succeeded.
    done: Vec<String>,
    /// What its objects say since the last time.
    value: Value,
    /// How often the other host has written before it and after it within one operation.
    between: u64,
}

/// An operation of its own.
pub struct Planned {
    id: String,
    value: Value,
}

impl Rival {
    pub fn start(
        cluster: &Arc<Cluster>,
        host: impl FnOnce(&FaultProxy) -> anyhow::Result<Host>,
    ) -> anyhow::Result<Self> {
        let proxy = FaultProxy::start(cluster)?;
        let host = host(&proxy)?;
        succeeded(cluster.kubectl(&["create", "namespace", NAMESPACE]))?;
        Ok(Self {
            cluster: cluster.clone(),
            host,
            proxy,
            done: Vec::new(),
            value: Value::Null,
            between: 0,
        })
    }

    pub fn plan(&self, round: u64) -> anyhow::Result<Planned> {
        let value = json!(format!("round-{round}"));
        let object = |number: usize| {
            json!({"apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": format!("rival-{number}"), "namespace": NAMESPACE}, "data": {"value": value}})
        };
        let steps: Vec<Value> = (0..OBJECTS)
            .map(|number| {
                let after: Vec<String> = number.checked_sub(1).map(|before| format!("s{before}")).into_iter().collect();
                json!({"id": format!("s{number}"), "title": "its own", "kind": "apply", "after": after, "objects": [object(number)]})
            })
            .collect();
        self.proxy.forget_mutations();
        let id = self
            .host
            .plan(&json!({"adapter": "scripted", "operation": "script", "parameters": {"steps": steps}}))?;
        Ok(Planned { id, value })
    }

    pub fn order(&self, planned: &Planned) -> anyhow::Result<()> {
        self.host.order(&planned.id, "run").map(drop)
    }

    /// Waits for its end, and sees that nobody has written while it had the cluster.
    pub fn judge(&mut self, planned: Planned, theirs: &[Mutation]) -> anyhow::Result<()> {
        let Planned { id, value } = planned;
        self.host
            .await_state(&id, &["succeeded"], LIMIT)
            .with_context(|| format!("the rival's:\n{}", self.host.story(&id)))?;
        let ours: Vec<Instant> = self.proxy.mutations().iter().map(|write| write.at).collect();
        let (Some(first), Some(last)) = (ours.first(), ours.last()) else {
            anyhow::bail!("the rival has written nothing");
        };
        ensure!(ours.len() >= OBJECTS, "{} writes", ours.len());
        let meanwhile: Vec<&Mutation> = theirs
            .iter()
            .filter(|write| write.at > *first && write.at < *last)
            .collect();
        ensure!(
            meanwhile.is_empty(),
            "two hosts have written at the same time: {meanwhile:#?}"
        );
        if theirs.iter().any(|write| write.at < *first) && theirs.iter().any(|write| write.at > *last) {
            self.between += 1;
        }
        self.value = value;
        self.done.push(id);
        Ok(())
    }

    /// That its objects are as it has made them, whatever others have done since.
    pub fn is_untouched(&self) -> anyhow::Result<()> {
        if self.value.is_null() {
            return Ok(());
        }
        let list = succeeded(self.cluster.kubectl(&[
            "get",
            "configmaps",
            "--namespace",
            NAMESPACE,
            "--output=json",
        ]))?;
        let list: Value = serde_json::from_str(&list)?;
        let values: Vec<&Value> = list["items"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|object| object["metadata"]["name"] != "kube-root-ca.crt")
            .map(|object| &object["data"]["value"])
            .collect();
        ensure!(
            values.len() == OBJECTS && values.iter().all(|value| **value == self.value),
            "the rival's objects say {values:?} and not {}",
            self.value
        );
        Ok(())
    }

    /// That all is still known after a kill; how often it had its turn, and how often in the midst of the other's.
    pub fn end(mut self) -> anyhow::Result<(usize, u64)> {
        self.host.kill()?;
        self.host.restart()?;
        for id in &self.done {
            let record = self.host.record(id)?;
            ensure!(record["state"] == "succeeded", "{record:#}");
        }
        self.cluster
            .kubectl(&["delete", "namespace", NAMESPACE, "--wait=false"]);
        Ok((self.done.len(), self.between))
    }
}
