//! Following an operation through whatever happens to the connection.

use std::io::Read as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::answers::{host, record};
use crate::fake_host::{Answer, FakeHost, end, event};
use crate::program::{Home, ctl, ran};

fn events(host: &FakeHost, parts: Vec<String>, stays_open: bool) {
    host.then("GET /operations/op1/events", Answer::Events { parts, stays_open });
}

fn state(seq: u64, state: &str) -> String {
    event(seq, json!({"kind": "state", "state": state}))
}

#[test]
fn a_broken_stream_is_resumed_after_the_last_event_and_nothing_is_shown_twice() {
    let host = host();
    let whole = event(7, json!({"kind": "note", "message": "cut in the middle"}));
    let (half, _) = whole.split_at(whole.len() / 2);
    events(&host, vec![state(5, "running"), half.to_owned()], false);
    // What was shown already comes once more: a host may be that careful.
    events(
        &host,
        vec![state(4, "queued"), whole.clone(), state(9, "succeeded"), end()],
        false,
    );
    host.on("GET /operations/op1", record("succeeded"));
    let ran = ctl(&host, &["operation", "watch", "op1"]).code(0);
    let ids: Vec<Option<String>> = host
        .asked()
        .into_iter()
        .filter(|asked| asked.line.ends_with("/events"))
        .map(|asked| asked.last_event_id)
        .collect();
    assert_eq!(ids, [Some("0".into()), Some("5".into())]);
    assert_eq!(ran.err.matches("running").count(), 1, "{ran:#?}");
    assert_eq!(ran.err.matches("cut in the middle").count(), 1, "{ran:#?}");
    assert_eq!(ran.err.matches("reconnecting").count(), 1, "{ran:#?}");
    assert!(!ran.err.contains("queued"), "{ran:#?}");
}

#[test]
fn a_stream_that_a_stopping_host_ends_is_taken_up_again() {
    let host = host();
    events(&host, vec![state(1, "running"), end()], false);
    events(&host, vec![state(2, "succeeded"), end()], false);
    // Before, at the first end, and at the second.
    for now in ["queued", "running", "succeeded"] {
        host.on("GET /operations/op1", record(now));
    }
    let ran = ctl(&host, &["operation", "watch", "op1"])
        .code(0)
        .err_has(&["reconnecting"]);
    assert!(ran.out.contains("succeeded"), "{ran:#?}");
}

#[test]
fn what_a_host_takes_up_after_its_restart_is_followed_on() {
    let host = host();
    let mut interrupted = record("interrupted");
    events(&host, vec![state(1, "running")], false);
    events(&host, vec![state(2, "interrupted"), end()], false);
    events(
        &host,
        vec![state(3, "running"), state(4, "succeeded"), end()],
        false,
    );
    host.on("GET /operations/op1", record("running"));
    host.on("GET /operations/op1", interrupted.clone());
    host.on("GET /operations/op1", record("succeeded"));
    ctl(&host, &["operation", "watch", "op1"]).code(0);

    // Unless it waits for somebody to decide, or nobody has seen the host go.
    for policy in ["ask", "resume"] {
        let host = FakeHost::start();
        interrupted["policy"]["on_interruption"] = policy.into();
        host.on("GET /operations/op1", interrupted.clone());
        if policy == "ask" {
            events(&host, vec![state(1, "running")], false);
        }
        events(&host, vec![state(2, "interrupted"), end()], false);
        ctl(&host, &["operation", "watch", "op1"])
            .code(3)
            .out_has(&["mesheryctl operation resume op1"]);
    }
}

#[test]
fn a_host_that_is_not_ready_after_a_break_is_asked_again() {
    let host = host();
    events(&host, vec![state(1, "running")], false);
    let passing = json!({"code": "starting", "detail": "not ready", "retryable": true});
    host.then("GET /operations/op1/events", Answer::Json(503, passing));
    events(&host, vec![state(2, "succeeded"), end()], false);
    host.on("GET /operations/op1", record("succeeded"));
    ctl(&host, &["operation", "watch", "op1"]).code(0);
}

#[test]
fn a_problem_in_the_stream_is_told_unless_it_passes() {
    let host = host();
    let problem = |retryable| {
        let problem =
            json!({"code": "provider-gone", "message": "the provider is away", "retryable": retryable});
        format!("event: problem\ndata: {problem}\n\n")
    };
    host.on("GET /operations/op1", record("running"));
    events(&host, vec![state(1, "running"), problem(true)], true);
    events(&host, vec![state(2, "paused"), problem(false)], true);
    ctl(&host, &["operation", "watch", "op1"])
        .code(1)
        .err_has(&["paused", "error[provider-gone]: the provider is away"]);
}

#[test]
fn each_event_is_a_line_of_json_as_the_host_sent_it() {
    let host = host();
    let future = event(2, json!({"kind": "of-the-future", "unknown": [1]}));
    events(&host, vec![state(1, "running"), future, end()], false);
    host.on("GET /operations/op1", record("failed"));
    let ran = ctl(&host, &["operation", "watch", "op1", "-o", "json"]).code(3);
    let lines: Vec<Value> = ran
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(
        (&lines[0]["state"], &lines[1]["unknown"]),
        (&"running".into(), &json!([1]))
    );
    let problem: Value = serde_json::from_str(&ran.err).unwrap();
    assert_eq!(problem["code"], "operation-failed", "{ran:#?}");
}

#[test]
fn objects_are_shown_one_by_one_when_asked_for() {
    let host = host();
    let object = json!({"kind": "object", "step": "ns", "object": "v1/Namespace//mesh", "change": "created"});
    events(&host, vec![event(1, object), end()], false);
    host.on("GET /operations/op1", record("succeeded"));
    ctl(&host, &["operation", "watch", "op1", "--verbose"])
        .code(0)
        .err_has(&["created v1/Namespace//mesh"]);
    let ran = ctl(&host, &["operation", "watch", "op1"]).code(0);
    assert!(!ran.err.contains("v1/Namespace//mesh"), "{ran:#?}");
}

#[test]
fn what_cannot_be_read_is_an_error_not_a_hang() {
    let host = host();
    host.on("GET /operations/op1", record("running"));
    events(&host, vec!["data: {not json\n\n".into()], true);
    ctl(&host, &["operation", "watch", "op1"])
        .code(1)
        .err_has(&["error[bad-event]"]);
}

#[test]
fn following_ends_with_its_time_and_says_that_the_operation_goes_on() {
    let host = host();
    host.on("GET /operations/op1", record("running"));
    events(&host, vec![state(1, "running")], true);
    ctl(&host, &["operation", "watch", "op1", "--wait-timeout", "1"])
        .code(1)
        .err_has(&[
            "error[wait-timeout]",
            "it goes on",
            "mesheryctl operation watch op1",
        ]);
}

#[test]
fn an_interrupt_detaches_and_leaves_the_operation_alone() {
    let host = host();
    host.on("GET /operations/op1", record("running"));
    events(&host, vec![state(1, "running")], true);
    let home = Home::new();
    let mut command = home.command(&["operation", "watch", "op1"]);
    command
        .env("MESHERY_SERVER", host.url())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut first = [0; 7];
    child.stderr.as_mut().unwrap().read_exact(&mut first).unwrap();
    assert_eq!(&first, b"running");
    let process = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(process, rustix::process::Signal::INT).unwrap();
    ran(child.wait_with_output().unwrap()).code(130).err_has(&[
        "the operation goes on",
        "operation watch op1",
        "operation cancel op1",
    ]);
    assert!(
        !host.lines().iter().any(|line| line.starts_with("POST")),
        "{:?}",
        host.lines()
    );
}

#[test]
fn a_reader_that_goes_away_is_no_reason_for_noise() {
    let host = host();
    let home = Home::new();
    let mut command = home.command(&["adapter", "view", "lattice"]);
    let mut child = command
        .env("MESHERY_SERVER", host.url())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let started = Instant::now();
    let ran = ran(child.wait_with_output().unwrap()).code(141);
    assert_eq!(ran.err, "");
    assert!(started.elapsed() < Duration::from_secs(30));
}
