//! Parameters that refer to Secrets: adapters and plans have the reference, Secrets the secret, and nobody else anything.

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use libtest_mimic::Trial;
use meshery_tests::artifacts;
use meshery_tests::cluster::Cluster;
use meshery_tests::host::Host;
use meshery_tests::proxy::{Action, FaultProxy};
use serde_json::{Value, json};

use crate::invented::LIMIT;
use crate::namespace::{eventually, succeeded};
use crate::secrets::{Marker, search};
use crate::{cluster, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial(
            "secret_refs::what_a_parameter_refers_to_is_in_secrets_of_the_cluster_and_nowhere_else",
            referred,
        ),
        trial(
            "secret_refs::a_host_killed_between_two_objects_reads_what_is_referred_to_again_or_takes_back",
            killed,
        ),
        trial(
            "secret_refs::a_secret_in_the_open_needs_a_word_and_stays_out_of_records_even_so",
            exposed,
        ),
        trial(
            "secret_refs::a_value_that_a_release_had_before_is_not_repeated_when_it_is_upgraded",
            had_before,
        ),
        trial(
            "secret_refs::what_is_wrong_with_a_reference_is_said_before_anything_is_planned",
            wrong,
        ),
    ]
}

struct Ground {
    cluster: std::sync::Arc<Cluster>,
    host: Host,
    proxy: FaultProxy,
    space: &'static str,
    secret: Marker,
}

impl Ground {
    fn new(space: &'static str) -> anyhow::Result<Self> {
        let cluster = cluster()?;
        let folder = cluster.dir().join("scripted-plugins");
        std::fs::create_dir_all(&folder)?;
        let library = artifacts::build()?.library("fixture_scripted_mesh")?;
        std::fs::copy(library, folder.join("libfixture_scripted_mesh.so"))?;
        let proxy = FaultProxy::start(&cluster)?;
        let host = Host::builder()
            .own_plugins(&["meshery_local_provider"])
            .plugins(folder)
            .kubeconfig(proxy.kubeconfig(cluster.dir()))
            .mirror(crate::releases::mirror(&cluster)?)
            .helm(cluster.helm())
            .env("MESHERY_OFFLINE", "true")
            .settings("[log]\nlevel = \"trace\"\n")
            .start()?;
        let secret = Marker::new(space);
        succeeded(cluster.kubectl(&["create", "namespace", space]))?;
        let source = json!({"apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "source", "namespace": space},
            "data": {"password": STANDARD.encode(&secret.text), "bytes": STANDARD.encode([0xff, 0xfe]),
                "short": STANDARD.encode("abc"), "another": STANDARD.encode("another secret")}});
        let file = cluster.dir().join(format!("{space}.json"));
        std::fs::write(&file, source.to_string())?;
        succeeded(cluster.kubectl(&["create", "-f", &file.to_string_lossy()]))?;
        Ok(Self {
            cluster,
            host,
            proxy,
            space,
            secret,
        })
    }

    fn reference(&self, key: &str) -> Value {
        json!({"secretRef": {"namespace": self.space, "name": "source", "key": key}})
    }

    fn object(&self, kind: &str, name: &str, field: &str, data: Value) -> Value {
        let mut object = json!({"apiVersion": "v1", "kind": kind,
            "metadata": {"name": name, "namespace": self.space}});
        object[field] = data;
        object
    }

    /// A step that applies objects, and one for the release of a chart with objects.
    fn steps(&self, applied: &Value, charted: &Value) -> Value {
        json!([
            {"id": "objects", "kind": "apply", "objects": applied},
            {"id": "release", "kind": "release", "name": "demo", "namespace": self.space,
                "chart": {"name": "pieces", "version": "0.1.0"}, "values": {"objects": charted}},
        ])
    }

    fn value(&self, kind: &str, name: &str, key: &str) -> anyhow::Result<String> {
        let path = format!("jsonpath={{.data.{key}}}");
        succeeded(
            self.cluster
                .kubectl(&["get", kind, name, "--namespace", self.space, "-o", &path]),
        )
    }

    fn preview(&self, id: &str) -> anyhow::Result<Value> {
        self.host
            .post(&format!("/api/v1/operations/{id}/preview"), &json!({}))?
            .expect(200)
    }

    fn cancel(&self, id: &str) -> anyhow::Result<()> {
        self.host.order(id, "cancel").map(drop)
    }

    fn end(self) -> anyhow::Result<()> {
        succeeded(
            self.cluster
                .kubectl(&["delete", "namespace", self.space, "--wait=false"]),
        )
        .map(drop)
    }
}

fn script(steps: &Value, secret: &Value, accept: &[&str]) -> Value {
    json!({"adapter": "scripted", "operation": "script",
        "parameters": {"steps": steps, "secrets": {"p": secret}}, "policy": {"accept": accept}})
}

fn referred() -> anyhow::Result<()> {
    let mut ground = Ground::new("secret-ref")?;
    let applied = json!([
        ground.object("Secret", "text", "stringData", json!({"url": "user:@p@@host"})),
        ground.object("Secret", "data", "data", json!({"url": "@base64:p@"})),
    ]);
    let charted = json!([ground.object("Secret", "chart", "stringData", json!({"url": "@p@"}))]);
    let asked = script(
        &ground.steps(&applied, &charted),
        &ground.reference("password"),
        &[],
    );
    let id = ground.host.plan(&asked)?;
    let preview = ground.preview(&id)?;
    ensure!(preview["counts"]["create"] == 4, "{preview:#}");

    // What is shown and exported is the reference, and the whole request.
    let record = ground.host.record(&id)?;
    ensure!(
        record["parameters"]["secrets"]["p"] == ground.reference("password"),
        "{record:#}"
    );
    let file = ground
        .host
        .get(&format!("/api/v1/operations/{id}/plan"))?
        .expect(200)?;
    ensure!(
        file["request"]["parameters"]["secrets"]["p"] == ground.reference("password")
            && file.get("withheld").is_none(),
        "{file:#}"
    );
    ground.host.order(&id, "run")?;
    let record = ground.host.await_end(&id, LIMIT)?;
    ensure!(
        record["state"] == "succeeded",
        "{record:#}\n{}",
        ground.host.story(&id)
    );
    let secret = ground.secret.text.clone();
    for (name, wanted) in [
        ("text", format!("user:{secret}@host")),
        ("data", secret.clone()),
        ("chart", secret.clone()),
    ] {
        let found = ground.value("secret", name, "url")?;
        ensure!(found == STANDARD.encode(&wanted), "{name}: {found}");
    }
    let theirs = ground
        .cluster
        .run_helm(&["get", "values", "demo", "--namespace", ground.space]);
    ensure!(String::from_utf8_lossy(&theirs.stdout).contains(&secret));
    ground.host.kill()?;
    ground.host.restart()?;
    search(&ground.host, &[&ground.secret], std::slice::from_ref(&id))?;

    // The same again changes nothing; of another secret it is said that it changes, and not how.
    let again = ground.host.plan(&asked)?;
    let preview = ground.preview(&again)?;
    ensure!(
        preview["counts"]["create"] == 1 && preview["counts"]["update"] == 1,
        "{preview:#}"
    );
    let other = script(
        &ground.steps(&applied, &charted),
        &ground.reference("another"),
        &[],
    );
    let other = ground.host.plan(&other)?;
    let preview = ground.preview(&other)?;
    ensure!(preview["counts"]["update"] == 4, "{preview:#}");

    // A reviewed plan is planned again from its references.
    let taken = ground.host.post("/api/v1/plans", &file)?;
    ensure!(
        taken.status == 409 && taken.json()["code"] == "plan-stale",
        "{}",
        taken.text()
    );
    ground.host.take_back(&id, "undone", LIMIT)?;
    let taken = ground.host.post("/api/v1/plans", &file)?.expect(201)?;
    let taken = taken["id"].as_str().context("an id")?.to_owned();
    ensure!(taken != id);
    // Nobody watches what never begins to its end.
    for planned in [&again, &other, &taken] {
        ground.cancel(planned)?;
    }
    search(&ground.host, &[&ground.secret], &[id, again, other, taken])?;
    ground.end()
}

fn killed() -> anyhow::Result<()> {
    let mut ground = Ground::new("secret-ref-kill")?;
    let secret = |name: &str| json!([ground.object("Secret", name, "stringData", json!({"url": "to:@p@"}))]);
    let word = json!({"ref": format!("v1/ConfigMap/{}/word", ground.space), "rule": "exists"});
    let steps = json!([
        {"id": "first", "kind": "apply", "objects": secret("first")},
        {"id": "word", "kind": "wait", "deadline_s": 120, "for": [word], "after": ["first"]},
        {"id": "second", "kind": "apply", "objects": secret("second"), "after": ["word"]},
    ]);
    let wanted = STANDARD.encode(format!("to:{}", ground.secret.text));
    let names = |ground: &Ground| {
        let space = ["--namespace", ground.space, "--output=name"];
        succeeded(
            ground
                .cluster
                .kubectl(&[&["get", "secrets"][..], &space].concat()),
        )
    };
    let mut ids = Vec::new();
    for (policy, end) in [("undo", "undone"), ("resume", "succeeded")] {
        let mut asked = script(&steps, &ground.reference("password"), &[]);
        asked["policy"]["on_interruption"] = policy.into();
        let id = ground.host.plan(&asked)?;
        ground.host.order(&id, "run")?;
        eventually(|| {
            let record = ground.host.record(&id)?;
            ensure!(record["steps"][1]["state"] == "running", "{record:#}");
            Ok(())
        })?;
        ensure!(ground.value("secret", "first", "url")? == wanted);
        ground.host.kill()?;
        ground.host.restart()?;
        if policy == "resume" {
            let space = ["--namespace", ground.space];
            succeeded(
                ground
                    .cluster
                    .kubectl(&[&["create", "configmap", "word"][..], &space].concat()),
            )?;
        }
        ground.host.await_state(&id, &[end], LIMIT)?;
        if policy == "resume" {
            for name in ["first", "second"] {
                ensure!(ground.value("secret", name, "url")? == wanted, "{name}");
            }
        } else {
            let left = names(&ground)?;
            ensure!(left.trim() == "secret/source", "{left}");
        }
        ids.push(id);
    }
    search(&ground.host, &[&ground.secret], &ids)?;
    ground.end()
}

fn exposed() -> anyhow::Result<()> {
    let ground = Ground::new("secret-ref-open")?;
    let open = ground.object("ConfigMap", "open", "data", json!({"url": "x@p@y"}));
    let charted = ground.object("ConfigMap", "charted", "data", json!({"deep": "x@p@"}));
    let steps = ground.steps(&json!([open]), &json!([charted]));
    let reference = ground.reference("password");
    let id = ground.host.plan(&script(&steps, &reference, &[]))?;
    let preview = ground.preview(&id)?;
    let needed = preview["needs_consent"].to_string();
    for word in [
        "exposed-secret",
        "ConfigMap/secret-ref-open/open",
        "data.url",
        "charted",
        "data.deep",
    ] {
        ensure!(needed.contains(word), "{word}: {needed}");
    }
    let refused = ground
        .host
        .post(&format!("/api/v1/operations/{id}/run"), &json!({}))?;
    ensure!(refused.json()["code"] == "consent-required", "{}", refused.text());
    ensure!(
        refused.text().contains("--accept exposed-secret"),
        "{}",
        refused.text()
    );

    let asked = script(&steps, &reference, &["exposed-secret"]);
    let accepted = ground.host.plan(&asked)?;
    ground.preview(&accepted)?;
    ground.host.order(&accepted, "run")?;
    let record = ground.host.await_end(&accepted, LIMIT)?;
    ensure!(record["state"] == "succeeded", "{record:#}");
    ensure!(ground.value("configmap", "open", "url")? == format!("x{}y", ground.secret.text));
    // Once more, over what is there: what was there before is in the journal.
    let another = script(&steps, &ground.reference("another"), &["exposed-secret"]);
    let changed = ground.host.plan(&another)?;
    let preview = ground.preview(&changed)?;
    ensure!(preview["counts"]["update"] == 3, "{preview:#}");
    ground.host.order(&changed, "run")?;
    let record = ground.host.await_end(&changed, LIMIT)?;
    ensure!(record["state"] == "succeeded", "{record:#}");
    ground.host.take_back(&changed, "undone", LIMIT)?;
    ensure!(ground.value("configmap", "open", "url")? == format!("x{}y", ground.secret.text));
    // A refusal of the server may repeat what it refuses.
    let nonsense = ground.object("ConfigMap", "nonsense", "data", json!({"url": ["@p@"]}));
    let steps = json!([{"id": "objects", "kind": "apply", "objects": [nonsense]}]);
    let failing = ground
        .host
        .plan(&script(&steps, &reference, &["exposed-secret"]))?;
    ground.preview(&failing)?;
    ground.host.order(&failing, "run")?;
    let record = ground.host.await_state(&failing, &["failed", "undone"], LIMIT)?;
    ensure!(
        record["error"]["message"]
            .as_str()
            .is_some_and(|message| message.contains("not shown")),
        "{record:#}"
    );
    ground.cancel(&id)?;
    search(
        &ground.host,
        &[&ground.secret],
        &[id, accepted.clone(), changed, failing],
    )?;
    ground.host.take_back(&accepted, "undone", LIMIT)?;
    search(&ground.host, &[&ground.secret], &[accepted])?;
    ground.end()
}

/// Of what somebody has set once, a later plan knows nothing; a chart that refuses it repeats it all the same.
fn had_before() -> anyhow::Result<()> {
    let ground = Ground::new("secret-kept")?;
    let release = |values: Value| {
        let step = json!([{"id": "release", "kind": "release", "name": "demo", "namespace": ground.space,
            "chart": {"name": "pieces", "version": "0.1.0"}, "values": values, "keep_values": true}]);
        json!({"adapter": "scripted", "operation": "script", "parameters": {"steps": step}})
    };
    let first = release(json!({"before": ground.secret.text}));
    let done = ground.host.perform(&first, "succeeded", LIMIT)?;
    let refused = ground.host.post(
        "/api/v1/operations",
        &release(json!({"refuse": {"how": "before"}})),
    )?;
    let problem = refused.problem(400, "chart-declined")?;
    ground.secret.is_absent("the refusal", &refused.body)?;
    ensure!(
        problem.to_string().contains("(not shown) is no password"),
        "{problem:#}"
    );
    let id = done["id"].as_str().context("an id")?;
    ground.host.take_back(id, "undone", LIMIT)?;
    ground.end()
}

fn wrong() -> anyhow::Result<()> {
    let ground = Ground::new("secret-ref-wrong")?;
    let object = ground.object("Secret", "ours", "stringData", json!({"url": "@p@"}));
    let steps = json!([{"id": "objects", "kind": "apply", "objects": [object]}]);
    let of =
        |name: &str, key: &str| json!({"secretRef": {"namespace": ground.space, "name": name, "key": key}});
    let mut named = object.clone();
    named["metadata"]["name"] = "@p@".into();
    let misplaced = json!([{"id": "objects", "kind": "apply", "objects": [named]}]);
    let refused = |asked: &Value, status: u16, code: &str, words: &[&str]| {
        let answer = ground.host.post("/api/v1/operations", asked)?;
        let text = answer.text();
        ensure!(
            answer.status == status && answer.json()["code"] == code,
            "{code}: {text}"
        );
        ensure!(answer.json()["remedy"].is_string(), "{text}");
        for word in words {
            ensure!(text.contains(word), "{word}: {text}");
        }
        ground.secret.is_absent("a refusal", &answer.body)
    };
    for (secret, status, code, words) in [
        (
            of("nowhere", "password"),
            404,
            "secret-ref-not-found",
            &["v1/Secret/secret-ref-wrong/nowhere"][..],
        ),
        (
            of("source", "passwort"),
            404,
            "secret-ref-no-key",
            &["passwort", "password"],
        ),
        (of("source", "bytes"), 400, "secret-ref-not-text", &["bytes"]),
        (of("../x", "y"), 400, "secret-ref-malformed", &["secrets/p"]),
        (
            json!({"secretRef": ground.space}),
            400,
            "secret-ref-malformed",
            &["secrets/p"],
        ),
        // The secret itself is held against the schema.
        (of("source", "short"), 400, "bad-parameter", &["secrets/p"]),
    ] {
        refused(&script(&steps, &secret, &[]), status, code, words)?;
    }
    let open = ground.object("ConfigMap", "ours", "data", json!({"url": "@base64:p@"}));
    let encoded = json!([{"id": "objects", "kind": "apply", "objects": [open]}]);
    let encoded = script(&encoded, &ground.reference("password"), &[]);
    refused(&encoded, 400, "secret-ref-misplaced", &["would encode"])?;
    let misplaced = script(&misplaced, &ground.reference("password"), &[]);
    refused(&misplaced, 400, "secret-ref-misplaced", &["as a name"])?;
    let mut open = script(&steps, &ground.reference("password"), &[]);
    open["parameters"]["steps"][0]["title"] = ground.reference("password");
    refused(&open, 400, "secret-ref-not-allowed", &["steps/0/title"])?;
    // A chart that does not take it says so in words that nobody hears; one that encodes it does not hide it.
    let judging = |key: &str| {
        let release = json!([{"id": "release", "kind": "release", "name": "demo", "namespace": ground.space,
            "chart": {"name": "pieces", "version": "0.1.0-judging"}, "values": {"token": "@p@"}}]);
        script(&release, &ground.reference(key), &[])
    };
    refused(&judging("password"), 400, "secret-ref-refused", &["pieces"])?;
    let id = ground.host.plan(&judging("another"))?;
    let record = ground.host.record(&id)?;
    let needed = record["needs_consent"].to_string();
    ensure!(
        needed.contains("exposed-secret") && needed.contains("judged") && needed.contains("data.token"),
        "{record:#}"
    );
    search(&ground.host, &[&ground.secret], &[])?;
    ground.proxy.on(|request| {
        if request.path.ends_with("/secrets/source") {
            Action::refuse(StatusCode::FORBIDDEN, "Forbidden", "the test says no")
        } else {
            Action::Forward
        }
    });
    let asked = script(&steps, &ground.reference("password"), &[]);
    refused(&asked, 403, "secret-ref-forbidden", &["source"])?;
    ground.proxy.clear();
    // One that goes in between is missed when the object is written.
    let id = ground.host.plan(&asked)?;
    let space = ["--namespace", ground.space];
    succeeded(
        ground
            .cluster
            .kubectl(&[&["delete", "secret", "source"][..], &space].concat()),
    )?;
    ground.host.order(&id, "run")?;
    let record = ground.host.await_state(&id, &["failed", "undone"], LIMIT)?;
    ensure!(record["error"]["code"] == "secret-ref-not-found", "{record:#}");
    ground.end()
}
