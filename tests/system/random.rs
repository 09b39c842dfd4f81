//! Plans of random steps, by themselves or as a set of one, with a kill, a fault of the API server or of the provider, a
//! standstill longer than the lease, somebody else's hand or a cancel in the midst of them and of their undo, and a second host
//! that wants the same cluster meanwhile. Whatever it was: the operation comes to an end that its journal, its set and the cluster
//! agree on, the two hosts never write at the same time, what others have made or changed is as they made it, and nothing that a
//! host has acknowledged is lost.
//!
//! A seed decides (`MESHERY_TEST_SEED`, printed), `MESHERY_TEST_ROUNDS` says how many rounds. Rounds build on what the
//! ones before have left.

mod mishap;
mod rival;
mod round;
mod script;
mod tally;
mod turn;
mod world;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use libtest_mimic::Trial;
use meshery_tests::artifacts;
use meshery_tests::cluster::Cluster;
use meshery_tests::host::{Host, HostBuilder};
use meshery_tests::proxy::FaultProxy;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::kills::boundaries::KillingProvider;
use crate::kills::{SEED, Seeded, setting};
use crate::namespace::{eventually, succeeded};
use crate::{cluster, trial};
use rival::Rival;
use round::Wish;
use script::{OTHERS, Script, around, config_map, derived};
use tally::Tally;
use world::World;
use world::reader::Reader;

const NAMESPACE: &str = "random";
const ROUNDS: u64 = 20;
/// So many that each of what may happen does.
const MANY: u64 = 500;
/// How long a host has the cluster to itself without saying so again.
const LEASE: Duration = Duration::from_secs(6);
/// What plans have, each of which comes about in a long run, and is taken back.
const SITUATIONS: [&str; 9] = [
    "definition",
    "force",
    "hook job",
    "namespace",
    "release",
    "removal",
    "removal of a definition",
    "rollback",
    "webhook",
];

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
    reader: Reader,
    host: Host,
    /// Where the host's provider is told what to do.
    meeting: TempDir,
    /// Each operation that was acknowledged, and the end it came to.
    ended: Vec<(String, Value)>,
    tally: Tally,
    rival: Rival,
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
        let reader = Reader::new(&cluster)?;
        let ground = Self {
            cluster,
            proxy,
            reader,
            host,
            meeting,
            ended: Vec::new(),
            tally: Tally::default(),
            rival,
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

    /// Makes an object in the name of somebody else, who takes what is in it from whoever has it.
    fn others(&self, object: &Value) -> anyhow::Result<()> {
        let file = self.cluster.dir().join("others.json");
        std::fs::write(&file, object.to_string())?;
        let file = file.to_string_lossy();
        let apply = [
            "apply",
            "--server-side",
            "--force-conflicts",
            "--field-manager=somebody",
            "-f",
            &file,
        ];
        succeeded(self.cluster.kubectl(&apply)).map(drop)
    }

    fn world(&self) -> anyhow::Result<World> {
        World::read(&self.reader)
    }

    /// Plans it by itself, or as a set of one.
    fn plan(&self, script: &Script, on_interruption: &str, as_set: bool) -> anyhow::Result<Planned> {
        let mut asked = json!({
            "adapter": "scripted", "operation": "script", "parameters": script.parameters(),
            "policy": {"on_interruption": on_interruption, "force_conflicts": script.forces},
        });
        let mut path = "/api/v1/operations";
        if as_set {
            path = "/api/v1/operation-sets";
            let contexts = self.host.get("/api/v1/clusters")?.expect(200)?;
            asked["contexts"] = json!([contexts["items"][0]["context"]]);
        }
        let planned = self.host.post(path, &asked)?.expect(201)?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let id = text(&planned["id"]).context("an id")?;
        Ok(if as_set {
            let member = text(&planned["members"][0]["operation"]).context("a member")?;
            Planned {
                id: member,
                set: Some(id),
            }
        } else {
            Planned { id, set: None }
        })
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

    /// That nothing which was acknowledged is lost, also not by the kills that came later.
    fn all_is_known(&mut self) -> anyhow::Result<()> {
        self.host.kill()?;
        self.host.restart()?;
        for (id, state) in &self.ended {
            let record = self.host.record(id)?;
            ensure!(record["state"] == *state, "{id} was {state}: {record:#}");
        }
        self.rival.is_known()
    }

    /// Takes away what is not in the namespace of the rounds, the webhook first: nobody is behind it.
    fn clean(&self) {
        let delete = |what: &[&str]| {
            self.cluster
                .kubectl(&[&["delete", "--ignore-not-found", "--wait=false"], what].concat());
        };
        delete(&["validatingwebhookconfiguration", around::WEBHOOK]);
        delete(&["namespace", NAMESPACE, around::INNER]);
        delete(&["customresourcedefinition", around::DEFINITION]);
    }

    /// That helm sees the release as its records have it.
    fn helm_agrees(&self) -> anyhow::Result<()> {
        let list = ["list", "--namespace", NAMESPACE, "--output=json"];
        let list: Value = serde_json::from_str(&succeeded(self.cluster.run_helm(&list))?)?;
        let revisions = self.world()?.revisions()?;
        let seen = |release: &Value| (release["revision"].clone(), release["status"].clone());
        let seen: Vec<_> = list.as_array().into_iter().flatten().map(seen).collect();
        let newest = revisions.last();
        let wanted: Vec<_> = newest
            .map(|newest| (json!(newest.number.to_string()), json!(newest.status)))
            .into_iter()
            .collect();
        ensure!(
            seen == wanted,
            "helm has {list:#}, and the records {revisions:#?}"
        );
        Ok(())
    }
}

fn rounds() -> anyhow::Result<()> {
    let seed = setting("MESHERY_TEST_SEED", SEED);
    let rounds = setting("MESHERY_TEST_ROUNDS", ROUNDS);
    println!("MESHERY_TEST_SEED={seed} MESHERY_TEST_ROUNDS={rounds}");
    let mut ground = Ground::new()?;
    let mut seeded = Seeded::new(seed);
    let played = (0..rounds).try_for_each(|round| {
        let standing = ground.world()?.standing()?;
        let wish = Wish::make(&mut seeded, round, standing)?;
        ground
            .round(round, &wish)
            .with_context(|| format!("seed {seed}, round {round}, {wish}"))
    });
    println!("{}\n{}", ground.tally, ground.rival.tally());
    played
        .and_then(|()| ground.tally.is_enough(rounds, &SITUATIONS))
        .and_then(|()| ground.rival.tally().is_enough(rounds))
        .and_then(|()| ground.helm_agrees())
        .and_then(|()| ground.all_is_known())
        .inspect(|()| ground.clean())
}
