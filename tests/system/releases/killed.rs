//! Releases that a killed helm has left in the middle of whatever it was at, and those of which it has left nothing
//! but the history.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::ensure;
use http::Method;
use meshery_tests::proxy::strike::{Strike, all};
use meshery_tests::proxy::{Action, FaultProxy};
use meshery_tests::snapshot::Snapshot;
use serde_json::{Value, json};

use super::{Ground, Helm, accepting, config, hook, id, job, needs_word};
use crate::invented::LIMIT;

const BOTH: [Helm; 2] = [Helm::Four, Helm::Three];

/// Lets helm work until something holds, and kills it.
fn kill_when(
    ground: &Ground,
    helm: Helm,
    kubeconfig: &Path,
    args: &[&str],
    holds: impl Fn() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let cluster = &ground.cluster;
    let program = match helm {
        Helm::Four => cluster.helm(),
        Helm::Three => cluster.helm3()?,
    };
    let mut helm = cluster
        .command(&program)
        .args(args)
        .args(["--namespace", &ground.space])
        .env("KUBECONFIG", kubeconfig)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let end = Instant::now() + LIMIT;
    while !holds()? {
        ensure!(helm.try_wait()?.is_none(), "helm has ended by itself");
        ensure!(Instant::now() < end, "helm never came so far");
        std::thread::sleep(Duration::from_millis(20));
    }
    helm.kill()?;
    helm.wait()?;
    Ok(())
}

/// Lets helm work until a Job is there that never ends, and kills it.
fn kill_in_hook(ground: &Ground, helm: Helm, args: &[&str], waits_for: &str) -> anyhow::Result<()> {
    kill_when(ground, helm, ground.cluster.kubeconfig(), args, || {
        Ok(ground.get("job", waits_for)?.is_some())
    })
}

/// Lets helm work until it sends such a request about the ConfigMap `piece`, and kills it before anything comes of that.
fn kill_at(ground: &Ground, helm: Helm, method: Method, args: &[&str]) -> anyhow::Result<()> {
    let proxy = FaultProxy::start(&ground.cluster)?;
    let strike = Strike::at(method, "/configmaps/piece", || Action::Stall).always();
    proxy.on(all(vec![strike.clone()]));
    let kubeconfig = proxy.kubeconfig(ground.cluster.dir());
    kill_when(ground, helm, &kubeconfig, args, || Ok(strike.struck() > 0))
}

/// The objects of a version: one that all have, and one that only this has.
fn version(name: &str) -> [Value; 2] {
    [
        config("piece", json!({"a": name})),
        config(&format!("only-{name}"), json!({"b": "1"})),
    ]
}

/// Lets helm do something with a version.
fn helm_version(ground: &Ground, helm: Helm, verb: &str, name: &str) -> anyhow::Result<()> {
    let archive = ground.chart("pieces.tgz")?;
    let file = ground.values(&json!({"objects": version(name)}))?;
    ground.helm(helm, &[verb, "demo", &archive, "-f", &file])?;
    Ok(())
}

/// Does it with the word, looks at what has come of it, and takes it back.
fn there_and_back(
    ground: &Ground,
    request: &Value,
    came_of_it: impl Fn() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let before = Snapshot::take(&ground.cluster)?;
    let request = accepting(request.clone(), &["recover-release"]);
    let done = ground.perform(&request, "succeeded")?;
    came_of_it()?;
    ground.host.take_back(id(&done)?, "undone", LIMIT)?;
    before.await_remade(&ground.cluster)
}

fn nothing_is_left(ground: &Ground) -> anyhow::Result<()> {
    let left = ground.kubectl(&["get", "configmap,secret", "-o", "name"])?;
    let left: Vec<&str> = left
        .lines()
        .filter(|name| *name != "configmap/kube-root-ca.crt")
        .collect();
    ensure!(left.is_empty(), "left behind: {left:?}");
    Ok(())
}

/// A release in the middle of an installation, and of an upgrade.
pub fn recovered() -> anyhow::Result<()> {
    let ground = Ground::new("release-stuck")?;
    BOTH.into_iter().try_for_each(|helm| recovered_of(&ground, helm))
}

fn recovered_of(ground: &Ground, helm: Helm) -> anyhow::Result<()> {
    let archive = ground.chart("pieces.tgz")?;
    let stuck = |data: &str, event: &str| -> anyhow::Result<String> {
        ground.values(&json!({"objects": [
            config("piece", json!({"a": data})),
            config(&format!("only-{data}"), json!({"b": "1"})),
            hook(job("stuck", "never"), event, "0", ""),
        ]}))
    };
    let wanted = ground.pieces(&[config("piece", json!({"a": "ours"}))]);

    let file = stuck("install", "post-install")?;
    kill_in_hook(ground, helm, &["install", "demo", &archive, "-f", &file], "stuck")?;
    ground.expect_statuses(helm, &["pending-install"])?;
    let why = needs_word(ground, &wanted, "recover-release")?;
    ensure!(why.contains("pending-install"), "{why}");
    let before = Snapshot::take(&ground.cluster)?;
    let done = ground.perform(&accepting(wanted.clone(), &["recover-release"]), "succeeded")?;
    // Nothing of the dead installation leaks.
    ensure!(ground.data("piece")?["a"] == "ours" && ground.data("only-install")?.is_null());
    ground.expect_statuses(helm, &["superseded", "deployed"])?;
    // Also the way back is the way back.
    ground.host.take_back(id(&done)?, "undone", LIMIT)?;
    before.await_remade(&ground.cluster)?;
    ground.perform(&accepting(wanted.clone(), &["recover-release"]), "succeeded")?;
    ground.kubectl(&["delete", "job", "stuck"])?;

    let file = stuck("upgrade", "post-upgrade")?;
    kill_in_hook(ground, helm, &["upgrade", "demo", &archive, "-f", &file], "stuck")?;
    ground.expect_statuses(helm, &["superseded", "deployed", "pending-upgrade"])?;
    needs_word(ground, &wanted, "recover-release")?;
    ground.perform(&accepting(wanted, &["recover-release"]), "succeeded")?;
    ground.kubectl(&["delete", "job", "stuck"])?;
    ensure!(ground.data("piece")?["a"] == "ours" && ground.data("only-upgrade")?.is_null());
    let last = ground.statuses(helm)?;
    ensure!(last.last().is_some_and(|status| status == "deployed"), "{last:?}");

    // And helm works on it again.
    let file = ground.values(&json!({"objects": [config("piece", json!({"a": "helm's"}))]}))?;
    ground.helm(helm, &["upgrade", "demo", &archive, "-f", &file])?;
    ensure!(ground.data("piece")?["a"] == "helm's");
    ground.helm(helm, &["uninstall", "demo"])?;
    nothing_is_left(ground)
}

pub fn rollback() -> anyhow::Result<()> {
    let ground = Ground::new("release-killed-rollback")?;
    for helm in BOTH {
        helm_version(&ground, helm, "install", "first")?;
        helm_version(&ground, helm, "upgrade", "second")?;
        kill_at(&ground, helm, Method::PATCH, &["rollback", "demo", "1"])?;
        ground.expect_statuses(helm, &["superseded", "deployed", "pending-rollback"])?;

        let (install, back, remove) = (
            ground.pieces(&version("ours")),
            ground.on_release("release-rollback"),
            ground.on_release("release-remove"),
        );
        for request in [&install, &back, &remove] {
            let why = needs_word(&ground, request, "recover-release")?;
            ensure!(
                why.contains("revision 3") && why.contains("pending-rollback"),
                "{why}"
            );
        }
        let is = |name: &str| -> anyhow::Result<()> {
            ensure!(ground.data("piece")?["a"] == name);
            for other in ["first", "second", "ours"] {
                let there = !ground.data(&format!("only-{other}"))?.is_null();
                ensure!(there == (other == name), "only-{other} beside {name}");
            }
            ground.expect_statuses(helm, &["superseded", "superseded", "superseded", "deployed"])
        };
        there_and_back(&ground, &install, || is("ours"))?;
        there_and_back(&ground, &back, || is("second"))?;
        there_and_back(&ground, &remove, || nothing_is_left(&ground))?;

        // And helm works on it again.
        ground.perform(&accepting(back, &["recover-release"]), "succeeded")?;
        helm_version(&ground, helm, "upgrade", "third")?;
        ground.helm(helm, &["uninstall", "demo"])?;
        nothing_is_left(&ground)?;
    }
    Ok(())
}

pub fn removal() -> anyhow::Result<()> {
    let ground = Ground::new("release-killed-removal")?;
    for helm in BOTH {
        helm_version(&ground, helm, "install", "first")?;
        kill_at(&ground, helm, Method::DELETE, &["uninstall", "demo"])?;
        ground.expect_statuses(helm, &["uninstalling"])?;

        let (install, remove) = (
            ground.pieces(&version("ours")),
            ground.on_release("release-remove"),
        );
        for request in [&install, &remove] {
            let why = needs_word(&ground, request, "recover-release")?;
            ensure!(why.contains("uninstalling"), "{why}");
        }
        there_and_back(&ground, &remove, || nothing_is_left(&ground))?;
        there_and_back(&ground, &install, || {
            ensure!(ground.data("piece")?["a"] == "ours" && ground.data("only-first")?.is_null());
            ground.expect_statuses(helm, &["superseded", "deployed"])
        })?;
        ground.perform(&accepting(install, &["recover-release"]), "succeeded")?;
        helm_version(&ground, helm, "upgrade", "second")?;
        ground.helm(helm, &["uninstall", "demo"])?;
        nothing_is_left(&ground)?;
    }
    Ok(())
}

/// What is known only as history is installed as if for the first time, can be gone back to, and goes with a removal.
pub fn history() -> anyhow::Result<()> {
    let ground = Ground::new("release-history")?;
    for helm in BOTH {
        helm_version(&ground, helm, "install", "first")?;
        ground.helm(helm, &["uninstall", "demo", "--keep-history"])?;
        ground.expect_statuses(helm, &["uninstalled"])?;
        ensure!(ground.data("piece")?.is_null());

        let mut objects = version("ours").to_vec();
        objects.push(hook(job("installs", "0"), "pre-install", "0", ""));
        objects.push(hook(job("upgrades", "0"), "pre-upgrade", "0", ""));
        there_and_back(&ground, &ground.pieces(&objects), || {
            ensure!(ground.data("piece")?["a"] == "ours");
            ensure!(ground.get("job", "installs")?.is_some() && ground.get("job", "upgrades")?.is_none());
            ground.expect_statuses(helm, &["uninstalled", "deployed"])
        })?;

        let back = ground.on_release("release-rollback");
        let problem = ground
            .host
            .post("/api/v1/operations", &back)?
            .problem(404, "unknown-revision")?;
        ensure!(
            problem["remedy"].to_string().contains("1 (uninstalled)"),
            "{problem:#}"
        );
        let mut to_the_first = back;
        to_the_first["parameters"]["revision"] = 1.into();
        there_and_back(&ground, &to_the_first, || {
            ensure!(ground.data("piece")?["a"] == "first" && !ground.data("only-first")?.is_null());
            ground.expect_statuses(helm, &["uninstalled", "deployed"])
        })?;
        ground
            .host
            .post("/api/v1/operations", &ground.on_release("release-test"))?
            .problem(404, "unknown-release")?;

        let remove = ground.on_release("release-remove");
        there_and_back(&ground, &remove, || nothing_is_left(&ground))?;
        ground.expect_statuses(helm, &["uninstalled"])?;

        // Ours on top of the history is helm's to go on with.
        ground.perform(&ground.pieces(&version("ours")), "succeeded")?;
        helm_version(&ground, helm, "upgrade", "second")?;
        ground.helm(helm, &["rollback", "demo", "2"])?;
        ensure!(ground.data("piece")?["a"] == "ours");
        ground.perform(&remove, "succeeded")?;
        nothing_is_left(&ground)?;
    }
    Ok(())
}
