//! What is only looked at.

use serde_json::{Value, json};

use crate::answers::{adapter, host, preview, record};
use crate::fake_host::{Answer, FakeHost};
use crate::program::ctl;

#[test]
fn adapters_are_listed_with_the_newest_release_of_their_mesh() {
    let ran = ctl(&host(), &["adapter", "list"]).code(0);
    let lines: Vec<&str> = ran.out.lines().collect();
    assert!(lines[0].starts_with("NAME"), "{ran:#?}");
    let cells: Vec<&str> = lines[1].split_whitespace().take(5).collect();
    assert_eq!(cells, ["lattice", "0.3.0", "Lattice", "2.0.1", "10099"]);
    assert_eq!(ran.err, "");
}

#[test]
fn json_and_yaml_are_the_hosts_own_answer_with_fields_this_program_does_not_know() {
    let ran = ctl(&host(), &["adapter", "view", "lattice", "-o", "json"]).code(0);
    assert_eq!(serde_json::from_str::<Value>(&ran.out).unwrap(), adapter());
    let ran = ctl(&host(), &["-o", "yaml", "adapter", "view", "Lattice"]).code(0);
    assert_eq!(serde_saphyr::from_str::<Value>(&ran.out).unwrap(), adapter());
}

#[test]
fn an_adapters_operations_are_shown_with_what_each_parameter_takes() {
    ctl(&host(), &["adapter", "view", "lattice"]).code(0).out_has(&[
        "default|minimal",
        "(required)",
        "lattice-system",
        "deploy-bookinfo",
        ">=1.30",
    ]);
}

#[test]
fn an_adapters_versions_are_listed_with_how_each_is_known_and_refreshed_when_asked() {
    let host = host();
    let versions = json!({"adapter": "lattice", "mesh": "Lattice", "items": [
        {"version": "2.0.1", "stable": true, "source": "pinned", "kubernetes": ">=1.30", "end_of_life": "2027-01-31"}]});
    let mut refreshed = versions.clone();
    refreshed["refreshed"] = json!("2026-11-24T10:00:00Z");
    refreshed["items"][0]["source"] = json!("repository");
    host.on("GET /adapters/lattice/versions", versions);
    host.on("POST /adapters/lattice/versions/refresh", refreshed.clone());
    ctl(&host, &["adapter", "versions", "Lattice"])
        .code(0)
        .out_has(&["2.0.1", "stable", "pinned", "2027-01-31", ">=1.30"])
        .err_has(&["--refresh"]);
    assert!(!host.lines().iter().any(|line| line.starts_with("POST")));
    ctl(&host, &["adapter", "versions", "lattice", "--refresh"])
        .code(0)
        .out_has(&["repository"])
        .err_has(&["2026-11-24T10:00:00Z"]);
    let ran = ctl(
        &host,
        &["adapter", "versions", "lattice", "--refresh", "-o", "json"],
    )
    .code(0);
    assert_eq!(serde_json::from_str::<Value>(&ran.out).unwrap(), refreshed);
}

#[test]
fn operations_are_filtered_by_the_host_and_the_next_page_is_named() {
    let host = host();
    let line = "GET /operations?state=failed&cluster=a+b%26c&limit=2";
    host.on(line, json!({"items": [record("failed")], "next": "01K"}));
    let arguments = [
        "operation",
        "list",
        "--state",
        "failed",
        "--cluster",
        "a b&c",
        "--limit",
        "2",
    ];
    ctl(&host, &arguments)
        .code(0)
        .out_has(&[
            "op1",
            "failed",
            "lattice",
            "2026-11-24T10:00:00 ",
            "Install Lattice 2.0.1",
        ])
        .err_has(&["more: --after 01K"]);
}

#[test]
fn an_operation_is_shown_with_its_steps_its_history_and_what_it_left() {
    let host = host();
    let mut failed = record("undo-incomplete");
    failed["left"] =
        json!([{"ref": "v1/Namespace//lattice-system", "why": "holds a Secret of somebody else"}]);
    failed["error"] = json!({"kind": "timeout", "code": "not-ready", "message": "control is not ready after 300 s",
        "cause": "image cannot be pulled", "remedy": "check the registry"});
    let entry = json!({"seq": 1, "time": "T1", "kind": "step", "step": "ns", "state": "done"});
    host.on("GET /operations/op1", failed.clone());
    host.on(
        "GET /operations/op1/record",
        json!({"operation": failed, "events": [entry]}),
    );
    let expected = [
        "undo incomplete",
        "error[not-ready]: control is not ready after 300 s",
        "remedy: check the registry",
        "v1/Namespace//lattice-system",
        "holds a Secret of somebody else",
        "none: changes nothing",
        "version=2.0.1",
        "mesheryctl operation undo op1",
    ];
    ctl(&host, &["operation", "view", "op1"])
        .code(0)
        .out_has(&expected);
    ctl(&host, &["operation", "view", "op1", "--events"])
        .code(0)
        .out_has(&["T1  step  ns  done"]);
}

#[test]
fn a_preview_shows_each_change_how_certain_it_is_and_the_lines_of_a_text_that_differ() {
    let ran = ctl(&host(), &["operation", "preview", "op1"]).code(0).out_has(&[
        "+ v1/Namespace//lattice-system  create [verified]",
        "~ v1/ConfigMap/lattice-system/mesh  update [verified]",
        "data.level: \"info\" -> \"debug\"",
        "        - two\n        + 2\n",
        "- data.old: \"x\"",
        "create [local] its namespace comes with this plan",
        "warning[webhook]: a webhook that can block pods",
        "step restart cannot be taken back in full",
        "2 to create, 1 to change, 1 unchanged",
    ]);
    for hidden in [
        "metadata.labels.team",
        "v1/Service/lattice-system/control",
        "\x1b[",
    ] {
        assert!(!ran.out.contains(hidden), "{hidden:?} in {}", ran.out);
    }
    ctl(&host(), &["operation", "preview", "op1", "--full"])
        .code(0)
        .out_has(&[
            "+ metadata.labels.team: \"mesh\"",
            "v1/Service/lattice-system/control",
        ]);
}

#[test]
fn a_clusters_own_text_cannot_command_the_terminal() {
    let host = FakeHost::start();
    let mut evil = preview();
    evil["summary"] = "clear \x1b[2J\x1b]0;title\x07 screen".into();
    evil["objects"][1]["diff"][0]["after"] = "\x1b[31m".into();
    host.on("GET /operations/op1/preview", evil);
    let ran = ctl(&host, &["operation", "preview", "op1"]).code(0);
    assert!(!ran.out.contains('\x1b') && !ran.out.contains('\x07'), "{ran:#?}");
}

#[test]
fn detected_installations_are_shown_with_their_parts_and_findings() {
    let host = host();
    let found = json!({"items": [{"mesh": "Lattice", "namespace": "lattice-system", "version": "2.0.1",
        "health": "degraded", "installed_by": "meshery", "adopted_from": "helm", "namespaces": ["shop"],
        "components": [{"ref": "apps/v1/Deployment/lattice-system/control", "health": "degraded", "installed_by": "fleet",
            "reason": "0 of 1 replicas available"}],
        "members": {"rest": 3, "namespaces": [{"namespace": "bank", "joined": "by-workload",
            "in": {"count": 1, "names": ["Deployment/till"]},
            "out": {"count": 7, "names": ["Pod/a", "Pod/b", "Pod/c", "Pod/d", "Pod/e", "Pod/f", "Pod/g"]}}]},
        "findings": [{"code": "version-mismatch", "severity": "warning", "message": "two versions"}]}]});
    host.on("GET /clusters/prod/detect?adapter=lattice", found);
    host.on("GET /clusters/-/detect?adapter=lattice", json!({"items": []}));
    ctl(&host, &["mesh", "detect", "lattice", "--context", "prod"])
        .code(0)
        .out_has(&[
            "degraded",
            "meshery (from helm)",
            "shop",
            "0 of 1 replicas available",
            "fleet",
            "bank",
            "by-workload",
            "1: Deployment/till",
            "7: Pod/a, Pod/b, Pod/c, Pod/d, Pod/e, ...",
            "and 3 more namespaces",
            "warning[version-mismatch]: two versions",
        ]);
    ctl(&host, &["mesh", "detect", "lattice"])
        .code(0)
        .out_has(&["No Lattice was found."]);
}

#[test]
fn clusters_are_listed_added_and_removed() {
    let host = host();
    let items = json!({"items": [{"context": "dev", "server": "https://10.0.0.1", "current": true, "source": "file"}]});
    host.on("GET /clusters", items);
    host.then("POST /clusters", Answer::Json(201, json!({"context": "prod"})));
    host.then(
        "DELETE /clusters/a%2Fb",
        Answer::Raw(204, "text/plain", Vec::new()),
    );
    ctl(&host, &["cluster", "list"])
        .code(0)
        .out_has(&["*        dev      https://10.0.0.1"]);

    let home = crate::program::Home::new();
    std::fs::write(home.0.path().join("prod.yaml"), "apiVersion: v1\nkind: Config\n").unwrap();
    home.run(&host, &["cluster", "add", "prod.yaml"])
        .code(0)
        .err_has(&["added: prod"]);
    let sent = json!({"name": "prod", "kubeconfig": "apiVersion: v1\nkind: Config\n"});
    assert_eq!(host.body_of("POST /clusters"), sent);
    home.run(
        &host,
        &["cluster", "add", "prod.yaml", "--name", "other", "--replace"],
    )
    .code(0);
    let last = host.asked().pop().unwrap().body;
    assert_eq!((&last["name"], &last["replace"]), (&"other".into(), &true.into()));
    home.run(&host, &["cluster", "add", "missing.yaml"])
        .code(1)
        .err_has(&["missing.yaml"]);
    home.run(&host, &["cluster", "add", "-"])
        .code(2)
        .err_has(&["--name"]);

    ctl(&host, &["cluster", "remove", "a/b"])
        .code(2)
        .err_has(&["--yes"]);
    ctl(&host, &["cluster", "remove", "a/b", "--yes"])
        .code(0)
        .err_has(&["removed: a/b"]);
}

#[test]
fn a_cluster_that_cannot_be_used_is_listed_with_the_reason_and_the_remedy() {
    let host = FakeHost::start();
    let items = json!({"items": [
        {"context": "dev", "server": "https://10.0.0.1", "current": true, "source": "file"},
        {"context": "prod", "server": "", "current": false, "source": "uploaded", "problem":
            {"code": "cluster-sealed", "message": "it is sealed with another key", "remedy": "put it back"}}]});
    host.on("GET /clusters", items);
    ctl(&host, &["cluster", "list"]).code(0).out_has(&[
        "dev",
        "prod: error[cluster-sealed]: it is sealed with another key",
        "remedy: put it back",
    ]);
}

#[test]
fn refused_plugin_files_are_shown_with_the_reason() {
    let host = host();
    let items = json!({"items": [
        {"kind": "adapter", "name": "lattice", "version": "0.3.0", "file": "/p/liblattice.so", "state": "loaded", "mode": "child"},
        {"kind": "unknown", "name": "", "version": "", "file": "/p/notes.so", "state": "refused", "mode": "child",
            "error": {"code": "not-a-library", "message": "/p/notes.so is not a library", "remedy": "remove it"}}]});
    host.on("GET /plugins", items);
    ctl(&host, &["plugin", "list"]).code(0).out_has(&[
        "error[not-a-library]: /p/notes.so is not a library",
        "remedy: remove it",
        "loaded",
    ]);
}

#[test]
fn both_versions_are_shown_and_the_own_one_even_without_a_host() {
    ctl(&host(), &["version"])
        .code(0)
        .out_has(&[env!("CARGO_PKG_VERSION"), "0.9.0", "1.0.0"]);
    let ran = ctl(&host(), &["version", "-o", "json"]).code(0);
    let both: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(
        (&both["client"]["name"], &both["server"]["version"]),
        (&"mesheryctl".into(), &"0.9.0".into())
    );
    let nobody = ["version", "--server", "http://127.0.0.1:1"];
    ctl(&host(), &nobody)
        .code(4)
        .out_has(&[env!("CARGO_PKG_VERSION")]);
}

#[test]
fn an_analysis_is_shown_finding_by_finding_with_its_remedy() {
    let host = host();
    let finding = json!({"code": "applabel", "severity": "warning", "message": "pod a has no label app",
        "ref": "v1/Pod/shop/a", "remedy": "label it"});
    host.on(
        "GET /clusters/prod/analyze?adapter=lattice",
        json!({"items": [finding]}),
    );
    ctl(&host, &["mesh", "analyze", "lattice", "--context", "prod"])
        .code(0)
        .out_has(&[
            "warning[applabel]",
            "pod a has no label app",
            "v1/Pod/shop/a",
            "label it",
        ]);
}
