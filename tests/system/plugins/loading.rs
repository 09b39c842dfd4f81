//! Files that pass every check and fail when they are loaded, in both modes; and where a plugin runs.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use anyhow::ensure;
use libtest_mimic::Trial;
use meshery_core::plugin::{ChildProgram, Isolation, Mode, PluginSettings, PluginState, Plugins};

use super::files::with_text;
use super::{Place, fixture, line, refusal, run};
use crate::trial;

pub fn trials() -> Vec<Trial> {
    vec![
        trial(
            "plugins::each_failure_to_load_has_its_own_reason_in_process",
            || failures(Isolation::InProcess),
        ),
        trial(
            "plugins::each_failure_to_load_has_its_own_reason_in_a_child",
            || failures(Isolation::Child),
        ),
        trial("plugins::a_corrupt_library_does_not_take_the_host_along", corrupt),
        trial(
            "plugins::what_lies_beside_the_binary_and_is_as_safe_runs_in_process",
            by_trust,
        ),
        trial(
            "plugins::a_file_replaced_under_a_running_host_changes_nothing",
            replaced,
        ),
        trial(
            "plugins::a_child_program_that_is_none_is_said_so",
            no_child_program,
        ),
        trial("plugins::a_cache_that_cannot_be_written_is_said_so", no_cache),
    ]
}

fn failures(isolation: Isolation) -> anyhow::Result<()> {
    let expected = [
        (
            "crashing-constructor",
            "plugin-killed-its-loader",
            "signal 11 (segmentation fault)",
        ),
        ("no-root-symbol", "plugin-no-root-symbol", "entry point"),
        (
            "foreign-header",
            "plugin-foreign-header",
            "header of another kind",
        ),
        (
            "missing-symbol",
            "plugin-not-loadable",
            "no_library_has_this_function",
        ),
        (
            "other-major",
            "plugin-abi-major",
            "version 2.0.0, this host's 1.0.0",
        ),
        ("other-types", "plugin-abi-layout", "mismatched package"),
        ("panicking-root", "plugin-root-module", "it panicked"),
        (
            "other-name",
            "plugin-manifest-differs",
            "it is somebody-else 0.1.0 (Adapter), its manifest says other-name",
        ),
        (
            "panics-on-load",
            "plugin-panicked-at-start",
            "this adapter cannot be made",
        ),
        ("undescribed", "plugin-bad-descriptor", "does not know what it is"),
        ("unguarded", "plugin-killed-its-loader", "signal 6 (abort)"),
        (
            "missing-library",
            "plugin-not-loadable",
            "libgcc_q.so.1: cannot open shared object file",
        ),
    ];
    let place = Place::new()?;
    for (name, _, _) in expected {
        let bytes = match name {
            "missing-library" => {
                let other = std::fs::read(fixture("misbehaving")?)?;
                let other = with_text(other, "\"name\":\"misbehaving\"", "\"name\":\"libraryless\"")?;
                with_text(other, "libgcc_s.so.1", "libgcc_q.so.1")?
            }
            name => std::fs::read(fixture(name)?)?,
        };
        place.put(&format!("{name}.so"), &bytes)?;
    }
    place.put("well.so", &std::fs::read(fixture("misbehaving")?)?)?;
    run(async {
        let plugins = Plugins::load(place.settings(isolation)).await;
        for (name, code, words) in expected {
            let problem = refusal(&plugins, &format!("{name}.so"))?;
            ensure!(problem.code == code, "{name}: expected {code}, got {problem:?}");
            ensure!(
                problem.message.contains(words),
                "{name}: \"{words}\" is missing in {problem:?}"
            );
            ensure!(
                problem.message.contains(name) && !problem.remedy.is_empty(),
                "{name}: {problem:?}"
            );
        }
        ensure!(
            line(&plugins, "well.so")?.state == PluginState::Loaded,
            "{:#?}",
            plugins.list()
        );
        let problem: meshery_core::problem::Problem = plugins
            .adapter("other-major")
            .err()
            .map(Into::into)
            .unwrap_or_default();
        ensure!(problem.cause.contains("2.0.0"), "{problem:?}");
        plugins.shutdown().await;
        Ok(())
    })?
}

/// Whatever is overwritten in the middle, the worst is a refusal.
fn corrupt() -> anyhow::Result<()> {
    let whole = std::fs::read(fixture("misbehaving")?)?;
    let place = Place::new()?;
    for part in 1..8 {
        let mut bytes = whole.clone();
        let at = bytes.len() * part / 8;
        let end = (at + bytes.len() / 16).min(bytes.len());
        for byte in &mut bytes[at..end] {
            *byte ^= 0x5a;
        }
        place.put(&format!("{part}.so"), &bytes)?;
    }
    for isolation in [Isolation::Child, Isolation::InProcess] {
        let mut settings = place.settings(isolation);
        // Each mode for itself, without what the other has found out.
        settings.cache = place.root.path().join(format!("{isolation:?}"));
        run(async {
            let plugins = Plugins::load(settings).await;
            ensure!(plugins.list().len() == 7, "{:#?}", plugins.list());
            let refused = plugins.list().into_iter().filter(|status| status.error.is_some());
            ensure!(
                refused.count() >= 4,
                "a library full of holes was loaded: {:#?}",
                plugins.list()
            );
            plugins.shutdown().await;
            Ok(())
        })??;
    }
    Ok(())
}

fn by_trust() -> anyhow::Result<()> {
    let place = Place::with(&["misbehaving"])?;
    let own = place.plugins();
    let mode = |settings: PluginSettings| -> anyhow::Result<Mode> {
        run(async {
            let plugins = Plugins::load(settings).await;
            let status = line(&plugins, "libmeshery_misbehaving.so")?;
            ensure!(status.error.is_none(), "{status:?}");
            plugins.shutdown().await;
            Ok(status.mode)
        })?
    };
    std::fs::rename(own.join("misbehaving.so"), own.join("libmeshery_misbehaving.so"))?;
    let elsewhere = place.settings(Isolation::Auto);
    let mut beside = elsewhere.clone();
    beside.folders.clear();
    beside.own_folder = Some(own.clone());
    // The binary of the trial: what matters are its owner and mode.
    let host = place.root.path().join("host");
    std::fs::copy(std::env::current_exe()?, &host)?;
    std::fs::set_permissions(&host, Permissions::from_mode(0o755))?;
    beside.child.path = host;

    ensure!(mode(elsewhere)? == Mode::Child);
    ensure!(mode(beside.clone())? == Mode::InProcess);
    let mut named = beside.clone();
    named.isolation_of.insert("misbehaving".into(), Isolation::Child);
    ensure!(mode(named)? == Mode::Child);
    // A group may write to it that may not write to the binary.
    std::fs::set_permissions(
        own.join("libmeshery_misbehaving.so"),
        Permissions::from_mode(0o664),
    )?;
    ensure!(mode(beside)? == Mode::Child);
    Ok(())
}

fn replaced() -> anyhow::Result<()> {
    for isolation in [Isolation::InProcess, Isolation::Child] {
        let place = Place::with(&["misbehaving"])?;
        run(async {
            let plugins = Plugins::load(place.settings(isolation)).await;
            // In place: the mapping of a library loaded from here would change.
            let length = std::fs::metadata(place.plugins().join("misbehaving.so"))?.len();
            std::fs::write(
                place.plugins().join("misbehaving.so"),
                vec![0xcc; usize::try_from(length)?],
            )?;
            let adapter = plugins.adapter("misbehaving")?;
            let plan = adapter.plan(&super::adapters::request("well")).await?;
            ensure!(plan.summary == "hello");
            plugins.shutdown().await;
            Ok(())
        })??;
    }
    Ok(())
}

fn shell(script: &str) -> Vec<String> {
    vec!["-c".to_owned(), script.to_owned()]
}

fn no_child_program() -> anyhow::Result<()> {
    let place = Place::with(&["misbehaving"])?;
    for (path, args, words) in [
        ("/nowhere/meshery", vec![], "cannot be started"),
        ("/bin/sh", shell("exit 4"), "exit code 4 before it said hello"),
        ("/bin/sh", shell("exec sleep 60"), "did not say hello in time"),
        // Its standard input is the socket, so this is what it says first.
        (
            "/bin/sh",
            shell("echo something else >&0; exec sleep 60"),
            "does not keep to the protocol",
        ),
    ] {
        let mut settings = place.settings(Isolation::Child);
        settings.limits.start = Duration::from_secs(1);
        settings.child = ChildProgram {
            path: path.into(),
            args,
        };
        let problem = run(async { refusal(&Plugins::load(settings).await, "misbehaving.so") })??;
        ensure!(
            problem.code == "plugin-child-failed" && problem.message.contains(words),
            "{problem:?}"
        );
    }
    Ok(())
}

fn no_cache() -> anyhow::Result<()> {
    let place = Place::with(&["misbehaving"])?;
    let mut settings = place.settings(Isolation::Child);
    settings.cache = place.plugins().join("misbehaving.so");
    let problem = run(async { refusal(&Plugins::load(settings).await, "misbehaving.so") })??;
    ensure!(problem.code == "plugin-cache", "{problem:?}");
    Ok(())
}
