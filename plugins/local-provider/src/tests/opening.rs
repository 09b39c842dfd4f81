//! Opening: rights, the lock, damage, versions, and what is there afterwards.

use super::*;
use std::os::unix::fs::FileExt as _;
use std::os::unix::fs::PermissionsExt as _;

#[test]
fn folder_and_files_are_for_their_owner_only() {
    let outer = TempDir::new().unwrap();
    let folder = outer.path().join("deep/provider");
    let store = open(&folder).unwrap();
    block_on(store.write(vec![put("a", json!(1), Expect::Any)])).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    let files: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert!(
        files.iter().any(|file| file.ends_with("meshery.db-wal")),
        "{files:?}"
    );
    for file in files {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[test]
fn what_was_written_is_there_after_opening_again() {
    let (store, folder) = fresh();
    block_on(store.write(vec![put("a", json!("kept"), Expect::Any)])).unwrap();
    append(&store, "s", 1, &[number(1)]).unwrap();
    drop(store);
    let store = open(folder.path()).unwrap();
    assert_eq!(
        block_on(store.get("test", "a")).unwrap().unwrap().body,
        json!("kept")
    );
    assert_eq!(read(&store, "s", 0).len(), 1);
    let health = block_on(store.health()).unwrap();
    assert!(
        health.writable && health.bytes > 0 && health.schema == 1,
        "{health:?}"
    );
}

#[test]
fn every_commit_waits_for_the_disk() {
    let folder = TempDir::new().unwrap();
    let opened = crate::folder::Folder::lock(folder.path())
        .unwrap()
        .open()
        .unwrap();
    let setting = |name: &str| {
        let value = opened
            .writer
            .pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0));
        value.unwrap()
    };
    assert_eq!(setting("synchronous"), 2.into());
    assert_eq!(setting("journal_mode"), "wal".to_owned().into());
}

#[test]
fn a_second_provider_on_the_same_folder_is_refused_and_told_who_has_it() {
    let (_store, folder) = fresh();
    let error = open(folder.path()).err().unwrap();
    assert_eq!(error.code, "store-locked");
    assert!(
        error.message.contains(&format!("process {}", std::process::id())),
        "{error}"
    );
    assert!(error.remedy.contains("--data"));
}

#[test]
fn a_relative_folder_is_refused() {
    assert_eq!(open(Path::new("data")).err().unwrap().code, "bad-request");
    assert_eq!(open(Path::new("")).err().unwrap().code, "bad-request");
}

#[test]
fn a_folder_that_is_a_file_is_an_error_that_names_it() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = open(&file).err().unwrap();
    assert_eq!(error.code, "store-failed");
    assert!(error.message.contains("file"), "{error}");
}

#[test]
fn a_file_that_is_no_database_is_refused_and_left_as_it_is() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("meshery.db");
    let garbage = b"this is not a database at all, it only has the name of one".repeat(100);
    std::fs::write(&file, &garbage).unwrap();
    let error = open(folder.path()).err().unwrap();
    assert_eq!(error.code, "store-corrupt");
    assert!(error.remedy.contains("backup"), "{}", error.remedy);
    assert_eq!(std::fs::read(&file).unwrap(), garbage);
}

#[test]
fn a_damaged_page_is_found_at_the_start_and_nothing_is_written_any_more() {
    let (store, folder) = fresh();
    for n in 0..200 {
        block_on(store.write(vec![put(&n.to_string(), json!("x".repeat(500)), Expect::Any)])).unwrap();
    }
    drop(store);
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(folder.path().join("meshery.db"))
        .unwrap();
    let pages = file.metadata().unwrap().len() / 4096;
    for page in pages - 5..pages {
        file.write_all_at(&[0xff; 64], page * 4096).unwrap();
    }
    let as_found = std::fs::read(folder.path().join("meshery.db")).unwrap();
    let store = open(folder.path()).unwrap();
    let health = block_on(store.health()).unwrap();
    assert!(
        !health.writable && health.message.contains("damaged") && health.message.contains("restore"),
        "{health:?}"
    );
    for error in [
        block_on(store.write(vec![put("a", json!(1), Expect::Any)])).unwrap_err(),
        append(&store, "s", 1, &[number(1)]).unwrap_err(),
        block_on(store.forget("s")).unwrap_err(),
    ] {
        assert_eq!(error.code, "store-corrupt", "{error}");
        assert!(error.remedy.contains("provider restore"), "{}", error.remedy);
    }
    drop(store);
    assert_eq!(std::fs::read(folder.path().join("meshery.db")).unwrap(), as_found);
}

#[test]
fn a_store_of_a_newer_version_is_refused() {
    let (store, folder) = fresh();
    drop(store);
    let conn = rusqlite::Connection::open(folder.path().join("meshery.db")).unwrap();
    conn.execute("INSERT INTO schema VALUES (99, '2099-01-01')", [])
        .unwrap();
    drop(conn);
    let error = open(folder.path()).err().unwrap();
    assert_eq!(error.code, "store-newer");
    assert!(
        error.message.contains("version 99") && error.message.contains("up to 1"),
        "{error}"
    );
}

#[test]
fn dropping_the_store_ends_its_threads_and_frees_the_folder_at_once() {
    let folder = TempDir::new().unwrap();
    for _ in 0..5 {
        open(folder.path()).unwrap();
    }
}

#[test]
fn a_future_that_is_dropped_harms_nobody() {
    let (store, _folder) = fresh();
    for n in 0..50 {
        let mut write = Box::pin(store.write(vec![put(&n.to_string(), json!(n), Expect::Any)]));
        let waker = futures::task::noop_waker();
        let _ = std::future::Future::poll(write.as_mut(), &mut std::task::Context::from_waker(&waker));
    }
    block_on(store.write(vec![put("last", json!(1), Expect::Any)])).unwrap();
    assert!(block_on(store.get("test", "last")).unwrap().is_some());
}
