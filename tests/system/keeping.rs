//! How long operations stay, how they are given up, and that the same request twice is one operation.

mod aged;

use anyhow::{Context as _, ensure};
use libtest_mimic::Trial;
use meshery_tests::cluster::Cluster;
use meshery_tests::host::{Answer, Host};
use meshery_tests::proxy::{Action, FaultProxy};
use meshery_tests::snapshot::Snapshot;
use serde_json::{Value, json};

use crate::invented::{LIMIT, invented_host, request};
use crate::namespace::{eventually, succeeded};
use crate::releases::{self, accepting, config, hook, job};
use crate::{cluster, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("keeping::the_same_request_twice_is_one_operation", same_request),
        trial(
            "keeping::old_operations_go_and_what_is_half_way_and_the_newest_stay",
            retention,
        ),
        trial("keeping::what_was_done_long_ago_is_taken_back", aged::taken_back),
        trial(
            "keeping::an_operation_that_is_given_up_lists_what_it_leaves_behind",
            given_up,
        ),
        trial(
            "keeping::an_interrupted_operation_whose_cluster_is_gone_is_given_up_without_the_hooks_that_went",
            cluster_gone,
        ),
    ]
}

fn host(cluster: &Cluster) -> anyhow::Result<Host> {
    invented_host(cluster, cluster.kubeconfig())?.start()
}

fn with_key(host: &Host, key: &str, asked: &Value) -> anyhow::Result<Answer> {
    let headers = [("idempotency-key", key)];
    host.client()?
        .send("POST", "/api/v1/operations", &headers, Some(asked))
}

fn count(host: &Host) -> anyhow::Result<usize> {
    let page = host.get("/api/v1/operations")?.expect(200)?;
    Ok(page["items"].as_array().context("a list")?.len())
}

fn same_request() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let mut host = host(&cluster)?;
    let asked = request("many", json!({"namespace": "twice", "objects": 2, "steps": 1}));
    let first = with_key(&host, "one", &asked)?.expect(201)?;
    let again = with_key(&host, "one", &asked)?;
    ensure!(
        again
            .headers
            .get("idempotent-replayed")
            .is_some_and(|value| value == "true")
    );
    ensure!(again.expect(200)?["id"] == first["id"]);
    let other = request("many", json!({"namespace": "thrice", "objects": 2, "steps": 1}));
    with_key(&host, "one", &other)?.problem(409, "idempotency-key-reused")?;
    with_key(&host, "has space", &asked)?.problem(400, "bad-idempotency-key")?;
    let fresh = with_key(&host, "two", &asked)?.expect(201)?;
    ensure!(fresh["id"] != first["id"]);

    // A host that is killed has not forgotten it.
    host.kill()?;
    host.restart()?;
    let after = with_key(&host, "one", &asked)?.expect(200)?;
    ensure!(after["id"] == first["id"]);

    // Sent at the same time, they are one as well.
    let before = count(&host)?;
    let answers: Vec<anyhow::Result<Answer>> = std::thread::scope(|scope| {
        let sending: Vec<_> = (0..6)
            .map(|_| scope.spawn(|| with_key(&host, "three", &asked)))
            .collect();
        sending
            .into_iter()
            .map(|sent| sent.join().map_err(|_| anyhow::anyhow!("a request panicked"))?)
            .collect()
    });
    let mut made = 0;
    for answer in answers {
        let answer = answer?;
        ensure!([200, 201].contains(&answer.status), "{}", answer.text());
        made += usize::from(answer.status == 201);
    }
    ensure!(made == 1, "{made} requests say that they have made an operation");
    ensure!(count(&host)? == before + 1);
    Ok(())
}

fn retention() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let mut host = invented_host(&cluster, cluster.kubeconfig())?
        .settings("[operations]\nkeep = 1\nkeep_days = 0\nkeep_plans_days = 30\n")
        .start()?;
    let before = Snapshot::take(&cluster)?;
    let asked = request("many", json!({"namespace": "keep", "objects": 2, "steps": 1}));
    let done = |host: &Host| -> anyhow::Result<String> {
        let planned = host.plan(&asked)?;
        host.order(&planned, "run")?;
        host.await_state(&planned, &["succeeded"], LIMIT)?;
        host.take_back(&planned, "undone", LIMIT)?;
        Ok(planned)
    };
    let oldest = done(&host)?;
    let waiting = host.plan(&request(
        "staged",
        json!({"namespace": "keep-gate", "approval": true}),
    ))?;
    host.order(&waiting, "run")?;
    host.await_state(&waiting, &["paused"], LIMIT)?;
    let planned = host.plan(&asked)?;
    let second = done(&host)?;
    let newest = done(&host)?;
    // That the newest has ended may be in the list a moment later only: until then it is not counted.
    eventually(|| {
        let pruned = host.post("/api/v1/operations/prune", &json!({}))?.expect(200)?;
        // Some may have gone by themselves: the host looks from time to time.
        ensure!(
            pruned["operations"].as_u64().is_some_and(|gone| gone <= 2),
            "{pruned:#}"
        );
        for gone in [&oldest, &second] {
            let path = format!("/api/v1/operations/{gone}");
            host.get(&path)?.problem(404, "unknown-operation")?;
            host.get(&format!("{path}/events"))?
                .problem(404, "unknown-operation")?;
        }
        Ok(())
    })?;
    // The newest can still be looked at whole, although it shares content with those that went.
    host.get(&format!("/api/v1/operations/{newest}/record"))?
        .expect(200)?;
    host.get(&format!("/api/v1/operations/{planned}/record"))?
        .expect(200)?;
    host.terminate()?;
    host.restart()?;
    host.await_state(&waiting, &["paused"], LIMIT)?;
    host.order(&planned, "run")?;
    host.await_state(&planned, &["succeeded"], LIMIT)?;
    host.take_back(&planned, "undone", LIMIT)?;
    host.order(&waiting, "cancel")?;
    host.await_state(&waiting, &["undone"], LIMIT)?;
    before.await_same(&cluster)
}

fn given_up() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let host = host(&cluster)?;
    let asked = request("many", json!({"namespace": "given-up", "objects": 2, "steps": 1}));
    let planned = host.plan(&asked)?;
    host.order(&planned, "run")?;
    host.await_state(&planned, &["succeeded"], LIMIT)?;
    let forget = format!("/api/v1/operations/{planned}/forget");
    host.post(&forget, &json!({}))?.problem(409, "not-forgettable")?;
    succeeded(cluster.kubectl(&["create", "configmap", "theirs", "--namespace", "given-up"]))?;
    host.take_back(&planned, "undo-incomplete", LIMIT)?;

    let problem = host.post(&forget, &json!({}))?.problem(409, "leaves-behind")?;
    ensure!(
        problem["detail"]
            .as_str()
            .is_some_and(|text| text.contains("v1/Namespace//given-up")),
        "{problem:#}"
    );
    let record = host
        .post(&format!("{forget}?leave_behind=true"), &json!({}))?
        .expect(200)?;
    ensure!(record["state"] == "forgotten", "{record:#}");
    let left = record["left"].as_array().context("what is left")?;
    ensure!(
        left.len() == 1 && left[0]["ref"] == "v1/Namespace//given-up",
        "{record:#}"
    );
    host.post(&format!("/api/v1/operations/{planned}/undo"), &json!({}))?
        .problem(409, "nothing-to-undo")?;
    succeeded(cluster.kubectl(&["delete", "namespace", "given-up"]))?;
    Ok(())
}

fn cluster_gone() -> anyhow::Result<()> {
    const SPACE: &str = "gone-cluster";
    let cluster = cluster()?;
    let proxy = FaultProxy::start(&cluster)?;
    let mut host = invented_host(&cluster, &proxy.kubeconfig(cluster.dir()))?
        .mirror(releases::mirror(&cluster)?)
        .start()?;
    succeeded(cluster.kubectl(&["create", "namespace", SPACE]))?;
    let mut asked = releases::pieces(
        SPACE,
        &[
            hook(job("goes", "0"), "pre-install", "0", "hook-succeeded"),
            config("piece", json!({})),
            hook(job("endless", "never"), "post-install", "0", ""),
        ],
    );
    asked["policy"] = json!({"on_interruption": "ask"});
    let planned = host.plan(&asked)?;
    host.order(&planned, "run")?;
    eventually(|| succeeded(cluster.kubectl(&["get", "job", "endless", "--namespace", SPACE])))?;
    host.kill()?;
    proxy.on(|_| Action::DropBefore);
    host.restart()?;
    host.await_state(&planned, &["interrupted"], LIMIT)?;

    let forget = format!("/api/v1/operations/{planned}/forget");
    let problem = host.post(&forget, &json!({}))?.problem(409, "leaves-behind")?;
    let record = host
        .post(&format!("{forget}?leave_behind=true"), &json!({}))?
        .expect(200)?;
    ensure!(record["state"] == "forgotten", "{record:#}");
    let left: Vec<&str> = record["left"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|left| left["ref"].as_str())
        .filter_map(|name| name.rsplit('/').next())
        .collect();
    ensure!(
        left == ["piece", "sh.helm.release.v1.demo.v1", "endless"],
        "{left:?}: {problem:#}"
    );
    // What became of the hook that went is in the story.
    let story = host.story(&planned);
    ensure!(story.contains("as its delete policy says"), "{story}");

    // It keeps nobody from the cluster when that is back.
    proxy.clear();
    let next = releases::pieces(SPACE, &[config("next", json!({}))]);
    let next = accepting(next, &["recover-release"]);
    host.perform(&next, "succeeded", LIMIT)?;
    succeeded(cluster.kubectl(&["delete", "namespace", SPACE]))?;
    Ok(())
}
