//! Every place of the REST interface where a caller's own text goes, with texts that are too long or mean harm: each
//! is refused with a code, or taken as what it is, and nothing else happens.
//!
//! Wrong types and unknown names of fields are in `bad_input`; parameters of operations, whose fields an adapter
//! describes, are here.

use std::path::Path;

use anyhow::{Context as _, ensure};
use libtest_mimic::Trial;
use meshery_tests::host::{Answer, Client, Host};
use serde_json::{Value, json};

use crate::trial;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("host::hostile_texts_harm_nothing_wherever_they_are_put", texts),
        trial(
            "host::each_parameter_of_each_operation_is_checked_against_its_schema",
            parameters,
        ),
    ]
}

/// Left behind by whoever runs a text instead of reading it.
const TRACE: &str = "/tmp/meshery-hostile-text";

fn hostile() -> Vec<String> {
    [
        "",
        " ",
        "-",
        "--help",
        ".",
        "..",
        "../../../../etc/passwd",
        "/etc/passwd",
        "file:///etc/passwd",
        "$(touch /tmp/meshery-hostile-text)",
        "`touch /tmp/meshery-hostile-text`",
        "; touch /tmp/meshery-hostile-text #",
        "' OR '1'='1",
        "x'); DROP TABLE documents; --",
        "{{ .Files.Get \"/etc/passwd\" }}",
        "%s%n%x",
        "<script>alert(1)</script>",
        "a\r\nset-cookie: marker=1",
        "a\u{0}b",
        "\u{1b}[2J",
        "\u{202e}gnp.exe",
        "e\u{301}",
        "\u{1f44b}",
        "null",
        "true",
        "NaN",
        "-1",
        "18446744073709551616",
        "1e400",
        "&a [*a, *a]",
    ]
    .map(str::to_owned)
    .into_iter()
    .chain(["x".repeat(20_000), "ü".repeat(5_000), "../".repeat(5_000)])
    .collect()
}

/// A text as a part of an address.
fn encoded(text: &str) -> String {
    let bytes: Vec<String> = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
    bytes.concat()
}

/// How a text is sent, and whether some texts may be welcome there.
type Place = (
    &'static str,
    bool,
    fn(&Client, &str) -> anyhow::Result<Option<Answer>>,
);

fn get(client: &Client, path: &str) -> anyhow::Result<Option<Answer>> {
    client.send("GET", path, &[], None).map(Some)
}

fn post(client: &Client, path: &str, body: &Value) -> anyhow::Result<Option<Answer>> {
    client.send("POST", path, &[], Some(body)).map(Some)
}

/// Nothing for what no header can hold.
fn with_header(
    client: &Client,
    method: &str,
    path: &str,
    name: &str,
    text: &str,
) -> anyhow::Result<Option<Answer>> {
    let body = (method == "PUT").then(|| json!({"body": 1}));
    http::HeaderValue::from_str(text)
        .ok()
        .filter(|value| value.to_str().is_ok())
        .map(|_| client.send(method, path, &[(name, text)], body.as_ref()))
        .transpose()
}

const PLACES: [Place; 30] = [
    ("adapter", false, |c, t| {
        post(
            c,
            "/api/v1/operations",
            &json!({"adapter": t, "operation": "install"}),
        )
    }),
    ("operation", false, |c, t| {
        post(
            c,
            "/api/v1/operations",
            &json!({"adapter": "istio", "operation": t}),
        )
    }),
    ("context", false, |c, t| {
        let body = json!({"adapter": "istio", "operation": "install", "context": t});
        post(c, "/api/v1/operations", &body)
    }),
    ("name of a parameter", false, |c, t| {
        let body = json!({"adapter": "istio", "operation": "install", "parameters": {t: 1}});
        post(c, "/api/v1/operations", &body)
    }),
    ("policy.on_failure", false, |c, t| {
        let body = json!({"adapter": "istio", "operation": "install", "policy": {"on_failure": t}});
        post(c, "/api/v1/operations", &body)
    }),
    ("policy.on_interruption", false, |c, t| {
        let body = json!({"adapter": "istio", "operation": "install", "policy": {"on_interruption": t}});
        post(c, "/api/v1/operations", &body)
    }),
    ("policy.approval", false, |c, t| {
        let body = json!({"adapter": "istio", "operation": "install", "policy": {"approval": t}});
        post(c, "/api/v1/operations", &body)
    }),
    ("policy.force_conflicts", false, |c, t| {
        let body = json!({"adapter": "istio", "operation": "install", "policy": {"force_conflicts": t}});
        post(c, "/api/v1/operations", &body)
    }),
    ("name of a field", false, |c, t| {
        post(
            c,
            "/api/v1/operations",
            &json!({"adapter": "istio", "operation": "install", t: 1}),
        )
    }),
    ("name of a cluster", false, |c, t| {
        post(c, "/api/v1/clusters", &json!({"name": t, "kubeconfig": "x"}))
    }),
    ("kubeconfig", false, |c, t| {
        post(c, "/api/v1/clusters", &json!({"name": "x", "kubeconfig": t}))
    }),
    ("body of a document", true, |c, t| {
        c.send(
            "PUT",
            "/api/v1/documents/note/body",
            &[],
            Some(&json!({"body": t})),
        )
        .map(Some)
    }),
    ("label of a document", true, |c, t| {
        let body = json!({"body": 1, "labels": {"colour": t}});
        c.send("PUT", "/api/v1/documents/note/label", &[], Some(&body))
            .map(Some)
    }),
    ("name of a label", true, |c, t| {
        let body = json!({"body": 1, "labels": {t: "red"}});
        c.send("PUT", "/api/v1/documents/note/label", &[], Some(&body))
            .map(Some)
    }),
    ("kind of a document", true, |c, t| {
        let path = format!("/api/v1/documents/{}/x", encoded(t));
        c.send("PUT", &path, &[], Some(&json!({"body": 1}))).map(Some)
    }),
    ("id of a document", true, |c, t| {
        let path = format!("/api/v1/documents/note/{}", encoded(t));
        c.send("PUT", &path, &[], Some(&json!({"body": 1}))).map(Some)
    }),
    ("kind of documents", true, |c, t| {
        get(c, &format!("/api/v1/documents/{}", encoded(t)))
    }),
    ("limit of documents", true, |c, t| {
        get(c, &format!("/api/v1/documents/note?limit={}", encoded(t)))
    }),
    ("after of documents", true, |c, t| {
        get(c, &format!("/api/v1/documents/note?after={}", encoded(t)))
    }),
    ("state of operations", false, |c, t| {
        get(c, &format!("/api/v1/operations?state={}", encoded(t)))
    }),
    ("cluster of operations", true, |c, t| {
        get(c, &format!("/api/v1/operations?cluster={}", encoded(t)))
    }),
    ("limit of operations", true, |c, t| {
        get(c, &format!("/api/v1/operations?limit={}", encoded(t)))
    }),
    ("after of operations", true, |c, t| {
        get(c, &format!("/api/v1/operations?after={}", encoded(t)))
    }),
    ("id of an operation", false, |c, t| {
        get(c, &format!("/api/v1/operations/{}/record", encoded(t)))
    }),
    ("after of events", false, |c, t| {
        get(c, &format!("/api/v1/operations/x/events?after={}", encoded(t)))
    }),
    ("Last-Event-ID", false, |c, t| {
        with_header(c, "GET", "/api/v1/operations/x/events", "last-event-id", t)
    }),
    ("If-Match", false, |c, t| {
        with_header(c, "PUT", "/api/v1/documents/note/match", "if-match", t)
    }),
    ("If-None-Match", false, |c, t| {
        with_header(c, "PUT", "/api/v1/documents/note/match", "if-none-match", t)
    }),
    ("context in the path", false, |c, t| {
        get(c, &format!("/api/v1/clusters/{}/facts?adapter=istio", encoded(t)))
    }),
    ("adapter of facts and detection", false, |c, t| {
        match get(c, &format!("/api/v1/clusters/-/facts?adapter={}", encoded(t))) {
            Ok(Some(answer)) if answer.status < 500 => {
                get(c, &format!("/api/v1/clusters/-/detect?adapter={}", encoded(t)))
            }
            other => other,
        }
    }),
];

fn texts() -> anyhow::Result<()> {
    let host = Host::builder().start()?;
    let client = host.client()?;
    let _ = std::fs::remove_file(TRACE);
    for (place, may_be_welcome, send) in PLACES {
        for text in hostile() {
            let shown: String = text.chars().take(40).collect();
            let Some(answer) = send(client, &text).with_context(|| format!("{place}: {shown:?}"))? else {
                continue;
            };
            is_an_answer(&answer, may_be_welcome).with_context(|| format!("{place}: {shown:?}"))?;
        }
    }
    host.get("/healthz")?.expect(200)?;
    ensure!(!Path::new(TRACE).exists(), "a text was run");
    let clusters = host.get("/api/v1/clusters")?.expect(200)?;
    ensure!(clusters["items"] == json!([]), "{clusters}");
    let operations = host.get("/api/v1/operations")?.expect(200)?;
    ensure!(operations["items"] == json!([]), "{operations}");
    Ok(())
}

/// A refusal with a code and of a bearable length, or what was asked for where that can be.
fn is_an_answer(answer: &Answer, may_be_welcome: bool) -> anyhow::Result<()> {
    ensure!(
        !answer.headers.contains_key("set-cookie"),
        "a header was smuggled in"
    );
    if (200..300).contains(&answer.status) {
        ensure!(may_be_welcome, "it was taken: {}", answer.text());
        return Ok(());
    }
    ensure!(
        (400..500).contains(&answer.status),
        "{} {}",
        answer.status,
        answer.text()
    );
    let problem = answer.problem(answer.status, answer.json()["code"].as_str().unwrap_or_default())?;
    ensure!(
        problem["code"].as_str().is_some_and(|code| !code.is_empty()),
        "{problem}"
    );
    ensure!(
        answer.body.len() < 50_000,
        "an answer of {} bytes",
        answer.body.len()
    );
    let detail = problem["detail"].as_str().unwrap_or_default();
    ensure!(
        !detail.contains("root:") && !detail.contains("panicked"),
        "{detail}"
    );
    Ok(())
}

fn parameters() -> anyhow::Result<()> {
    let host = Host::builder().start()?;
    let adapters = host.get("/api/v1/adapters")?.expect(200)?;
    let mut checked = 0;
    for adapter in adapters["items"].as_array().context("adapters")? {
        let name = adapter["name"].as_str().context("a name")?;
        let described = host.get(&format!("/api/v1/adapters/{name}"))?.expect(200)?;
        for operation in described["operations"].as_array().context("operations")? {
            let fields = operation["parameters"]["properties"].as_object();
            for (field, schema) in fields.into_iter().flatten() {
                checked += 1;
                let plan = |value: &Value| {
                    let body = json!({"adapter": name, "operation": operation["name"], "parameters": {field: value}});
                    host.post("/api/v1/operations", &body)
                };
                let place = || format!("{name} {} {field}: {schema}", operation["name"]);
                for value in of_other_types(schema) {
                    let problem = plan(&value)
                        .and_then(|answer| answer.problem(400, "bad-parameter"))
                        .with_context(place)?;
                    ensure!(
                        problem["detail"].to_string().contains(field.as_str()),
                        "{problem}"
                    );
                }
                if schema["type"] != "string" {
                    continue;
                }
                for text in hostile() {
                    let answer = plan(&json!(text)).with_context(place)?;
                    is_an_answer(&answer, false).with_context(|| format!("{} with {text:?}", place()))?;
                    if schema["enum"].is_array() && !schema["enum"].to_string().contains(&format!("{text:?}"))
                    {
                        answer.problem(400, "bad-parameter").with_context(place)?;
                    }
                }
            }
        }
    }
    ensure!(checked > 10, "only {checked} parameters");
    Ok(())
}

/// Values that are none of what a schema wants.
fn of_other_types(schema: &Value) -> Vec<Value> {
    let kind = schema["type"].as_str().unwrap_or_default();
    [
        ("null", Value::Null),
        ("boolean", json!(true)),
        ("integer", json!(-1.5)),
        ("string", json!("x")),
        ("array", json!([[]])),
        ("object", json!({"x": {}})),
    ]
    .into_iter()
    .filter(|(of, _)| *of != kind || kind == "integer")
    .map(|(_, value)| value)
    .collect()
}
