//! Starting, being refused, stopping, being killed.

use std::fs;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use libtest_mimic::Trial;
use meshery_tests::host::Host;
use rustix::process::{Pid, Signal, kill_process};

use crate::trial;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("host::starts_without_anything", starts_without_anything),
        trial(
            "host::broken_plugins_are_listed_and_the_host_is_up",
            broken_plugins_are_listed,
        ),
        trial(
            "host::a_second_one_on_the_same_data_folder_is_refused",
            second_host_refused,
        ),
        trial("host::a_port_in_use_is_said", port_in_use),
        trial("host::signals_drain_and_exit_0", signals_exit_0),
        trial("host::a_second_signal_ends_at_once", second_signal_ends_at_once),
        trial("host::answers_that_were_begun_end", answers_that_were_begun_end),
        trial("host::starts_again_after_a_crash", starts_again_after_a_crash),
        trial("host::bad_settings_are_named_with_their_place", bad_settings),
        trial("host::print_config_says_where_values_come_from", print_config),
        trial(
            "host::a_log_that_nobody_reads_is_no_reason_to_fail",
            log_that_nobody_reads,
        ),
        trial("host::readyz_says_when_the_provider_hangs", provider_hangs),
        trial("host::keeps_its_files_to_itself", keeps_its_files_to_itself),
    ]
}

fn starts_without_anything() -> anyhow::Result<()> {
    let host = Host::builder().start()?;
    host.get("/healthz")?.expect(200)?;
    let ready = host.get("/readyz")?.expect(200)?;
    ensure!(
        ready["ready"] == true && ready["plugins"].as_u64() >= Some(2),
        "{ready}"
    );
    let version = host.get("/api/v1/version")?.expect(200)?;
    ensure!(
        version["name"] == "meshery" && version["api"] == "v1",
        "{version}"
    );
    let clusters = host.get("/api/v1/clusters")?.expect(200)?;
    ensure!(clusters["items"] == serde_json::json!([]), "{clusters}");
    let report = host.report();
    for words in [
        host.url()?,
        &host.data().display().to_string(),
        "provider",
        "local",
        "adapter",
        "in-process",
        "libmeshery_local_provider.so",
        "try next",
    ] {
        ensure!(report.contains(words), "no {words} in {report}");
    }
    Ok(())
}

fn broken_plugins_are_listed() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("junk.so"), "this is no library")?;
    fs::write(folder.path().join("empty.so"), "")?;
    let host = Host::builder()
        .plugins(folder.path())
        .plugins("/nowhere/plugins")
        .start()?;
    host.get("/healthz")?.expect(200)?;
    host.get("/readyz")?.expect(200)?;
    let plugins = host.get("/api/v1/plugins")?.expect(200)?;
    let items = plugins["items"].as_array().context("a list")?;
    let report = host.report();
    for file in ["junk.so", "empty.so", "/nowhere/plugins"] {
        let refused = items
            .iter()
            .find(|item| item["file"].as_str().is_some_and(|name| name.ends_with(file)))
            .with_context(|| format!("{file} is not in {plugins:#}"))?;
        ensure!(refused["state"] == "refused", "{refused:#}");
        for member in ["code", "message", "remedy"] {
            ensure!(
                refused["error"][member].as_str().is_some_and(|s| !s.is_empty()),
                "no {member}: {refused:#}"
            );
        }
        ensure!(report.contains(file), "{file} is not in {report}");
    }
    let loaded = items.iter().filter(|item| item["state"] == "loaded");
    ensure!(loaded.count() >= 2, "{plugins:#}");
    Ok(())
}

fn second_host_refused() -> anyhow::Result<()> {
    let first = Host::builder().start()?;
    let (status, said) = Host::builder().data(first.data()).refused()?;
    ensure!(status.code() == Some(1), "{status}");
    for words in [
        &format!("process {}", first.pid()?),
        first.url()?,
        &first.data().display().to_string(),
        "--data",
    ] {
        ensure!(said.contains(words), "no {words} in {said}");
    }
    first.get("/healthz")?.expect(200)?;
    Ok(())
}

fn port_in_use() -> anyhow::Result<()> {
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    let (status, said) = Host::builder().listen(&address).refused()?;
    ensure!(status.code() == Some(1), "{status}");
    ensure!(said.contains(&address) && said.contains("--listen"), "{said}");
    Ok(())
}

fn signals_exit_0() -> anyhow::Result<()> {
    for signal in [Signal::TERM, Signal::INT] {
        let mut host = Host::builder().start()?;
        // Idle connections, with and without a first request, are no reason to wait.
        host.get("/healthz")?.expect(200)?;
        let _idle = TcpStream::connect(host.client()?.address())?;
        let told = Instant::now();
        host.signal(signal)?;
        let status = host.wait_ended()?;
        ensure!(status.code() == Some(0), "{signal:?}: {status}");
        ensure!(told.elapsed() < Duration::from_secs(5), "{:?}", told.elapsed());
    }
    Ok(())
}

/// A request whose body never comes: what a host that drains waits for.
fn unfinished(host: &Host) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect(host.client()?.address())?;
    let token = fs::read_to_string(host.token_file())?;
    write!(
        stream,
        "PUT /api/v1/documents/note/one HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ncontent-length: 11\r\n\r\n{{\"bod",
        token.trim()
    )?;
    // So that the host has begun with it.
    std::thread::sleep(Duration::from_millis(300));
    Ok(stream)
}

fn second_signal_ends_at_once() -> anyhow::Result<()> {
    let mut host = Host::builder().start()?;
    let _unfinished = unfinished(&host)?;
    host.signal(Signal::TERM)?;
    std::thread::sleep(Duration::from_millis(300));
    let told = Instant::now();
    host.signal(Signal::TERM)?;
    let status = host.wait_ended()?;
    ensure!(status.code() == Some(1), "{status}");
    ensure!(told.elapsed() < Duration::from_secs(2), "{:?}", told.elapsed());
    Ok(())
}

fn answers_that_were_begun_end() -> anyhow::Result<()> {
    let mut host = Host::builder().start()?;
    let mut stream = unfinished(&host)?;
    host.signal(Signal::TERM)?;
    std::thread::sleep(Duration::from_millis(300));
    ensure!(
        TcpStream::connect(host.client()?.address()).is_err(),
        "a host that stops takes connections"
    );
    stream.write_all(b"y\":1} ")?;
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    let status = host.wait_ended()?;
    ensure!(status.code() == Some(0), "{status}");
    host.restart()?;
    host.get("/api/v1/documents/note/one")?.expect(200)?;
    Ok(())
}

fn starts_again_after_a_crash() -> anyhow::Result<()> {
    let mut host = Host::builder().start()?;
    let token = fs::read_to_string(host.token_file())?;
    let body = serde_json::json!({"body": {"kept": true}});
    host.put("/api/v1/documents/note/one", &body)?.expect(201)?;
    host.kill()?;
    host.restart()?;
    ensure!(
        fs::read_to_string(host.token_file())? == token,
        "another token after a crash"
    );
    let kept = host.get("/api/v1/documents/note/one")?.expect(200)?;
    ensure!(kept["body"]["kept"] == true, "{kept}");
    Ok(())
}

fn bad_settings() -> anyhow::Result<()> {
    for (toml, words) in [
        ("offline = true\nlisten_on = 1\n", [":2:1:", "listen_on"]),
        ("[limits]\nconnections = \"many\"\n", [":2:15:", "many"]),
        ("[log]\nformat = \"xml\"\n", [":2:10:", "xml"]),
        ("[limits\n", [":1:", "settings.toml"]),
        (
            "[limits]\nconnections = 0\n",
            ["limits.connections", "settings.toml"],
        ),
    ] {
        let (status, said) = Host::builder().settings(toml).refused()?;
        ensure!(status.code() == Some(1), "{toml}: {status}");
        for word in words {
            ensure!(said.contains(word), "{toml}: no {word} in {said}");
        }
    }
    let (_, said) = Host::builder()
        .env("MESHERY_LIMITS_CONNECTIONS", "few")
        .refused()?;
    ensure!(said.contains("MESHERY_LIMITS_CONNECTIONS"), "{said}");
    Ok(())
}

fn print_config() -> anyhow::Result<()> {
    let data = tempfile::tempdir()?;
    fs::write(data.path().join("meshery.toml"), "offline = true\n")?;
    let program = meshery_tests::artifacts::build()?.program("meshery")?;
    let output = Command::new(program)
        .args(["--print-config", "--listen", "127.0.0.1:4"])
        .env_clear()
        .env("MESHERY_DATA", data.path())
        .output()?;
    ensure!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout)?;
    for (setting, origin) in [
        ("listen = \"127.0.0.1:4\"", "# --listen"),
        ("data = ", "# MESHERY_DATA"),
        ("offline = true", "meshery.toml"),
        ("isolation = ", "# default"),
    ] {
        let line = text.lines().find(|line| line.starts_with(setting));
        ensure!(
            line.is_some_and(|line| line.ends_with(origin)),
            "{setting}: {text}"
        );
    }
    ensure!(
        !data.path().join("token").exists(),
        "--print-config wrote something"
    );
    Ok(())
}

fn keeps_its_files_to_itself() -> anyhow::Result<()> {
    let host = Host::builder().start()?;
    for (name, mode) in [
        ("", 0o700),
        ("cache", 0o700),
        ("provider", 0o700),
        ("token", 0o600),
        ("host.key", 0o600),
        ("lock", 0o600),
    ] {
        let found = fs::metadata(host.data().join(name))
            .with_context(|| name.to_owned())?
            .permissions()
            .mode()
            & 0o777;
        ensure!(found == mode, "{name}: {found:o}");
    }
    Ok(())
}

fn log_that_nobody_reads() -> anyhow::Result<()> {
    // Half open: what was piped somewhere that ended.
    let (reader, writer) = std::io::pipe()?;
    let mut host = Host::builder().log_to(writer).start()?;
    drop(reader);
    for _ in 0..3 {
        host.get("/api/v1/version")?.expect(200)?;
    }
    let status = host.terminate()?;
    ensure!(status.code() == Some(0), "{status}");
    Ok(())
}

fn provider_hangs() -> anyhow::Result<()> {
    let host = Host::builder()
        .settings("[isolation_of]\nlocal = \"child\"\n")
        .start()?;
    host.get("/readyz")?.expect(200)?;
    let plugins = host.get("/api/v1/plugins")?.expect(200)?;
    let items = plugins["items"].as_array().context("a list")?;
    let provider = items
        .iter()
        .find(|item| item["kind"] == "provider")
        .context("a provider")?;
    ensure!(provider["mode"] == "child", "{provider:#}");
    let pid = provider["pid"].as_i64().context("a child has a pid")?;
    let pid = Pid::from_raw(i32::try_from(pid)?).context("a pid is not 0")?;
    kill_process(pid, Signal::STOP)?;
    let end = Instant::now() + Duration::from_secs(5);
    while !all_stopped(pid)? {
        ensure!(Instant::now() < end, "the provider does not stop");
        std::thread::sleep(Duration::from_millis(5));
    }
    let answer = host.get("/readyz")?;
    let ready = answer.expect(503)?;
    ensure!(
        ready["ready"] == false && ready["reasons"].to_string().contains("provider"),
        "{ready}"
    );
    host.get("/healthz")?.expect(200)?;
    kill_process(pid, Signal::CONT)?;
    let end = Instant::now() + Duration::from_secs(30);
    while host.get("/readyz")?.status != 200 {
        ensure!(Instant::now() < end, "{}", host.get("/readyz")?.text());
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// A thread on another processor goes on for a moment after the signal was sent.
fn all_stopped(pid: Pid) -> anyhow::Result<bool> {
    for thread in fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero()))? {
        let status = fs::read_to_string(thread?.path().join("status"))?;
        if !status.contains("State:\tT") {
            return Ok(false);
        }
    }
    Ok(true)
}
