//! `kill -9` of the host at the boundaries of its journal, by name: just before an entry is durable, and just after,
//! when nobody has heard of it. The journal says what was begun and what was done, so that these are all the places
//! between two steps, and between the parts of one.
//!
//! The boundaries are those of an unharmed run of the same kind: an installation and its undo, a removal and its undo,
//! a restart, a plan that is expanded on its way; together they have every kind of step. A few chosen by the seed, or every one when more kills than usual
//! are asked for (`MESHERY_TEST_KILLS`), or those whose names contain a text (`MESHERY_TEST_BOUNDARY`).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use meshery_tests::artifacts;
use meshery_tests::cluster::Cluster;
use meshery_tests::host::{Host, HostBuilder};
use meshery_tests::snapshot::Snapshot;
use serde_json::{Value, json};

use super::{SEED, Seeded, is_long, setting};
use crate::cluster;
use crate::invented::{LIMIT, invented_host, request};
use crate::namespace::succeeded;

const NAMESPACE: &str = "boundaries";

/// What is killed, and how many of its boundaries are tried when not all are.
const TASKS: [(Task, u64); 7] = [
    (Task::Install, 4),
    (Task::UndoOfInstall, 3),
    (Task::Remove, 2),
    (Task::UndoOfRemove, 2),
    (Task::Restart, 1),
    (Task::Spread, 2),
    (Task::UndoOfSpread, 1),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Task {
    Install,
    UndoOfInstall,
    Remove,
    UndoOfRemove,
    Restart,
    Spread,
    UndoOfSpread,
}

impl Task {
    fn is_undo(self) -> bool {
        matches!(
            self,
            Self::UndoOfInstall | Self::UndoOfRemove | Self::UndoOfSpread
        )
    }

    fn request(self) -> Value {
        match self {
            Self::Install | Self::UndoOfInstall => {
                request("install", json!({"namespace": NAMESPACE, "objects": 3}))
            }
            Self::Remove | Self::UndoOfRemove => request("remove", json!({"namespace": NAMESPACE})),
            Self::Restart => request("restart", json!({"namespace": NAMESPACE})),
            // Of what the installation has left.
            Self::Spread | Self::UndoOfSpread => {
                request("spread", json!({"namespace": NAMESPACE, "prefix": "object-"}))
            }
        }
    }
}

/// A host whose provider kills it on demand.
struct Ground {
    cluster: Arc<Cluster>,
    host: Host,
    /// Where the provider and the test meet.
    folder: PathBuf,
}

pub fn every() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let folder = tempfile::tempdir()?;
    let mut ground = Ground {
        host: killing_host(&cluster, folder.path())?,
        folder: folder.path().to_owned(),
        cluster,
    };
    let empty = Snapshot::take(&ground.cluster)?;
    let seed = setting("MESHERY_TEST_SEED", SEED);
    let all = is_long();
    println!("MESHERY_TEST_SEED={seed}");
    let mut seeded = Seeded::new(seed);
    for (task, few) in TASKS {
        if task == Task::Remove {
            let mesh = Task::Install.request();
            ground.host.perform(&mesh, "succeeded", LIMIT)?;
        }
        let before = Snapshot::take(&ground.cluster)?;
        let names = ground.names(task)?;
        ground.await_before(task, &before).context("without any kill")?;
        let mut boundaries: Vec<String> = names
            .iter()
            .flat_map(|name| [format!("before {name}"), format!("after {name}")])
            .collect();
        ensure!(boundaries.len() >= 8, "{task:?} has only {boundaries:?}");
        if let Ok(text) = std::env::var("MESHERY_TEST_BOUNDARY") {
            boundaries.retain(|boundary| boundary.contains(&text));
        } else if !all {
            boundaries = (0..few)
                .map(|_| {
                    let chosen = seeded.below(boundaries.len() as u64);
                    Ok(boundaries.swap_remove(usize::try_from(chosen)?))
                })
                .collect::<anyhow::Result<_>>()?;
        }
        for boundary in boundaries {
            let policy = ["resume", "undo"][usize::try_from(seeded.below(2))?];
            println!("{task:?}, {policy}: killed {boundary}");
            ground
                .one_kill(task, &boundary, policy, &before)
                .with_context(|| format!("{task:?} killed {boundary}, policy {policy}, seed {seed}"))?;
        }
    }
    ground.clear_away()?;
    empty.await_same(&ground.cluster)
}

/// A run that is killed, and killed again while its policy takes it back.
pub fn twice() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let folder = tempfile::tempdir()?;
    let mut host = killing_host(&cluster, folder.path())?;
    let before = Snapshot::take(&cluster)?;
    let order = folder.path().join("kill");
    let controller = "apps/v1/Deployment/boundaries/invented-controller";
    for (first, second) in [
        ("after step ready running", "after state undoing".to_owned()),
        (
            "after step controller done",
            format!("before reverted controller {controller} removed"),
        ),
        (
            "after step controller running",
            "before step definition undone".to_owned(),
        ),
    ] {
        let mut request = Task::Install.request();
        request["policy"] = json!({"on_interruption": "undo"});
        let id = host.plan(&request)?;
        std::fs::write(&order, first)?;
        let _ = host.order(&id, "run");
        host.wait_ended()
            .with_context(|| format!("it was to be killed {first}"))?;
        std::fs::write(&order, &second)?;
        // It may be gone again before it is known to be there.
        if host.restart().is_ok() {
            host.wait_ended()
                .with_context(|| format!("it was to be killed {second}"))?;
        }
        ensure!(!order.exists(), "it was not killed {second}");
        host.restart()?;
        let record = host.await_state(&id, &["undone", "undo-incomplete", "succeeded", "failed"], LIMIT)?;
        ensure!(
            record["state"] == "undone",
            "killed {first} and {second}: {record:#}\n{}",
            host.story(&id)
        );
        before
            .await_same(&cluster)
            .with_context(|| format!("killed {first} and {second}"))?;
    }
    Ok(())
}

pub fn killing_host(cluster: &Cluster, folder: &Path) -> anyhow::Result<Host> {
    let provider = KillingProvider::in_folder(folder)?;
    provider
        .behind(invented_host(cluster, cluster.kubeconfig())?)
        .start()
}

/// The local provider behind a hand that kills or troubles as is written into a folder.
pub struct KillingProvider {
    plugins: PathBuf,
    settings: String,
}

impl KillingProvider {
    pub fn in_folder(folder: &Path) -> anyhow::Result<Self> {
        let built = artifacts::build()?;
        let plugins = folder.join("plugins");
        std::fs::create_dir(&plugins)?;
        std::fs::copy(
            built.library("fixture_killing_provider")?,
            plugins.join("libfixture_killing_provider.so"),
        )?;
        let quoted = |path: &Path| json!(path).to_string();
        let settings = format!(
            "[isolation_of]\nkilling = \"in-process\"\n[provider]\nname = \"killing\"\n\
             [provider.config]\nstore = {}\nfolder = {}\n",
            quoted(built.library("meshery_local_provider")?),
            quoted(folder)
        );
        Ok(Self { plugins, settings })
    }

    /// A host that keeps everything there.
    pub fn behind(&self, host: HostBuilder) -> HostBuilder {
        host.own_plugins(&[])
            .plugins(&self.plugins)
            .settings(&self.settings)
    }
}

impl Ground {
    /// The entries of a run that nobody disturbs, by name.
    fn names(&mut self, task: Task) -> anyhow::Result<Vec<String>> {
        let seen = self.folder.join("seen");
        let id = self.host.plan(&task.request())?;
        std::fs::write(&seen, "")?;
        self.host.order(&id, "run")?;
        let record = self.host.await_end(&id, LIMIT)?;
        ensure!(record["state"] == "succeeded", "{record:#}");
        let run = std::fs::read_to_string(&seen)?;
        std::fs::write(&seen, "")?;
        let names = if task == Task::Restart {
            run
        } else {
            self.host.take_back(&id, "undone", LIMIT)?;
            let undo = std::fs::read_to_string(&seen)?;
            if task.is_undo() { undo } else { run }
        };
        Ok(names.lines().map(str::to_owned).collect())
    }

    fn one_kill(
        &mut self,
        task: Task,
        boundary: &str,
        policy: &str,
        before: &Snapshot,
    ) -> anyhow::Result<()> {
        let mut request = task.request();
        request["policy"] = json!({"on_interruption": policy});
        let id = self.host.plan(&request)?;
        let what = if task.is_undo() {
            self.host.order(&id, "run")?;
            self.host.await_state(&id, &["succeeded"], LIMIT)?;
            "undo"
        } else {
            "run"
        };
        let revision = self.revision()?;
        std::fs::write(self.folder.join("kill"), boundary)?;
        // The host may be gone before it answers.
        let accepted = self.host.order(&id, what).is_ok();
        if self.killed(&id)? {
            self.host.restart()?;
        } else {
            // What is waited for, and how often it is said, depends on the moment.
            ensure!(boundary.contains(" waiting "), "it was never there");
            println!("  (not met this time)");
        }
        let state = self.host.record(&id)?["state"].clone();
        let untouched = if task.is_undo() { "succeeded" } else { "planned" };
        if !accepted && state == untouched {
            // Nobody was told that it was begun, and it was not.
            self.host.order(&id, what)?;
        }
        let ends: &[&str] = match (task.is_undo(), policy) {
            (true, _) => &["undone", "undo-incomplete", "failed"],
            (false, _) => &["succeeded", "undone", "undo-incomplete", "failed"],
        };
        let record = self.host.await_state(&id, ends, LIMIT)?;
        let wanted: &[&str] = match (task.is_undo(), policy) {
            (true, _) => &["undone"],
            (false, "undo") => &["undone", "succeeded"],
            (false, _) => &["succeeded"],
        };
        ensure!(
            wanted.iter().any(|state| record["state"] == *state),
            "it ended otherwise: {record:#}\n{}",
            self.host.story(&id)
        );
        if task == Task::Restart {
            let now = self.revision()?;
            let succeeded = record["state"] == "succeeded";
            ensure!(
                now == revision + 1 || !succeeded && now == revision,
                "restarted {} times",
                now - revision
            );
        } else if record["state"] == "succeeded" {
            self.host.take_back(&id, "undone", LIMIT)?;
        }
        self.await_before(task, before)
            .with_context(|| self.host.story(&id))
    }

    /// Whether the host was killed where the test wanted it; `false` when the operation ended before.
    fn killed(&mut self, id: &str) -> anyhow::Result<bool> {
        let order = self.folder.join("kill");
        let end = Instant::now() + LIMIT;
        loop {
            if !order.exists() {
                self.host.wait_ended()?;
                return Ok(true);
            }
            let record = self.host.record(id).unwrap_or_default();
            let ended = ["succeeded", "failed", "undone", "undo-incomplete"]
                .iter()
                .any(|state| record["state"] == *state);
            // An undo begins with a success, so that an end alone says little.
            if ended && self.quiet()? && order.exists() {
                std::fs::remove_file(&order)?;
                return Ok(false);
            }
            ensure!(Instant::now() < end, "neither killed nor ended: {record:#}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Whether no entry is written for a while.
    fn quiet(&self) -> anyhow::Result<bool> {
        let length = || anyhow::Ok(std::fs::metadata(self.folder.join("seen"))?.len());
        let before = length()?;
        std::thread::sleep(Duration::from_secs(2));
        Ok(length()? == before)
    }

    /// As before, object by object. What was removed and given back was made again, and a restart is none that is
    /// taken back: what controllers make of it is other, and the rest is the same.
    fn await_before(&self, task: Task, before: &Snapshot) -> anyhow::Result<()> {
        match task {
            Task::Install | Task::UndoOfInstall | Task::Spread | Task::UndoOfSpread => {
                before.await_same(&self.cluster)
            }
            Task::Remove | Task::UndoOfRemove => before.await_remade(&self.cluster),
            Task::Restart => Ok(()),
        }
    }

    /// How often the controller was rolled out.
    fn revision(&self) -> anyhow::Result<u64> {
        let text = succeeded(self.cluster.kubectl(&[
            "get",
            "deployment",
            "invented-controller",
            "--namespace",
            NAMESPACE,
            "--ignore-not-found",
            "--output",
            "jsonpath={.metadata.annotations.deployment\\.kubernetes\\.io/revision}",
        ]))?;
        Ok(text.trim().parse().unwrap_or(0))
    }

    /// The mesh, and what its removal keeps on purpose.
    fn clear_away(&self) -> anyhow::Result<()> {
        let remove = Task::Remove.request();
        self.host.perform(&remove, "succeeded", LIMIT)?;
        for kept in [
            ["namespace", NAMESPACE],
            ["customresourcedefinition", "greetings.demo.example"],
        ] {
            succeeded(self.cluster.kubectl(&["delete", kept[0], kept[1]]))?;
        }
        Ok(())
    }
}
