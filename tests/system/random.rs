//! Plans of random steps, by themselves or as a set of one, with a kill, a fault of the API server or of the provider, a
//! standstill longer than the lease, somebody else's hand or a cancel in the midst of them, and a second host that wants the
//! same cluster. Whatever it was: the operation comes to an end that its journal, its set and the cluster agree on, the two hosts
//! never write at the same time, what others have made or changed is as they made it, and nothing that a host has acknowledged
//! is lost.
//!
//! A seed decides (`MESHERY_TEST_SEED`, printed), `MESHERY_TEST_ROUNDS` says how many rounds. Rounds build on what the
//! ones before have left.

mod mishap;
mod rival;
mod script;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use libtest_mimic::Trial;
use meshery_tests::artifacts;
use meshery_tests::cluster::Cluster;
use meshery_tests::host::{Host, HostBuilder};
use meshery_tests::proxy::FaultProxy;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::invented::LIMIT;
use crate::kills::boundaries::KillingProvider;
use crate::kills::{Point, SEED, Seeded, kill, setting};
use crate::namespace::{eventually, succeeded};
use crate::{cluster, trial};
use mishap::Mishap;
use rival::Rival;
use script::{OTHERS, Script, config_map, derived};
use world::World;

const NAMESPACE: &str = "random";
const ROUNDS: u64 = 20;
/// How long a host has the cluster to itself without saying so again.
const LEASE: Duration = Duration::from_secs(6);
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

/// What every round needs.
struct Ground {
    cluster: Arc<Cluster>,
    proxy: FaultProxy,
    host: Host,
    /// Where the host's provider is told what to do.
    meeting: TempDir,
    /// Each operation that was acknowledged, and the end it came to.
    ended: Vec<(String, Value)>,
    /// How many mishaps have happened, by kind.
    mishaps: BTreeMap<&'static str, u64>,
    rival: Rival,
    /// How many operations were sets of one.
    sets: u64,
}

/// What is run: an operation, which may be the only one of a set.
struct Planned {
    id: String,
    set: Option<String>,
}

impl Ground {
    fn new() -> anyhow::Result<Self> {
        let cluster = cluster()?;
        let proxy = FaultProxy::start(&cluster)?;
        let folder = cluster.dir().join("scripted-plugins");
        std::fs::create_dir_all(&folder)?;
        let library = artifacts::build()?.library("fixture_scripted_mesh")?;
        std::fs::copy(library, folder.join("libfixture_scripted_mesh.so"))?;
        let lease = format!("[cluster]\nlease_seconds = {}\n", LEASE.as_secs());
        let builder = |proxy: &FaultProxy| -> anyhow::Result<HostBuilder> {
            Ok(Host::builder()
                .plugins(&folder)
                .kubeconfig(proxy.kubeconfig(cluster.dir()))
                .mirror(crate::releases::mirror(&cluster)?)
                .helm(cluster.helm())
                .env("MESHERY_OFFLINE", "true")
                .settings(&lease))
        };
        let meeting = tempfile::tempdir()?;
        let provider = KillingProvider::in_folder(meeting.path())?;
        let host = provider.behind(builder(&proxy)?).start()?;
        let rival = Rival::start(&cluster, |proxy| {
            builder(proxy)?.own_plugins(&["meshery_local_provider"]).start()
        })?;
        succeeded(cluster.kubectl(&["create", "namespace", NAMESPACE]))?;
        let ground = Self {
            cluster,
            proxy,
            host,
            meeting,
            ended: Vec::new(),
            mishaps: BTreeMap::new(),
            rival,
            sets: 0,
        };
        for number in 0..OTHERS {
            ground.others(&config_map(
                &format!("others-{number}"),
                &json!({"value": "theirs"}),
            ))?;
        }
        ground.others(&derived::referred())?;
        Ok(ground)
    }

    /// Makes an object in the name of somebody else.
    fn others(&self, object: &Value) -> anyhow::Result<()> {
        let file = self.cluster.dir().join("others.json");
        std::fs::write(&file, object.to_string())?;
        let file = file.to_string_lossy();
        let apply = ["apply", "--server-side", "--field-manager=somebody", "-f", &file];
        succeeded(self.cluster.kubectl(&apply)).map(drop)
    }

    /// How many appends have met with trouble.
    fn troubles(&self) -> usize {
        let struck = std::fs::read_to_string(self.meeting.path().join("struck"));
        struck.map_or(0, |struck| struck.lines().count())
    }

    /// Plans it by itself, or as a set of one.
    fn plan(&self, script: &Script, on_interruption: &str, as_set: bool) -> anyhow::Result<Option<Planned>> {
        let mut asked = json!({
            "adapter": "scripted", "operation": "script", "parameters": script.parameters(),
            "policy": {"on_interruption": on_interruption},
        });
        let mut path = "/api/v1/operations";
        if as_set {
            path = "/api/v1/operation-sets";
            let contexts = self.host.get("/api/v1/clusters")?.expect(200)?;
            asked["contexts"] = json!([contexts["items"][0]["context"]]);
        }
        let answer = self.host.post(path, &asked)?;
        // A release that is not there cannot be removed.
        if answer.status == 404 {
            return Ok(None);
        }
        let planned = answer.expect(201)?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let id = text(&planned["id"]).context("an id")?;
        Ok(Some(if as_set {
            let member = text(&planned["members"][0]["operation"]).context("a member")?;
            Planned {
                id: member,
                set: Some(id),
            }
        } else {
            Planned { id, set: None }
        }))
    }

    fn order(&self, planned: &Planned, what: &str) -> anyhow::Result<()> {
        match &planned.set {
            None => self.host.order(&planned.id, what).map(drop),
            Some(set) => self
                .host
                .post(&format!("/api/v1/operation-sets/{set}/{what}"), &json!({}))?
                .expect(202)
                .map(drop),
        }
    }

    /// That the set, if it is one, says of itself what came of its member.
    fn agrees(&self, planned: &Planned, state: &Value, is_undone: bool) -> anyhow::Result<()> {
        let Some(set) = &planned.set else { return Ok(()) };
        let wanted = match (is_undone, state == "succeeded" || state == "undone") {
            (true, true) => "undone",
            (true, false) => "undo-incomplete",
            (false, _) if state == "succeeded" => "succeeded",
            (false, _) => "failed",
        };
        eventually(|| {
            let set = self
                .host
                .get(&format!("/api/v1/operation-sets/{set}"))?
                .expect(200)?;
            ensure!(
                set["state"] == wanted && set["members"][0]["state"] == *state,
                "its operation is {state}, and the set is not {wanted}: {set:#}"
            );
            Ok(())
        })
    }

    /// Waits until an undo has ended. A set begins it a moment after it was ordered.
    fn taken_back(&mut self, id: &str) -> anyhow::Result<Value> {
        self.host
            .await_state(id, &["undoing", "undone", "undo-incomplete"], LIMIT)?;
        self.settled(id)
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

    fn round(
        &mut self,
        round: u64,
        script: &Script,
        mishap: &Mishap,
        seeded: &mut Seeded,
    ) -> anyhow::Result<()> {
        let before = World::read(&self.cluster)?;
        let on_interruption = ["resume", "undo"][usize::try_from(seeded.below(2))?];
        let undoes = seeded.below(2) == 0;
        let as_set = seeded.below(4) == 0;
        let Some(planned) = self.plan(script, on_interruption, as_set)? else {
            return Ok(());
        };
        let id = planned.id.clone();
        let armed = mishap.arm(&self.proxy, &self.cluster, self.host.pid()?);
        let troubles = self.troubles();
        if let Mishap::Provider(word) = mishap {
            std::fs::write(self.meeting.path().join("trouble"), word)?;
        }
        let rivals = if seeded.below(2) == 0 {
            Some(self.rival.plan(round)?)
        } else {
            None
        };
        // It comes before or in the midst.
        let comes_late = seeded.below(3) > 0;
        let after = Duration::from_millis(seeded.below(300));
        if let (Some(rivals), false) = (&rivals, comes_late) {
            self.rival.order(rivals)?;
            std::thread::sleep(after);
        }
        self.order(&planned, "run")?;
        if let (Some(rivals), true) = (&rivals, comes_late) {
            std::thread::sleep(after);
            self.rival.order(rivals)?;
        }
        match mishap {
            Mishap::Kill(Point::At(after)) => {
                std::thread::sleep(*after);
                let state = self.host.record(&id)?["state"].clone();
                if !SETTLED.iter().any(|settled| state == *settled) {
                    armed.strike();
                }
                kill(self.host.pid()?);
                self.host.wait_ended()?;
                self.host.restart()?;
            }
            Mishap::Cancel(after) => {
                std::thread::sleep(*after);
                // It may have ended by then, which is said.
                let cancel = format!("/api/v1/operations/{id}/cancel");
                if self.host.post(&cancel, &json!({}))?.status == 202 {
                    armed.strike();
                }
            }
            _ => {}
        }
        let record = self.settled(&id)?;
        let writes = self.proxy.mutations();
        if let Mishap::Kill(Point::Before(at) | Point::After(at)) = mishap
            && writes.len() >= *at
        {
            armed.strike();
        }
        if let Mishap::Provider(_) = mishap {
            std::fs::remove_file(self.meeting.path().join("trouble"))?;
            if self.troubles() > troubles {
                armed.strike();
            }
        }
        if let Some(rivals) = rivals {
            self.rival.judge(rivals, &writes)?;
        }
        self.rival.is_untouched()?;
        // One that has not happened excuses nothing.
        let mishap = if armed.has_struck() {
            *self.mishaps.entry(mishap.kind()).or_default() += 1;
            mishap
        } else {
            &Mishap::Nothing
        };
        self.proxy.clear();
        let disturbed = mishap.disturbed();
        let theirs = armed.theirs.get();
        self.judge(&before, script, &record, mishap, &disturbed)
            .and_then(|()| World::read(&self.cluster)?.has_kept(theirs))
            .with_context(|| format!("{}\n{}", record, self.host.story(&id)))?;
        self.agrees(&planned, &record["state"], false)?;
        let mut end = record["state"].clone();
        if record["state"] == "succeeded" && undoes {
            self.order(&planned, "undo")?;
            let record = self.taken_back(&id)?;
            ensure!(
                record["state"] == "undone" || record["state"] == "undo-incomplete" && !disturbed.is_empty(),
                "not taken back: {record:#}\n{}",
                self.host.story(&id)
            );
            let now = World::read(&self.cluster)?;
            now.is_as_before(&before, script, &disturbed)
                .with_context(|| format!("after the undo\n{}", self.host.story(&id)))?;
            before.same_others(&now)?;
            now.has_kept(theirs)
                .with_context(|| format!("after the undo\n{}", self.host.story(&id)))?;
            end = record["state"].clone();
            self.agrees(&planned, &end, true)?;
        }
        self.sets += u64::from(as_set);
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
                let may_end_so = script.fails || mishap.may_fail();
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
        ground
            .round(round, &script, &mishap, &mut seeded)
            .with_context(|| {
                let steps = serde_json::to_string_pretty(&script.steps).unwrap_or_default();
                format!("seed {seed}, round {round}, {mishap:?}:\n{steps}")
            })?;
    }
    let mut ends: BTreeMap<&str, u64> = BTreeMap::new();
    for (_, state) in &ground.ended {
        *ends.entry(state.as_str().unwrap_or_default()).or_default() += 1;
    }
    println!(
        "mishaps {:?}; ends {ends:?}; {} as sets",
        ground.mishaps, ground.sets
    );
    let happened: u64 = ground.mishaps.values().sum();
    ensure!(
        happened >= rounds / 4,
        "only {happened} mishaps have happened in {rounds} rounds"
    );
    // Of each kind, when there were enough rounds for all of them.
    if rounds >= 10 * ROUNDS {
        for kind in ["kill", "fault", "others", "cancel", "freeze", "provider"] {
            ensure!(ground.mishaps.contains_key(kind), "no {kind} has ever happened");
        }
        ensure!(ground.sets > 0, "no operation was one of a set");
    }
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
    let (turns, between) = ground.rival.end()?;
    println!("the other host had its turn {turns} times, {between} of them in the midst of an operation");
    ensure!(turns >= usize::try_from(rounds / 4)?, "only {turns} turns");
    Ok(())
}
