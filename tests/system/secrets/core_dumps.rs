//! That a crash leaves no copy of the memory, in which all secrets are.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;

use anyhow::{Context as _, ensure};
use libtest_mimic::Trial;
use meshery_tests::host::Host;
use rustix::process::Signal;
use serde_json::Value;

use crate::trial;

pub fn trials() -> Vec<Trial> {
    vec![
        trial(
            "secrets::a_crash_leaves_no_copy_of_the_memory",
            a_crash_leaves_no_copy,
        ),
        trial(
            "secrets::a_crash_leaves_what_the_system_allows_where_the_owner_says_so",
            allowed,
        ),
    ]
}

/// What the system allows a process, at most.
fn limit(pid: impl std::fmt::Display) -> anyhow::Result<String> {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits"))?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max core file size"));
    let most = line.and_then(|line| line.split_whitespace().nth(1));
    Ok(most.context("no limit is shown")?.to_owned())
}

fn a_crash_leaves_no_copy() -> anyhow::Result<()> {
    let mut host = Host::builder()
        .settings("[isolation_of]\nlocal = \"child\"\n")
        .start()?;
    ensure!(limit(host.pid()?)? == "0", "the host may leave one");
    let plugins = host.get("/api/v1/plugins")?.expect(200)?;
    let children: Vec<&Value> = plugins["items"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|plugin| &plugin["pid"])
        .filter(|pid| pid.is_u64())
        .collect();
    ensure!(!children.is_empty(), "no plugin has a process: {plugins:#}");
    for pid in children {
        ensure!(limit(pid)? == "0", "a plugin's process may leave one");
    }
    host.signal(Signal::ABORT)?;
    let status = host.wait_ended()?;
    ensure!(status.signal() == Some(Signal::ABORT.as_raw()), "{status}");
    ensure!(!status.core_dumped(), "it left one");
    Ok(())
}

fn allowed() -> anyhow::Result<()> {
    let host = Host::builder().settings("core_dumps = true\n").start()?;
    let ours = limit("self")?;
    ensure!(limit(host.pid()?)? == ours, "the host's limit is another one");
    Ok(())
}
