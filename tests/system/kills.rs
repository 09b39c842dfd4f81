//! `kill -9` of the host, wherever it hurts: before a write to the cluster, after it, at any instant in between,
//! and a second time while it takes things back. What comes out is a finished installation or the cluster as before,
//! never something in between.
//!
//! Which points is decided by a seed (`MESHERY_TEST_SEED`, printed); how many by `MESHERY_TEST_KILLS`.

mod adoption;
pub mod boundaries;
mod gated;
mod kept;
mod meshes;
mod other_hands;
mod queue;
mod upgrades;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use libtest_mimic::Trial;
use meshery_tests::host::Host;
use meshery_tests::proxy::{Action, FaultProxy, RequestInfo};
use meshery_tests::snapshot::Snapshot;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::invented::{LIMIT, invented_host, request};
use crate::{cluster, trial, trial_with_charts};

/// How many points are tried unless `MESHERY_TEST_KILLS` says otherwise.
const KILLS: u64 = 12;
pub const SEED: u64 = 20_261_122;

pub fn trials() -> Vec<Trial> {
    let mut trials = vec![
        trial(
            "kills::a_host_killed_at_any_point_leaves_all_or_nothing",
            any_point,
        ),
        trial(
            "kills::a_host_killed_while_it_takes_back_goes_on_taking_back",
            while_undoing,
        ),
        trial(
            "kills::a_host_killed_between_any_two_entries_of_its_journal_goes_on_or_takes_back",
            boundaries::every,
        ),
        trial(
            "kills::a_host_killed_in_a_run_and_again_while_that_is_taken_back_goes_on",
            boundaries::twice,
        ),
        trial(
            "kills::what_waited_behind_an_operation_that_stays_interrupted_does_not_begin",
            queue::behind_what_stays,
        ),
        trial(
            "kills::what_waited_begins_when_what_was_before_it_has_gone_on",
            queue::behind_what_goes_on,
        ),
        trial_with_charts(
            "kills::istio_upgraded_and_killed_in_a_step_or_in_the_undo_is_the_one_version_or_the_other",
            meshes::istio,
        ),
        trial_with_charts(
            "kills::linkerd_upgraded_and_killed_in_a_step_or_in_the_undo_is_the_one_version_or_the_other",
            meshes::linkerd,
        ),
        trial(
            "kills::a_cancel_that_was_answered_is_not_forgotten",
            queue::after_a_cancel,
        ),
        trial(
            "kills::a_host_killed_in_the_midst_of_an_upgrade_leaves_one_revision_or_the_other",
            upgrades::at_any_point,
        ),
        trial(
            "kills::a_host_killed_while_a_release_takes_over_leaves_it_ours_or_theirs",
            adoption::at_its_points,
        ),
        trial(
            "kills::a_host_killed_before_a_failure_that_is_kept_is_recorded_records_it",
            kept::before_the_record,
        ),
        trial(
            "kills::what_others_do_to_an_object_before_a_killed_host_goes_on_is_theirs",
            other_hands::before_it_goes_on,
        ),
    ];
    // Minutes; the trials of the two operations themselves kill the host at a gate of each.
    if std::env::var_os("MESHERY_TEST_KILLS").is_some() {
        trials.push(trial_with_charts(
            "kills::a_canary_killed_in_a_step_goes_on_or_all_is_as_before",
            gated::canary,
        ));
        trials.push(trial_with_charts(
            "kills::a_rotation_killed_in_a_step_goes_on_or_all_is_as_before",
            gated::rotation,
        ));
    }
    trials
}

/// Where the host is killed.
#[derive(Debug, Clone, Copy)]
pub enum Point {
    /// The write never reaches the cluster.
    Before(usize),
    /// The write was made, and the host has not heard of it.
    After(usize),
    /// So long after the run began.
    At(Duration),
}

/// Numbers by a seed: small, repeatable, good enough to choose points with.
pub struct Seeded(u64);

impl Seeded {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        // A linear congruential generator, by Knuth's numbers; its high bits are the good ones.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// Whether everything is tried (`just long`), and not only what a seed chooses.
pub fn is_long() -> bool {
    setting("MESHERY_TEST_KILLS", KILLS) > KILLS
}

pub fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|value| value.parse().ok())
        .unwrap_or(default)
}

pub fn kill(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// Kills the process once, at the write that the point names, counted from now.
pub fn arm(proxy: &FaultProxy, pid: u32, point: Point) {
    proxy.forget_mutations();
    let fired = Arc::new(AtomicBool::new(false));
    proxy.on(move |request: &RequestInfo| {
        if !request.mutating {
            return Action::Forward;
        }
        match point {
            Point::Before(n) if request.mutations == n && !fired.swap(true, Ordering::SeqCst) => {
                kill(pid);
                Action::DropBefore
            }
            Point::After(n) if request.mutations == n && !fired.swap(true, Ordering::SeqCst) => {
                Action::run_after(move || kill(pid))
            }
            _ => Action::Forward,
        }
    });
}

fn any_point() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let proxy = FaultProxy::start(&cluster)?;
    let mut host = invented_host(&cluster, &proxy.kubeconfig(cluster.dir()))?.start()?;
    let before = Snapshot::take(&cluster)?;

    // How many writes an installation has, and how long it takes.
    proxy.forget_mutations();
    let began = std::time::Instant::now();
    let whole = host.perform(&install(), "succeeded", LIMIT)?;
    let took = began.elapsed();
    let writes = proxy.mutations().len() as u64;
    let id = whole["id"].as_str().context("an id")?;
    host.take_back(id, "undone", LIMIT)?;
    before.await_same(&cluster)?;

    let seed = setting("MESHERY_TEST_SEED", SEED);
    let kills = setting("MESHERY_TEST_KILLS", KILLS);
    println!("{writes} writes in {took:?}; MESHERY_TEST_SEED={seed} MESHERY_TEST_KILLS={kills}");
    let mut seeded = Seeded::new(seed);
    for round in 0..kills {
        let point = match seeded.below(3) {
            0 => Point::Before(usize::try_from(1 + seeded.below(writes))?),
            1 => Point::After(usize::try_from(1 + seeded.below(writes))?),
            _ => Point::At(took * u32::try_from(seeded.below(100))? / 100),
        };
        let policy = ["resume", "undo", "ask"][usize::try_from(seeded.below(3))?];
        one_kill(&mut host, &proxy, &before, point, policy)
            .with_context(|| format!("round {round}: killed {point:?}, policy {policy}, seed {seed}"))?;
    }
    Ok(())
}

fn install() -> serde_json::Value {
    request("install", json!({"namespace": "kills", "objects": 5}))
}

fn one_kill(
    host: &mut Host,
    proxy: &FaultProxy,
    before: &Snapshot,
    point: Point,
    policy: &str,
) -> anyhow::Result<()> {
    let cluster = cluster()?;
    let mut request = install();
    request["policy"] = json!({"on_interruption": policy});
    let id = host.plan(&request)?;
    arm(proxy, host.pid()?, point);
    host.order(&id, "run")?;
    if let Point::At(after) = point {
        std::thread::sleep(after);
        kill(host.pid()?);
    }
    host.wait_ended().context("the host was to be killed")?;
    let written = !proxy.mutations().is_empty();
    proxy.clear();
    host.restart()?;

    if policy == "ask" {
        let record = host.await_end(&id, LIMIT)?;
        // It may have come to its end in the instant before.
        if record["state"] == "interrupted" {
            // One that had changed nothing yet stands in nobody's way.
            if written {
                let blocked = host.plan(&install())?;
                host.post(&format!("/api/v1/operations/{blocked}/run"), &json!({}))?
                    .problem(409, "cluster-blocked")?;
            }
            host.order(&id, "resume")?;
        }
    }
    let record = host.await_state(&id, &["succeeded", "undone", "failed", "undo-incomplete"], LIMIT)?;
    let expected = if policy == "undo" {
        ["undone", "succeeded"]
    } else {
        ["succeeded"; 2]
    };
    ensure!(
        expected.iter().any(|state| record["state"] == *state),
        "it ended otherwise: {record:#}"
    );
    if record["state"] == "succeeded" {
        host.take_back(&id, "undone", LIMIT)?;
    }
    before.await_same(&cluster)
}

fn while_undoing() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let proxy = FaultProxy::start(&cluster)?;
    let mut host = invented_host(&cluster, &proxy.kubeconfig(cluster.dir()))?.start()?;
    let before = Snapshot::take(&cluster)?;
    let seed = setting("MESHERY_TEST_SEED", SEED);
    println!("MESHERY_TEST_SEED={seed}");
    let mut seeded = Seeded::new(seed);
    for round in 0..3 {
        let record = host.perform(&install(), "succeeded", LIMIT)?;
        let id = record["id"].as_str().context("an id")?.to_owned();
        let n = usize::try_from(1 + seeded.below(6))?;
        let point = if round % 2 == 0 {
            Point::Before(n)
        } else {
            Point::After(n)
        };
        arm(&proxy, host.pid()?, point);
        host.order(&id, "undo")?;
        host.wait_ended().context("the host was to be killed")?;
        proxy.clear();
        host.restart()?;
        // By its policy it goes on by itself, and it goes on undoing.
        let record = host.await_state(&id, &["undone", "undo-incomplete", "succeeded"], LIMIT)?;
        ensure!(record["state"] == "undone", "killed {point:?}: {record:#}");
        before
            .await_same(&cluster)
            .with_context(|| format!("killed {point:?}, seed {seed}"))?;
    }
    Ok(())
}
