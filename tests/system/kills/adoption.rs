//! `kill -9` of the host while a release takes over what others have made: between the fields' change of hands and the first write
//! of its own, after that, and while either is taken back. What comes out is the release's, or theirs to the last field.

use anyhow::{Context as _, ensure};
use meshery_tests::cluster::Cluster;
use meshery_tests::host::Host;
use meshery_tests::owners::Owners;
use meshery_tests::proxy::FaultProxy;
use meshery_tests::snapshot::Snapshot;
use serde_json::{Value, json};

use super::{Point, arm};
use crate::cluster;
use crate::invented::{LIMIT, invented_host};
use crate::namespace::{Namespace, succeeded};
use crate::releases::{config, mirror, pieces};

pub fn at_its_points() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let space = Namespace::new("kills-adoption")?;
    let file = cluster.dir().join("kills-adoption.json");
    std::fs::write(
        &file,
        config("there", json!({"a": "theirs", "gone": "x"})).to_string(),
    )?;
    let apply = ["apply", "--namespace", &space.name, "--filename"];
    succeeded(cluster.kubectl(&[&apply[..], &[&file.to_string_lossy()]].concat()))?;
    let proxy = FaultProxy::start(&cluster)?;
    let mut host = invented_host(&cluster, &proxy.kubeconfig(cluster.dir()))?
        .mirror(mirror(&cluster)?)
        .start()?;
    let wish = pieces(&space.name, &[config("there", json!({"a": "ours"}))]);
    let theirs = Theirs::take(&cluster, &space.name)?;

    // Where the two writes to the object are among all of them.
    let wish = |policy: &str| {
        let mut wish = wish.clone();
        wish["policy"] = json!({"on_interruption": policy, "accept": ["adopt"]});
        wish
    };
    proxy.forget_mutations();
    let whole = host.perform(&wish("resume"), "succeeded", LIMIT)?;
    let hands = *of_object(&proxy).first().context("the object is written to")?;
    let id = whole["id"].as_str().context("an id")?;
    proxy.forget_mutations();
    host.take_back(id, "undone", LIMIT)?;
    let mut undoing = of_object(&proxy);
    theirs.await_again(&cluster, &space.name)?;

    let mut points = vec![
        (Point::After(hands), "resume"),
        (Point::After(hands), "undo"),
        (Point::After(hands + 1), "undo"),
    ];
    if std::env::var_os("MESHERY_TEST_KILLS").is_some() {
        points.push((Point::After(hands + 1), "resume"));
    } else {
        // The one that gives the fields back to their owners.
        undoing.drain(..undoing.len().saturating_sub(1));
    }
    ensure!(!undoing.is_empty(), "an undo writes to the object");
    for (point, policy) in points {
        let id = host.plan(&wish(policy))?;
        arm(&proxy, host.pid()?, point);
        host.order(&id, "run")?;
        revived(&mut host, &proxy)?;
        let ended = if policy == "undo" { "undone" } else { "succeeded" };
        let record = host.await_state(&id, &["succeeded", "undone", "undo-incomplete"], LIMIT)?;
        ensure!(
            record["state"] == ended,
            "killed {point:?}, policy {policy}: {record:#}\n{}",
            host.story(&id)
        );
        if ended == "succeeded" {
            let now = there(&cluster, &space.name)?;
            ensure!(
                now["data"] == json!({"a": "ours"})
                    && now["metadata"]["annotations"]["meshery.io/adopted-from"]
                        == "kubectl-client-side-apply",
                "killed {point:?}: {now:#}"
            );
            host.take_back(&id, "undone", LIMIT)?;
        }
        theirs
            .await_again(&cluster, &space.name)
            .with_context(|| format!("killed {point:?}, policy {policy}"))?;
    }
    for n in undoing {
        let whole = host.perform(&wish("resume"), "succeeded", LIMIT)?;
        let id = whole["id"].as_str().context("an id")?;
        arm(&proxy, host.pid()?, Point::After(n));
        host.order(id, "undo")?;
        revived(&mut host, &proxy)?;
        let record = host.await_state(id, &["undone", "undo-incomplete", "succeeded"], LIMIT)?;
        ensure!(
            record["state"] == "undone",
            "killed after write {n} of the undo: {record:#}"
        );
        theirs
            .await_again(&cluster, &space.name)
            .with_context(|| format!("killed after write {n} of the undo"))?;
    }
    Ok(())
}

/// The numbers of the writes to the object among all that came by.
fn of_object(proxy: &FaultProxy) -> Vec<usize> {
    let writes = proxy.mutations();
    let of_object = writes
        .iter()
        .zip(1..)
        .filter(|(write, _)| write.path.ends_with("/configmaps/there"));
    of_object.map(|(_, number)| number).collect()
}

fn revived(host: &mut Host, proxy: &FaultProxy) -> anyhow::Result<()> {
    host.wait_ended().context("the host was to be killed")?;
    proxy.clear();
    host.restart()
}

fn there(cluster: &Cluster, space: &str) -> anyhow::Result<Value> {
    let get = ["get", "configmap", "there", "--namespace", space, "--output=json"];
    Ok(serde_json::from_str(&succeeded(cluster.kubectl(&get))?)?)
}

/// The cluster as it was, with who owned what of the object.
struct Theirs {
    objects: Snapshot,
    owners: Owners,
}

impl Theirs {
    fn take(cluster: &Cluster, space: &str) -> anyhow::Result<Self> {
        Ok(Self {
            objects: Snapshot::take(cluster)?,
            owners: Owners::take(cluster)?.within(space),
        })
    }

    fn await_again(&self, cluster: &Cluster, space: &str) -> anyhow::Result<()> {
        self.objects.await_same(cluster)?;
        let differences = self.owners.differences(&Owners::take(cluster)?.within(space));
        ensure!(differences.is_empty(), "{}", differences.join("\n"));
        Ok(())
    }
}
