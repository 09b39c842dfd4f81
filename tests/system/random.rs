//! Plans of random steps, with a kill, a fault of the API server, somebody else's hand or a cancel in the midst of them.
//! Whatever it was: the operation comes to an end that its journal and the cluster agree on, what others have made is
//! as they made it, and nothing that the host has acknowledged is lost.
//!
//! A seed decides (`MESHERY_TEST_SEED`, printed), `MESHERY_TEST_ROUNDS` says how many rounds. Rounds build on what the
//! ones before have left.

mod script;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use http::StatusCode;
use libtest_mimic::Trial;
use meshery_tests::artifacts;
use meshery_tests::cluster::Cluster;
use meshery_tests::host::Host;
use meshery_tests::proxy::{Action, FaultProxy, RequestInfo};
use serde_json::{Value, json};

use crate::invented::LIMIT;
use crate::kills::{Point, SEED, Seeded, arm, kill, setting};
use crate::namespace::succeeded;
use crate::{cluster, trial};
use script::{OTHERS, Script, config_map, pooled};
use world::World;

const NAMESPACE: &str = "random";
const ROUNDS: u64 = 20;
/// Writes among which a mishap happens; an operation that has fewer goes undisturbed.
const WRITES: u64 = 24;
/// States from which nothing goes on by itself.
const SETTLED: [&str; 6] = [
    "succeeded",
    "undone",
    "undo-incomplete",
    "failed",
    "cancelled",
    "stale",
];
/// How long a state has to last before it is believed: a failure may be about to be taken back.
const BELIEVED: Duration = Duration::from_millis(300);

pub fn trials() -> Vec<Trial> {
    vec![trial(
        "random::plans_come_to_an_end_on_which_journal_and_cluster_agree",
        rounds,
    )]
}

/// What happens in the midst of an operation.
#[derive(Debug, Clone)]
enum Mishap {
    Nothing,
    Kill(Point),
    /// The write with this number is answered so.
    Fault(usize, Fault),
    /// Somebody changes or deletes an object before the write with this number.
    Others(usize, String, bool),
    Cancel(Duration),
}

#[derive(Debug, Clone, Copy)]
enum Fault {
    DropBefore,
    DropAfter,
    Cut,
    Slow,
    Busy,
    Throttled,
    LostInError,
}

impl Mishap {
    fn choose(seeded: &mut Seeded) -> anyhow::Result<Self> {
        let at = usize::try_from(1 + seeded.below(WRITES))?;
        Ok(match seeded.below(10) {
            0 => Self::Nothing,
            1 => Self::Kill(Point::Before(at)),
            2 => Self::Kill(Point::After(at)),
            3 => Self::Kill(Point::At(Duration::from_millis(seeded.below(600)))),
            4..=6 => {
                use Fault::{Busy, Cut, DropAfter, DropBefore, LostInError, Slow, Throttled};
                let faults = [DropBefore, DropAfter, Cut, Slow, Busy, Throttled, LostInError];
                let fault = faults[usize::try_from(seeded.below(faults.len() as u64))?];
                Self::Fault(at, fault)
            }
            7 | 8 => Self::Others(at, pooled(seeded), seeded.below(2) == 0),
            _ => Self::Cancel(Duration::from_millis(seeded.below(600))),
        })
    }

    /// What somebody may have changed.
    fn disturbed(&self) -> BTreeSet<String> {
        match self {
            Self::Others(_, name, _) => [format!("v1/ConfigMap/{NAMESPACE}/{name}")].into(),
            _ => BTreeSet::new(),
        }
    }

    /// Whether it has happened, when there were so many writes.
    fn has_happened(&self, writes: usize) -> bool {
        match self {
            Self::Nothing => false,
            Self::Kill(Point::At(_)) | Self::Cancel(_) => true,
            Self::Kill(Point::Before(at) | Point::After(at)) | Self::Fault(at, _) | Self::Others(at, ..) => {
                writes >= *at
            }
        }
    }

    fn arm(&self, proxy: &FaultProxy, cluster: &Arc<Cluster>, pid: u32) {
        proxy.forget_mutations();
        match self.clone() {
            Self::Nothing | Self::Cancel(_) | Self::Kill(Point::At(_)) => {}
            Self::Kill(point) => arm(proxy, pid, point),
            Self::Fault(at, fault) => once(proxy, at, move || fault.action()),
            Self::Others(at, name, deletes) => {
                let cluster = cluster.clone();
                once(proxy, at, move || {
                    let cluster = cluster.clone();
                    let name = name.clone();
                    Action::run(move || meddle(&cluster, &name, deletes))
                });
            }
        }
    }
}

impl Fault {
    fn action(self) -> Action {
        match self {
            Self::DropBefore => Action::DropBefore,
            Self::DropAfter => Action::DropAfter,
            Self::Cut => Action::CutAnswer,
            Self::Slow => Action::Slow(Duration::from_millis(500)),
            Self::Busy => Action::refuse(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", "by chance"),
            Self::Throttled => Action::refuse(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", "by chance")
                .with_header("retry-after", "1"),
            Self::LostInError => {
                Action::refuse(StatusCode::GATEWAY_TIMEOUT, "Timeout", "by chance").after_all()
            }
        }
    }
}

fn once(proxy: &FaultProxy, at: usize, action: impl Fn() -> Action + Send + Sync + 'static) {
    let fired = AtomicBool::new(false);
    proxy.on(move |request: &RequestInfo| {
        let now = request.mutating && request.mutations == at;
        if now && !fired.swap(true, Ordering::SeqCst) {
            action()
        } else {
            Action::Forward
        }
    });
}

/// Somebody's hand; the object need not be there.
fn meddle(cluster: &Cluster, name: &str, deletes: bool) {
    let here = ["--namespace", NAMESPACE];
    if deletes {
        cluster.kubectl(&[&["delete", "configmap", name, "--ignore-not-found"], &here[..]].concat());
        return;
    }
    let patch = [
        "patch",
        "configmap",
        name,
        "--type=merge",
        "--field-manager=somebody",
        r#"--patch={"data":{"theirs":"yes"}}"#,
    ];
    cluster.kubectl(&[&patch[..], &here].concat());
}

/// What every round needs.
struct Ground {
    cluster: Arc<Cluster>,
    proxy: FaultProxy,
    host: Host,
    /// Each operation that was acknowledged, and the end it came to.
    ended: Vec<(String, Value)>,
    /// How many mishaps have happened.
    mishaps: u64,
}

impl Ground {
    fn new() -> anyhow::Result<Self> {
        let cluster = cluster()?;
        let proxy = FaultProxy::start(&cluster)?;
        let folder = cluster.dir().join("scripted-plugins");
        std::fs::create_dir_all(&folder)?;
        let library = artifacts::build()?.library("fixture_scripted_mesh")?;
        std::fs::copy(library, folder.join("libfixture_scripted_mesh.so"))?;
        let host = Host::builder()
            .own_plugins(&["meshery_local_provider"])
            .plugins(folder)
            .kubeconfig(proxy.kubeconfig(cluster.dir()))
            .mirror(crate::releases::mirror(&cluster)?)
            .helm(cluster.helm())
            .env("MESHERY_OFFLINE", "true")
            .start()?;
        succeeded(cluster.kubectl(&["create", "namespace", NAMESPACE]))?;
        let ground = Self {
            cluster,
            proxy,
            host,
            ended: Vec::new(),
            mishaps: 0,
        };
        for number in 0..OTHERS {
            let object = config_map(&format!("others-{number}"), &json!({"value": "theirs"}));
            let file = ground.cluster.dir().join("others.json");
            std::fs::write(&file, object.to_string())?;
            let file = file.to_string_lossy();
            let apply = ["apply", "--server-side", "--field-manager=somebody", "-f", &file];
            succeeded(ground.cluster.kubectl(&apply))?;
        }
        Ok(ground)
    }

    fn plan(&self, script: &Script, on_interruption: &str) -> anyhow::Result<Option<String>> {
        let asked = json!({
            "adapter": "scripted", "operation": "script", "parameters": {"steps": script.steps},
            "policy": {"on_interruption": on_interruption},
        });
        let answer = self.host.post("/api/v1/operations", &asked)?;
        // A release that is not there cannot be removed.
        if answer.status == 404 {
            return Ok(None);
        }
        let id = answer.expect(201)?["id"].as_str().context("an id")?.to_owned();
        Ok(Some(id))
    }

    /// Waits until nothing goes on by itself; a host that was killed is started again, gates are opened.
    fn settled(&mut self, id: &str) -> anyhow::Result<Value> {
        let end = Instant::now() + LIMIT;
        let mut since: Option<(String, Instant)> = None;
        loop {
            let Ok(record) = self.host.record(id) else {
                self.host
                    .wait_ended()
                    .context("a host that does not answer has ended")?;
                self.proxy.clear();
                self.host.restart()?;
                continue;
            };
            let state = record["state"].as_str().unwrap_or_default().to_owned();
            if state == "paused" {
                for step in record["steps"].as_array().into_iter().flatten() {
                    if step["state"] == "running" && step["gate"]["approval"] == true {
                        // It may have been approved a moment ago.
                        let gate = step["id"].as_str().unwrap_or_default();
                        let approve = format!("/api/v1/operations/{id}/approve?gate={gate}");
                        self.host.post(&approve, &json!({}))?;
                    }
                }
            }
            if SETTLED.contains(&state.as_str()) {
                match &since {
                    Some((seen, moment)) if *seen == state => {
                        if moment.elapsed() >= BELIEVED || state == "succeeded" || state == "undone" {
                            return Ok(record);
                        }
                    }
                    _ => since = Some((state, Instant::now())),
                }
            } else {
                since = None;
            }
            ensure!(
                Instant::now() < end,
                "it does not end: {record:#}\n{}",
                self.host.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn events(&self, id: &str) -> anyhow::Result<Vec<Value>> {
        let record = self
            .host
            .get(&format!("/api/v1/operations/{id}/record"))?
            .expect(200)?;
        Ok(record["events"].as_array().cloned().unwrap_or_default())
    }

    fn round(&mut self, script: &Script, mishap: &Mishap, seeded: &mut Seeded) -> anyhow::Result<()> {
        let before = World::read(&self.cluster)?;
        let on_interruption = ["resume", "undo"][usize::try_from(seeded.below(2))?];
        let undoes = seeded.below(2) == 0;
        let Some(id) = self.plan(script, on_interruption)? else {
            return Ok(());
        };
        mishap.arm(&self.proxy, &self.cluster, self.host.pid()?);
        self.host.order(&id, "run")?;
        match mishap {
            Mishap::Kill(Point::At(after)) => {
                std::thread::sleep(*after);
                kill(self.host.pid()?);
                self.host.wait_ended()?;
                self.host.restart()?;
            }
            Mishap::Cancel(after) => {
                std::thread::sleep(*after);
                // It may have ended by then, which is said.
                self.host
                    .post(&format!("/api/v1/operations/{id}/cancel"), &json!({}))?;
            }
            _ => {}
        }
        let record = self.settled(&id)?;
        // One that has not happened excuses nothing.
        let mishap = if mishap.has_happened(self.proxy.mutations().len()) {
            self.mishaps += 1;
            mishap
        } else {
            &Mishap::Nothing
        };
        self.proxy.clear();
        let disturbed = mishap.disturbed();
        self.judge(&before, script, &record, mishap, &disturbed)
            .with_context(|| format!("{}\n{}", record, self.host.story(&id)))?;
        let mut end = record["state"].clone();
        if record["state"] == "succeeded" && undoes {
            self.host.order(&id, "undo")?;
            let record = self.settled(&id)?;
            ensure!(
                record["state"] == "undone" || record["state"] == "undo-incomplete" && !disturbed.is_empty(),
                "not taken back: {record:#}\n{}",
                self.host.story(&id)
            );
            let now = World::read(&self.cluster)?;
            now.is_as_before(&before, script, &disturbed)
                .with_context(|| format!("after the undo\n{}", self.host.story(&id)))?;
            before.same_others(&now)?;
            end = record["state"].clone();
        }
        self.ended.push((id, end));
        Ok(())
    }

    fn judge(
        &self,
        before: &World,
        script: &Script,
        record: &Value,
        mishap: &Mishap,
        disturbed: &BTreeSet<String>,
    ) -> anyhow::Result<()> {
        let now = World::read(&self.cluster)?;
        before.same_others(&now)?;
        let state = record["state"].as_str().unwrap_or_default();
        match state {
            "succeeded" => {
                ensure!(!script.fails, "one of its steps cannot succeed");
                let id = record["id"].as_str().context("an id")?;
                now.is_end_of(script, &self.events(id)?, disturbed)
            }
            "undo-incomplete" => {
                ensure!(!disturbed.is_empty(), "nobody has disturbed it");
                now.is_as_before(before, script, disturbed)
            }
            _ => {
                let may_end_so = script.fails || !matches!(mishap, Mishap::Nothing);
                ensure!(may_end_so, "it is {state} for no reason");
                now.is_as_before(before, script, disturbed)
            }
        }
    }
}

fn rounds() -> anyhow::Result<()> {
    let seed = setting("MESHERY_TEST_SEED", SEED);
    let rounds = setting("MESHERY_TEST_ROUNDS", ROUNDS);
    println!("MESHERY_TEST_SEED={seed} MESHERY_TEST_ROUNDS={rounds}");
    let mut ground = Ground::new()?;
    let mut seeded = Seeded::new(seed);
    for round in 0..rounds {
        let script = Script::make(&mut seeded, round);
        let mishap = Mishap::choose(&mut seeded)?;
        ground.round(&script, &mishap, &mut seeded).with_context(|| {
            let steps = serde_json::to_string_pretty(&script.steps).unwrap_or_default();
            format!("seed {seed}, round {round}, {mishap:?}:\n{steps}")
        })?;
    }
    let mut ends: BTreeMap<&str, u64> = BTreeMap::new();
    for (_, state) in &ground.ended {
        *ends.entry(state.as_str().unwrap_or_default()).or_default() += 1;
    }
    println!("{} mishaps; {ends:?}", ground.mishaps);
    ensure!(
        ground.mishaps >= rounds / 4,
        "only {} mishaps have happened in {rounds} rounds",
        ground.mishaps
    );
    // Nothing that was acknowledged is lost, also not by the kills that came later.
    ground.host.kill()?;
    ground.host.restart()?;
    for (id, state) in &ground.ended {
        let record = ground.host.record(id)?;
        ensure!(record["state"] == *state, "{id} was {state}: {record:#}");
    }
    ground
        .cluster
        .kubectl(&["delete", "namespace", NAMESPACE, "--wait=false"]);
    Ok(())
}
