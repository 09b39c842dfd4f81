//! Everything that callers can get wrong, field by field: each gets an answer that names what is wrong.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use libtest_mimic::Trial;
use meshery_tests::host::{Answer, Client, Host};
use serde_json::{Value, json};

use crate::trial;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("host::every_wrong_field_is_named", wrong_fields),
        trial("host::what_is_not_json_is_said_with_its_place", not_json),
        trial("host::other_media_types_are_refused", other_media_types),
        trial("host::unknown_routes_and_methods_are_said", unknown_routes),
        trial("host::wrong_queries_are_named", wrong_queries),
        trial("host::an_order_takes_no_body", order_with_body),
        trial("host::unknown_things_are_named", unknown_things),
        trial("host::garbage_kubeconfigs_are_named", garbage_kubeconfigs),
        trial("host::random_bytes_never_break_it", random_bytes),
    ]
}

/// What is wrong, and words of the answer.
type Wrong<'a> = (&'a str, Value, &'a [&'a str]);

fn refuses(client: &Client, method: &str, path: &str, cases: &[Wrong<'_>]) -> anyhow::Result<()> {
    for (what, body, words) in cases {
        let answer = client.send(method, path, &[], Some(body))?;
        said(&answer, "bad-field", words).with_context(|| format!("{method} {path}, {what}"))?;
    }
    Ok(())
}

fn said(answer: &Answer, code: &str, words: &[&str]) -> anyhow::Result<()> {
    let problem = answer.problem(400, code)?;
    let detail = problem["detail"].as_str().unwrap_or_default();
    for word in words {
        ensure!(detail.contains(word), "no {word} in: {detail}");
    }
    Ok(())
}

fn wrong_fields() -> anyhow::Result<()> {
    let host = Host::builder().start()?;
    let client = host.client()?;
    let valid = json!({"adapter": "a", "operation": "b", "context": "c", "parameters": {"d": 1},
        "policy": {"on_failure": "undo", "on_interruption": "ask", "approval": true, "force_conflicts": false}});
    // Every field with a value of every other type.
    let values = [
        Value::Null,
        json!(true),
        json!(1.5),
        json!("text"),
        json!([1]),
        json!({"x": 1}),
    ];
    let fields: [(&str, &[usize]); 9] = [
        ("/adapter", &[3]),
        ("/operation", &[3]),
        ("/context", &[0, 3]),
        ("/parameters", &[5]),
        ("/policy", &[]),
        ("/policy/on_failure", &[]),
        ("/policy/on_interruption", &[]),
        ("/policy/approval", &[1]),
        ("/policy/force_conflicts", &[1]),
    ];
    for (field, right) in fields {
        for (n, value) in values.iter().enumerate().filter(|(n, _)| !right.contains(n)) {
            let mut body = valid.clone();
            *body.pointer_mut(field).context("the field is there")? = value.clone();
            let answer = client.send("POST", "/api/v1/operations", &[], Some(&body))?;
            let name = field.trim_start_matches('/').replace('/', ".");
            said(&answer, "bad-field", &[&name, "line 1 column "])
                .with_context(|| format!("{field} with value {n}: {value}"))?;
        }
    }
    let operation: [Wrong<'_>; 9] = [
        ("a list", json!([]), &["a list", "an object"]),
        ("a text", json!("x"), &["a text", "an object"]),
        ("nothing", json!({}), &["missing field `adapter`"]),
        (
            "no operation",
            json!({"adapter": "a"}),
            &["missing field `operation`"],
        ),
        (
            "unknown",
            json!({"adapter": "a", "operation": "b", "adaptor": "c"}),
            &["unknown field `adaptor`"],
        ),
        (
            "unknown in policy",
            json!({"adapter": "a", "operation": "b", "policy": {"on_faliure": "undo"}}),
            &["policy.on_faliure", "unknown field", "`on_failure`"],
        ),
        (
            "unknown policy",
            json!({"adapter": "a", "operation": "b", "policy": {"on_failure": "panic"}}),
            &["policy.on_failure", "panic", "`undo`"],
        ),
        (
            "unknown policy",
            json!({"adapter": "a", "operation": "b", "policy": {"on_interruption": "forget"}}),
            &["policy.on_interruption", "forget"],
        ),
        (
            "number too large",
            json!({"adapter": 1e300, "operation": "b"}),
            &["adapter"],
        ),
    ];
    refuses(client, "POST", "/api/v1/operations", &operation)?;
    let cluster: [Wrong<'_>; 5] = [
        ("nothing", json!({}), &["missing field `name`"]),
        (
            "no kubeconfig",
            json!({"name": "x"}),
            &["missing field `kubeconfig`"],
        ),
        ("null", json!({"name": null, "kubeconfig": ""}), &["name", "null"]),
        (
            "an object",
            json!({"name": "x", "kubeconfig": {}}),
            &["kubeconfig", "string"],
        ),
        (
            "unknown",
            json!({"name": "x", "kubeconfig": "", "path": "/etc"}),
            &["unknown field `path`"],
        ),
    ];
    refuses(client, "POST", "/api/v1/clusters", &cluster)?;
    let document: [Wrong<'_>; 5] = [
        ("nothing", json!({}), &["missing field `body`"]),
        (
            "unknown",
            json!({"body": 1, "owner": "x"}),
            &["unknown field `owner`"],
        ),
        ("labels", json!({"body": 1, "labels": []}), &["labels", "map"]),
        (
            "a label",
            json!({"body": 1, "labels": {"a": 1}}),
            &["labels.a", "string"],
        ),
        ("null", json!({"body": 1, "labels": null}), &["labels", "null"]),
    ];
    refuses(client, "PUT", "/api/v1/documents/note/x", &document)?;
    Ok(())
}

fn not_json() -> anyhow::Result<()> {
    let host = Host::builder().start()?;
    let client = host.client()?;
    let deep = format!(
        "{{\"adapter\":\"a\",\"operation\":\"b\",\"parameters\":{{\"x\":{}",
        "[".repeat(500_000)
    );
    let json = [("content-type", "application/json; charset=utf-8")];
    for (text, words) in [
        ("", ["line 1", "column 0"]),
        ("{\n  \"adapter\": \"a\",\n}", ["line 3", "column 1"]),
        ("{\"adapter\": NaN}", ["line 1", "column 13"]),
        ("{\"adapter\": 'a'}", ["line 1", "column 13"]),
        ("{\"adapter\": \"a\nb\"}", ["line 2", "column 0"]),
        (
            "{\"adapter\":\"a\",\"operation\":\"b\"} {",
            ["line 1", "column 33"],
        ),
        (
            "{\"adapter\":\"\\ud800\",\"operation\":\"b\"}",
            ["line 1", "column"],
        ),
        ("adapter: a\noperation: b\n", ["line 1", "column 1"]),
        (&deep, ["recursion limit", "line 1"]),
    ] {
        let body = text.to_owned().into();
        let answer = client.send_bytes("POST", "/api/v1/operations", &json, body)?;
        said(&answer, "bad-json", &words).with_context(|| text.chars().take(60).collect::<String>())?;
    }
    let bytes = b"{\"adapter\":\"\xff\xfe\",\"operation\":\"b\"}".as_slice();
    let answer = client.send_bytes("POST", "/api/v1/operations", &json, bytes.into())?;
    said(&answer, "bad-json", &["line 1"])?;
    let twice = "{\"adapter\":\"a\",\"adapter\":\"b\",\"operation\":\"c\"}".to_owned();
    let answer = client.send_bytes("POST", "/api/v1/operations", &json, twice.into())?;
    said(&answer, "bad-field", &["duplicate field `adapter`"])
}

fn other_media_types() -> anyhow::Result<()> {
    let host = Host::builder().start()?;
    let client = host.client()?;
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/yaml",
        "x",
    ] {
        let answer = client.send_bytes("POST", "/api/v1/clusters", &[("content-type", kind)], "{}".into())?;
        let problem = answer.problem(415, "unsupported-media-type")?;
        ensure!(problem["detail"].to_string().contains(kind), "{problem}");
    }
    client
        .send_bytes("POST", "/api/v1/clusters", &[], "{}".into())?
        .problem(415, "unsupported-media-type")?;
    Ok(())
}

fn unknown_routes() -> anyhow::Result<()> {
    let host = Host::builder().start()?;
    let client = host.client()?;
    for path in [
        "/",
        "/api",
        "/api/v1",
        "/api/v2/version",
        "/api/v1/version/",
        "/api/v1/operations/x/start",
        "/api/v1/documents",
        "/api/v1/documents/a/b/c",
        "/api/v1/../../etc/passwd",
        "//api/v1/version",
    ] {
        client
            .send("GET", path, &[], None)?
            .problem(404, "unknown-route")
            .with_context(|| path.to_owned())?;
    }
    for (method, path, allowed) in [
        ("DELETE", "/api/v1/version", "GET"),
        ("GET", "/api/v1/operations/x/run", "POST"),
        ("PATCH", "/api/v1/documents/note/x", "PUT"),
        ("BREW", "/healthz", "GET"),
        ("OPTIONS", "/api/v1/operations", "POST"),
    ] {
        let answer = client.send(method, path, &[], None)?;
        answer
            .problem(405, "method-not-allowed")
            .with_context(|| format!("{method} {path}"))?;
        let allow = answer.headers["allow"].to_str()?;
        ensure!(allow.contains(allowed), "{method} {path}: {allow}");
    }
    Ok(())
}

fn order_with_body() -> anyhow::Result<()> {
    let host = Host::builder().start()?;
    for order in ["run", "undo", "cancel", "resume", "approve", "forget", "preview"] {
        let path = format!("/api/v1/operations/01ARZ3NDEKTSV4RRFFQ69G5FAV/{order}");
        for body in [json!({"policy": {"on_failure": "undo"}}), json!([]), json!("now")] {
            let answer = host.post(&path, &body)?;
            said(&answer, "unexpected-body", &[&path, "takes no body"])
                .with_context(|| format!("{order} with {body}"))?;
        }
        host.post(&path, &json!({}))?
            .problem(404, "unknown-operation")
            .with_context(|| order.to_owned())?;
    }
    for order in ["run", "undo", "cancel", "approve", "preview"] {
        let path = format!("/api/v1/operation-sets/01ARZ3NDEKTSV4RRFFQ69G5FAV/{order}");
        let answer = host.post(&path, &json!({"gate": "x"}))?;
        said(&answer, "unexpected-body", &[&path]).with_context(|| order.to_owned())?;
    }
    let answer = host.post("/api/v1/operations/prune", &json!({"older_than": "1d"}))?;
    said(&answer, "unexpected-body", &["prune"])
}

fn wrong_queries() -> anyhow::Result<()> {
    let host = Host::builder().start()?;
    for (path, words) in [
        ("/api/v1/operations?limit=many", ["limit", "invalid digit"]),
        ("/api/v1/operations?limit=-1", ["limit", "invalid digit"]),
        ("/api/v1/operations?state=sleeping", ["state", "sleeping"]),
        ("/api/v1/operations?stat=running", ["unknown field", "stat"]),
        (
            "/api/v1/operations/x/events?after=last",
            ["after", "invalid digit"],
        ),
        ("/api/v1/documents/note?limit=1&page=2", ["unknown field", "page"]),
        ("/api/v1/clusters?replace=true", ["unknown field", "replace"]),
        ("/api/v1/clusters/-/facts", ["missing field", "adapter"]),
        (
            "/api/v1/clusters/-/detect?adapter=a&adapter=b",
            ["duplicate field", "adapter"],
        ),
    ] {
        let answer = host.get(path)?;
        said(&answer, "bad-query", &words).with_context(|| path.to_owned())?;
        let problem = answer.problem(400, "bad-query")?;
        ensure!(
            problem["cause"].is_string() && problem["remedy"].is_string(),
            "{path}: {problem:#}"
        );
    }
    let client = host.client()?;
    let answer = client.send(
        "GET",
        "/api/v1/operations/x/events",
        &[("last-event-id", "x")],
        None,
    )?;
    said(&answer, "bad-field", &["Last-Event-ID"])
}

fn unknown_things() -> anyhow::Result<()> {
    let host = Host::builder().start()?;
    let long = "x".repeat(200_000);
    let names = ["nobody", "", "..", "ü", "\u{0}", "a b/c", long.as_str()];
    let adapters = host.get("/api/v1/adapters")?.expect(200)?;
    let adapter = adapters["items"][0]["name"]
        .as_str()
        .context("an adapter")?
        .to_owned();
    for name in names {
        let plan = json!({"adapter": name, "operation": "install"});
        let problem = host
            .post("/api/v1/operations", &plan)?
            .problem(404, "unknown-adapter")?;
        ensure!(
            problem["remedy"]
                .as_str()
                .is_some_and(|remedy| remedy.contains(&adapter)),
            "{problem}"
        );
        ensure!(
            problem["detail"].as_str().is_some_and(|s| s.len() < 5000),
            "a long answer"
        );
        let plan = json!({"adapter": adapter, "operation": name});
        host.post("/api/v1/operations", &plan)?
            .problem(404, "unknown-adapter-operation")?;
    }
    for id in [
        "nothing",
        "01J00000000000000000000000",
        "%2e%2e",
        "%00",
        "a%2Fb",
        &"x".repeat(5000),
    ] {
        for (method, rest) in [
            ("GET", ""),
            ("POST", "/preview"),
            ("GET", "/preview"),
            ("POST", "/run"),
            ("POST", "/approve"),
            ("POST", "/cancel"),
            ("POST", "/undo"),
            ("POST", "/resume"),
            ("GET", "/record"),
            ("GET", "/events"),
        ] {
            let path = format!("/api/v1/operations/{id}{rest}");
            host.client()?
                .send(method, &path, &[], None)?
                .problem(404, "unknown-operation")
                .with_context(|| path.chars().take(80).collect::<String>())?;
        }
    }
    host.get("/api/v1/adapters/nobody")?
        .problem(404, "unknown-adapter")?;
    host.get("/api/v1/clusters/nowhere/facts?adapter=nobody")?
        .problem(404, "unknown-adapter")?;
    for answer in [
        host.get("/api/v1/clusters/nowhere")?,
        host.get(&format!("/api/v1/clusters/nowhere/detect?adapter={adapter}"))?,
    ] {
        let code = answer.json()["code"].clone();
        ensure!(
            answer.status == 404 && (code == "unknown-context" || code == "no-kubeconfig"),
            "{answer:?}"
        );
    }
    host.delete("/api/v1/clusters/nowhere")?
        .problem(404, "unknown-cluster")?;
    for path in [
        "/api/v1/documents/Bad/x",
        "/api/v1/documents/note/a%20b",
        "/api/v1/documents/note/%FF",
    ] {
        ensure!(host.get(path)?.status == 400, "{path}: {:?}", host.get(path)?);
    }
    let problem = host.get("/api/v1/clusters/%FF")?.problem(400, "bad-path")?;
    ensure!(
        problem["detail"].to_string().contains("/clusters/%FF"),
        "{problem}"
    );
    let problem = host
        .get(&format!("/api/v1/clusters/{long}", long = "x".repeat(5000)))?
        .json()["detail"]
        .to_string();
    ensure!(problem.len() < 1000, "{problem}");
    host.delete("/api/v1/clusters/a%2Fb")?
        .problem(404, "unknown-cluster")?;
    Ok(())
}

pub(super) fn kubeconfig(cluster: &str, user: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{{name: c, context: {{cluster: k, user: u}}}}]\n\
         clusters: [{{name: k, cluster: {{{cluster}}}}}]\nusers: [{{name: u, user: {{{user}}}}}]\n"
    )
}

fn garbage_kubeconfigs() -> anyhow::Result<()> {
    let host = Host::builder().start()?;
    let add = |text: &str| {
        let answer = host.post("/api/v1/clusters", &json!({"name": "up", "kubeconfig": text}))?;
        anyhow::Ok(answer)
    };
    let bomb: Vec<String> = (1..40)
        .map(|n| format!("a{n}: &a{n} [*a{0},*a{0},*a{0}]", n - 1))
        .collect();
    let bomb = format!("a0: &a0 [x]\n{}\n", bomb.join("\n"));
    for (text, word) in [
        ("", ""),
        ("just text", ""),
        ("[1, 2]", ""),
        ("{\"clusters\": 3}", ""),
        ("clusters:\n- name: k\n   cluster: {}\n", "line"),
        ("a: [1\nb: 2\n", "line"),
        ("a: b\n\ta: c\n", "line"),
        ("a: 1\na: 2\n", "line 2"),
        ("\u{0}\u{1}", ""),
        (&"[".repeat(10_000), ""),
        (&bomb, ""),
    ] {
        let began = Instant::now();
        let problem = add(text)?
            .problem(400, "bad-kubeconfig")
            .with_context(|| text.chars().take(60).collect::<String>())?;
        let detail = problem["detail"].as_str().unwrap_or_default();
        ensure!(detail.contains(word), "no {word} in {detail}");
        ensure!(
            began.elapsed() < Duration::from_secs(5),
            "{:?} for {detail}",
            began.elapsed()
        );
    }
    let server = "server: \"https://127.0.0.1:1\"";
    let secret = "marker-5d1f";
    for (cluster, user, word) in [
        (
            server,
            "exec: {apiVersion: client.authentication.k8s.io/v1, command: touch}",
            "exec",
        ),
        (server, "auth-provider: {name: gcp}", "auth-provider"),
        (server, "client-certificate: /etc/passwd", "client-certificate"),
        (server, "client-key: /etc/shadow", "client-key"),
        (server, "tokenFile: /etc/shadow", "tokenFile"),
        (
            &format!("{server}, certificate-authority: /etc/ca.crt"),
            "token: x",
            "certificate-authority",
        ),
        (
            &format!("{server}, proxy-url: \"http://127.0.0.1:2\""),
            "token: x",
            "proxy-url",
        ),
    ] {
        let user = format!("{user}, password: {secret}");
        let problem = add(&kubeconfig(cluster, &user))?.problem(403, "kubeconfig-refused")?;
        ensure!(
            problem["detail"].to_string().contains(word),
            "no {word} in {problem}"
        );
        ensure!(!problem.to_string().contains(secret), "a secret in {problem}");
    }
    for server in [
        "server: \"http://169.254.169.254/latest\"",
        "server: \"ftp://x\"",
        "server: \"\"",
    ] {
        let answer = add(&kubeconfig(server, "token: x"))?;
        ensure!(matches!(answer.status, 400 | 403), "{server}: {answer:?}");
    }
    let fine = kubeconfig(server, "token: x");
    for name in ["", "-", "a/b", "..", "x y", &"n".repeat(300)] {
        let answer = host.post("/api/v1/clusters", &json!({"name": name, "kubeconfig": fine}))?;
        answer.problem(400, "bad-name")?;
    }
    let clusters = host.get("/api/v1/clusters")?.expect(200)?;
    ensure!(clusters["items"] == json!([]), "something was kept: {clusters}");
    ensure!(!host.log().contains(secret), "a secret in the log");
    Ok(())
}

/// Not a fuzzer, but enough to meet what nobody thought of. The seed is fixed so that a failure can be seen again.
fn random_bytes() -> anyhow::Result<()> {
    let host = Host::builder().start()?;
    let client = host.client()?;
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let whole =
        json!({"adapter": "a", "operation": "b", "context": "c", "parameters": {"d": [1, {"e": null}]},
        "policy": {"on_failure": "undo"}})
        .to_string();
    for round in 0..300 {
        let mut bytes = whole.clone().into_bytes();
        for _ in 0..=(next() % 4) {
            let at = usize::try_from(next())? % bytes.len();
            match next() % 3 {
                0 => bytes[at] = next().to_le_bytes()[0],
                1 => bytes.truncate(at.max(1)),
                _ => bytes.insert(at, next().to_le_bytes()[1]),
            }
        }
        let json = [("content-type", "application/json")];
        let answer = client.send_bytes("POST", "/api/v1/operations", &json, bytes.clone().into())?;
        ensure!(
            matches!(answer.status, 400 | 404),
            "round {round}: {:?} -> {answer:?}",
            String::from_utf8_lossy(&bytes)
        );
    }
    host.get("/healthz")?.expect(200)?;
    Ok(())
}
