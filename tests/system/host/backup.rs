//! Backup and restore by `mesheryctl` and over REST; a store that is damaged; a host killed while it restores.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use hyper::body::Bytes;
use libtest_mimic::Trial;
use meshery_tests::host::{Answer, Host};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::invented::{LIMIT, invented_host};
use crate::mesheryctl::{ctl, has};
use crate::{cluster, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial(
            "host::a_backup_brings_everything_back_with_its_revisions",
            round_trip,
        ),
        trial("host::a_restore_does_not_mix_with_what_is_there", not_mixed),
        trial(
            "host::a_backup_that_is_not_whole_is_refused_and_changes_nothing",
            not_whole,
        ),
        trial(
            "host::a_host_killed_while_it_restores_has_the_old_or_the_new",
            killed,
        ),
        trial(
            "host::a_damaged_store_is_told_can_be_read_saved_and_replaced",
            damaged,
        ),
        trial("host::a_restore_is_refused_while_operations_are_active", active),
    ]
}

const RESTORE: &str = "/api/v1/provider/restore";

fn put(host: &Host, id: &str, body: &Value) -> anyhow::Result<Answer> {
    host.put(&format!("/api/v1/documents/note/{id}"), &json!({ "body": body }))
}

/// All notes, id and body.
fn notes(host: &Host) -> anyhow::Result<Vec<(String, Value)>> {
    let page = host.get("/api/v1/documents/note?limit=500")?.expect(200)?;
    let items = page["items"].as_array().cloned().unwrap_or_default();
    Ok(items
        .into_iter()
        .map(|item| {
            (
                item["id"].as_str().unwrap_or_default().to_owned(),
                item["body"].clone(),
            )
        })
        .collect())
}

fn send(host: &Host, backup: &[u8], replace: bool) -> anyhow::Result<Answer> {
    let path = if replace {
        format!("{RESTORE}?replace=true")
    } else {
        RESTORE.to_owned()
    };
    let kind = [("content-type", "application/x-ndjson")];
    host.client()?
        .send_bytes("POST", &path, &kind, Bytes::copy_from_slice(backup))
}

fn saved(host: &Host) -> anyhow::Result<Vec<u8>> {
    let answer = host.get("/api/v1/provider/backup")?;
    ensure!(answer.status == 200, "{answer:?}");
    Ok(answer.body.to_vec())
}

fn round_trip() -> anyhow::Result<()> {
    let host = Host::builder().start()?;
    for n in 0..40 {
        put(
            &host,
            &format!("n{n}"),
            &json!({"n": n, "text": "ä\n".repeat(200)}),
        )?
        .expect(201)?;
    }
    put(&host, "n7", &json!("again"))?.expect(200)?;
    let before = host.get("/api/v1/documents/note/n7")?.expect(200)?;
    let folder = TempDir::new()?;
    let file = folder.path().join("saved.backup");
    let name = file.display().to_string();
    let (_, told) = ctl(&host, 0, &format!("provider backup {name}"))?;
    // The notes, and what the host remembers of its key.
    has(&told, &["41 records", "host.key"])?;
    ensure!(fs::metadata(&file)?.permissions().mode() & 0o777 == 0o600);
    let bytes = fs::read(&file)?;
    let key = fs::read(host.data().join("host.key"))?;
    ensure!(
        !bytes
            .windows(key.len().min(24))
            .any(|part| part == &key[..key.len().min(24)]),
        "the host's key is in the backup"
    );
    // One that is there is not written over.
    let (_, told) = ctl(&host, 2, &format!("provider backup {name}"))?;
    has(&told, &["file-exists"])?;
    ensure!(
        fs::read_dir(folder.path())?.count() == 1,
        "something is left beside it"
    );

    let other = Host::builder().start()?;
    let (_, told) = ctl(&other, 0, &format!("provider restore {name}"))?;
    has(&told, &["restored: 41 records", "another than the one"])?;
    ensure!(notes(&other)? == notes(&host)?);
    let after = other.get("/api/v1/documents/note/n7")?.expect(200)?;
    ensure!(after == before, "{after} is not {before}");
    // And it goes on from there.
    let next = put(&other, "n7", &json!("more"))?.expect(200)?;
    ensure!(next["revision"] == 3, "{next}");
    Ok(())
}

fn not_mixed() -> anyhow::Result<()> {
    let mut host = Host::builder().start()?;
    put(&host, "old", &json!(1))?.expect(201)?;
    let backup = saved(&host)?;
    put(&host, "newer", &json!(2))?.expect(201)?;
    let problem = send(&host, &backup, false)?.problem(409, "store-not-empty")?;
    has(&problem.to_string(), &["--replace"])?;
    ensure!(notes(&host)?.len() == 2);
    let folder = TempDir::new()?;
    let file = folder.path().join("saved");
    fs::write(&file, &backup)?;
    // Nobody is there to say yes.
    ctl(
        &host,
        2,
        &format!("provider restore {} --replace", file.display()),
    )?;
    ensure!(notes(&host)?.len() == 2);
    ctl(
        &host,
        0,
        &format!("provider restore {} --replace --yes", file.display()),
    )?;
    ensure!(notes(&host)? == [("old".to_owned(), json!(1))]);
    put(&host, "later", &json!(3))?.expect(201)?;
    host.kill()?;
    host.restart()?;
    ensure!(notes(&host)?.len() == 2, "{:?}", notes(&host)?);
    Ok(())
}

fn not_whole() -> anyhow::Result<()> {
    let host = Host::builder()
        .settings("[limits]\nbackup_bytes = 100000")
        .start()?;
    put(&host, "old", &json!("before"))?.expect(201)?;
    let whole = saved(&host)?;
    let text = String::from_utf8(whole.clone())?;
    let lines: Vec<&str> = text.lines().collect();
    ensure!(lines.len() == 4, "{text}");
    let changed = text.replace("before", "beyond");
    let shorter = format!("{}\n{}\n", lines[0], lines[1]);
    let newer = text.replace("{\"meshery-backup\":1", "{\"meshery-backup\":2");
    let unknown = text.replace("\"record\":\"document\"", "\"record\":\"dance\"");
    let longer = format!("{text}{}\n", lines[1]);
    let large = format!("{}\n{}\n", lines[0], "x".repeat(200_000));
    for (what, bytes, status, code) in [
        ("changed", changed.as_bytes(), 400, "backup-damaged"),
        ("without its end", shorter.as_bytes(), 400, "backup-cut-off"),
        ("cut in a line", &whole[..whole.len() - 5], 400, "backup-cut-off"),
        ("newer", newer.as_bytes(), 409, "backup-newer"),
        ("with an unknown record", unknown.as_bytes(), 400, "bad-backup"),
        (
            "with something after its end",
            longer.as_bytes(),
            400,
            "bad-backup",
        ),
        ("of something else", b"hello\n", 400, "bad-backup"),
        ("of nothing", b"", 400, "backup-cut-off"),
        ("larger than allowed", large.as_bytes(), 413, "body-too-large"),
    ] {
        send(&host, bytes, true)?
            .problem(status, code)
            .with_context(|| format!("a backup {what}"))?;
        ensure!(notes(&host)? == [("old".to_owned(), json!("before"))], "{what}");
    }
    host.post(&format!("{RESTORE}?replace=true"), &json!({}))?
        .problem(415, "unsupported-media-type")?;
    // `mesheryctl` sees it before the host does.
    let folder = TempDir::new()?;
    let file = folder.path().join("saved");
    for (bytes, code) in [
        (changed.as_bytes(), "backup-damaged"),
        (shorter.as_bytes(), "backup-cut-off"),
        (b"hello\n", "bad-backup"),
    ] {
        fs::write(&file, bytes)?;
        let line = format!("provider restore {} --replace --yes", file.display());
        has(&ctl(&host, 1, &line)?.1, &[code])?;
    }
    send(&host, &whole, true)?.expect(200)?;
    Ok(())
}

/// Every note must say the same.
fn word(host: &Host) -> anyhow::Result<String> {
    let notes = notes(host)?;
    let word = notes
        .first()
        .and_then(|(_, body)| body["word"].as_str())
        .context("nothing is there")?
        .to_owned();
    let all = notes.iter().all(|(_, body)| body["word"] == word.as_str());
    ensure!(
        all && notes.len() == NOTES,
        "{} notes, not all {word}",
        notes.len()
    );
    Ok(word)
}

const NOTES: usize = 120;

fn killed() -> anyhow::Result<()> {
    let mut host = Host::builder().start()?;
    let fill = |host: &Host, word: &str| -> anyhow::Result<()> {
        for n in 0..NOTES {
            let body = json!({"word": word, "text": "x".repeat(20_000)});
            let answer = put(host, &format!("n{n:03}"), &body)?;
            ensure!(answer.status < 300, "{answer:?}");
        }
        Ok(())
    };
    fill(&host, "new")?;
    let new = saved(&host)?;
    fill(&host, "old")?;
    let old = saved(&host)?;
    let begin = std::time::Instant::now();
    send(&host, &old, true)?.expect(200)?;
    let whole = begin.elapsed();
    let (mut before, mut after) = (0, 0);
    let rounds = 10;
    for round in 0..rounds {
        let client = host.client()?.clone();
        let backup = Bytes::copy_from_slice(&new);
        let sending = std::thread::spawn(move || {
            let kind = [("content-type", "application/x-ndjson")];
            let _ = client.send_bytes("POST", &format!("{RESTORE}?replace=true"), &kind, backup);
        });
        // Over the whole of it and a little beyond: most of the steps are at its end.
        std::thread::sleep(whole.mul_f64(f64::from(round + 1) / f64::from(rounds - 2)));
        host.kill()?;
        let _ = sending.join();
        host.restart()?;
        match word(&host).with_context(|| format!("round {round}"))?.as_str() {
            "old" => before += 1,
            "new" => {
                after += 1;
                send(&host, &old, true)?.expect(200)?;
            }
            other => anyhow::bail!("round {round}: {other}"),
        }
        put(&host, "n000", &json!({"word": "old", "text": ""}))?.expect(200)?;
    }
    println!("killed {rounds} times within {whole:?}: {before} old, {after} new");
    ensure!(before > 0, "it was never killed early enough to test anything");
    Ok(())
}

fn store_file(host: &Host) -> PathBuf {
    host.data().join("provider/meshery.db")
}

/// Overwrites pages from the middle of the file on.
fn damage(file: &Path) -> anyhow::Result<()> {
    let pages = fs::metadata(file)?.len() / 4096;
    let database = OpenOptions::new().write(true).open(file)?;
    for page in pages / 2..pages / 2 + 3 {
        database.write_all_at(&[0xff; 512], page * 4096)?;
    }
    Ok(())
}

fn damaged() -> anyhow::Result<()> {
    let mut host = Host::builder().start()?;
    for n in 0..300 {
        put(
            &host,
            &format!("n{n:03}"),
            &json!({"n": n, "text": "x".repeat(1000)}),
        )?
        .expect(201)?;
    }
    let sound = saved(&host)?;
    let status = host.terminate()?;
    ensure!(status.success());
    damage(&store_file(&host))?;
    let as_found = fs::read(store_file(&host))?;
    host.restart()?;

    has(&host.report(), &["NO WRITES", "damaged", "provider restore"])?;
    let ready = host.get("/readyz")?;
    ensure!(ready.status == 503, "{ready:?}");
    has(&ready.text(), &["damaged", "provider restore FILE --replace"])?;
    let refused = put(&host, "n000", &json!(1))?.problem(500, "store-corrupt")?;
    has(&refused.to_string(), &["can only be read", "provider restore"])?;
    // What is not on those pages is there.
    let found = notes(&host)?;
    ensure!(
        found.len() > 200 && found.len() < 300,
        "{} are there",
        found.len()
    );
    host.get("/api/v1/documents/note/n000")?.expect(200)?;
    host.get("/api/v1/documents/note/n299")?.expect(200)?;
    let folder = TempDir::new()?;
    let file = folder.path().join("rescued");
    let (_, told) = ctl(&host, 0, &format!("provider backup {}", file.display()))?;
    has(&told, &["could not be read"])?;
    let rescued = fs::read(&file)?;
    host.kill()?;
    ensure!(
        fs::read(store_file(&host))? == as_found,
        "a damaged store was written to"
    );

    // What was rescued can be worked with, and so can a backup from before, without another start.
    host.restart()?;
    send(&host, &rescued, false)?.problem(409, "store-not-empty")?;
    send(&host, &rescued, true)?.expect(200)?;
    let restored = notes(&host)?;
    ensure!(
        restored == found,
        "{} were restored, {} had been found: {told}",
        restored.len(),
        found.len()
    );
    put(&host, "n000", &json!(1))?.expect(200)?;
    ensure!(host.get("/readyz")?.status == 200);
    send(&host, &sound, true)?.expect(200)?;
    ensure!(notes(&host)?.len() == 300);
    host.kill()?;
    host.restart()?;
    ensure!(notes(&host)?.len() == 300);
    Ok(())
}

fn active() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let host = invented_host(&cluster, cluster.kubeconfig())?.start()?;
    let backup = saved(&host)?;
    let line = "adapter run invented never-ready --set namespace=backup-active --set what=deployment \
                --set chart=false --set deadline=120 --no-wait --yes";
    ctl(&host, 0, line)?;
    let list = host.get("/api/v1/operations")?.expect(200)?;
    let id = list["items"][0]["id"]
        .as_str()
        .context("no operation")?
        .to_owned();
    let problem = send(&host, &backup, true)?.problem(409, "operations-active")?;
    has(&problem.to_string(), &[&id])?;
    // A client that is about to send a large file asks first.
    host.get("/api/v1/provider/restore")?
        .problem(409, "operations-active")?;
    // Until it waits for its pods, so that there is something to take back.
    let end = std::time::Instant::now() + LIMIT;
    let waits = |record: &Value| {
        let steps = record["steps"].as_array().into_iter().flatten();
        steps
            .into_iter()
            .any(|step| step["id"] == "ready" && step["state"] == "running")
    };
    while !waits(&host.record(&id)?) {
        ensure!(std::time::Instant::now() < end, "{:#}", host.record(&id)?);
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let amid = saved(&host)?;
    host.post(&format!("/api/v1/operations/{id}/cancel"), &json!({}))?;
    ctl(&host, 3, &format!("operation watch {id}"))?;
    // Its journal is in a backup that is made now, and not in the one before.
    let whole = saved(&host)?;
    send(&host, &backup, true)?.expect(200)?;
    host.get(&format!("/api/v1/operations/{id}"))?
        .problem(404, "unknown-operation")?;
    send(&host, &whole, true)?.expect(200)?;
    let operation = host.get(&format!("/api/v1/operations/{id}"))?.expect(200)?;
    ensure!(operation["state"] == "undone", "{operation}");
    let record = host
        .get(&format!("/api/v1/operations/{id}/record"))?
        .expect(200)?;
    ensure!(
        record["events"].as_array().is_some_and(|events| events.len() > 3),
        "{record}"
    );

    // What was at work then is not by itself at work now: not at once, and not after the next start.
    send(&host, &amid, true)?.expect(200)?;
    let mut host = host;
    for _ in 0..2 {
        std::thread::sleep(std::time::Duration::from_secs(1));
        let operation = host.record(&id)?;
        ensure!(operation["state"] == "interrupted", "{operation:#}");
        ensure!(operation["policy"]["on_interruption"] == "ask", "{operation:#}");
        host.kill()?;
        host.restart()?;
    }
    host.take_back(&id, "undone", LIMIT)?;
    Ok(())
}
