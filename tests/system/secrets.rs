//! A secret that goes through everything is found nowhere but where it belongs.

mod core_dumps;
mod kubeconfigs;
mod marker;
mod plugins;
mod search;

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use libtest_mimic::Trial;
use meshery_tests::cluster::Cluster;
use meshery_tests::host::Host;
use meshery_tests::snapshot::Snapshot;
use serde_json::{Value, json};

use crate::invented::{LIMIT, invented_host};
use crate::namespace::succeeded;
use crate::{cluster, trial};

pub use marker::Marker;
pub use search::search;

pub fn trials() -> Vec<Trial> {
    let own = vec![
        trial(
            "secrets::a_planted_secret_is_in_no_answer_log_event_metric_store_or_backup",
            planted,
        ),
        trial(
            "secrets::a_value_for_a_chart_is_nowhere_but_in_the_record_of_its_release",
            value,
        ),
        trial(
            "secrets::a_planted_secret_is_seen_where_it_is_packed_as_helms_records_are",
            marker::seen_when_packed,
        ),
        trial(
            "secrets::a_lost_key_costs_the_undo_of_what_it_sealed_and_says_so",
            lost_key,
        ),
    ];
    own.into_iter()
        .chain(plugins::trials())
        .chain(kubeconfigs::trials())
        .chain(core_dumps::trials())
        .collect()
}

/// A ConfigMap and a Secret are changed. Without the key the first is as before after an undo, and the second stays and
/// is named.
fn lost_key() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let space = "lost-key";
    let mut host = Host::builder()
        .kubeconfig(cluster.kubeconfig())
        .settings("offline = true\n")
        .start()?;
    succeeded(cluster.kubectl(&["create", "namespace", space]))?;
    let objects = |value: &str| {
        let yaml = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: open}}\ndata: {{value: {value}}}\n---\n\
             apiVersion: v1\nkind: Secret\nmetadata: {{name: sealed}}\nstringData: {{value: {value}}}\n"
        );
        json!({"adapter": "istio", "operation": "apply-custom", "parameters": {"namespace": space, "yaml": yaml}})
    };
    host.perform(&objects("one"), "succeeded", LIMIT)?;
    let before = Snapshot::take(&cluster)?;
    let record = host.perform(&objects("two"), "succeeded", LIMIT)?;
    let id = record["id"].as_str().context("an id")?.to_owned();
    let planned = host.plan(&objects("three"))?;
    host.terminate()?;
    let (key, lost) = (host.data().join("host.key"), host.data().join("lost.key"));
    std::fs::rename(&key, &lost)?;
    host.restart()?;

    host.order(&planned, "run")?;
    let record = host.await_end(&planned, LIMIT)?;
    ensure!(
        record["state"] == "failed" && record["error"]["code"] == "host-key",
        "{record:#}"
    );
    let record = host.take_back(&id, "undo-incomplete", LIMIT)?;
    let left = record["left"].as_array().context("a list")?;
    ensure!(
        left.len() == 1 && left[0]["ref"] == "v1/Secret/lost-key/sealed",
        "{left:#?}"
    );
    let why = left[0]["why"].as_str().context("a reason")?;
    ensure!(
        why.contains("was sealed with a key that this host does not have") && why.contains("host.key"),
        "{why}"
    );
    let value = |kind: &str, name: &str| {
        let path = "jsonpath={.data.value}";
        succeeded(cluster.kubectl(&["get", kind, name, "--namespace", space, "-o", path]))
    };
    ensure!(value("configmap", "open")? == "one");
    ensure!(value("secret", "sealed")? == STANDARD.encode("two"));

    // Put back, it opens what it sealed.
    host.terminate()?;
    std::fs::rename(&lost, &key)?;
    host.restart()?;
    host.take_back(&id, "undone", LIMIT)?;
    before.await_same(&cluster)?;
    succeeded(cluster.kubectl(&["delete", "namespace", space, "--wait=false"])).map(drop)
}

/// A chart that refuses a value, or what helm makes of it, repeats it in words of its own.
fn repeated(host: &Host, space: &str) -> anyhow::Result<()> {
    let secret = Marker::new("repeated");
    let number = format!("77{:08}", std::process::id());
    let refuse = |how: &str, text: Value| {
        let mut asked = crate::releases::pieces(space, &[]);
        asked["parameters"]["values"]["refuse"] = json!({"how": how, "text": text});
        host.post("/api/v1/operations", &asked)
    };
    for (how, code) in [
        ("fail", "chart-declined"),
        ("quoted", "chart-declined"),
        ("include", "chart-template-error"),
        ("schema", "chart-declined"),
        ("object", "chart-rendered-invalid"),
        ("plain", "chart-rendered-invalid"),
    ] {
        let refused = refuse(how, secret.text.as_str().into())?;
        ensure!(refused.json()["code"] == code, "{how}: {}", refused.text());
        secret.is_absent(&format!("the refusal by {how}"), &refused.body)?;
    }
    // What is wrong is still said.
    let refused = refuse("fail", secret.text.as_str().into())?.text();
    ensure!(refused.contains("(not shown) is no password"), "{refused}");
    let refused = refuse("number", serde_json::from_str(&number)?)?.text();
    ensure!(refused.contains("(not shown) is no password"), "{refused}");
    ensure!(!refused.contains(&number), "{refused}");
    // What is open anyway stays readable: a default of the chart, a parameter that is shown.
    for open in ["plain-text", space] {
        let refused = refuse("fail", open.into())?.text();
        ensure!(refused.contains(&format!("{open} is no password")), "{refused}");
    }
    secret.is_absent("the log", host.log().as_bytes())
}

fn value() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let space = "secret-value";
    let host = invented_host(&cluster, cluster.kubeconfig())?
        .mirror(crate::releases::mirror(&cluster)?)
        .settings("[log]\nlevel = \"trace\"\n")
        .start()?;
    succeeded(cluster.kubectl(&["create", "namespace", space]))?;
    let secret = Marker::new("value");
    let mut asked = crate::releases::pieces(space, &[crate::releases::config("open", json!({}))]);
    asked["parameters"]["values"]["password"] = secret.text.as_str().into();
    // And one that is only referred to.
    let referred = Marker::new("referred");
    let literal = format!("token={}", referred.text);
    let in_space = ["--namespace", space, "--from-literal", &literal];
    succeeded(cluster.kubectl(&[&["create", "secret", "generic", "vault"][..], &in_space].concat()))?;
    asked["parameters"]["values"]["deep"] =
        json!([{"token": {"secretRef": {"namespace": space, "name": "vault", "key": "token"}}}]);
    let id = host.plan(&asked)?;
    host.post(&format!("/api/v1/operations/{id}/preview"), &json!({}))?
        .expect(200)?;
    host.order(&id, "run")?;
    let record = host.await_end(&id, LIMIT)?;
    ensure!(record["state"] == "succeeded", "{record:#}");
    // It has arrived: Helm's record has it.
    let theirs = cluster.run_helm(&["get", "values", "demo", "--namespace", space]);
    let values = String::from_utf8_lossy(&theirs.stdout);
    ensure!(
        values.contains(&secret.text) && values.contains(&referred.text),
        "{values}"
    );
    let markers = [&secret, &referred];
    search(&host, &markers, std::slice::from_ref(&id))?;
    host.take_back(&id, "undone", LIMIT)?;
    search(&host, &markers, &[id])?;
    repeated(&host, space)?;
    succeeded(cluster.kubectl(&["delete", "namespace", space, "--wait=false"])).map(drop)
}

fn planted() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let before = Snapshot::take(&cluster)?;
    let mut host = Host::builder()
        .kubeconfig(cluster.kubeconfig())
        .settings("offline = true\n[log]\nlevel = \"trace\"\n")
        .start()?;
    let [old, new, wrong, token] = ["old", "new", "wrong", "token"].map(Marker::new);
    let markers = [&old, &new, &wrong, &token];
    succeeded(cluster.kubectl(&["create", "namespace", "planted"]))?;
    let literal = format!("password={}", old.text);
    let create = [
        "create",
        "secret",
        "generic",
        "theirs",
        "--namespace",
        "planted",
        "--from-literal",
    ];
    succeeded(cluster.kubectl(&[&create[..], &[literal.as_str()]].concat()))?;

    let mut operations = Vec::new();
    let custom = |yaml: String| {
        json!({
            "adapter": "istio", "operation": "apply-custom",
            "parameters": {"namespace": "planted", "yaml": yaml},
            "policy": {"force_conflicts": true, "accept": ["foreign", "adopt"]},
        })
    };
    let secret = |name: &str, value: &str| {
        format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\nstringData: {{password: \"{value}\"}}\n"
        )
    };

    // Changed over what was there before, run, looked at, and over a kill taken back.
    let both = format!(
        "{}---\n{}",
        secret("theirs", &new.text),
        secret("ours", &new.text)
    );
    let planned = host.plan(&custom(both))?;
    operations.push(planned.clone());
    host.post(&format!("/api/v1/operations/{planned}/preview"), &json!({}))?
        .expect(200)?;
    host.order(&planned, "run")?;
    host.await_state(&planned, &["succeeded"], LIMIT)?;
    ensure!(password(&cluster)? == new.text, "it is where it belongs");
    host.kill()?;
    host.restart()?;
    search(&host, &markers, &operations)?;
    host.take_back(&planned, "undone", LIMIT)?;
    ensure!(password(&cluster)? == old.text);

    // The same as a set of one.
    let contexts = host.get("/api/v1/clusters")?.expect(200)?;
    let mut asked = custom(secret("ours", &new.text));
    asked["contexts"] = json!([contexts["items"][0]["context"]]);
    let set = host.post("/api/v1/operation-sets", &asked)?;
    new.is_absent("the answer to a set", &set.body)?;
    let set = set.expect(201)?;
    let of_set = format!("/api/v1/operation-sets/{}", set["id"].as_str().context("an id")?);
    for order in ["preview", "run", "undo"] {
        let answer = host.post(&format!("{of_set}/{order}"), &json!({}))?;
        new.is_absent(order, &answer.body)?;
        ensure!(answer.status < 300, "{order}: {}", answer.text());
        let ended = match order {
            "run" => "succeeded",
            "undo" => "undone",
            _ => continue,
        };
        let deadline = std::time::Instant::now() + LIMIT;
        loop {
            let now = host.get(&of_set)?;
            new.is_absent("a set", &now.body)?;
            if now.json()["state"] == ended {
                break;
            }
            ensure!(std::time::Instant::now() < deadline, "{}", now.text());
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }

    // Ways to fail, each of which may tell what it failed on.
    let mut refused = Vec::new();
    for yaml in [
        format!("kind: Secret\n  broken: {}\n", wrong.text),
        format!("\"{}\"", wrong.text),
        format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: x}}\ndata: {{password: \"{}!\"}}\n",
            wrong.text
        ),
        format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: x}}\ndata: [\"{}\"]\n",
            wrong.text
        ),
    ] {
        let answer = host.post("/api/v1/operations", &custom(yaml))?;
        refused.push(answer.text());
        if answer.status != 201 {
            continue;
        }
        let id = answer.json()["id"].as_str().context("an id")?.to_owned();
        refused.push(
            host.post(&format!("/api/v1/operations/{id}/preview"), &json!({}))?
                .text(),
        );
        host.order(&id, "run")?;
        let record = host.await_state(&id, &["failed", "undone"], LIMIT)?;
        refused.push(record.to_string());
        operations.push(id);
    }
    let mistyped = json!({
        "adapter": "istio", "operation": "apply-custom", "parameters": {"yaml": [wrong.text]},
    });
    refused.push(host.post("/api/v1/operations", &mistyped)?.text());
    for text in &refused {
        wrong.is_absent("a refusal", text.as_bytes())?;
    }

    // A cluster of somebody's: its token is kept, and told to nobody.
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "up",
        "clusters": [{"name": "up", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "up", "user": {"token": token.text}}],
        "contexts": [{"name": "up", "context": {"cluster": "up", "user": "up"}}],
    });
    let upload = json!({"name": "up", "kubeconfig": kubeconfig.to_string()});
    let answer = host.post("/api/v1/clusters", &upload)?;
    token.is_absent("the answer to an upload", &answer.body)?;
    answer.expect(201)?;
    let answer = host.get("/api/v1/clusters/up")?;
    token.is_absent("the answer of a cluster that is not there", &answer.body)?;

    host.terminate()?;
    host.restart()?;
    search(&host, &markers, &operations)?;
    succeeded(cluster.kubectl(&["delete", "namespace", "planted"]))?;
    before.await_same(&cluster)
}

fn password(cluster: &Cluster) -> anyhow::Result<String> {
    let found = cluster.kubectl(&[
        "get",
        "secret",
        "theirs",
        "--namespace",
        "planted",
        "--output",
        "json",
    ]);
    let secret: Value = serde_json::from_str(&succeeded(found)?)?;
    let encoded = secret["data"]["password"].as_str().context("a password")?;
    Ok(String::from_utf8(STANDARD.decode(encoded)?)?)
}
