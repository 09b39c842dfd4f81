//! `kill -9` of the host in the midst of an upgrade of a Helm release: what comes out is the new revision or the old
//! one, and Helm's records say just that.

use anyhow::{Context as _, ensure};
use meshery_tests::cluster::Cluster;
use meshery_tests::host::Host;
use meshery_tests::proxy::FaultProxy;
use meshery_tests::snapshot::Snapshot;
use serde_json::{Value, json};

use super::{KILLS, Point, SEED, Seeded, arm, setting};
use crate::cluster;
use crate::invented::{LIMIT, invented_host};
use crate::namespace::{Namespace, succeeded};
use crate::releases::{config, hook, job, mirror, pieces};

/// How many points are tried unless more kills than usual are asked for.
const FEW: u64 = 5;

pub fn at_any_point() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let space = Namespace::new("kills-upgrades")?;
    let proxy = FaultProxy::start(&cluster)?;
    let mut host = invented_host(&cluster, &proxy.kubeconfig(cluster.dir()))?
        .mirror(mirror(&cluster)?)
        .start()?;
    let first = pieces(
        &space.name,
        &[
            config("changes", json!({"a": "old"})),
            config("falls-away", json!({})),
        ],
    );
    let second = pieces(
        &space.name,
        &[
            config("changes", json!({"a": "new"})),
            config("comes", json!({})),
            hook(job("before", "0"), "pre-upgrade", "0", "hook-succeeded"),
            hook(job("after", "0"), "post-upgrade", "0", ""),
        ],
    );
    host.perform(&first, "succeeded", LIMIT)?;
    let before = Snapshot::take(&cluster)?;
    proxy.forget_mutations();
    let whole = host.perform(&second, "succeeded", LIMIT)?;
    let writes = proxy.mutations().len() as u64;
    host.take_back(whole["id"].as_str().context("an id")?, "undone", LIMIT)?;
    before.await_remade(&cluster)?;

    let seed = setting("MESHERY_TEST_SEED", SEED);
    let kills = setting("MESHERY_TEST_KILLS", KILLS);
    let kills = if kills > KILLS { kills } else { FEW };
    println!("{writes} writes; MESHERY_TEST_SEED={seed} MESHERY_TEST_KILLS={kills}");
    let mut seeded = Seeded::new(seed);
    for round in 0..kills {
        let n = usize::try_from(1 + seeded.below(writes))?;
        let point = if seeded.below(2) == 0 {
            Point::Before(n)
        } else {
            Point::After(n)
        };
        let policy = ["resume", "undo"][usize::try_from(seeded.below(2))?];
        one_kill(&cluster, &mut host, &proxy, (&second, &space.name), point, policy)
            .and_then(|()| before.await_remade(&cluster))
            .with_context(|| format!("round {round}: killed {point:?}, policy {policy}, seed {seed}"))?;
    }
    Ok(())
}

fn one_kill(
    cluster: &Cluster,
    host: &mut Host,
    proxy: &FaultProxy,
    (upgrade, space): (&Value, &str),
    point: Point,
    policy: &str,
) -> anyhow::Result<()> {
    let mut upgrade = upgrade.clone();
    upgrade["policy"] = json!({"on_interruption": policy});
    let id = host.plan(&upgrade)?;
    arm(proxy, host.pid()?, point);
    host.order(&id, "run")?;
    host.wait_ended().context("the host was to be killed")?;
    proxy.clear();
    host.restart()?;
    let record = host.await_state(&id, &["succeeded", "undone", "undo-incomplete"], LIMIT)?;
    let expected: &[&str] = if policy == "undo" {
        &["undone", "succeeded"]
    } else {
        &["succeeded"]
    };
    ensure!(
        expected.iter().any(|state| record["state"] == *state),
        "it ended otherwise: {record:#}\n{}",
        host.story(&id)
    );
    let helm = |args: &[&str]| -> anyhow::Result<Value> {
        let args = [args, &["--namespace", space, "--output=json"]].concat();
        Ok(serde_json::from_str(&succeeded(cluster.run_helm(&args))?)?)
    };
    let history = helm(&["history", "demo"])?;
    let statuses: Vec<&str> = history
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|revision| revision["status"].as_str())
        .collect();
    let list = helm(&["list"])?;
    ensure!(
        list.as_array().is_some_and(|list| list.len() == 1) && list[0]["status"] == "deployed",
        "{list:#}"
    );
    if record["state"] == "succeeded" {
        ensure!(statuses == ["superseded", "deployed"], "{statuses:?}");
        host.take_back(&id, "undone", LIMIT)?;
    } else {
        ensure!(statuses == ["deployed"], "{statuses:?}");
    }
    Ok(())
}
