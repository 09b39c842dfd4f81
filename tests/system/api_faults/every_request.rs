//! Whatever an operation asks of the cluster, the first try may be lost: for each request that it makes, reading and
//! writing, a fault of another kind.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use http::Method;
use meshery_tests::proxy::{Action, Mutation, RequestInfo, refusal};
use meshery_tests::snapshot::Snapshot;
use serde_json::json;

use super::{Scene, id, perform};
use crate::invented::{LIMIT, request};

const READS: [fn() -> Action; 5] = [
    || Action::DropBefore,
    || Action::CutAnswer,
    || {
        refusal::status(
            500,
            "InternalError",
            "Internal error occurred: etcdserver: leader changed",
        )
    },
    || refusal::text(503, "apiserver is shutting down"),
    || Action::Slow(Duration::from_millis(50)),
];
/// After the write: each is carried out, and the client does not hear of it.
const WRITES: [fn() -> Action; 3] = [
    || Action::DropAfter,
    || Action::CutAnswer,
    || refusal::text(502, "Bad Gateway").after_all(),
];
const WATCHES: [fn() -> Action; 3] = [
    || Action::CutAnswer,
    refusal::expired_event,
    || refusal::status(410, "Expired", "too old resource version"),
];

/// The faults so far: the addresses that were struck, and how many of each kind.
#[derive(Default)]
struct Struck {
    addresses: HashSet<(Method, String)>,
    counts: HashMap<&'static str, usize>,
}

impl Struck {
    fn next(&mut self, kind: &'static str, faults: &[fn() -> Action]) -> Action {
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        faults[(*count - 1) % faults.len()]()
    }

    fn meet(&mut self, request: &RequestInfo) -> Action {
        let address = format!("{}?{}", request.path, request.query.contains("dryRun="));
        if !self.addresses.insert((request.method.clone(), address)) {
            return Action::Forward;
        }
        if request.is_watch() {
            self.next("watch", &WATCHES)
        } else if request.method == Method::GET {
            self.next("read", &READS)
        } else {
            self.next("write", &WRITES)
        }
    }
}

pub fn first_tries() -> anyhow::Result<()> {
    let scene = Scene::new("first-tries")?;
    let before = Snapshot::take(&scene.cluster)?;
    let struck = Arc::new(Mutex::new(Struck::default()));
    let begin = || {
        *struck.lock().unwrap_or_else(PoisonError::into_inner) = Struck::default();
        scene.proxy.forget_mutations();
        let struck = struck.clone();
        scene.proxy.on(move |request| {
            struck
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .meet(request)
        });
    };
    let ended = |least: usize| -> anyhow::Result<()> {
        scene.proxy.clear();
        let struck = struck.lock().unwrap_or_else(PoisonError::into_inner);
        let writes = struck.counts.get("write").copied().unwrap_or_default();
        ensure!(writes >= least, "only {writes} writes: {:?}", struck.addresses);
        same_objects(&scene.proxy.mutations())
    };
    let with_policy = |operation: &str| request(operation, json!({"namespace": scene.space.name}));

    begin();
    let planned = scene.host.plan(&with_policy("install"))?;
    let preview = scene
        .host
        .post(&format!("/api/v1/operations/{planned}/preview"), &json!({}))?
        .expect(200)?;
    ensure!(
        preview["counts"]["error"].as_u64().unwrap_or(0) == 0,
        "{preview:#}"
    );
    super::run(&scene.host, &planned, "succeeded", LIMIT)?;
    ended(12)?;
    begin();
    perform(&scene.host, &with_policy("restart"), "succeeded")?;
    ended(1)?;
    begin();
    let removed = perform(&scene.host, &with_policy("remove"), "succeeded")?;
    ended(8).context("the removal")?;
    begin();
    scene.host.take_back(id(&removed)?, "undone", LIMIT)?;
    ended(8).context("taking the removal back")?;
    let again = perform(&scene.host, &with_policy("remove"), "succeeded")?;
    // The chart asks to keep two of its objects.
    for left in again["left"].as_array().into_iter().flatten() {
        let reference = left["ref"].as_str().unwrap_or_default();
        if let Some((_, name)) = reference.split_once("CustomResourceDefinition//") {
            crate::namespace::succeeded(scene.cluster.kubectl(&["delete", "crd", name]))?;
        } else if let Some((_, name)) = reference.split_once("ConfigMap/") {
            let name = name.rsplit('/').next().unwrap_or_default();
            scene.space.kubectl(&["delete", "configmap", name])?;
        }
    }
    before.await_same(&scene.cluster)
}

/// Whether no request whose answer was lost was carried out a second time on another object.
fn same_objects(mutations: &[Mutation]) -> anyhow::Result<()> {
    let mut made: HashMap<(&Method, &str), &str> = HashMap::new();
    for mutation in mutations {
        let Some((uid, _)) = &mutation.object else {
            continue;
        };
        if mutation.method == Method::DELETE || mutation.status.is_none_or(|status| !status.is_success()) {
            continue;
        }
        let first = made.entry((&mutation.method, &mutation.path)).or_insert(uid);
        ensure!(
            *first == uid || mutation.method == Method::POST,
            "{mutation:?} was {first}"
        );
    }
    Ok(())
}
