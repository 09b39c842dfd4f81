//! Another host before the same cluster, which nothing ever happens to: it wants the cluster at the same time, gets it as a
//! whole or not at all, and what it makes is nobody else's.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use meshery_tests::cluster::Cluster;
use meshery_tests::host::Host;
use meshery_tests::proxy::{Action, FaultProxy, Mutation};
use serde_json::{Value, json};

use super::mishap::{Mishap, Strike};
use super::turn;
use crate::invented::LIMIT;
use crate::kills::Seeded;
use crate::namespace::succeeded;

const NAMESPACE: &str = "random-rival";
const OBJECTS: usize = 4;

/// When it wants the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Coming {
    Not,
    /// So long before the other host.
    Before(Duration),
    /// While the other host makes the write with this number.
    Midst(usize),
    /// While the other's operation waits at a gate, which it passes when it has done all that it wants.
    AtGate,
}

impl Coming {
    pub fn choose(seeded: &mut Seeded, mishap: &Mishap, writes: u64) -> anyhow::Result<Self> {
        let before = Duration::from_millis(seeded.below(300));
        let at = usize::try_from(1 + seeded.below(writes))?;
        Ok(match (seeded.below(8), mishap) {
            // A host that stands still loses the cluster to whoever waits for it.
            (0..=5, Mishap::Freeze(at)) => Self::Midst(*at),
            (0, _) => Self::Before(before),
            (1 | 2, _) => Self::Midst(at),
            _ => Self::Not,
        })
    }
}

pub struct Rival {
    cluster: Arc<Cluster>,
    host: Host,
    proxy: FaultProxy,
    /// What it has done, each of which has succeeded.
    done: Vec<String>,
    /// What its objects say since the last time.
    value: Value,
    tally: Tally,
}

/// How often it came, and when.
#[derive(Default)]
pub struct Tally {
    turns: u64,
    /// While a run of the other host was in the midst of its writes.
    in_runs: u64,
    /// While one of its undos was.
    in_undos: u64,
    /// While one of its operations waited at a gate.
    at_gates: u64,
    /// How often the other host has written before it and after it within one order.
    between: u64,
}

impl Tally {
    /// That it came often enough, and in a good part of that while the other host was at work.
    pub fn is_enough(&self, rounds: u64) -> anyhow::Result<()> {
        let in_midst = self.in_runs + self.in_undos + self.at_gates;
        let enough = self.turns >= rounds / 4 && in_midst >= rounds / 5 && self.between >= rounds / 50;
        ensure!(enough, "too few times: {self}");
        ensure!(
            rounds < super::MANY || self.in_runs.min(self.in_undos).min(self.at_gates) > 0,
            "never in one of these moments: {self}"
        );
        Ok(())
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the other host came {} times, {} of them in the midst of a run, {} of an undo, {} at a gate; {} times \
             it had its turn in between",
            self.turns, self.in_runs, self.in_undos, self.at_gates, self.between
        )
    }
}

/// An operation of its own.
pub struct Planned {
    id: String,
    value: Value,
    /// Whether it was ordered.
    ordered: Arc<AtomicBool>,
    /// Whether that was while the other host was at work.
    in_midst: Arc<AtomicBool>,
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
            tally: Tally::default(),
        })
    }

    /// Plans an operation with a value of its own.
    pub fn plan(&self, value: &str) -> anyhow::Result<Planned> {
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
        Ok(Planned {
            id,
            value: value.into(),
            ordered: Arc::default(),
            in_midst: Arc::default(),
        })
    }

    pub fn order(&self, planned: &Planned) -> anyhow::Result<()> {
        planned.ordered.store(true, Ordering::SeqCst);
        self.host.order(&planned.id, "run").map(drop)
    }

    /// Has it come while the other host makes the write with this number: that one goes through when this one waits.
    pub fn comes_with_write(&self, planned: &Planned, at: usize) -> anyhow::Result<Strike> {
        let client = self.host.client()?.clone();
        let run = format!("/api/v1/operations/{}/run", planned.id);
        let ordered = planned.ordered.clone();
        Ok(Strike {
            at,
            struck: planned.in_midst.clone(),
            action: Box::new(move || {
                let (client, run, ordered) = (client.clone(), run.clone(), ordered.clone());
                Action::run(move || {
                    let answer = client.send("POST", &run, &[], Some(&json!({})));
                    let taken = answer.is_ok_and(|answer| answer.status == 202);
                    ordered.store(taken, Ordering::SeqCst);
                })
            }),
        })
    }

    /// Has it come, and come to its end, while the other host waits at a gate.
    pub fn passes_the_gate(&mut self, planned: &Planned) -> anyhow::Result<()> {
        self.order(planned)?;
        self.succeeds(planned)?;
        self.tally.at_gates += 1;
        Ok(())
    }

    fn succeeds(&self, planned: &Planned) -> anyhow::Result<()> {
        let id = &planned.id;
        self.host
            .await_state(id, &["succeeded"], LIMIT)
            .with_context(|| format!("the rival's:\n{}", self.host.story(id)))?;
        Ok(())
    }

    /// Waits for its end, and sees that nobody has written while it had the cluster.
    pub fn judge(&mut self, planned: Planned, order: turn::Order, theirs: &[Mutation]) -> anyhow::Result<()> {
        if planned.in_midst.load(Ordering::SeqCst) {
            match order {
                turn::Order::Run => self.tally.in_runs += 1,
                turn::Order::Undo => self.tally.in_undos += 1,
            }
        }
        // The other host may have had no such moment.
        if !planned.ordered.load(Ordering::SeqCst) {
            self.order(&planned)?;
        }
        self.succeeds(&planned)?;
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
            self.tally.between += 1;
        }
        self.tally.turns += 1;
        self.value = planned.value;
        self.done.push(planned.id);
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

    /// That all is still known after a kill.
    pub fn is_known(&mut self) -> anyhow::Result<()> {
        self.host.kill()?;
        self.host.restart()?;
        for id in &self.done {
            let record = self.host.record(id)?;
            ensure!(record["state"] == "succeeded", "{record:#}");
        }
        self.cluster
            .kubectl(&["delete", "namespace", NAMESPACE, "--wait=false"]);
        Ok(())
    }

    pub fn tally(&self) -> &Tally {
        &self.tally
    }
}
