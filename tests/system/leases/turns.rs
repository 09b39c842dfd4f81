//! How hosts and their operations take turns when nothing is wrong with any of them, and what is said about it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use libtest_mimic::Trial;
use meshery_tests::host::Host;
use meshery_tests::snapshot::Snapshot;
use serde_json::{Value, json};

use super::{Scribbler, Watched, await_that, edit_lease, lease, make_lease, many, states};
use crate::invented::{LIMIT, invented_host, request};
use crate::namespace::succeeded;
use crate::{cluster, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial(
            "leases::two_hosts_never_change_a_cluster_at_the_same_time",
            one_after_the_other,
        ),
        trial(
            "leases::the_queue_shows_each_operations_place_and_who_is_first",
            places,
        ),
        trial("leases::a_preview_takes_no_lease_and_says_who_holds_it", preview),
        trial(
            "leases::without_the_right_to_leases_it_depends_on_the_setting",
            no_right,
        ),
        trial("leases::the_times_in_a_lease_do_not_matter", nonsense),
    ]
}

fn one_after_the_other() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let before = Snapshot::take(&cluster)?;
    let hosts = [Watched::start(&cluster)?, Watched::start(&cluster)?];
    let mut ids = Vec::new();
    for (number, watched) in hosts.iter().enumerate() {
        watched.slow();
        ids.push(watched.host.plan(&many(&format!("lease-turn-{number}"), 200))?);
    }
    for (watched, id) in hosts.iter().zip(&ids) {
        watched.host.order(id, "run")?;
    }
    for (watched, id) in hosts.iter().zip(&ids) {
        watched.host.await_state(id, &["succeeded"], LIMIT)?;
    }
    let spans: Vec<(Instant, Instant)> = hosts
        .iter()
        .map(|watched| {
            let writes = watched.proxy.mutations();
            ensure!(writes.len() > 200, "{} writes", writes.len());
            Ok((writes[0].at, writes[writes.len() - 1].at))
        })
        .collect::<anyhow::Result<_>>()?;
    ensure!(
        spans[0].1 < spans[1].0 || spans[1].1 < spans[0].0,
        "both wrote at the same time: {spans:?}"
    );
    let names: Vec<String> = hosts
        .iter()
        .zip(&ids)
        .map(|(watched, id)| watched.name(id))
        .collect::<anyhow::Result<_>>()?;
    ensure!(names[0] != names[1], "{names:?}");
    let later = usize::from(spans[0].1 < spans[1].0);
    let story = hosts[later].host.story(&ids[later]);
    ensure!(
        story.contains(&format!("host {} holds the cluster since", names[1 - later])),
        "the one that waited says for whom: {story}"
    );
    let free = || lease(&cluster).is_ok_and(|lease| lease["spec"]["holderIdentity"] == "");
    await_that("the lease is given back", free)?;
    for (watched, id) in hosts.iter().zip(&ids) {
        watched.proxy.clear();
        watched.host.take_back(id, "undone", LIMIT)?;
    }
    before.await_same(&cluster)
}

fn held_up(host: &Host, id: &str) -> anyhow::Result<Value> {
    Ok(host.record(id)?["held_up"].clone())
}

fn places() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let before = Snapshot::take(&cluster)?;
    let watched = Watched::start(&cluster)?;
    watched.slow();
    let host = &watched.host;
    let ids: Vec<String> = (0..3)
        .map(|number| host.plan(&many(&format!("lease-place-{number}"), 400)))
        .collect::<anyhow::Result<_>>()?;
    for id in &ids {
        host.order(id, "run")?;
    }
    watched.await_writes(1)?;
    ensure!(held_up(host, &ids[0])?.is_null());
    ensure!(held_up(host, &ids[1])?["before"] == 1);
    let last = held_up(host, &ids[2])?;
    ensure!(last["before"] == 2, "{last}");
    ensure!(
        last["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains(&ids[0])),
        "{last}"
    );
    let listed = host.get("/api/v1/operations?state=queued")?.expect(200)?;
    let listed = listed["items"].as_array().context("items")?;
    ensure!(
        listed
            .iter()
            .any(|item| item["id"] == ids[2].as_str() && item["held_up"]["before"] == 2),
        "{listed:#?}"
    );
    host.order(&ids[1], "cancel")?;
    host.await_state(&ids[1], &["cancelled"], LIMIT)?;
    ensure!(held_up(host, &ids[2])?["before"] == 1);
    host.order(&ids[0], "cancel")?;
    host.await_state(&ids[0], &["undone"], LIMIT)?;
    watched.proxy.clear();
    host.await_state(&ids[2], &["succeeded"], LIMIT)?;
    host.take_back(&ids[2], "undone", LIMIT)?;
    before.await_same(&cluster)
}

fn preview() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let watched = Watched::start(&cluster)?;
    let host = &watched.host;
    make_lease(host, "lease-preview-first")?;
    let free = || lease(&cluster).is_ok_and(|lease| lease["spec"]["holderIdentity"] == "");
    await_that("the lease is given back", free)?;
    let before = lease(&cluster)?;
    let id = host.plan(&many("lease-preview", 5))?;
    let path = format!("/api/v1/operations/{id}/preview");
    let seen = host.post(&path, &json!({}))?.expect(200)?;
    ensure!(!seen.to_string().contains("holds the cluster"), "{seen:#}");
    ensure!(!seen.to_string().contains("no-lease"), "{seen:#}");
    ensure!(lease(&cluster)? == before, "a preview has written the lease");
    edit_lease(&cluster, &json!({"holderIdentity": "elsewhere/1"}))?;
    let seen = host.post(&path, &json!({}))?.expect(200)?;
    let notes = seen["notes"].to_string();
    ensure!(notes.contains("host elsewhere/1 holds the cluster"), "{seen:#}");
    edit_lease(&cluster, &json!({"holderIdentity": ""}))
}

fn no_right() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let before = Snapshot::take(&cluster)?;
    let grant = [
        [
            "create",
            "clusterrole",
            "leases-none",
            "--verb=get,list,watch,create,patch,delete",
            "--resource=namespaces,configmaps,pods,serviceaccounts",
        ],
        [
            "create",
            "clusterrolebinding",
            "leases-none",
            "--clusterrole=leases-none",
            "--user=limited",
        ],
    ];
    for command in &grant {
        succeeded(cluster.kubectl(command))?;
    }
    let result = (|| {
        let request = request("many", json!({"namespace": "default", "objects": 3, "steps": 1}));
        let risk = |host: &Host, id: &str| -> anyhow::Result<Value> {
            let path = format!("/api/v1/operations/{id}/preview");
            let preview = host.post(&path, &json!({}))?.expect(200)?;
            let risks = preview["risks"].as_array().context("risks")?;
            let risk = risks.iter().find(|risk| risk["code"] == "no-lease");
            Ok(risk.with_context(|| format!("no risk in {preview:#}"))?.clone())
        };
        let host = invented_host(&cluster, cluster.limited_kubeconfig())?.start()?;
        let id = host.plan(&request)?;
        let shown = risk(&host, &id)?;
        ensure!(shown["severity"] == "error", "{shown:#}");
        host.order(&id, "run")?;
        let record = host.await_state(&id, &["failed"], LIMIT)?;
        let error = &record["error"];
        ensure!(error["code"] == "no-lease", "{record:#}");
        let text = error.to_string();
        for word in ["get", "leases", "kube-system", "when-allowed"] {
            ensure!(text.contains(word), "no {word} in {error:#}");
        }
        drop(host);

        let host = invented_host(&cluster, cluster.limited_kubeconfig())?
            .settings("[cluster]\nlease = \"when-allowed\"\n")
            .start()?;
        let id = host.plan(&request)?;
        let shown = risk(&host, &id)?;
        ensure!(shown["severity"] == "warning", "{shown:#}");
        host.order(&id, "run")?;
        host.await_state(&id, &["succeeded"], LIMIT)?;
        host.take_back(&id, "undone", LIMIT)?;
        Ok(())
    })();
    for kind in ["clusterrolebinding", "clusterrole"] {
        succeeded(cluster.kubectl(&["delete", kind, "leases-none"]))?;
    }
    result?;
    before.await_same(&cluster)
}

fn nonsense() -> anyhow::Result<()> {
    const TERM: u64 = 4;
    let cluster = cluster()?;
    let before = Snapshot::take(&cluster)?;
    let watched = Watched::start(&cluster)?;
    let host = &watched.host;
    make_lease(host, "lease-times-first")?;
    for (moment, namespace) in [
        ("1970-01-01T00:00:00.000000Z", "lease-times-past"),
        ("2199-01-01T00:00:00.000000Z", "lease-times-future"),
    ] {
        let ghost = json!({"holderIdentity": "ghost", "leaseDurationSeconds": TERM,
            "acquireTime": moment, "renewTime": moment, "leaseTransitions": i32::MAX});
        edit_lease(&cluster, &ghost)?;
        let id = host.plan(&many(namespace, 3))?;
        let began = Instant::now();
        host.order(&id, "run")?;
        host.await_state(&id, &["succeeded"], LIMIT)?;
        let took = began.elapsed();
        ensure!(
            took >= Duration::from_secs(TERM),
            "{moment}: taken after {took:?}"
        );
        ensure!(took < Duration::from_secs(30), "{moment}: only after {took:?}");
        host.take_back(&id, "undone", LIMIT)?;
    }

    // A holder whose clock goes backwards, and who is alive.
    let scribbler = Scribbler::start(cluster.clone(), |round| {
        let year = 2100 - round;
        json!({"holderIdentity": "backwards", "leaseDurationSeconds": TERM,
            "renewTime": format!("{year}-01-01T00:00:00.000000Z")})
    });
    let held = || lease(&cluster).is_ok_and(|lease| lease["spec"]["holderIdentity"] == "backwards");
    await_that("the holder holds", held)?;
    let id = host.plan(&many("lease-times-alive", 3))?;
    host.order(&id, "run")?;
    std::thread::sleep(Duration::from_secs(TERM * 3));
    ensure!(
        host.record(&id)?["state"] == "queued" && held(),
        "it was taken from a host that is alive: {:?}",
        states(host, &id)
    );
    scribbler.stop()?;
    host.await_state(&id, &["succeeded"], LIMIT)?;
    host.take_back(&id, "undone", LIMIT)?;
    before.await_same(&cluster)
}
