//! That the proxy fails where it is told to, and nowhere else.

use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, ensure};
use http::{Method, StatusCode};
use libtest_mimic::Trial;
use meshery_tests::cluster::Programs;
use meshery_tests::proxy::{Action, FaultProxy};

use crate::namespace::{Namespace, eventually};
use crate::trial;

pub fn trials() -> Vec<Trial> {
    vec![
        trial(
            "proxy::drop_after_leaves_the_write_done",
            drop_after_leaves_the_write_done,
        ),
        trial(
            "proxy::drop_before_leaves_nothing_done",
            drop_before_leaves_nothing_done,
        ),
        trial(
            "proxy::a_reply_of_its_own_reaches_the_client",
            a_reply_of_its_own_reaches_the_client,
        ),
        trial(
            "proxy::closures_run_before_and_after",
            closures_run_before_and_after,
        ),
        trial(
            "proxy::a_watch_streams_until_it_is_cut",
            a_watch_streams_until_it_is_cut,
        ),
    ]
}

fn drop_after_leaves_the_write_done() -> anyhow::Result<()> {
    let space = Namespace::new("drop-after")?;
    let proxy = FaultProxy::start(&space.cluster)?;
    let through = space.through(&proxy);
    proxy.on(|request| {
        if request.mutating {
            Action::DropAfter
        } else {
            Action::Forward
        }
    });
    ensure!(
        through(&["create", "configmap", "lost-answer"]).is_err(),
        "the answer came through"
    );
    space.kubectl(&["get", "configmap", "lost-answer"])?;
    let [write] = proxy
        .mutations()
        .try_into()
        .map_err(|all| anyhow::anyhow!("not one write: {all:?}"))?;
    ensure!(
        write.method == Method::POST && write.path.ends_with("/configmaps"),
        "{write:?}"
    );
    ensure!(write.status == Some(StatusCode::CREATED), "{write:?}");
    Ok(())
}

fn drop_before_leaves_nothing_done() -> anyhow::Result<()> {
    let space = Namespace::new("drop-before")?;
    let proxy = FaultProxy::start(&space.cluster)?;
    let through = space.through(&proxy);
    // The second write only: the first one and the third are carried out.
    proxy.on(|request| match request.mutations {
        2 if request.mutating => Action::DropBefore,
        _ => Action::Forward,
    });
    through(&["create", "configmap", "one"])?;
    ensure!(
        through(&["create", "configmap", "two"]).is_err(),
        "the second was answered"
    );
    through(&["create", "configmap", "three"])?;
    ensure!(
        space.kubectl(&["get", "configmap", "two"]).is_err(),
        "the second was carried out"
    );
    space.kubectl(&["get", "configmap", "one", "three"])?;
    ensure!(
        proxy
            .mutations()
            .iter()
            .map(|write| write.status.is_some())
            .eq([true, false, true])
    );
    Ok(())
}

fn a_reply_of_its_own_reaches_the_client() -> anyhow::Result<()> {
    let space = Namespace::new("reply")?;
    let proxy = FaultProxy::start(&space.cluster)?;
    proxy.on(|request| {
        if request.path.ends_with("/configmaps") {
            Action::refuse(StatusCode::FORBIDDEN, "Forbidden", "the test says no")
        } else {
            Action::Forward
        }
    });
    let refused = space.through(&proxy)(&["create", "configmap", "a"])
        .err()
        .context("it was let through")?;
    ensure!(format!("{refused:?}").contains("the test says no"), "{refused:?}");
    proxy.clear();
    space.through(&proxy)(&["create", "configmap", "a"])?;
    Ok(())
}

fn closures_run_before_and_after() -> anyhow::Result<()> {
    let space = Namespace::new("closures")?;
    let proxy = FaultProxy::start(&space.cluster)?;
    let there = Arc::new(AtomicBool::new(true));
    // Asks the API server itself whether the object is there, in the middle of the request that makes it.
    let look = {
        let (cluster, name, there) = (space.cluster.clone(), space.name.clone(), there.clone());
        move || {
            let output = cluster.kubectl(&["get", "configmap", "a", "--namespace", &name]);
            there.store(output.status.success(), Ordering::SeqCst);
        }
    };
    let before = look.clone();
    proxy.on(move |request| {
        if request.mutating {
            Action::run(before.clone())
        } else {
            Action::Forward
        }
    });
    space.through(&proxy)(&["create", "configmap", "a"])?;
    ensure!(
        !there.load(Ordering::SeqCst),
        "it was there before the request was sent on"
    );
    space.kubectl(&["delete", "configmap", "a"])?;
    proxy.on(move |request| {
        if request.mutating {
            Action::run_after(look.clone())
        } else {
            Action::Forward
        }
    });
    ensure!(
        space.through(&proxy)(&["create", "configmap", "a"]).is_err(),
        "the answer came through"
    );
    ensure!(
        there.load(Ordering::SeqCst),
        "it was not there after the API server had answered"
    );
    Ok(())
}

fn a_watch_streams_until_it_is_cut() -> anyhow::Result<()> {
    let space = Namespace::new("watch")?;
    let proxy = FaultProxy::start(&space.cluster)?;
    let seen = space.cluster.dir().join("watched");
    let mut watch = Command::new(&Programs::get()?.kubectl)
        .arg("--kubeconfig")
        .arg(proxy.kubeconfig(space.cluster.dir()))
        .args([
            "get",
            "configmaps",
            "--watch-only",
            "-o",
            "name",
            "--namespace",
            &space.name,
        ])
        .stdout(fs::File::create(&seen)?)
        .spawn()?;
    let mut number = 0;
    let streamed = eventually(|| {
        number += 1;
        space.kubectl(&["create", "configmap", &format!("change-{number}")])?;
        ensure!(
            fs::read_to_string(&seen)?.contains("configmap/change-"),
            "the watch has shown nothing"
        );
        Ok(())
    });
    proxy.drop_connections();
    let ended = eventually(|| {
        watch
            .try_wait()?
            .context("the watch goes on although its connection was cut")
    });
    let _ = watch.kill();
    let _ = watch.wait();
    streamed.and(ended.map(|_| ()))
}
