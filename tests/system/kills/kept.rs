//! `kill -9` of the host where a failure is kept, before Helm's record has heard of it: whoever goes on says so.

use anyhow::{Context as _, ensure};
use http::Method;
use meshery_tests::proxy::strike::{Strike, all};
use meshery_tests::proxy::{Action, FaultProxy};
use serde_json::{Value, json};

use super::kill;
use crate::cluster;
use crate::invented::{LIMIT, invented_host};
use crate::namespace::{Namespace, succeeded};
use crate::releases::{config, hook, job, mirror, pieces};

pub fn before_the_record() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let space = Namespace::new("kills-kept")?;
    let proxy = FaultProxy::start(&cluster)?;
    let mut host = invented_host(&cluster, &proxy.kubeconfig(cluster.dir()))?
        .mirror(mirror(&cluster)?)
        .start()?;
    let objects = [
        config("piece", json!({})),
        hook(job("fails", "1"), "post-install", "0", ""),
    ];
    let mut wish = pieces(&space.name, &objects);
    wish["policy"] = json!({"on_failure": "keep"});
    let id = host.plan(&wish)?;
    let pid = host.pid()?;
    // The first write makes the record.
    let strike = Strike::at(Method::PATCH, "/secrets/sh.helm.release.v1.demo.v1", move || {
        kill(pid);
        Action::DropBefore
    })
    .from_the(2);
    proxy.on(all(vec![strike.clone()]));
    host.order(&id, "run")?;
    host.wait_ended().context("the host was to be killed")?;
    ensure!(strike.struck() == 1);
    let history = || -> anyhow::Result<Value> {
        let args = ["history", "demo", "--namespace", &space.name, "--output=json"];
        let told = succeeded(cluster.run_helm(&args))?;
        let revisions: Value = serde_json::from_str(&told)?;
        Ok(revisions[0]["status"].clone())
    };
    ensure!(history()? == "pending-install", "nobody has said so yet");
    proxy.clear();
    host.restart()?;
    let record = host.await_state(&id, &["failed", "succeeded", "undone"], LIMIT)?;
    ensure!(
        record["state"] == "failed" && record["error"]["code"] == "hook-failed",
        "{record:#}\n{}",
        host.story(&id)
    );
    ensure!(history()? == "failed", "{record:#}");
    Ok(())
}
