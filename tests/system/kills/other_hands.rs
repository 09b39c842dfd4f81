//! `kill -9` of the host around a write, and somebody else's hand on the object before the host is back: what they have done is
//! neither taken for the run's nor overwritten, and an undo leaves it.

use anyhow::{Context as _, ensure};
use http::Method;
use meshery_tests::host::Host;
use meshery_tests::proxy::strike::{Strike, all};
use meshery_tests::proxy::{Action, FaultProxy};
use serde_json::{Value, json};

use super::kill;
use crate::cluster;
use crate::invented::{LIMIT, invented_host, request};
use crate::namespace::{Namespace, succeeded};

struct Scene {
    host: Host,
    proxy: FaultProxy,
    space: Namespace,
}

impl Scene {
    /// An object of somebody's, `there`.
    fn made(&self) -> anyhow::Result<()> {
        self.kubectl(&["delete", "configmap", "there", "--ignore-not-found"])?;
        self.kubectl(&["create", "configmap", "there", "--from-literal=b=1"])?;
        Ok(())
    }

    fn kubectl(&self, args: &[&str]) -> anyhow::Result<String> {
        succeeded(
            self.space
                .cluster
                .kubectl(&[args, &["--namespace", &self.space.name]].concat()),
        )
    }

    fn there(&self) -> anyhow::Result<Value> {
        let text = self.kubectl(&["get", "configmap", "there", "--output=json"])?;
        Ok(serde_json::from_str(&text)?)
    }

    /// A run that writes to the object is killed there, and the host is back when the other hand has done its work.
    fn interrupted(
        &mut self,
        is_written: bool,
        other_hand: impl Fn(&Self) -> anyhow::Result<()>,
    ) -> anyhow::Result<String> {
        let id = self.host.plan(&request(
            "conflict",
            json!({"namespace": self.space.name, "name": "there"}),
        ))?;
        let pid = self.host.pid()?;
        let strike = Strike::at(Method::PATCH, "/configmaps/there", move || {
            if is_written {
                return Action::run_after(move || kill(pid));
            }
            kill(pid);
            Action::DropBefore
        });
        self.proxy.on(all(vec![strike]));
        self.host.order(&id, "run")?;
        self.host.wait_ended().context("the host was to be killed")?;
        self.proxy.clear();
        let is_there = self.there()?["data"]["value"] == "ours";
        ensure!(is_there == is_written, "the host was killed at another moment");
        other_hand(self)?;
        self.host.restart()?;
        Ok(id)
    }
}

pub fn before_it_goes_on() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let proxy = FaultProxy::start(&cluster)?;
    let mut scene = Scene {
        host: invented_host(&cluster, &proxy.kubeconfig(cluster.dir()))?.start()?,
        proxy,
        space: Namespace::new("kills-hands")?,
    };
    for is_written in [false, true] {
        let killed = |what: &str| {
            format!(
                "{what}, the host killed {}",
                if is_written { "after" } else { "before" }
            )
        };
        changed(&mut scene, is_written).with_context(|| killed("changed"))?;
        replaced(&mut scene, is_written).with_context(|| killed("replaced"))?;
        minded(&mut scene, is_written).with_context(|| killed("minded"))?;
    }
    Ok(())
}

fn changed(scene: &mut Scene, is_written: bool) -> anyhow::Result<()> {
    scene.made()?;
    let id = scene.interrupted(is_written, |scene| {
        let patch = r#"--patch={"data":{"b":"2","theirs":"yes"},"metadata":{"labels":{"theirs":"yes"}}}"#;
        scene.kubectl(&["patch", "configmap", "there", "--type=merge", patch])?;
        Ok(())
    })?;
    scene.host.await_state(&id, &["succeeded"], LIMIT)?;
    let data = scene.there()?["data"].clone();
    ensure!(
        data == json!({"b": "2", "theirs": "yes", "value": "ours"}),
        "{data:#}"
    );
    scene.host.take_back(&id, "undone", LIMIT)?;
    let now = scene.there()?;
    ensure!(
        now["data"] == json!({"b": "2", "theirs": "yes"}) && now["metadata"]["labels"]["theirs"] == "yes",
        "{now:#}"
    );
    Ok(())
}

fn replaced(scene: &mut Scene, is_written: bool) -> anyhow::Result<()> {
    scene.made()?;
    let id = scene.interrupted(is_written, Scene::made)?;
    let theirs = scene.there()?;
    let record = scene
        .host
        .await_state(&id, &["undo-incomplete", "undone", "succeeded"], LIMIT)?;
    ensure!(
        record["state"] == "undo-incomplete" && record["error"]["code"] == "stale",
        "{record:#}\n{}",
        scene.host.story(&id)
    );
    let now = scene.there()?;
    ensure!(now == theirs, "{now:#}, not {theirs:#}");
    Ok(())
}

fn minded(scene: &mut Scene, is_written: bool) -> anyhow::Result<()> {
    scene.made()?;
    let id = scene.interrupted(is_written, |scene| {
        let argo = "argocd.argoproj.io/tracking-id=shop:/ConfigMap:kills-hands/there";
        scene.kubectl(&["annotate", "configmap", "there", argo])?;
        Ok(())
    })?;
    let record = scene
        .host
        .await_state(&id, &["undone", "undo-incomplete", "succeeded"], LIMIT)?;
    ensure!(
        record["state"] == "undone" && record["error"]["code"] == "consent-required",
        "{record:#}\n{}",
        scene.host.story(&id)
    );
    let now = scene.there()?;
    ensure!(now["data"] == json!({"b": "1"}), "{now:#}");
    Ok(())
}
