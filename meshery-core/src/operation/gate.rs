//! Gates: an operation that waits for somebody's yes, for a condition or for a moment.
//!
//! It waits without the cluster: its place in the queue and the cluster's Lease are given back, so that others may work
//! there meanwhile. That it waits, and what has opened the gate, is in the journal; a host that is killed meanwhile
//! waits on after its next start.

use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use k8s_openapi::jiff::Timestamp;
use meshery_plugin_api::message::plan::Gate;

use super::clock;
use super::conduct::Conduct;
use super::engine::{Engine, InHand};
use super::journal::entry::Entry;
use super::journal::history::History;
use super::plan::stored::{StoredPlan, StoredStep, Work};
use super::record::{OperationRecord, StepState};
use super::state::OperationState;
use super::stored::Stored;
use super::turn::queue::Place;
use crate::problem::{Problem, ProblemKind};

/// How long a gate may stay shut when its plan does not say.
const DEADLINE_S: i64 = 7 * 24 * 60 * 60;
/// How long a wait may be before the clock is looked at again: it may have been put forward, or the machine have slept.
const LOOK: Duration = Duration::from_secs(20);
/// How long conditions are watched in one go, and the pause after a failure.
const WATCH: Duration = Duration::from_mins(5);
const PAUSE: Duration = Duration::from_secs(3);

/// The pause before a full queue is asked again for a place.
const FULL: Duration = Duration::from_secs(2);

const PAUSED: &str = "paused";

/// Nothing can go on but behind a gate.
pub(super) fn paused() -> Problem {
    Problem::new(ProblemKind::Unavailable, PAUSED, "a gate is shut")
}

/// Whether a problem says only that a gate is shut.
pub(super) fn is_paused(problem: &Problem) -> bool {
    problem.code == PAUSED
}

/// A gate was shut for too long.
pub(super) fn stayed_shut(step: &StoredStep) -> Problem {
    let reason = match &step.work {
        Work::Gate(gate) => gate.reason.as_str(),
        _ => "",
    };
    Problem::new(
        ProblemKind::Timeout,
        "gate-deadline",
        format!("gate {} was shut for {}: {reason}", step.id, span(deadline(step))),
    )
    .cause("nobody approved it, or what it waits for did not come")
    .remedy("look what it waits for, then plan the operation again")
}

/// The moment a gate names; an error when it is none.
pub(super) fn check_moment(step: &str, gate: &Gate) -> Result<(), Problem> {
    if gate.not_before.is_empty() || clock::millis(&gate.not_before).is_some() {
        return Ok(());
    }
    Err(Problem::new(
        ProblemKind::Invalid,
        "bad-moment",
        format!("gate {step}: \"{}\" is no moment", gate.not_before.escape_debug()),
    )
    .remedy("give it as RFC 3339, like 2026-11-22T22:00:00Z"))
}

fn deadline(step: &StoredStep) -> i64 {
    match step.deadline_s {
        0 => DEADLINE_S,
        seconds => seconds.into(),
    }
}

fn span(seconds: i64) -> String {
    match seconds {
        seconds if seconds >= 2 * 86_400 => format!("{} days", seconds / 86_400),
        seconds if seconds >= 2 * 3_600 => format!("{} hours", seconds / 3_600),
        seconds => format!("{seconds} s"),
    }
}

/// What became of the wait.
pub(super) enum Opening {
    /// Something is to be done: a gate has opened or was shut for too long, or the operation was cancelled.
    GoOn,
    /// The host stops; it waits on after the next start.
    HostStops,
}

/// A shut gate.
struct Shut<'a> {
    step: &'a StoredStep,
    gate: &'a Gate,
    approved: bool,
    /// Milliseconds since 1970.
    not_before: Option<i64>,
    end: i64,
}

impl Shut<'_> {
    /// Whether only conditions keep it shut.
    fn is_up_to_the_cluster(&self, now: i64) -> bool {
        (self.approved || !self.gate.approval) && self.not_before.is_none_or(|moment| moment <= now)
    }

    /// What it waits for, for people.
    fn wants(&self, operation: &str, now: i64) -> String {
        let mut wants = Vec::new();
        if self.gate.approval && !self.approved {
            wants.push(format!(
                "an approval (mesheryctl operation approve {operation} --gate {})",
                self.step.id
            ));
        }
        if self.not_before.is_some_and(|moment| moment > now) {
            wants.push(self.gate.not_before.clone());
        }
        for condition in &self.gate.conditions {
            wants.push(condition.object.to_string());
        }
        format!(
            "gate {}: {}; it waits for {}",
            self.step.id,
            self.gate.reason,
            wants.join(", and ")
        )
    }
}

impl Conduct {
    /// The gates that are reached and shut.
    fn shut<'a>(plan: &'a StoredPlan, history: &History) -> Vec<Shut<'a>> {
        let now = Timestamp::now().as_millisecond();
        let of_step = |step: &'a StoredStep| {
            let Work::Gate(gate) = &step.work else { return None };
            let history = history.step(&step.id)?;
            (history.state == Some(StepState::Running)).then(|| Shut {
                step,
                gate,
                approved: history.approved,
                not_before: clock::millis(&gate.not_before),
                end: history.reached().unwrap_or(now) + deadline(step) * 1000,
            })
        };
        plan.steps.iter().filter_map(of_step).collect()
    }

    /// What the operation waits for, for people.
    async fn waits_for(&self) -> Result<String, Problem> {
        let history = History::read(&self.engine.store, self.live.id()).await?;
        let now = Timestamp::now().as_millisecond();
        let plan = self.plan();
        let wants: Vec<String> = Self::shut(&plan, &history)
            .iter()
            .map(|shut| shut.wants(self.live.id(), now))
            .collect();
        Ok(wants.join("; "))
    }

    /// A place in the cluster's queue, as soon as there is one; nothing when the host stops.
    pub async fn place(&self) -> Option<Place> {
        loop {
            let place = self.engine.queues.enter(&self.record.cluster.uid, self.live.id());
            if let Ok(place) = place {
                return Some(place);
            }
            tokio::select! {
                () = self.engine.stop.cancelled() => return None,
                () = tokio::time::sleep(FULL) => {}
            }
        }
    }

    /// Waits until nothing is half-way on the cluster; false when the host stops. What was cancelled waits for nobody.
    pub async fn until_unblocked(&self) -> Result<bool, Problem> {
        let waited = loop {
            let Some(problem) = self.blocked().await? else {
                break true;
            };
            self.live.wait_for(Some(problem.to_string()));
            tokio::select! {
                () = self.engine.stop.cancelled() => break false,
                () = self.live.cancel.cancelled() => break true,
                () = tokio::time::sleep(FULL) => {}
            }
        };
        self.live.wait_for(None);
        Ok(waited)
    }

    /// It has come to a gate, or found the cluster half-way behind one: says so, and lets go of the cluster.
    pub async fn pause(&self) -> Result<(), Problem> {
        let mut wants = self.waits_for().await?;
        if wants.is_empty() {
            wants.push_str("another operation was interrupted on the cluster");
        }
        Stored::announce(&self.engine.store, self.live.id(), OperationState::Paused).await?;
        // Who sees that it is paused sees what it waits for.
        self.live.wait_for(Some(wants.clone()));
        self.state(OperationState::Paused, None, Some(&wants)).await
    }

    /// Waits until a gate opens.
    pub async fn at_the_gates(&self) -> Result<Opening, Problem> {
        let opening = self.until_open().await;
        self.live.wait_for(None);
        opening
    }

    async fn until_open(&self) -> Result<Opening, Problem> {
        // Gates whose conditions were seen to hold; looked at again after a start.
        let mut held: Vec<String> = Vec::new();
        loop {
            let mut changes = self.live.watch();
            let history = History::read(&self.engine.store, self.live.id()).await?;
            if history.cancelled {
                self.live.cancel.cancel();
            }
            if self.live.cancel.is_cancelled() {
                return Ok(Opening::GoOn);
            }
            let now = Timestamp::now().as_millisecond();
            let plan = self.plan();
            let shut = Self::shut(&plan, &history);
            let mut news = Vec::new();
            for gate in &shut {
                let is_open = gate.is_up_to_the_cluster(now)
                    && (gate.gate.conditions.is_empty() || held.contains(&gate.step.id));
                let (state, error) = match is_open {
                    true => (StepState::Done, None),
                    false if gate.end <= now => (StepState::Failed, Some(stayed_shut(gate.step))),
                    false => continue,
                };
                news.push(Entry::Step {
                    step: gate.step.id.clone(),
                    state,
                    error,
                });
            }
            if !news.is_empty() || shut.is_empty() {
                if !news.is_empty() {
                    self.journal.write(news).await?;
                }
                return Ok(Opening::GoOn);
            }
            let wants: Vec<String> = shut.iter().map(|gate| gate.wants(self.live.id(), now)).collect();
            self.live.wait_for(Some(wants.join("; ")));
            let next = shut
                .iter()
                .flat_map(|gate| [gate.not_before.filter(|moment| *moment > now), Some(gate.end)])
                .flatten()
                .min()
                .map_or(LOOK, |moment| {
                    Duration::from_millis((moment - now).max(1).unsigned_abs()).min(LOOK)
                });
            let up_to_the_cluster = shut
                .iter()
                .filter(|gate| gate.is_up_to_the_cluster(now) && !gate.gate.conditions.is_empty());
            let mut conditions: FuturesUnordered<_> =
                up_to_the_cluster.map(|gate| self.conditions(gate)).collect();
            let mut look = std::pin::pin!(tokio::time::sleep(next));
            // While conditions are watched, only what changes anything ends the wait.
            loop {
                tokio::select! {
                    () = self.engine.stop.cancelled() => return Ok(Opening::HostStops),
                    () = self.live.cancel.cancelled() => return Ok(Opening::GoOn),
                    Some(id) = conditions.next(), if !conditions.is_empty() => held.push(id),
                    changed = changes.changed() => {
                        if changed.is_err() {
                            return Ok(Opening::HostStops);
                        }
                    }
                    () = &mut look => {
                        let now = Timestamp::now().as_millisecond();
                        let due = shut.iter().any(|gate| {
                            gate.end <= now || gate.not_before.is_some_and(|moment| moment <= now)
                        });
                        if !conditions.is_empty() && !due {
                            look.set(tokio::time::sleep(LOOK));
                            continue;
                        }
                    }
                }
                break;
            }
        }
    }

    /// Waits until a gate's conditions hold, however long that takes.
    async fn conditions(&self, shut: &Shut<'_>) -> String {
        let gate = &shut.step.id;
        loop {
            let attempt = async {
                let cluster = self.engine.cluster(&self.record).await?;
                let end = std::time::Instant::now() + WATCH;
                let mut progress = |waiting: crate::cluster::wait::Waiting| {
                    let reason = format!(
                        "gate {gate}: {}; it waits for {}: {}",
                        shut.gate.reason, waiting.object, waiting.reason
                    );
                    self.live.wait_for(Some(reason));
                };
                cluster
                    .wait_ready(&shut.gate.conditions, end, &mut progress)
                    .await
                    .map_err(Problem::from)
            };
            match attempt.await {
                Ok(()) => return gate.clone(),
                Err(problem) if problem.kind == ProblemKind::Timeout => {}
                Err(problem) => {
                    self.live
                        .wait_for(Some(format!("gate {gate}: {}; {problem}", shut.gate.reason)));
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

impl Engine {
    /// Says yes at a gate of an operation that waits there.
    pub async fn approve_gate(
        &self,
        in_hand: &InHand,
        gate: Option<&str>,
    ) -> Result<OperationRecord, Problem> {
        let record = in_hand.live.record();
        let waiting: Vec<&str> = record
            .steps
            .iter()
            .filter(|step| step.state == StepState::Running)
            .filter(|step| {
                let of_step = step.gate.as_ref();
                of_step.is_some_and(|gate| gate.approval && gate.approved_by.is_none())
            })
            .map(|step| step.id.as_str())
            .collect();
        let refused = |message: String, remedy: String| {
            Problem::new(ProblemKind::Conflict, "not-at-a-gate", message).remedy(remedy)
        };
        let chosen = match (gate, waiting.as_slice()) {
            (_, []) => {
                return Err(refused(
                    format!("operation {} does not wait for an approval", record.id),
                    "look what it waits for; gates open by themselves when that has come".into(),
                ));
            }
            (Some(gate), waiting) if waiting.contains(&gate) => gate,
            (None, [only]) => only,
            (Some(gate), waiting) => {
                return Err(refused(
                    format!(
                        "operation {} does not wait at gate \"{}\"",
                        record.id,
                        gate.escape_debug()
                    ),
                    format!("it waits at: {}", waiting.join(", ")),
                ));
            }
            (None, waiting) => {
                return Err(refused(
                    format!("operation {} waits at several gates", record.id),
                    format!("name one of: {}", waiting.join(", ")),
                ));
            }
        };
        let approved = Entry::GateApproved {
            step: chosen.to_owned(),
            by: self.store.user().await?.name,
        };
        in_hand.journal.note(approved).await?;
        Ok(self.shown(&in_hand.live))
    }
}
