//! Several hosts on one cluster: they take turns by the cluster's Lease, and who loses it writes nothing more,
//! whether it was killed, stopped for a while, robbed, or cut off.

mod turns;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use http::Method;
use libtest_mimic::Trial;
use meshery_tests::cluster::Cluster;
use meshery_tests::host::Host;
use meshery_tests::proxy::{Action, FaultProxy, RequestInfo};
use meshery_tests::snapshot::Snapshot;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::invented::{LIMIT, invented_host, request};
use crate::namespace::succeeded;
use crate::{cluster, trial};

pub fn trials() -> Vec<Trial> {
    let mut trials = vec![
        trial(
            "leases::a_host_that_was_killed_is_followed_within_the_term",
            killed,
        ),
        trial(
            "leases::a_host_that_was_stopped_for_longer_than_the_lease_writes_nothing_more",
            stopped,
        ),
        trial("leases::a_lease_taken_by_hand_halts_the_run", stolen),
        trial(
            "leases::what_cannot_renew_its_lease_halts_and_goes_on_when_it_has_it_again",
            cut_off,
        ),
        trial("leases::an_undo_halts_too_and_goes_on", undo_halts),
    ];
    trials.extend(turns::trials());
    trials
}

/// The term in these tests: short, and long enough for a busy machine to renew it.
const TERM: Duration = Duration::from_secs(6);
/// What each write takes, so that an operation is in the middle for some seconds.
const SLOW: Duration = Duration::from_millis(150);

/// A host, and the proxy through which it reaches the cluster.
struct Watched {
    host: Host,
    proxy: FaultProxy,
}

impl Watched {
    fn start(cluster: &Cluster) -> anyhow::Result<Self> {
        let proxy = FaultProxy::start(cluster)?;
        let host = invented_host(cluster, &proxy.kubeconfig(cluster.dir()))?
            .settings(&format!("[cluster]\nlease_seconds = {}\n", TERM.as_secs()))
            .start()?;
        Ok(Self { host, proxy })
    }

    /// Makes each of its writes slow.
    fn slow(&self) {
        self.proxy.on(slowly);
    }

    fn writes(&self) -> usize {
        self.proxy.mutations().len()
    }

    /// Waits until it is in the middle of its work.
    fn await_writes(&self, count: usize) -> anyhow::Result<()> {
        await_that("the host writes", || self.writes() >= count)
    }

    /// How the host is called in Leases.
    fn name(&self, id: &str) -> anyhow::Result<String> {
        let record = self.host.record(id)?;
        let name = record["host"].as_str();
        Ok(name.with_context(|| format!("no host in {record:#}"))?.to_owned())
    }

    fn stay_quiet(&self, written: usize) -> anyhow::Result<()> {
        std::thread::sleep(Duration::from_secs(3));
        let more = &self.proxy.mutations()[written..];
        ensure!(
            more.is_empty(),
            "it has written after it lost the cluster: {more:#?}"
        );
        Ok(())
    }
}

fn slowly(request: &RequestInfo) -> Action {
    if request.mutating {
        Action::run(|| std::thread::sleep(SLOW))
    } else {
        Action::Forward
    }
}

fn await_that(what: &str, mut condition: impl FnMut() -> bool) -> anyhow::Result<()> {
    let end = Instant::now() + LIMIT;
    while !condition() {
        ensure!(Instant::now() < end, "{what}: not within {LIMIT:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Many objects, in steps that come one after the other.
fn many(namespace: &str, objects: usize) -> Value {
    request(
        "many",
        json!({"namespace": namespace, "objects": objects, "steps": 10}),
    )
}

/// The same, to stay as it is after an interruption.
fn asking(namespace: &str, objects: usize) -> Value {
    let mut request = many(namespace, objects);
    request["policy"] = json!({"on_interruption": "ask"});
    request
}

fn states(host: &Host, id: &str) -> anyhow::Result<Vec<String>> {
    let record = host
        .get(&format!("/api/v1/operations/{id}/record"))?
        .expect(200)?;
    let events = record["events"].as_array().context("events")?;
    Ok(events
        .iter()
        .filter(|event| event["kind"] == "state")
        .filter_map(|event| event["state"].as_str().map(str::to_owned))
        .collect())
}

pub fn lease(cluster: &Cluster) -> anyhow::Result<Value> {
    let text = succeeded(cluster.kubectl(&[
        "get",
        "lease",
        "meshery",
        "--namespace",
        "kube-system",
        "--output",
        "json",
    ]))?;
    Ok(serde_json::from_str(&text)?)
}

/// Writes into the Lease as anybody may by hand.
fn edit_lease(cluster: &Cluster, spec: &Value) -> anyhow::Result<()> {
    let patch = json!({"spec": spec}).to_string();
    succeeded(cluster.kubectl(&[
        "patch",
        "lease",
        "meshery",
        "--namespace",
        "kube-system",
        "--type",
        "merge",
        "--patch",
        &patch,
    ]))?;
    Ok(())
}

/// Runs something small, so that the Lease is there and free.
fn make_lease(host: &Host, namespace: &str) -> anyhow::Result<()> {
    let record = host.perform(&many(namespace, 1), "succeeded", LIMIT)?;
    host.take_back(record["id"].as_str().context("an id")?, "undone", LIMIT)?;
    Ok(())
}

fn killed() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let before = Snapshot::take(&cluster)?;
    let (mut first, second) = (Watched::start(&cluster)?, Watched::start(&cluster)?);
    first.slow();
    let works = first.host.plan(&many("lease-killed", 800))?;
    let waits = second.host.plan(&many("lease-killed-next", 20))?;
    first.host.order(&works, "run")?;
    first.await_writes(60)?;
    let name = first.name(&works)?;
    second.host.order(&waits, "run")?;
    let mut reason = String::new();
    await_that("the second host says for whom it waits", || {
        let record = second.host.record(&waits).unwrap_or_default();
        record["held_up"]["reason"]
            .as_str()
            .unwrap_or_default()
            .clone_into(&mut reason);
        record["state"] == "queued" && reason.contains(&name)
    })?;
    ensure!(reason.contains("holds the cluster since"), "{reason}");
    std::thread::sleep(Duration::from_secs(1));
    ensure!(
        second.writes() == 0,
        "it writes while another host holds the cluster"
    );

    first.host.kill()?;
    let died = Instant::now();
    second.await_writes(1)?;
    let took = second.proxy.mutations()[0].at - died;
    println!("a second host writes {took:?} after the kill of the first; the term is {TERM:?}");
    ensure!(took >= TERM / 2, "{took:?}: before the first was certainly gone");
    // The aim is two seconds; the rest is for a machine that does other things.
    ensure!(took <= TERM + Duration::from_secs(8), "{took:?}");
    second.host.await_state(&waits, &["succeeded"], LIMIT)?;

    first.proxy.clear();
    first.host.restart()?;
    first.host.await_state(&works, &["succeeded"], LIMIT)?;
    first.host.take_back(&works, "undone", LIMIT)?;
    second.host.take_back(&waits, "undone", LIMIT)?;
    before.await_same(&cluster)
}

fn stopped() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let before = Snapshot::take(&cluster)?;
    let (first, second) = (Watched::start(&cluster)?, Watched::start(&cluster)?);
    first.slow();
    let works = first.host.plan(&asking("lease-stopped", 800))?;
    let next = second.host.plan(&many("lease-stopped-next", 100))?;
    first.host.order(&works, "run")?;
    first.await_writes(60)?;
    first.host.signal(Signal::STOP)?;
    // What it had sent already arrives.
    std::thread::sleep(Duration::from_secs(1));
    let written = first.writes();
    let finished = (|| {
        second.host.order(&next, "run")?;
        second.host.await_state(&next, &["succeeded"], LIMIT)
    })();
    first.proxy.clear();
    first.host.signal(Signal::CONT)?;
    finished?;
    let record = first.host.await_state(&works, &["interrupted"], LIMIT)?;
    first.stay_quiet(written)?;
    ensure!(written < 801, "it was over before it was stopped");
    ensure!(record["error"]["code"] == "lease-lost", "{record:#}");
    let message = record["error"]["message"].as_str().unwrap_or_default();
    ensure!(message.contains("process was stopped"), "{message}");

    // Once somebody says so it goes on where it was.
    first.host.order(&works, "resume")?;
    let record = first.host.await_state(&works, &["succeeded"], LIMIT)?;
    ensure!(record["error"].is_null(), "{record:#}");
    first.host.take_back(&works, "undone", LIMIT)?;
    second.host.take_back(&next, "undone", LIMIT)?;
    before.await_same(&cluster)
}

fn stolen() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let before = Snapshot::take(&cluster)?;
    let first = Watched::start(&cluster)?;
    first.slow();
    let works = first.host.plan(&asking("lease-stolen", 800))?;
    first.host.order(&works, "run")?;
    first.await_writes(60)?;
    edit_lease(
        &cluster,
        &json!({"holderIdentity": "somebody", "leaseDurationSeconds": 4}),
    )?;
    let record = first.host.await_state(&works, &["interrupted"], LIMIT)?;
    first.stay_quiet(first.writes())?;
    ensure!(record["error"]["code"] == "lease-lost", "{record:#}");
    ensure!(
        record["error"]["message"]
            .as_str()
            .is_some_and(|text| text.contains("host somebody has taken it")),
        "{record:#}"
    );
    ensure!(
        lease(&cluster)?["spec"]["holderIdentity"] == "somebody",
        "what is not ours is not given back"
    );
    first.proxy.clear();
    first.host.order(&works, "resume")?;
    first.host.await_state(&works, &["succeeded"], LIMIT)?;

    // Deleted, it is lost too: anybody may have made it anew and had it.
    let again = first.host.plan(&many("lease-deleted", 800))?;
    first.proxy.forget_mutations();
    first.slow();
    first.host.order(&again, "run")?;
    first.await_writes(30)?;
    succeeded(cluster.kubectl(&["delete", "lease", "meshery", "--namespace", "kube-system"]))?;
    first.host.await_state(&again, &["succeeded"], LIMIT)?;
    let states = states(&first.host, &again)?;
    ensure!(
        states
            .windows(3)
            .any(|three| three == ["interrupted", "queued", "running"]),
        "{states:?}"
    );
    first.proxy.clear();
    first.host.take_back(&again, "undone", LIMIT)?;
    first.host.take_back(&works, "undone", LIMIT)?;
    before.await_same(&cluster)
}

/// Refuses what would renew the Lease while `cut` is set.
fn cut(proxy: &FaultProxy, cut: Arc<AtomicBool>) {
    proxy.on(move |request| {
        let renewal = request.method == Method::PUT && request.path.ends_with("/leases/meshery");
        if renewal && cut.load(Ordering::SeqCst) {
            let status = http::StatusCode::INTERNAL_SERVER_ERROR;
            return Action::refuse(status, "InternalError", "etcdserver: no leader");
        }
        slowly(request)
    });
}

fn cut_off() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let before = Snapshot::take(&cluster)?;
    let first = Watched::start(&cluster)?;
    let is_cut = Arc::new(AtomicBool::new(false));
    cut(&first.proxy, is_cut.clone());
    let works = first.host.plan(&many("lease-cut-off", 1000))?;
    first.host.order(&works, "run")?;
    first.await_writes(60)?;
    is_cut.store(true, Ordering::SeqCst);
    let began = Instant::now();
    await_that("the run halts", || {
        states(&first.host, &works).is_ok_and(|states| states.iter().any(|state| state == "interrupted"))
    })?;
    let halted = began.elapsed();
    ensure!(
        halted < TERM,
        "after {halted:?}, when another host may have the cluster"
    );
    first.stay_quiet(first.writes())?;
    let story = first.host.story(&works);
    ensure!(story.contains("no leader"), "the reason is in {story}");
    is_cut.store(false, Ordering::SeqCst);
    first.host.await_state(&works, &["succeeded"], LIMIT)?;
    first.proxy.clear();
    first.host.take_back(&works, "undone", LIMIT)?;
    before.await_same(&cluster)
}

fn undo_halts() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let before = Snapshot::take(&cluster)?;
    let first = Watched::start(&cluster)?;
    let record = first.host.perform(&many("lease-undo", 800), "succeeded", LIMIT)?;
    let id = record["id"].as_str().context("an id")?;
    let is_cut = Arc::new(AtomicBool::new(false));
    cut(&first.proxy, is_cut.clone());
    first.proxy.forget_mutations();
    first.host.order(id, "undo")?;
    first.await_writes(60)?;
    is_cut.store(true, Ordering::SeqCst);
    await_that("the undo halts", || {
        states(&first.host, id).is_ok_and(|states| states.iter().any(|state| state == "interrupted"))
    })?;
    first.stay_quiet(first.writes())?;
    is_cut.store(false, Ordering::SeqCst);
    let record = first
        .host
        .await_state(id, &["undone", "undo-incomplete"], LIMIT)?;
    ensure!(record["state"] == "undone", "{record:#}");
    before.await_same(&cluster)
}

/// Writes into the Lease again and again until it is dropped.
struct Scribbler {
    end: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
    failed: Arc<Mutex<Option<String>>>,
}

impl Scribbler {
    fn start(cluster: Arc<Cluster>, spec: impl Fn(usize) -> Value + Send + 'static) -> Self {
        let (end, failed) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::default()));
        let thread = {
            let (end, failed) = (end.clone(), failed.clone());
            std::thread::spawn(move || {
                for round in 0.. {
                    if end.load(Ordering::SeqCst) {
                        return;
                    }
                    if let Err(error) = edit_lease(&cluster, &spec(round)) {
                        *failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner) =
                            Some(format!("{error:#}"));
                        return;
                    }
                    std::thread::sleep(Duration::from_millis(500));
                }
            })
        };
        Self {
            end,
            thread: Some(thread),
            failed,
        }
    }

    fn stop(mut self) -> anyhow::Result<()> {
        self.end.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            ensure!(thread.join().is_ok(), "the scribbler has panicked");
        }
        let failed = self
            .failed
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        ensure!(failed.is_none(), "{failed:?}");
        Ok(())
    }
}

impl Drop for Scribbler {
    fn drop(&mut self) {
        self.end.store(true, Ordering::SeqCst);
    }
}
