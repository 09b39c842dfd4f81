//! Backups part by part, restores, and what a kill between the steps of a restore leaves.

use super::*;
use meshery_plugin_api::message::backup::{AfterRecords, BackupPart, ReadBackup, Record, WriteBackup};
use meshery_plugin_api::message::journal::Reserve;
use std::fs;

fn backup(store: &LocalProvider) -> (Vec<Record>, Vec<String>) {
    let (mut records, mut session) = (Vec::new(), String::new());
    loop {
        let part = block_on(store.backup(ReadBackup { session, end: false })).unwrap();
        records.extend(part.records);
        if part.last {
            return (records, part.damage);
        }
        session = part.session;
    }
}

fn restore(store: &LocalProvider, records: &[Record], replace: bool) -> Result<(), PluginError> {
    let mut session = String::new();
    for part in records.chunks(7) {
        let write = WriteBackup {
            session,
            replace,
            records: part.to_vec(),
            then: AfterRecords::More,
        };
        session = block_on(store.restore(write))?.session;
    }
    let write = WriteBackup {
        session,
        replace,
        records: Vec::new(),
        then: AfterRecords::Commit,
    };
    block_on(store.restore(write)).map(drop)
}

fn full() -> (LocalProvider, TempDir) {
    let (store, folder) = fresh();
    for n in 0..30 {
        block_on(store.write(vec![put(&format!("d{n}"), json!({"n": n}), Expect::Any)])).unwrap();
    }
    block_on(store.write(vec![put("d3", json!("again"), Expect::Any)])).unwrap();
    let many: Vec<Value> = (1..=900).map(number).collect();
    append(&store, "long", 1, &many).unwrap();
    append(&store, "long", 901, &many).unwrap();
    append(&store, "short", 1, &[number(1)]).unwrap();
    let blob = blobs::blob(b"content");
    for owner in ["long", "short"] {
        block_on(store.put_blobs(owner, vec![blob.clone()])).unwrap();
    }
    block_on(store.reserve(Reserve {
        stream: "long".into(),
        bytes: 100_000,
    }))
    .unwrap();
    (store, folder)
}

#[test]
fn a_backup_in_another_store_is_the_same_store() {
    let (store, _folder) = full();
    let (records, damage) = backup(&store);
    assert!(damage.is_empty(), "{damage:?}");
    let (other, folder) = fresh();
    restore(&other, &records, false).unwrap();
    assert_eq!(backup(&other).0, records);
    assert_eq!(read(&other, "long", 1799).len(), 1);
    append(&other, "long", 1801, &[number(1)]).unwrap();
    block_on(other.write(vec![put("d3", json!(1), Expect::Revision(2))])).unwrap();
    drop(other);
    let again = open(folder.path()).unwrap();
    assert_eq!(read(&again, "long", 1800).len(), 1);
    assert!(fs::metadata(folder.path().join("reserve")).unwrap().len() > 100_000);
}

#[test]
fn a_backup_shows_one_moment_whatever_is_written_meanwhile() {
    let (store, _folder) = fresh();
    for n in 0..2500 {
        let batch = vec![put(&format!("{n:04}"), json!(1), Expect::Any)];
        block_on(store.write(batch)).unwrap();
    }
    let first = block_on(store.backup(ReadBackup::default())).unwrap();
    assert!(!first.last && first.records.len() == 1000);
    let batch = vec![
        put("2400", json!(2), Expect::Any),
        put("9999", json!(2), Expect::Any),
    ];
    block_on(store.write(batch)).unwrap();
    let mut records = first.records;
    let mut part = BackupPart {
        session: first.session,
        ..BackupPart::default()
    };
    while !part.last {
        let session = part.session;
        part = block_on(store.backup(ReadBackup { session, end: false })).unwrap();
        records.append(&mut part.records);
    }
    assert_eq!(records.len(), 2500);
    let all_old = records
        .iter()
        .all(|record| matches!(record, Record::Document(document) if document.body == json!(1)));
    assert!(all_old);
}

#[test]
fn a_session_that_is_not_there_is_an_error() {
    let (store, _folder) = full();
    let read = |session: &str| {
        block_on(store.backup(ReadBackup {
            session: session.into(),
            end: false,
        }))
    };
    assert_eq!(read("99").unwrap_err().code, "no-such-session");
    let first = read("").unwrap();
    assert!(first.last, "and its session has ended");
    assert_eq!(read(&first.session).unwrap_err().code, "no-such-session");
    let write = WriteBackup {
        session: "99".into(),
        ..WriteBackup::default()
    };
    assert_eq!(
        block_on(store.restore(write)).unwrap_err().code,
        "no-such-session"
    );
}

#[test]
fn nothing_is_seen_of_a_restore_that_is_abandoned_or_wrong() {
    let (store, folder) = full();
    let before = backup(&store).0;
    let names = |folder: &Path| {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        names
    };
    let begin = |records: Vec<Record>, then| {
        block_on(store.restore(WriteBackup {
            replace: true,
            records,
            then,
            ..WriteBackup::default()
        }))
    };
    let files = names(folder.path());
    let session = begin(before[..5].to_vec(), AfterRecords::More).unwrap().session;
    assert!(folder.path().join("restore.db").exists());
    let abandon = WriteBackup {
        session,
        then: AfterRecords::Abandon,
        ..WriteBackup::default()
    };
    block_on(store.restore(abandon)).unwrap();
    let twice = vec![before[0].clone(), before[0].clone()];
    assert_eq!(
        begin(twice, AfterRecords::Commit).unwrap_err().code,
        "revision-conflict"
    );
    let gap = Record::Entries(Append {
        stream: "s".into(),
        first: 2,
        entries: vec![number(2)],
    });
    assert_eq!(
        begin(vec![gap], AfterRecords::Commit).unwrap_err().code,
        "journal-conflict"
    );
    assert_eq!(
        begin(vec![Record::Unknown], AfterRecords::Commit)
            .unwrap_err()
            .code,
        "bad-request"
    );
    assert_eq!(
        restore(&store, &before, false).unwrap_err().code,
        "store-not-empty"
    );
    assert_eq!(backup(&store).0, before);
    // Threads that end clean up after themselves, in a moment.
    let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while names(folder.path()) != files {
        assert!(std::time::Instant::now() < end, "{:?}", names(folder.path()));
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

#[test]
fn a_restore_replaces_what_is_there_and_keeps_it_aside() {
    let (store, folder) = full();
    let records = backup(&store).0;
    block_on(store.write(vec![put("later", json!(1), Expect::Any)])).unwrap();
    restore(&store, &records, true).unwrap();
    assert_eq!(backup(&store).0, records);
    drop(store);
    let aside = rusqlite::Connection::open(folder.path().join("replaced.db")).unwrap();
    let there: bool = aside
        .query_row(
            "SELECT EXISTS (SELECT 1 FROM document WHERE id = 'later')",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert!(there);
    let store = open(folder.path()).unwrap();
    assert!(block_on(store.get("test", "later")).unwrap().is_none());
}

#[test]
fn a_kill_between_any_two_steps_of_a_restore_leaves_the_old_or_the_new() {
    let (store, folder) = full();
    let old = backup(&store).0;
    drop(store);
    let (other, elsewhere) = fresh();
    block_on(other.write(vec![put("new", json!(1), Expect::Any)])).unwrap();
    let new = backup(&other).0;
    drop(other);
    let path = |name: &str| folder.path().join(name);

    // Not committed: what was staged is nothing.
    fs::copy(elsewhere.path().join("meshery.db"), path("restore.db")).unwrap();
    let store = open(folder.path()).unwrap();
    assert_eq!(backup(&store).0, old);
    // A log that belongs to the old database, as a kill leaves it.
    block_on(store.write(vec![put("logged", json!(1), Expect::Any)])).unwrap();
    let log = fs::read(path("meshery.db-wal")).unwrap();
    drop(store);

    // Committed, and killed before each of the steps that move it to its place.
    for steps in 0..4 {
        fs::write(path("meshery.db-wal"), &log).unwrap();
        fs::copy(elsewhere.path().join("meshery.db"), path("meshery.db.next")).unwrap();
        if steps > 0 {
            fs::rename(path("meshery.db-wal"), path("replaced.db-wal")).unwrap();
        }
        if steps > 1 {
            fs::rename(path("meshery.db"), path("replaced.db")).unwrap();
        }
        if steps > 2 {
            fs::rename(path("meshery.db.next"), path("meshery.db")).unwrap();
        }
        let store = open(folder.path()).unwrap();
        assert_eq!(backup(&store).0, new, "after {steps} steps");
        assert!(!path("meshery.db.next").exists());
    }
}

#[test]
fn of_a_damaged_store_the_backup_has_what_can_be_read_and_says_what_cannot() {
    use std::os::unix::fs::FileExt as _;
    let (store, folder) = fresh();
    for n in 0..400 {
        block_on(store.write(vec![put(&format!("{n:03}"), json!("x".repeat(900)), Expect::Any)])).unwrap();
        append(
            &store,
            &format!("s{}", n % 4),
            n / 4 + 1,
            &[json!("y".repeat(900))],
        )
        .unwrap();
    }
    drop(store);
    let path = folder.path().join("meshery.db");
    let pages = fs::metadata(&path).unwrap().len() / 4096;
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    for page in [pages / 3, pages / 2, pages * 2 / 3] {
        file.write_all_at(&[0xff; 512], page * 4096).unwrap();
    }
    let store = open(folder.path()).unwrap();
    let (records, damage) = backup(&store);
    assert!(!damage.is_empty());
    let documents = records
        .iter()
        .filter(|record| matches!(record, Record::Document(_)))
        .count();
    let entries: usize = records
        .iter()
        .map(|record| match record {
            Record::Entries(append) => append.entries.len(),
            _ => 0,
        })
        .sum();
    assert!(
        documents > 350 && entries > 100,
        "{documents}, {entries}: {damage:?}"
    );
    assert!(documents + entries < 800);
    restore(&store, &records, true).unwrap();
    assert_eq!(backup(&store).0, records);
    assert!(block_on(store.health()).unwrap().writable);
}
