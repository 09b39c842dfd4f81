//! One order, to run or to take back, and whatever befalls the host until it is carried out.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::mishap::{self, Armed, Mishap};
use super::rival::{self, Coming};
use super::{Ground, Planned};
use crate::invented::LIMIT;
use crate::kills::{Point, Seeded, kill};

/// How long a state has to last before it is believed: a failure may be about to be taken back.
const BELIEVED: Duration = Duration::from_millis(300);

/// What is asked of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Order {
    Run,
    Undo,
}

impl Order {
    fn word(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Undo => "undo",
        }
    }

    /// States from which nothing goes on by itself. An undo that was acknowledged comes to an end of an undo.
    fn ends(self) -> &'static [&'static str] {
        match self {
            Self::Run => &[
                "succeeded",
                "undone",
                "undo-incomplete",
                "failed",
                "cancelled",
                "stale",
            ],
            Self::Undo => &["undone", "undo-incomplete"],
        }
    }

    fn is_end(self, state: &Value) -> bool {
        self.ends().iter().any(|end| state == *end)
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What is to befall an order.
#[derive(Debug)]
pub struct Fate {
    pub mishap: Mishap,
    pub coming: Coming,
}

impl Fate {
    pub fn choose(seeded: &mut Seeded, order: Order, writes: u64) -> anyhow::Result<Self> {
        let mishap = Mishap::choose(seeded, order, writes)?;
        let coming = Coming::choose(seeded, &mishap, writes)?;
        Ok(Self { mishap, coming })
    }
}

/// What came of an order.
pub struct Outcome {
    pub record: Value,
    /// The mishap, if it has struck: one that has not excuses nothing.
    pub mishap: Mishap,
    /// The object that somebody has changed meanwhile: its name and its uid then.
    pub theirs: Option<(String, String)>,
}

impl Ground {
    /// Has an order carried out; the other host may want the cluster meanwhile.
    pub fn turn(
        &mut self,
        planned: &Planned,
        order: Order,
        fate: &Fate,
        name: &str,
    ) -> anyhow::Result<Outcome> {
        let Fate { mishap, coming } = fate;
        let rivals = match coming {
            Coming::Not => None,
            _ => Some(self.rival.plan(name)?),
        };
        self.proxy.forget_mutations();
        let armed = Armed::new();
        let mut strikes = mishap.strikes(&armed, &self.cluster, self.host.pid()?);
        if let (Some(rivals), Coming::Midst(at)) = (&rivals, coming) {
            strikes.push(self.rival.comes_with_write(rivals, *at)?);
        }
        mishap::lie_in_wait(&self.proxy, strikes);
        let troubles = self.troubles();
        if let Mishap::Provider(word) = mishap {
            std::fs::write(self.meeting.path().join("trouble"), word)?;
        }
        if let (Some(rivals), Coming::Before(moment)) = (&rivals, coming) {
            self.rival.order(rivals)?;
            std::thread::sleep(*moment);
        }
        self.order(planned, order.word())?;
        match mishap {
            Mishap::Kill(Point::At(after)) => {
                std::thread::sleep(*after);
                if !order.is_end(&self.host.record(&planned.id)?["state"]) {
                    armed.strike();
                }
                kill(self.host.pid()?);
                self.host.wait_ended()?;
                self.host.restart()?;
            }
            Mishap::Cancel(after) => {
                std::thread::sleep(*after);
                // It may have ended by then, which is said.
                let cancel = format!("/api/v1/operations/{}/cancel", planned.id);
                if self.host.post(&cancel, &json!({}))?.status == 202 {
                    armed.strike();
                }
            }
            _ => {}
        }
        let at_gate = rivals.as_ref().filter(|_| *coming == Coming::AtGate);
        let record = self.settled(&planned.id, order, at_gate)?;
        let writes = self.proxy.mutations();
        self.proxy.clear();
        if let Mishap::Provider(_) = mishap {
            std::fs::remove_file(self.meeting.path().join("trouble"))?;
            if self.troubles() > troubles {
                armed.strike();
            }
        }
        if let Some(rivals) = rivals {
            self.rival.judge(rivals, order, &writes)?;
        }
        self.rival.is_untouched()?;
        let mishap = if armed.has_struck() {
            self.tally.struck(order, mishap.kind());
            mishap.clone()
        } else {
            Mishap::Nothing
        };
        Ok(Outcome {
            record,
            mishap,
            theirs: armed.theirs.get().cloned(),
        })
    }

    /// How many appends have met with trouble.
    fn troubles(&self) -> usize {
        let struck = std::fs::read_to_string(self.meeting.path().join("struck"));
        struck.map_or(0, |struck| struck.lines().count())
    }

    /// Waits until nothing goes on by itself; a host that was killed is started again, gates are opened, the other host's
    /// way through first if it waits for that.
    fn settled(
        &mut self,
        id: &str,
        order: Order,
        mut rivals: Option<&rival::Planned>,
    ) -> anyhow::Result<Value> {
        let end = Instant::now() + LIMIT;
        let mut since: Option<(Value, Instant)> = None;
        loop {
            let Ok(record) = self.host.record(id) else {
                self.host
                    .wait_ended()
                    .context("a host that does not answer has ended")?;
                self.host.restart()?;
                continue;
            };
            let state = &record["state"];
            if state == "paused" {
                self.open_gates(&record, &mut rivals)?;
            }
            if order.is_end(state) {
                match &since {
                    Some((seen, moment)) if seen == state => {
                        if moment.elapsed() >= BELIEVED || state == "succeeded" || state == "undone" {
                            return Ok(record);
                        }
                    }
                    _ => since = Some((state.clone(), Instant::now())),
                }
            } else {
                since = None;
            }
            ensure!(
                Instant::now() < end,
                "it does not end: {record:#}\n{}\n{}",
                self.host.story(id),
                self.host.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn open_gates(&mut self, record: &Value, rivals: &mut Option<&rival::Planned>) -> anyhow::Result<()> {
        for step in record["steps"].as_array().into_iter().flatten() {
            if step["state"] == "running" && step["gate"]["approval"] == true {
                if let Some(rivals) = rivals.take() {
                    self.rival.passes_the_gate(rivals)?;
                }
                let (id, gate) = (&record["id"], &step["id"]);
                let (id, gate) = (id.as_str().unwrap_or_default(), gate.as_str().unwrap_or_default());
                // It may have been approved a moment ago.
                let approve = format!("/api/v1/operations/{id}/approve?gate={gate}");
                self.host.post(&approve, &json!({}))?;
            }
        }
        Ok(())
    }
}
