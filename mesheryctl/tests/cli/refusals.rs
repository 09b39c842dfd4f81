//! Bad input, bad hosts, bad tokens: a clear error and the exit code that says which.

use std::net::TcpListener;

use serde_json::{Value, json};

use crate::answers::host;
use crate::fake_host::{Answer, FakeHost};
use crate::program::{Home, ctl, finish};

#[test]
fn words_that_mean_nothing_are_exit_code_2() {
    let host = host();
    for (arguments, said) in [
        (&["mesh", "install", "lattice"][..], "unrecognized subcommand"),
        (&["adapter", "list", "-o", "xml"], "possible values"),
        (&["adapter", "list", "--timeout", "0"], "1..=3600"),
        (&["operation", "list", "--limit", "5000"], "1..=500"),
        (
            &["mesh", "plan", "lattice", "--set", "replicas=many"],
            "not a whole number",
        ),
        (&["mesh", "plan", "lattice", "--set", "replicas"], "key=value"),
        (&["mesh", "plan", "lattice", "--set-file", "replicas"], "key=file"),
        (
            &[
                "mesh",
                "plan",
                "lattice",
                "--set-file",
                "version=-",
                "--set-file",
                "namespace=-",
            ],
            "standard input twice",
        ),
        (
            &["mesh", "plan", "lattice", "--set", "colour=red"],
            "namespace, profile, replicas, version",
        ),
        (
            &["mesh", "plan", "lattice", "--version", "1", "--set", "version=2"],
            "given twice",
        ),
        (&["mesh", "plan", "lattice", "--profile", "demo"], "\"minimal\""),
        (
            &["mesh", "plan", "lattice", "--remove", "--profile", "default"],
            "it takes none",
        ),
        (&["operation", "view", ".."], "not a name"),
        (&["operation", "view", ""], "not a name"),
        (&["--server", "ftp://x", "adapter", "list"], "http and https"),
        (&["--server", "http://user:pw@x", "adapter", "list"], "password"),
    ] {
        ctl(&host, arguments).code(2).err_has(&[said]);
    }
    assert!(
        !host.lines().iter().any(|line| line.starts_with("POST")),
        "{:?}",
        host.lines()
    );
}

#[test]
fn unknown_names_are_answered_with_the_known_ones() {
    let host = host();
    ctl(&host, &["mesh", "plan", "istoi"])
        .code(1)
        .err_has(&["error[unknown-adapter]", "it has lattice"]);
    ctl(&host, &["adapter", "plan", "lattice", "fly"])
        .code(1)
        .err_has(&["error[unknown-operation]", "install, remove"]);
    let empty = FakeHost::start();
    empty.on("GET /adapters", json!({"items": []}));
    ctl(&empty, &["mesh", "plan", "lattice"])
        .code(1)
        .err_has(&["mesheryctl plugin list"]);
}

#[test]
fn a_host_that_is_not_there_is_exit_code_4() {
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let home = Home::new();
    let server = format!("http://{unused}");
    let ran = finish(&mut home.command(&["adapter", "list", "--server", &server])).code(4);
    ran.err_has(&[
        "error[host-unreachable]",
        &unused.to_string(),
        "cause:",
        "remedy: start the host",
    ]);
}

#[test]
fn a_host_that_does_not_answer_is_given_up_in_time() {
    let host = FakeHost::start();
    host.then("GET /adapters", Answer::Silence);
    ctl(&host, &["adapter", "list", "--timeout", "1"])
        .code(4)
        .err_has(&["error[host-timeout]", "within 1 s", "--timeout"]);
}

#[test]
fn a_token_that_is_missing_or_wrong_is_exit_code_5_and_names_the_file() {
    let host = host();
    let home = Home::new();
    let token = home.0.path().join(".meshery/token");
    std::fs::write(&token, "of-another-host").unwrap();
    home.run(&host, &["adapter", "list"]).code(5).err_has(&[
        "error[unauthorized]",
        "does not accept",
        ".meshery/token",
        "--token-file",
    ]);
    std::fs::remove_file(&token).unwrap();
    home.run(&host, &["adapter", "list"])
        .code(5)
        .err_has(&["there is none at"]);
}

#[test]
fn a_token_file_that_was_named_must_hold_a_token() {
    let host = host();
    let home = Home::new();
    let file = home.0.path().join("t");
    let arguments = ["adapter", "list", "--token-file", "t"];
    home.run(&host, &arguments)
        .code(1)
        .err_has(&["error[token-file]", "No such file"]);
    for content in [&b""[..], b" \n", b"two\nlines", &[0xff, 0xfe]] {
        std::fs::write(&file, content).unwrap();
        home.run(&host, &arguments)
            .code(1)
            .err_has(&["error[token-file]"]);
    }
    std::fs::write(&file, crate::fake_host::TOKEN).unwrap();
    home.run(&host, &arguments).code(0);
    assert_eq!(host.lines().len(), 1);
}

#[test]
fn something_else_that_listens_there_is_recognised() {
    let host = FakeHost::start();
    let page = b"<html>login</html>".to_vec();
    for status in [200, 302, 404, 502] {
        host.then("GET /adapters", Answer::Raw(status, "text/html", page.clone()));
    }
    for _ in 0..4 {
        ctl(&host, &["adapter", "list"])
            .code(1)
            .err_has(&["error[unexpected-answer]", "--server"]);
    }
    host.on("GET /operations/op1", json!({"id": 7, "state": []}));
    ctl(&host, &["operation", "view", "op1"])
        .code(1)
        .err_has(&["error[unexpected-answer]"]);
}

#[test]
fn proxy_settings_do_not_apply_to_this_machine() {
    let host = host();
    let home = Home::new();
    let mut command = home.command(&["adapter", "list"]);
    // Nobody listens on port 1: asking the proxy would fail.
    for name in ["http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"] {
        command.env(name, "http://127.0.0.1:1");
    }
    finish(command.env("MESHERY_SERVER", host.url())).code(0);
}

#[test]
fn help_names_the_commands_the_environment_and_the_exit_codes() {
    let home = Home::new();
    let ran = finish(&mut home.command(&["--help"])).code(0);
    ran.out_has(&["Exit codes:", "MESHERY_TOKEN_FILE", "operation"]);
    finish(&mut home.command(&[])).code(2);
}

#[test]
fn with_json_or_yaml_a_problem_is_a_document_on_standard_error_and_nothing_is_on_standard_output() {
    let host = host();
    let said = json!({"type": "urn:meshery:problem:too-late", "title": "Conflict", "status": 409, "detail": "no",
        "code": "too-late", "cause": "c", "remedy": "r", "retryable": false, "instance": "urn:meshery:request:1",
        "of-the-future": [1]});
    host.then("GET /operations/op9", Answer::Json(409, said.clone()));
    let home = Home::new();
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = format!("http://{unused}");
    let cases = [
        (&["operation", "view", "op9"][..], 1, "too-late"),
        (&["mesh", "plan", "nowhere"], 1, "unknown-adapter"),
        (&["mesh", "remove", "lattice"], 2, "confirmation-needed"),
        (&["mesh", "fly"], 2, "command-line"),
        (&["operation"], 2, "command-line"),
        (&["adapter", "list", "--timeout", "soon"], 2, "command-line"),
        (&["adapter", "list", "--token-file", "none"], 1, "token-file"),
        (&["adapter", "list", "--server", &nobody], 4, "host-unreachable"),
    ];
    for (arguments, code, expected) in cases {
        for form in ["json", "yaml"] {
            let arguments = [arguments, &["-o", form]].concat();
            let ran = home.run(&host, &arguments).code(code);
            assert_eq!(ran.out, "", "{ran:#?}");
            let problem = read(form, &ran.err);
            assert_eq!(problem["code"], expected, "{ran:#?}");
            let detail = problem["detail"].as_str().unwrap();
            assert!(!detail.is_empty() && !detail.contains("Operations:"), "{ran:#?}");
            assert_eq!(problem["type"], format!("urn:meshery:problem:{expected}"));
            assert!(problem["retryable"].is_boolean(), "{ran:#?}");
            if expected == "too-late" {
                assert_eq!(problem, said);
            }
        }
    }
    // Without anything after it, nor in the environment, it is answered with the whole help.
    let ran = finish(&mut home.command(&["-o", "json", "operation"])).code(2);
    assert_eq!(
        read("json", &ran.err)["detail"],
        "a command is missing",
        "{ran:#?}"
    );
    let token = home.0.path().join(".meshery/token");
    std::fs::write(token, "of-another-host").unwrap();
    let ran = home.run(&host, &["adapter", "list", "-o", "json"]).code(5);
    assert_eq!(read("json", &ran.err)["code"], "unauthorized", "{ran:#?}");
}

fn read(form: &str, text: &str) -> Value {
    match form {
        "json" => serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}")),
        _ => serde_saphyr::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}")),
    }
}

#[test]
fn what_was_given_for_a_secret_is_not_repeated() {
    let host = FakeHost::start();
    for server in ["http://user:hunter2@x", "ftp://hunter2@x", "http://u:hunter2@[x"] {
        let ran = ctl(&host, &["--server", server, "adapter", "list"]).code(2);
        assert!(!ran.err.contains("hunter2"), "{ran:#?}");
    }
    let mut adapter = crate::answers::adapter();
    adapter["operations"][0]["parameters"]["properties"]["pin"] =
        json!({"type": "integer", "writeOnly": true});
    host.on("GET /adapters", json!({"items": [adapter.clone()]}));
    host.on("GET /adapters/lattice", adapter);
    let ran = ctl(&host, &["mesh", "plan", "lattice", "--set", "pin=hunter2"]).code(2);
    assert!(
        ran.err.contains("\"pin\"") && !ran.err.contains("hunter2"),
        "{ran:#?}"
    );
}
