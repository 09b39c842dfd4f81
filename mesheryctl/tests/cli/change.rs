//! What changes something: plan, yes or no, run, ending, exit code.

use serde_json::json;

use crate::answers::{adapter, host, preview, record, runs_to};
use crate::fake_host::{Answer, FakeHost, problem};
use crate::program::{Home, ctl, finish_with_input};

#[test]
fn deploying_plans_previews_runs_follows_and_says_how_it_ended() {
    let host = host();
    runs_to(&host, "succeeded");
    let arguments = [
        "mesh",
        "deploy",
        "lattice",
        "--version",
        "2.0.1",
        "--profile",
        "minimal",
        "--namespace",
        "mesh",
    ];
    let more = [
        "--context",
        "dev",
        "--set",
        "replicas=3",
        "--on-failure",
        "keep",
        "--force-conflicts",
        "--accept",
        "adopt,lookup",
        "--yes",
    ];
    ctl(&host, &[&arguments[..], &more[..]].concat())
        .code(0)
        .out_has(&[
            "2 to create, 1 to change",
            "succeeded: Install Lattice 2.0.1",
            "operation op1 on dev",
        ])
        .err_has(&[
            "✓ the namespace 1/1",
            "waiting for apps/v1/Deployment/lattice-system/control: Available: 0/1",
        ]);
    assert_eq!(
        host.body_of("POST /operations"),
        json!({"adapter": "lattice", "operation": "install", "context": "dev",
            "parameters": {"version": "2.0.1", "profile": "minimal", "namespace": "mesh", "replicas": 3},
            "policy": {"on_failure": "keep", "force_conflicts": true, "accept": ["adopt", "lookup"]}})
    );
    let changes: Vec<String> = host
        .lines()
        .into_iter()
        .filter(|line| line.starts_with("POST"))
        .collect();
    assert_eq!(
        changes,
        [
            "POST /operations",
            "POST /operations/op1/preview",
            "POST /operations/op1/run"
        ]
    );
}

#[test]
fn an_operation_that_does_not_succeed_is_exit_code_3_and_says_what_to_do_next() {
    for (state, next) in [
        ("failed", "mesheryctl operation undo op1"),
        ("undone", "mesheryctl operation view --events op1"),
        ("cancelled", "mesheryctl operation undo op1"),
        ("interrupted", "mesheryctl operation resume op1"),
        ("undo-incomplete", "mesheryctl operation undo op1"),
    ] {
        let host = host();
        runs_to(&host, state);
        ctl(
            &host,
            &["mesh", "deploy", "lattice", "--version", "2.0.1", "--yes"],
        )
        .code(3)
        .out_has(&[&state.replace('-', " "), next]);
    }
}

#[test]
fn with_json_only_the_final_record_is_on_standard_output() {
    let host = host();
    runs_to(&host, "succeeded");
    let ran = ctl(&host, &["mesh", "remove", "lattice", "--yes", "-o", "json"]).code(0);
    let printed: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(printed, record("succeeded"));
    assert_eq!(ran.err, "", "nothing that a program would have to leave out");
}

#[test]
fn a_plan_runs_nothing_and_says_how_to_run_it() {
    let host = host();
    ctl(&host, &["mesh", "plan", "lattice", "--version", "2.0.1"])
        .code(0)
        .out_has(&["2 to create"])
        .err_has(&["mesheryctl operation run op1"]);
    assert!(
        !host.lines().iter().any(|line| line.ends_with("/run")),
        "{:?}",
        host.lines()
    );
    let ran = ctl(&host, &["mesh", "plan", "lattice", "--remove", "-o", "json"]).code(0);
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&ran.out).unwrap(),
        preview()
    );
}

#[test]
fn a_plan_that_changes_something_is_exit_code_2_when_asked_and_then_a_wrong_command_line_is_1() {
    let plan = ["mesh", "plan", "lattice", "--exit-code"];
    let host = host();
    ctl(&host, &plan).code(2).out_has(&["2 to create"]);
    ctl(&host, &[&plan[..], &["-o", "json"]].concat()).code(2);
    for wrong in [["--set", "nonsense=1"], ["--nonsense", "x"], ["-o", "xml"]] {
        ctl(&host, &[&plan[..], &wrong[..]].concat()).code(1);
    }
    ctl(&host, &["mesh", "plan", "lattice", "--nonsense"]).code(2);

    // Records that Helm keeps are no change.
    let host = FakeHost::start();
    host.on("GET /adapters", json!({"items": [adapter()]}));
    host.on("GET /adapters/lattice", adapter());
    host.then("POST /operations", Answer::Json(201, record("planned")));
    let mut same = preview();
    same["objects"] = json!([
        {"ref": "v1/Secret/lattice-system/sh.helm.release.v1.lattice.v2", "change": "create"},
        {"ref": "v1/Service/lattice-system/control", "change": "unchanged"},
        {"ref": "apps/v1/Deployment/lattice-system/control", "change": "wait"}]);
    host.on("POST /operations/op1/preview", same);
    ctl(&host, &plan).code(0);
}

#[test]
fn a_plan_goes_into_a_new_file_as_the_host_says_it_and_is_applied_from_there() {
    let host = host();
    let plan = json!({"meshery_plan": 1, "of_the_future": [1]});
    host.on("GET /operations/op1/plan", plan.clone());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plan.json");
    let file = file.to_str().unwrap();
    let digests = folder.path().join("digests.txt");
    std::fs::write(&digests, "# those of today\n\nr.corp/a:1@sha256:0f\n").unwrap();
    let digests = digests.to_str().unwrap();
    let line = [
        "mesh",
        "plan",
        "lattice",
        "--image-registry",
        "r.corp/m",
        "--pull-secret",
        "cred",
        "--image-digests",
        digests,
        "--out",
        file,
    ];
    ctl(&host, &line)
        .code(0)
        .err_has(&[&format!("mesheryctl apply {file}")]);
    assert_eq!(
        host.body_of("POST /operations")["images"],
        json!({"registry": "r.corp/m", "pull_secrets": ["cred"], "digests": ["r.corp/a:1@sha256:0f"]})
    );
    let written: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    assert_eq!(written, plan);
    ctl(&host, &line).code(2).err_has(&["file-exists"]);
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        2,
        "nothing half done is left"
    );
    for (wrong, word) in [("nowhere.txt", "nowhere.txt"), ("empty.txt", "names no image")] {
        let wrong = folder.path().join(wrong);
        if word != "nowhere.txt" {
            std::fs::write(&wrong, "# nothing\n").unwrap();
        }
        let wrong = wrong.to_str().unwrap();
        ctl(&host, &["mesh", "plan", "lattice", "--image-digests", wrong])
            .code(1)
            .err_has(&["image-digests-file", word]);
    }

    host.then("POST /plans?context=dev", Answer::Json(201, record("previewed")));
    runs_to(&host, "succeeded");
    ctl(&host, &["apply", file, "--context", "dev", "--yes"])
        .code(0)
        .out_has(&["2 to create", "succeeded"]);
    assert_eq!(host.body_of("POST /plans?context=dev"), plan);
    // One that waits for its approval is not run.
    let mut waiting = record("awaiting-approval");
    waiting["policy"]["approval"] = true.into();
    host.then("POST /plans", Answer::Json(201, waiting));
    let runs = |host: &FakeHost| host.lines().iter().filter(|line| line.ends_with("/run")).count();
    let before = runs(&host);
    ctl(&host, &["apply", file, "--yes"]).code(0);
    assert_eq!(runs(&host), before);
}

#[test]
fn without_a_terminal_and_without_yes_nothing_is_even_planned() {
    let host = host();
    for arguments in [
        &["mesh", "deploy", "lattice"][..],
        &["mesh", "remove", "lattice"],
        &["app", "deploy", "bookinfo"],
        &["adapter", "run", "lattice", "install"],
        &["operation", "undo", "op1"],
        &["operation", "run", "op1"],
    ] {
        ctl(&host, arguments)
            .code(2)
            .err_has(&["error[confirmation-needed]", "--yes"]);
    }
    for (arguments, remedy) in [
        (
            &["mesh", "deploy", "lattice"][..],
            "look at it first (`mesheryctl mesh plan`)",
        ),
        (
            &["mesh", "remove", "lattice"],
            "look at it first (`mesheryctl mesh plan --remove`)",
        ),
        (
            &["operation", "undo", "op1"],
            "look at it first (`mesheryctl operation undo op1 --preview`)",
        ),
        (
            &["operation", "run", "op1"],
            "look at it first (`mesheryctl operation preview op1`)",
        ),
        (&["operation", "cancel", "op1"], "remedy: say it again with --yes"),
        (
            &["operation", "approve", "op1"],
            "remedy: say it again with --yes",
        ),
        (&["operation", "resume", "op1"], "remedy: say it again with --yes"),
        (&["cluster", "remove", "dev"], "remedy: say it again with --yes"),
    ] {
        ctl(&host, arguments).code(2).err_has(&[remedy]);
    }
    assert_eq!(host.lines(), [""; 0]);
}

#[test]
fn a_file_that_is_not_there_is_told_with_a_remedy() {
    let host = host();
    for arguments in [
        &["apply", "nowhere", "--yes"][..],
        &["bundle", "load", "nowhere"],
        &["provider", "restore", "nowhere", "--yes"],
        &["mesh", "plan", "lattice", "--set-file", "version=nowhere"],
    ] {
        ctl(&host, arguments)
            .code(1)
            .err_has(&["cannot read nowhere", "remedy: name a file that is there"]);
    }
}

#[test]
fn a_parameter_may_be_the_text_of_a_file_or_of_standard_input() {
    let host = host();
    let home = Home::new();
    std::fs::write(home.0.path().join("version"), "2.0.1").unwrap();
    // More than one argument may hold.
    let namespace = "n".repeat(200_000);
    let mut command = home.command(&[
        "mesh",
        "plan",
        "lattice",
        "--set-file",
        "version=version",
        "--set-file",
        "namespace=-",
        "--set",
        "replicas=3",
    ]);
    command.env("MESHERY_SERVER", host.url());
    finish_with_input(&mut command, &namespace).code(0);
    assert_eq!(
        host.body_of("POST /operations")["parameters"],
        json!({"version": "2.0.1", "namespace": namespace, "replicas": 3})
    );
}

#[test]
fn yes_does_not_cover_errors_that_the_preview_shows() {
    let host = host();
    let mut bad = preview();
    bad["objects"][0]["change"] = "conflict".into();
    bad["objects"][0]["conflicts"] = json!([{"manager": "argocd", "field": ".spec.replicas"}]);
    bad["objects"][1]["change"] = "error".into();
    bad["objects"][1]["error"] = json!({"code": "forbidden", "message": "may not patch configmaps"});
    host.then("POST /operations/op1/preview", Answer::Json(200, bad));
    // The good preview comes first: a plan uses it up.
    ctl(&host, &["mesh", "plan", "lattice"]).code(0);
    ctl(&host, &["mesh", "deploy", "lattice", "--yes"])
        .code(1)
        .out_has(&[
            ".spec.replicas is owned by argocd",
            "error[forbidden]: may not patch configmaps",
        ])
        .err_has(&[
            "1 objects that the server would refuse",
            "--force-conflicts",
            "operation run op1",
        ]);
    assert!(!host.lines().iter().any(|line| line.ends_with("/run")));
}

#[test]
fn without_waiting_the_id_comes_last_on_standard_output() {
    let host = host();
    let ran = ctl(
        &host,
        &["adapter", "run", "lattice", "remove", "--yes", "--no-wait"],
    )
    .code(0);
    assert!(ran.out.ends_with("\nop1\n"), "{ran:#?}");
    assert!(ran.err.contains("mesheryctl operation watch op1"), "{ran:#?}");
}

#[test]
fn sample_applications_are_found_by_name() {
    let host = host();
    runs_to(&host, "succeeded");
    let arguments = [
        "app",
        "deploy",
        "bookinfo",
        "--namespace",
        "shop",
        "--mesh",
        "lattice",
        "--yes",
    ];
    ctl(&host, &arguments).code(0);
    let body = host.body_of("POST /operations");
    assert_eq!(
        (&body["operation"], &body["parameters"]),
        (&"deploy-bookinfo".into(), &json!({"namespace": "shop"}))
    );
    ctl(&host, &["app", "remove", "emojivoto", "--yes"])
        .code(1)
        .err_has(&["error[unknown-application]", "bookinfo (of lattice)"]);
}

#[test]
fn taking_back_follows_only_what_the_undo_does_and_undone_is_success() {
    let host = host();
    host.then("GET /operations/op1", Answer::Json(200, record("succeeded")));
    host.then("POST /operations/op1/undo", Answer::Json(202, record("undoing")));
    runs_to(&host, "undone");
    ctl(&host, &["operation", "undo", "op1", "--yes"])
        .code(0)
        .out_has(&["undone: Install Lattice"]);
    let asked = host.asked();
    let events = asked
        .iter()
        .find(|asked| asked.line.ends_with("/events"))
        .unwrap();
    assert_eq!(events.last_event_id.as_deref(), Some("3"));
}

#[test]
fn cancelling_and_resuming_end_well_in_different_states() {
    for (action, state, code) in [
        ("cancel", "undone", 0),
        ("cancel", "cancelled", 0),
        ("cancel", "succeeded", 3),
        ("resume", "succeeded", 0),
        ("resume", "undone", 3),
    ] {
        let host = host();
        host.then(
            &format!("POST /operations/op1/{action}"),
            Answer::Json(202, record("running")),
        );
        runs_to(&host, state);
        ctl(&host, &["operation", action, "op1", "--yes"]).code(code);
    }
}

#[test]
fn an_operation_that_needs_approval_is_not_run_and_says_how_to_approve_and_run_it() {
    let host = host();
    host.on("GET /operations/op1", record("awaiting-approval"));
    ctl(&host, &["mesh", "deploy", "lattice", "--needs-approval", "--yes"])
        .code(0)
        .out_has(&[
            "2 to create",
            "awaiting approval",
            "mesheryctl operation approve op1",
        ]);
    assert_eq!(
        host.body_of("POST /operations")["policy"],
        json!({"approval": true})
    );
    host.then(
        "POST /operations/op1/approve",
        Answer::Json(202, record("previewed")),
    );
    ctl(&host, &["operation", "approve", "op1", "--yes"])
        .code(0)
        .out_has(&["mesheryctl operation run op1"]);
    assert!(!host.lines().iter().any(|line| line.ends_with("/run")));
}

#[test]
fn what_the_host_refuses_is_told_with_cause_and_remedy() {
    let host = host();
    host.then("GET /operations/op1", Answer::Json(200, record("running")));
    let refusal = problem("not-undoable", "operation op1 is running", "cancel it first");
    host.then("POST /operations/op1/undo", Answer::Json(409, refusal));
    ctl(&host, &["operation", "undo", "op1", "--yes"])
        .code(1)
        .err_has(&[
            "error[not-undoable]: operation op1 is running",
            "cause: because of the test",
            "remedy: cancel it first",
        ]);
}
