//! The command line client against a real host on a real control plane: the tour of the README.
//!
//! What it does with answers of all kinds is shown beside it, against a host that its own tests play.

use std::net::TcpListener;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use libtest_mimic::Trial;
use meshery_tests::artifacts;
use meshery_tests::host::Host;
use serde_json::Value;

use crate::invented::{LIMIT, invented_host};
use crate::namespace::succeeded;
use crate::{cluster, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("mesheryctl::the_tour_sees_runs_verifies_and_takes_back", tour),
        trial("mesheryctl::what_fails_is_told_and_taken_back", failure),
        trial("mesheryctl::following_outlasts_a_killed_host", killed_host),
        trial(
            "mesheryctl::what_the_host_refuses_is_told_with_its_code",
            refusals,
        ),
    ]
}

/// The program with a host's address and token. The line has no quotes in it.
fn command(host: &Host, line: &str) -> anyhow::Result<Command> {
    let mut command = Command::new(artifacts::build()?.program("mesheryctl")?);
    command
        .args(line.split_whitespace())
        .env_clear()
        .env("HOME", host.data())
        .env("MESHERY_SERVER", host.url()?)
        .env("MESHERY_TOKEN_FILE", host.token_file())
        .stdin(Stdio::null());
    Ok(command)
}

/// Runs it and checks its exit code; what it said on standard output and on standard error.
pub fn ctl(host: &Host, code: i32, line: &str) -> anyhow::Result<(String, String)> {
    ended(command(host, line)?.output()?, code).with_context(|| format!("mesheryctl {line}"))
}

fn ended(output: Output, code: i32) -> anyhow::Result<(String, String)> {
    let out = String::from_utf8(output.stdout)?;
    let err = String::from_utf8(output.stderr)?;
    ensure!(
        output.status.code() == Some(code),
        "{}, not {code}:\n{out}\n{err}",
        output.status
    );
    Ok((out, err))
}

pub fn has(text: &str, parts: &[&str]) -> anyhow::Result<()> {
    for part in parts {
        ensure!(text.contains(part), "no \"{part}\" in:\n{text}");
    }
    Ok(())
}

fn tour() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let host = invented_host(&cluster, cluster.kubeconfig())?.start()?;
    let there =
        || succeeded(cluster.kubectl(&["get", "namespace", "tour", "--ignore-not-found", "-o", "name"]));
    let out = |line: &str| ctl(&host, 0, line).map(|(out, _)| out);

    has(&out("adapter list")?, &["invented", "Invented"])?;
    has(
        &out("adapter view invented")?,
        &["never-ready", "ConfigMaps to apply"],
    )?;
    has(&out("cluster list")?, &["*", cluster.server()])?;
    has(&out("cluster view")?, &["uid:", "version:"])?;

    // See.
    let install = "invented --set namespace=tour --set chart=false";
    let (plan, hint) = ctl(&host, 0, &format!("mesh plan {install}"))?;
    let planned = "+ v1/Namespace//tour  create [verified]";
    has(&plan, &[planned, "create [local]", "to create"])?;
    has(&hint, &["mesheryctl operation run "])?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("namespace");
    std::fs::write(&file, "tour")?;
    let of_file = format!(
        "mesh plan invented --set-file namespace={} --set chart=false",
        file.display()
    );
    has(&out(&of_file)?, &[planned])?;
    ensure!(there()?.is_empty(), "a plan made the namespace");

    // Run and watch.
    ctl(&host, 2, &format!("mesh deploy {install}"))?;
    ensure!(there()?.is_empty(), "nobody said yes");
    let (deployed, progress) = ctl(&host, 0, &format!("mesh deploy {install} --yes"))?;
    has(&deployed, &[planned, "succeeded: "])?;
    has(&progress, &["running", "✓", "verifying"])?;
    ensure!(!there()?.is_empty(), "there is no namespace");

    // Verify.
    has(&out("mesh detect Invented")?, &["tour", "healthy"])?;
    let list: Value = serde_json::from_str(&out("operation list --state succeeded -o json")?)?;
    let id = list["items"][0]["id"].as_str().context("one has succeeded")?;
    has(
        &out(&format!("operation view {id} --events"))?,
        &["succeeded", "namespace=tour", "STEP", "created"],
    )?;
    let (_, replayed) = ctl(&host, 0, &format!("operation watch {id} --verbose"))?;
    has(&replayed, &["created v1/Namespace//tour"])?;
    let again = out(&format!("mesh plan {install}"))?;
    has(&again, &["unchanged"])?;
    ensure!(
        !again.contains("to create"),
        "what is there is made again: {again}"
    );

    // Take back.
    has(&out(&format!("operation undo {id} --yes"))?, &["undone: "])?;
    ensure!(there()?.is_empty(), "the namespace is still there");
    has(&out("mesh detect invented")?, &["No Invented was found"])
}

fn failure() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let host = invented_host(&cluster, cluster.kubeconfig())?.start()?;
    let line = "adapter run invented never-ready --set namespace=tour-failure --set what=deployment \
                --set chart=false --set deadline=3 --yes";
    let (out, err) = ctl(&host, 3, line)?;
    has(
        &out,
        &[
            "undone: ",
            "error[not-ready]",
            "Available: 0/1",
            "mesheryctl operation view --events ",
        ],
    )?;
    has(
        &err,
        &["waiting for apps/v1/Deployment/tour-failure/", "✗", "undoing"],
    )?;
    let said = err.matches("error[not-ready]").count();
    ensure!(said == 1, "the same failure {said} times:\n{err}");
    let left = succeeded(cluster.kubectl(&["get", "namespace", "tour-failure", "--ignore-not-found"]))?;
    ensure!(left.is_empty(), "{left}");
    Ok(())
}

fn killed_host() -> anyhow::Result<()> {
    let cluster = cluster()?;
    // The same address after the restart, so that the client finds it again.
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let mut host = invented_host(&cluster, cluster.kubeconfig())?
        .listen(&address)
        .start()?;
    let line =
        "mesh deploy invented --set namespace=tour-killed --set chart=false --set ready=after-6s --yes";
    let following = command(&host, line)?
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let began = Instant::now();
    let id = loop {
        let list = host.get("/api/v1/operations")?.expect(200)?;
        let record = &list["items"][0];
        if record["state"] == "running" {
            break record["id"].as_str().context("a record has an id")?.to_owned();
        }
        ensure!(began.elapsed() < LIMIT, "it does not run: {list:#}");
        std::thread::sleep(Duration::from_millis(20));
    };
    host.kill()?;
    host.restart()?;
    let (out, err) = ended(following.wait_with_output()?, 0).with_context(|| host.log())?;
    has(&err, &["connection lost, reconnecting"])?;
    has(&out, &["succeeded: "])?;
    ctl(&host, 0, &format!("operation undo {id} --yes"))?;
    Ok(())
}

fn refusals() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let host = invented_host(&cluster, cluster.kubeconfig())?.start()?;
    let unknown = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
    for (code, line, said) in [
        (1, &*format!("operation view {unknown}"), unknown),
        (1, "operation list --state flying", "state"),
        (1, "mesh plan invented --context nowhere", "nowhere"),
        (1, "mesh plan invented --namespace Not_A_Name", "namespace"),
        (1, "mesh plan invented --set refuse=true", "refused"),
        (1, "adapter plan invented overreach", "right"),
        (1, "cluster remove nowhere --yes", "nowhere"),
        (2, "mesh plan invented --version 1", "no parameter \"version\""),
    ] {
        let (out, err) = ctl(&host, code, line)?;
        has(&err, &["error[", said]).with_context(|| format!("mesheryctl {line}: {out}"))?;
    }
    Ok(())
}
