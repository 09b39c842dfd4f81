//! Files that are refused without running them.

use std::fs::{File, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};

use anyhow::{Context as _, ensure};
use libtest_mimic::{Completion, Trial};
use meshery_core::plugin::{Isolation, PluginState, Plugins};

use super::{Place, fixture, line, refusal, run};
use crate::{failed, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial(
            "plugins::each_wrong_file_is_refused_for_its_own_reason_in_process",
            || wrong_files(Isolation::InProcess),
        ),
        trial(
            "plugins::each_wrong_file_is_refused_for_its_own_reason_in_a_child",
            || wrong_files(Isolation::Child),
        ),
        Trial::ignorable_test("plugins::a_file_that_may_not_be_read_is_refused", || {
            if rustix::process::geteuid().is_root() {
                return Ok(Completion::ignored_with("root may read every file"));
            }
            unreadable().map(|()| Completion::Completed).map_err(failed)
        }),
        trial("plugins::a_file_cut_off_anywhere_is_refused", cut_off),
        trial(
            "plugins::a_folder_that_is_not_there_is_in_the_list",
            missing_folder,
        ),
    ]
}

/// The fixture with a part of its bytes replaced by others of the same length.
fn patched(from: &str, to: &str) -> anyhow::Result<Vec<u8>> {
    with_text(std::fs::read(fixture("misbehaving")?)?, from, to)
}

/// Bytes with a part of them replaced, wherever it is, by others of the same length.
pub fn with_text(mut bytes: Vec<u8>, from: &str, to: &str) -> anyhow::Result<Vec<u8>> {
    assert_eq!(from.len(), to.len(), "a patch must not move anything");
    let mut patched = 0;
    for at in 0..bytes.len() - from.len() {
        if &bytes[at..at + from.len()] == from.as_bytes() {
            bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
            patched += 1;
        }
    }
    ensure!(patched > 0, "there is no {from:?} in the fixture");
    Ok(bytes)
}

/// The fixture with single bytes changed.
fn with_bytes(changes: &[(usize, u8)]) -> anyhow::Result<Vec<u8>> {
    let mut bytes = std::fs::read(fixture("misbehaving")?)?;
    for (at, byte) in changes {
        bytes[*at] = *byte;
    }
    Ok(bytes)
}

fn wrong_files(isolation: Isolation) -> anyhow::Result<()> {
    let place = Place::with(&["misbehaving"])?;
    let folder = place.plugins();
    place.put("text.so", b"this is no library")?;
    place.put("empty.so", b"")?;
    place.put("starts-well.so", b"\x7fELF")?;
    place.put("class.so", &with_bytes(&[(4, 1)])?)?;
    place.put(
        "order.so",
        &with_bytes(&[(5, 3 - std::fs::read(fixture("misbehaving")?)?[5])])?,
    )?;
    // The number of a processor that nothing is built for any more.
    place.put("machine.so", &with_bytes(&[(18, 22), (19, 0)])?)?;
    place.put("object-file.so", &with_bytes(&[(16, 1)])?)?;
    place.put("no-manifest.so", &patched(".meshmanifest", ".mishmanifest")?)?;
    place.put(
        "garbled-manifest.so",
        &patched("{\"kind\":\"adapter\"", "{\"kind\";\"adapter\"")?,
    )?;
    place.put(
        "unknown-kind.so",
        &patched("\"kind\":\"adapter\"", "\"kind\":\"toaster\"")?,
    )?;
    place.put(
        "bad-name.so",
        &patched("\"name\":\"misbehaving\"", "\"name\":\"MISBEHAVING\"")?,
    )?;
    place.put(
        "next-major.so",
        &patched("\"api\":\"1.0.0\"", "\"api\":\"2.0.0\"")?,
    )?;
    place.put(
        "next-schema.so",
        &patched("\"schema\":\"1.1.0\"", "\"schema\":\"2.0.0\"")?,
    )?;
    place.put(
        "other-version.so",
        &patched("\"version\":\"0.1.0\"", "\"version\":\"0.2.0\"")?,
    )?;
    place.put("writable.so", &std::fs::read(fixture("misbehaving")?)?)?;
    std::fs::set_permissions(folder.join("writable.so"), Permissions::from_mode(0o666))?;
    place.put("second.so", &std::fs::read(fixture("misbehaving")?)?)?;
    std::fs::copy("/proc/self/exe", folder.join("program.so"))?;
    std::fs::create_dir(folder.join("folder.so"))?;
    rustix::fs::mknodat(
        rustix::fs::CWD,
        folder.join("pipe.so"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o644),
        0,
    )?;
    let _socket = std::os::unix::net::UnixListener::bind(folder.join("socket.so"))?;
    symlink("/dev/zero", folder.join("device.so"))?;
    symlink("nowhere", folder.join("dangling.so"))?;
    symlink("loop-b.so", folder.join("loop-a.so"))?;
    symlink("loop-a.so", folder.join("loop-b.so"))?;
    File::create(folder.join("huge.so"))?.set_len(1 << 40)?;
    place.put("notes.txt", b"not looked at")?;

    let expected = [
        ("text.so", "plugin-not-elf", "not a shared library"),
        ("empty.so", "plugin-empty", "it is empty"),
        ("starts-well.so", "plugin-truncated", "its header"),
        ("class.so", "plugin-wrong-class", "32 bits"),
        ("order.so", "plugin-wrong-class", "endian"),
        ("machine.so", "plugin-wrong-machine", std::env::consts::ARCH),
        ("object-file.so", "plugin-not-shared-library", "an object file"),
        ("program.so", "plugin-not-shared-library", "a program"),
        ("no-manifest.so", "plugin-no-manifest", "no Meshery plugin"),
        ("garbled-manifest.so", "plugin-bad-manifest", "line 1 column"),
        ("unknown-kind.so", "plugin-unknown-kind", "does not know"),
        ("bad-name.so", "plugin-bad-manifest", "MISBEHAVING"),
        ("next-major.so", "plugin-api-version", "plugin API 2.0.0"),
        ("next-schema.so", "plugin-schema-version", "schema 2.0.0"),
        ("writable.so", "plugin-writable-by-others", "mode 666"),
        ("other-version.so", "plugin-duplicate-name", "misbehaving.so"),
        ("second.so", "plugin-duplicate-name", "misbehaving.so"),
        ("folder.so", "plugin-not-regular-file", "a folder"),
        ("pipe.so", "plugin-not-regular-file", "a pipe"),
        ("socket.so", "plugin-not-regular-file", "a socket"),
        ("device.so", "plugin-not-regular-file", "a device"),
        ("dangling.so", "plugin-unreadable", "No such file"),
        ("loop-a.so", "plugin-unreadable", "symbolic links"),
        ("loop-b.so", "plugin-unreadable", "symbolic links"),
        ("huge.so", "plugin-too-large", "1099511627776 bytes"),
    ];
    run(async {
        let plugins = Plugins::load(place.settings(isolation)).await;
        ensure!(
            line(&plugins, "misbehaving.so")?.state == PluginState::Loaded,
            "{:#?}",
            plugins.list()
        );
        for (file, code, words) in expected {
            let problem = refusal(&plugins, file)?;
            ensure!(problem.code == code, "{file}: expected {code}, got {problem:?}");
            ensure!(
                problem.message.contains(words),
                "{file}: \"{words}\" is missing in {problem:?}"
            );
            ensure!(
                problem.message.contains(file) && !problem.remedy.is_empty(),
                "{file}: {problem:?}"
            );
        }
        ensure!(
            plugins.list().len() == expected.len() + 1,
            "{:#?}",
            plugins.list()
        );
        plugins.shutdown().await;
        Ok(())
    })?
}

fn unreadable() -> anyhow::Result<()> {
    let place = Place::with(&["misbehaving"])?;
    std::fs::set_permissions(
        place.plugins().join("misbehaving.so"),
        Permissions::from_mode(0o000),
    )?;
    let plugins = run(Plugins::load(place.settings(Isolation::Child)))?;
    let problem = refusal(&plugins, "misbehaving.so")?;
    ensure!(
        problem.code == "plugin-unreadable" && problem.message.contains("denied"),
        "{problem:?}"
    );
    Ok(())
}

fn cut_off() -> anyhow::Result<()> {
    let whole = std::fs::read(fixture("misbehaving")?)?;
    let place = Place::new()?;
    for tenth in 1..10 {
        place.put(&format!("{tenth}.so"), &whole[..whole.len() * tenth / 10])?;
    }
    place.put("last-byte.so", &whole[..whole.len() - 1])?;
    for isolation in [Isolation::InProcess, Isolation::Child] {
        let plugins = run(Plugins::load(place.settings(isolation)))?;
        for status in plugins.list() {
            let problem = status.error.context("a part of a library was loaded")?;
            ensure!(problem.code == "plugin-truncated", "{problem:?}");
        }
        ensure!(plugins.list().len() == 10);
    }
    Ok(())
}

fn missing_folder() -> anyhow::Result<()> {
    let place = Place::new()?;
    let mut settings = place.settings(Isolation::Child);
    settings.folders = vec!["/nowhere/at-all".into(), "relative".into()];
    let plugins = run(Plugins::load(settings))?;
    ensure!(refusal(&plugins, "at-all")?.code == "plugin-unreadable");
    ensure!(refusal(&plugins, "relative")?.code == "plugin-path-not-absolute");
    Ok(())
}
