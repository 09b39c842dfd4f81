//! Applications that are dropped beside the host: listed, deployed and removed by their name.

use serde_json::{Value, json};

use crate::answers::{adapter, host, runs_to};
use crate::fake_host::{Answer, FakeHost};
use crate::program::ctl;

/// A host whose adapter takes what is dropped, and what is.
fn with_dropped() -> FakeHost {
    let host = FakeHost::start();
    let mut adapter = adapter();
    for verb in ["deploy", "remove"] {
        adapter["operations"].as_array_mut().unwrap().push(json!({
            "name": format!("{verb}-application"), "category": "sample-application", "parameters": {
                "type": "object", "additionalProperties": false, "required": ["application", "namespace"],
                "properties": {
                    "application": {"type": "string", "format": "application"},
                    "namespace": {"type": "string"}}}}));
    }
    host.on("GET /adapters", json!({"items": [adapter]}));
    host.on("GET /adapters/lattice", adapter);
    host.on(
        "GET /applications",
        json!({"folder": "/data/applications", "items": [
            {"name": "shop", "files": 3},
            {"name": "My App", "files": 0, "problem": {"code": "bad-application-name",
                "message": "\"My App\" is not the name of an application", "remedy": "rename the folder"}}]}),
    );
    let standard = crate::answers::record("planned");
    host.then("POST /operations", Answer::Json(201, standard));
    host.on("POST /operations/op1/preview", crate::answers::preview());
    host.then(
        "POST /operations/op1/run",
        Answer::Json(202, crate::answers::record("queued")),
    );
    host
}

#[test]
fn samples_and_what_is_dropped_are_listed_with_whose_they_are_and_what_is_wrong() {
    let host = with_dropped();
    let ran = ctl(&host, &["app", "list"]).code(0).out_has(&[
        "error[bad-application-name]",
        "rename the folder",
        "/data/applications",
    ]);
    let cells: Vec<Vec<&str>> = ran
        .out
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert!(cells.contains(&vec!["bookinfo", "sample", "lattice"]), "{ran:#?}");
    assert!(
        cells.contains(&vec!["shop", "folder", "3", "lattice"]),
        "{ran:#?}"
    );
    let ran = ctl(&host, &["app", "list", "-o", "json"]).code(0);
    let told: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(told["items"][1]["name"], "shop");
    assert_eq!(told["items"][1]["adapters"], json!(["lattice"]));
}

#[test]
fn one_is_deployed_and_removed_by_its_name_into_the_namespace_called_like_it() {
    for (verb, arguments, namespace) in [
        ("deploy", &[][..], "shop"),
        ("remove", &["--namespace", "store"], "store"),
        ("deploy", &["--set", "namespace=store"], "store"),
    ] {
        let host = with_dropped();
        runs_to(&host, "succeeded");
        ctl(&host, &[&["app", verb, "shop", "--yes"], arguments].concat()).code(0);
        let body = host.body_of("POST /operations");
        assert_eq!(body["operation"], format!("{verb}-application"));
        assert_eq!(
            body["parameters"],
            json!({"application": "shop", "namespace": namespace})
        );
    }
    ctl(&with_dropped(), &["app", "deploy", "shoop", "--yes"])
        .code(1)
        .err_has(&[
            "error[unknown-application]",
            "shop (of lattice)",
            "bookinfo (of lattice)",
        ]);
}

#[test]
fn a_host_that_knows_of_none_has_its_samples() {
    let host = host();
    host.then(
        "GET /applications",
        Answer::Json(
            404,
            json!({"code": "unknown-route", "detail": "there is nothing"}),
        ),
    );
    let ran = ctl(&host, &["app", "list"]).code(0).out_has(&["bookinfo"]);
    assert!(!ran.out.contains("More of them"), "{ran:#?}");
}
