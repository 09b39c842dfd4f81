//! What does not pass while things are taken back or removed: one object that stays keeps no other.

use anyhow::{Context as _, ensure};
use http::Method;
use meshery_tests::proxy::strike::{Strike, all};
use meshery_tests::proxy::{Action, refusal};
use meshery_tests::snapshot::Snapshot;
use serde_json::{Value, json};

use super::{Scene, id, object, perform, told};
use crate::invented::{LIMIT, request};
use crate::kills::{SEED, is_long, setting};
use crate::namespace::{eventually, succeeded};

/// What is answered, the code that it has as a problem of an operation, and words of it.
type Refusal = (fn() -> Action, &'static str, &'static str);

const REFUSALS: [Refusal; 3] = [
    (forbidden, "forbidden", "not allowed to"),
    (
        || refusal::status(500, "InternalError", "the disk of this one is broken"),
        "cluster-answer",
        "the disk of this one is broken",
    ),
    (
        || refusal::text(503, "service unavailable\n"),
        "cluster-answer",
        "with 503",
    ),
];

const METHODS: [Method; 2] = [Method::GET, Method::DELETE];

/// Each refusal of each request in a long run; otherwise each refusal once, of which request is decided by the seed.
fn cases() -> impl Iterator<Item = (Refusal, Method)> {
    let first = setting("MESHERY_TEST_SEED", SEED);
    (0_u64..)
        .zip(REFUSALS)
        .flat_map(|(at, refusal)| {
            (0_u64..)
                .zip(METHODS)
                .map(move |(method, of)| (at + method, refusal, of))
        })
        .filter(move |(turn, ..)| is_long() || (first + turn).is_multiple_of(2))
        .map(|(_, refusal, method)| (refusal, method))
}

fn forbidden() -> Action {
    refusal::status(
        403,
        "Forbidden",
        "it is forbidden: User \"u\" cannot delete resource \"configmaps\" in API group \"\" in the namespace \"ns\"",
    )
}

/// Takes back what keeps just the second ConfigMap, for this reason.
fn keeps_one(scene: &Scene, operation: &str, why: &str) -> anyhow::Result<()> {
    let record = scene.host.take_back(operation, "undo-incomplete", LIMIT)?;
    let left: Vec<&Value> = record["left"].as_array().into_iter().flatten().collect();
    ensure!(
        left.len() == 1
            && left[0]["ref"].to_string().contains(&object(1))
            && left[0]["why"].as_str().is_some_and(|said| said.contains(why)),
        "{record:#}"
    );
    let there = scene.left()?;
    ensure!(
        there.len() == 1 && there[0].ends_with(&object(1)),
        "left behind: {there:?}"
    );
    Ok(())
}

/// Once nothing is in the way any more.
fn then_whole(scene: &Scene, operation: &str) -> anyhow::Result<()> {
    let record = scene.host.take_back(operation, "undone", LIMIT)?;
    ensure!(record["left"].as_array().is_none_or(Vec::is_empty), "{record:#}");
    scene.nothing_is_left()
}

pub fn one_object() -> anyhow::Result<()> {
    let scene = Scene::new("undoing")?;
    for ((make, _, words), method) in cases() {
        let attempt = || -> anyhow::Result<()> {
            let record = perform(&scene.host, &scene.many(4, 2), "succeeded")?;
            let operation = id(&record)?;
            let path = format!("/configmaps/{}", object(1));
            let strike = Strike::at(method.clone(), path, make).always();
            scene.proxy.on(all(vec![strike.clone()]));
            if method == Method::GET {
                let preview = scene
                    .host
                    .get(&format!("/api/v1/operations/{operation}/undo-preview"))?
                    .expect(200)?;
                let counts = &preview["counts"];
                ensure!(counts["error"] == 1 && counts["delete"] == 3, "{preview:#}");
            }
            keeps_one(&scene, operation, words)?;
            scene.proxy.clear();
            ensure!(strike.struck() > 0, "nothing was in the way");
            then_whole(&scene, operation)
        };
        attempt().with_context(|| format!("{words} at {method}"))?;
    }
    Ok(())
}

/// A deletion to which no answer ever comes keeps no other, as long as the server answers everything else; one that answers
/// nobody has all of them wait.
pub fn never_answered() -> anyhow::Result<()> {
    let scene = Scene::new("undoing-stalled")?;
    let record = perform(&scene.host, &scene.many(4, 2), "succeeded")?;
    let operation = id(&record)?;
    let strike = Strike::on(|request| !request.path.contains("/leases/"), || Action::Stall);
    scene.proxy.on(all(vec![strike.always()]));
    let record = scene.host.take_back(operation, "interrupted", LIMIT)?;
    ensure!(record["left"].as_array().is_none_or(Vec::is_empty), "{record:#}");
    scene.proxy.clear();
    let path = format!("/configmaps/{}", object(1));
    let strike = Strike::at(Method::DELETE, path, || Action::Stall).always();
    scene.proxy.on(all(vec![strike.clone()]));
    keeps_one(&scene, operation, "took longer than")?;
    scene.proxy.clear();
    ensure!(strike.struck() > 0, "nothing was in the way");
    then_whole(&scene, operation)
}

/// Where nobody can tell whether a release was brought further since, what it has made stays, and all else goes.
pub fn records() -> anyhow::Result<()> {
    let scene = Scene::new("undoing-records")?;
    let before = Snapshot::take(&scene.cluster)?;
    let install = json!({"namespace": scene.space.name, "objects": 2});
    let record = perform(&scene.host, &request("install", install), "succeeded")?;
    let operation = id(&record)?;
    let broken = || refusal::status(500, "InternalError", "the list is broken");
    let strike = Strike::at(Method::GET, "/secrets", broken).always();
    scene.proxy.on(all(vec![strike]));
    let record = scene.host.take_back(operation, "undo-incomplete", LIMIT)?;
    scene.proxy.clear();
    let left: Vec<&Value> = record["left"].as_array().into_iter().flatten().collect();
    let of_release = |left: &&Value| {
        let why = left["why"].as_str().unwrap_or_default();
        why.contains("brought further since cannot be told") && why.contains("the list is broken")
    };
    ensure!(!left.is_empty() && left.iter().all(of_release), "{record:#}");
    ensure!(
        !scene.left()?.iter().any(|name| name.contains("object-")),
        "{record:#}"
    );
    scene.host.take_back(operation, "undone", LIMIT)?;
    before.await_same(&scene.cluster)
}

/// A server that fails at everything is away: nothing is given up for what passes.
pub fn every_object() -> anyhow::Result<()> {
    let scene = Scene::new("undoing-nothing")?;
    let record = perform(&scene.host, &scene.many(4, 2), "succeeded")?;
    let operation = id(&record)?;
    let leases = |path: &str| path.contains("/leases/");
    let strike = Strike::on(
        move |request| !leases(&request.path),
        || refusal::text(503, "service unavailable\n"),
    );
    scene.proxy.on(all(vec![strike.always()]));
    let record = scene.host.take_back(operation, "interrupted", LIMIT)?;
    ensure!(record["left"].as_array().is_none_or(Vec::is_empty), "{record:#}");
    scene.proxy.clear();
    then_whole(&scene, operation)
}

/// A webhook that nobody serves and that is asked about the deletion of the second ConfigMap.
fn guard(scene: &Scene) -> Value {
    let space = &scene.space;
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": space.name},
        "webhooks": [{
            "name": "guard.others.example", "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "failurePolicy": "Fail",
            "clientConfig": {"service": {"namespace": space.name, "name": "guard"}},
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": space.name}},
            "matchConditions": [{"name": "one", "expression": format!("request.name == '{}'", object(1))}],
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["DELETE"], "resources": ["configmaps"]}],
        }],
    })
}

pub fn guarded() -> anyhow::Result<()> {
    let scene = Scene::new("guarded")?;
    let space = &scene.space;
    space.kubectl(&["create", "service", "clusterip", "guard", "--tcp=443:443"])?;
    let record = perform(&scene.host, &scene.many(4, 2), "succeeded")?;
    let remove = || {
        let name = &space.name;
        let configuration = "validatingwebhookconfiguration";
        space
            .cluster
            .kubectl(&["delete", configuration, name, "--ignore-not-found"])
    };
    let deletable = || space.kubectl(&["delete", "configmap", &object(1), "--dry-run=server"]);
    let result = (|| {
        space.apply(&guard(&scene).to_string())?;
        eventually(|| {
            ensure!(deletable().is_err(), "the webhook is not asked yet");
            Ok(())
        })?;
        keeps_one(&scene, id(&record)?, "guard.others.example")
    })();
    succeeded(remove())?;
    result?;
    eventually(deletable)?;
    then_whole(&scene, id(&record)?)
}

/// A removal that cannot see or delete one object ends there, and what it has removed is back.
pub fn removal() -> anyhow::Result<()> {
    let scene = Scene::new("removing")?;
    let install = json!({"namespace": scene.space.name, "chart": false});
    perform(&scene.host, &request("install", install), "succeeded")?;
    let before = Snapshot::take(&scene.cluster)?;
    let remove = request("remove", json!({"namespace": scene.space.name}));
    for ((make, code, words), method) in cases() {
        let attempt = || -> anyhow::Result<()> {
            let planned = scene.host.plan(&remove)?;
            let path = "/services/invented-controller";
            let strike = Strike::at(method.clone(), path, make).always();
            scene.proxy.on(all(vec![strike]));
            let record = super::run(&scene.host, &planned, "undone", LIMIT)?;
            scene.proxy.clear();
            told(&record, code, &[words])?;
            before.await_remade(&scene.cluster)
        };
        attempt().with_context(|| format!("{words} at {method}"))?;
    }
    perform(&scene.host, &remove, "succeeded")?;
    Ok(())
}
