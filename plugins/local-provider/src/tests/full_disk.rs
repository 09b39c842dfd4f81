//! A disk that is really full: a small file system in memory, filled to the last byte by somebody else.
//!
//! Mounting needs a mount namespace of its own, so the tests start themselves again under `unshare`: as root, or
//! with a user namespace. Where neither is allowed they fail and say so.

use super::*;
use meshery_plugin_api::message::document::Blob;
use meshery_plugin_api::message::journal::Reserve;
use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

const INSIDE: &str = "LOCAL_PROVIDER_TEST_DISK";

/// Runs the named test again with a file system of this size, and returns its folder when this is that run.
fn disk(test: &str, mebibytes: u32) -> Option<PathBuf> {
    if let Ok(folder) = std::env::var(INSIDE) {
        return Some(folder.into());
    }
    let folder = TempDir::new().unwrap();
    let script = format!("mount -t tmpfs -o size={mebibytes}m tmpfs \"$1\" && shift && exec \"$@\"");
    let run = |namespaces: &[&str], script: &str| {
        Command::new("unshare")
            .args(namespaces)
            .args(["sh", "-c", script, "sh"])
            .arg(folder.path())
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", &format!("tests::full_disk::{test}"), "--nocapture"])
            .env(INSIDE, folder.path())
            .output()
            .unwrap_or_else(|error| panic!("this test needs the program unshare (util-linux): {error}"))
    };
    let permitted = |namespaces: &[&str]| run(namespaces, "mount -t tmpfs tmpfs \"$1\"").status.success();
    let namespaces: &[&str] = [&["--mount"][..], &["--user", "--map-root-user", "--mount"]]
        .into_iter()
        .find(|namespaces| permitted(namespaces))
        .expect("this test mounts a small file system: run it as root, or allow user namespaces");
    let output = run(namespaces, &script);
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    None
}

/// Takes all the room that is left; given back when it is removed.
struct Filler(PathBuf);

impl Filler {
    fn fill(folder: &Path) -> Self {
        let path = folder.join("filler");
        let filler = Self(path);
        filler.again();
        filler
    }

    /// Takes what has become free since.
    fn again(&self) {
        let mut file = File::options().append(true).create(true).open(&self.0).unwrap();
        for size in [1 << 16, 1 << 12, 1] {
            while file.write_all(&vec![1; size]).is_ok() {}
        }
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn reserve(store: &LocalProvider, stream: &str, bytes: u64) -> Result<(), PluginError> {
    block_on(store.reserve(Reserve {
        stream: stream.into(),
        bytes,
    }))
}

#[test]
fn a_full_disk_is_a_clear_error_and_the_store_goes_on_when_room_is_back() {
    let Some(disk) = disk(
        "a_full_disk_is_a_clear_error_and_the_store_goes_on_when_room_is_back",
        16,
    ) else {
        return;
    };
    let store = open(&disk.join("data")).unwrap();
    let filler = Filler::fill(&disk);
    let mut written = 0;
    let error = loop {
        let batch = vec![
            put(&format!("a{written}"), json!("x".repeat(20_000)), Expect::Absent),
            put(&format!("b{written}"), json!("x".repeat(20_000)), Expect::Absent),
        ];
        match block_on(store.write(batch)) {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 1000, "the disk is not full");
    };
    assert_eq!(error.code, "store-full", "{error}");
    assert!(
        error.remedy.contains("make room") && error.message.contains("data"),
        "{error:?}"
    );
    assert_eq!(
        append(&store, "s", 1, &[json!("x".repeat(50_000))])
            .unwrap_err()
            .code,
        "store-full"
    );
    assert_eq!(reserve(&store, "s", 1 << 20).unwrap_err().code, "store-full");
    let health = block_on(store.health()).unwrap();
    // A small write may still fit into the log, so the store may call itself writable; it must say how it is.
    assert!(health.message.contains("only 0 KiB are free"), "{health:?}");

    let there = |id: String| block_on(store.get("test", &id)).unwrap().is_some();
    for n in 0..written {
        assert!(
            there(format!("a{n}")) && there(format!("b{n}")),
            "{n} was acknowledged"
        );
    }
    assert!(
        !there(format!("a{written}")) && !there(format!("b{written}")),
        "half of the failed batch is there"
    );
    assert!(read(&store, "s", 0).is_empty());

    drop(filler);
    assert!(block_on(store.health()).unwrap().writable);
    append(&store, "s", 1, &[json!("x".repeat(50_000))]).unwrap();
    block_on(store.write(vec![put("later", json!(1), Expect::Any)])).unwrap();
    reserve(&store, "s", 1 << 20).unwrap();
    drop(store);
    open(&disk.join("data")).unwrap();
}

#[test]
fn what_was_reserved_can_be_appended_on_a_full_disk_to_the_last_byte() {
    let Some(disk) = disk(
        "what_was_reserved_can_be_appended_on_a_full_disk_to_the_last_byte",
        64,
    ) else {
        return;
    };
    // Small entries cost the log most, middling ones the pages of the database, large ones both at once.
    for size in [30, 2_100, 300_000] {
        let folder = disk.join(size.to_string());
        let promised = 1 << 20;
        let store = open(&folder).unwrap();
        append(&store, "other", 1, &[number(1)]).unwrap();
        reserve(&store, "op", promised).unwrap();
        let filler = Filler::fill(&disk);
        let (mut seq, mut bytes) = (0, 0);
        loop {
            let entry = json!("x".repeat(size - 2));
            bytes += size as u64;
            if bytes > promised {
                break;
            }
            seq += 1;
            append(&store, "op", seq, &[entry])
                .unwrap_or_else(|error| panic!("size {size}, entry {seq}: {error}"));
            // Somebody else takes whatever became free in between.
            if seq % 50 == 1 {
                filler.again();
            }
        }
        assert_eq!(
            append(&store, "other", 2, &[json!("x".repeat(3 << 20))])
                .unwrap_err()
                .code,
            "store-full"
        );
        drop(store);
        let store = open(&folder).unwrap();
        let mut there = 0;
        while let Some(entry) = read(&store, "op", there).last() {
            there = entry.seq;
        }
        assert_eq!(there, seq, "size {size}");
        block_on(store.forget("op")).unwrap();
        drop(store);
        drop(filler);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}

#[test]
fn a_store_with_room_reserved_opens_on_a_full_disk_and_takes_its_appends() {
    let Some(disk) = disk(
        "a_store_with_room_reserved_opens_on_a_full_disk_and_takes_its_appends",
        32,
    ) else {
        return;
    };
    let folder = disk.join("data");
    let store = open(&folder).unwrap();
    append(&store, "op", 1, &[number(1)]).unwrap();
    reserve(&store, "op", 100_000).unwrap();
    drop(store);
    let filler = Filler::fill(&disk);
    let store = open(&folder).unwrap();
    for seq in 2..=20 {
        append(&store, "op", seq, &[json!("x".repeat(5_000))]).unwrap();
    }
    let health = block_on(store.health()).unwrap();
    assert!(health.message.contains("missing"), "{health:?}");
    drop(filler);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    append(&store, "op", 21, &[number(21)]).unwrap();
    let health = block_on(store.health()).unwrap();
    assert!(
        health.writable && !health.message.contains("missing"),
        "whole again: {health:?}"
    );
}

#[test]
fn a_reservation_is_given_back_when_it_is_taken_away_or_its_journal_forgotten() {
    let Some(disk) = disk(
        "a_reservation_is_given_back_when_it_is_taken_away_or_its_journal_forgotten",
        64,
    ) else {
        return;
    };
    let folder = disk.join("data");
    let store = open(&folder).unwrap();
    let size = || std::fs::metadata(folder.join("reserve")).unwrap().len();
    reserve(&store, "a", 1 << 20).unwrap();
    let one = size();
    reserve(&store, "b", 1 << 20).unwrap();
    assert!(one > 1 << 20 && size() > one);
    assert_eq!(reserve(&store, "c", 1 << 28).unwrap_err().code, "store-full");
    assert!(size() < 1 << 24, "a promise that cannot be kept takes no room");
    reserve(&store, "a", 0).unwrap();
    assert_eq!(size(), one);
    block_on(store.forget("b")).unwrap();
    assert_eq!(size(), 0);
    assert_eq!(reserve(&store, "a", 1 << 40).unwrap_err().code, "bad-request");
}

#[test]
fn one_who_needs_room_does_not_take_it_from_the_others_of_the_same_transaction() {
    let Some(disk) = disk(
        "one_who_needs_room_does_not_take_it_from_the_others_of_the_same_transaction",
        16,
    ) else {
        return;
    };
    let store = open(&disk.join("data")).unwrap();
    reserve(&store, "op", 100_000).unwrap();
    let _filler = Filler::fill(&disk);
    let blob = Blob {
        // SHA-256 of the empty text.
        sha256: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855".into(),
        data: String::new(),
    };
    let large =
        (0..4).map(|n| store.write(vec![put(&n.to_string(), json!("x".repeat(3 << 20)), Expect::Any)]));
    let entries = vec![json!("x".repeat(50_000))];
    let (written, appended, _) = block_on(futures::future::join3(
        futures::future::join_all(large),
        store.append(Append {
            stream: "op".into(),
            first: 1,
            entries,
        }),
        store.put_blobs("op", vec![blob]),
    ));
    assert!(
        written
            .iter()
            .all(|result| result.as_ref().is_err_and(|error| error.code == "store-full"))
    );
    assert_eq!(appended.unwrap(), 1);
}
