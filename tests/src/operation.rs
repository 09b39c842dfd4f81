//! Operations as a client of the REST interface meets them: planned, run, waited for.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use crate::host::Host;
use crate::proven;

/// States in which nothing more happens by itself.
const ENDED: &[&str] = &[
    "succeeded",
    "failed",
    "cancelled",
    "interrupted",
    "undone",
    "undo-incomplete",
    "stale",
];

impl Host {
    /// Plans an operation and returns its id.
    pub fn plan(&self, request: &Value) -> anyhow::Result<String> {
        let record = self.post("/api/v1/operations", request)?.expect(201)?;
        Ok(record["id"].as_str().context("a record has an id")?.to_owned())
    }

    /// Asks for something to be done with an operation: `run`, `undo`, `cancel`, `resume`, `approve`.
    pub fn order(&self, id: &str, what: &str) -> anyhow::Result<Value> {
        self.post(&format!("/api/v1/operations/{id}/{what}"), &json!({}))?
            .expect(202)
    }

    /// The record of an operation.
    pub fn record(&self, id: &str) -> anyhow::Result<Value> {
        self.get(&format!("/api/v1/operations/{id}"))?.expect(200)
    }

    /// Waits until an operation has one of these states.
    pub fn await_state(&self, id: &str, states: &[&str], limit: Duration) -> anyhow::Result<Value> {
        let end = Instant::now() + limit;
        loop {
            let record = self.record(id)?;
            if record["state"]
                .as_str()
                .is_some_and(|state| states.contains(&state))
            {
                if record["state"] == "succeeded" {
                    proven::performed(&record);
                }
                return Ok(record);
            }
            ensure!(
                Instant::now() < end,
                "operation {id} is {} after {limit:?}, not {}: {record:#}",
                record["state"],
                states.join(" or ")
            );
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// Waits until a step of an operation has one of these states.
    pub fn await_step(
        &self,
        id: &str,
        step: &str,
        states: &[&str],
        limit: Duration,
    ) -> anyhow::Result<Value> {
        let end = Instant::now() + limit;
        loop {
            let record = self.record(id)?;
            let mut steps = record["steps"].as_array().into_iter().flatten();
            let there = steps.any(|found| {
                found["id"] == step
                    && found["state"]
                        .as_str()
                        .is_some_and(|state| states.contains(&state))
            });
            if there {
                return Ok(record);
            }
            ensure!(
                Instant::now() < end,
                "step {step} of {id} is not {} after {limit:?}: {record:#}",
                states.join(" or ")
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until an operation has ended, in whatever way.
    pub fn await_end(&self, id: &str, limit: Duration) -> anyhow::Result<Value> {
        self.await_state(id, ENDED, limit)
    }

    /// Waits for a gate that was not seen before, and returns the id of its step; or the record of the end.
    pub fn next_gate(
        &self,
        id: &str,
        seen: &[String],
        limit: Duration,
    ) -> anyhow::Result<Result<String, Value>> {
        let end = Instant::now() + limit;
        loop {
            let record = self.record(id)?;
            let gates = record["steps"].as_array().into_iter().flatten();
            let gate = gates
                .filter(|step| step["state"] == "running" && step["kind"] == "gate")
                .filter_map(|step| step["id"].as_str())
                .find(|gate| !seen.iter().any(|seen| seen == gate));
            let state = record["state"].as_str().unwrap_or_default();
            match (state, gate) {
                ("paused", Some(gate)) => return Ok(Ok(gate.to_owned())),
                (state, _) if ENDED.contains(&state) => {
                    return self.await_end(id, limit).map(Err);
                }
                // Also a gate that is open is there until the operation has its turn again.
                _ => {}
            }
            ensure!(
                Instant::now() < end,
                "operation {id} does not go on: {record:#}\n{}",
                self.story(id)
            );
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// Plans, runs and waits; fails unless it ends in this state.
    pub fn perform(&self, request: &Value, state: &str, limit: Duration) -> anyhow::Result<Value> {
        let id = self.plan(request)?;
        self.order(&id, "run")?;
        let record = self.await_end(&id, limit)?;
        ensure!(
            record["state"] == state,
            "not {state}: {record:#}\n{}",
            self.story(&id)
        );
        Ok(record)
    }

    /// What happened to an operation, an event a line.
    pub fn story(&self, id: &str) -> String {
        let record = self
            .get(&format!("/api/v1/operations/{id}/record"))
            .and_then(|answer| answer.expect(200))
            .unwrap_or_default();
        let events = record["events"].as_array().cloned().unwrap_or_default();
        let lines: Vec<String> = events.iter().map(ToString::to_string).collect();
        lines.join("\n")
    }

    /// Undoes an operation and waits; fails unless it ends in this state.
    pub fn take_back(&self, id: &str, state: &str, limit: Duration) -> anyhow::Result<Value> {
        self.order(id, "undo")?;
        let record = self.await_state(id, &["undone", "undo-incomplete", "interrupted"], limit)?;
        ensure!(
            record["state"] == state,
            "not {state}: {record:#}\n{}",
            self.story(id)
        );
        if state == "undone" {
            proven::taken_back(&record);
        }
        Ok(record)
    }
}
