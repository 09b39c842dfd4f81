//! `kill -9` at random instants: whatever was acknowledged is there, whole, and journals have no gaps.
//!
//! The process to kill is the test's own program, started again for that one test with [`FOLDER`] in its environment.
//! It says on its standard output what was acknowledged; what it managed to say before it died must be there.

use std::collections::{BTreeMap, hash_map::RandomState};
use std::hash::BuildHasher as _;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::calls::{ANY, Calls, put, same};
use super::{SEED, Subject, Verdict, blobs, place};

const FOLDER: &str = "MESHERY_CONFORMANCE_FOLDER";
const CLIENTS: u64 = 6;
/// Said when the provider is open.
const READY: &str = "conformance-ready";
/// Said with a client's number and that of its last acknowledged round.
const DONE: &str = "conformance-done";
/// How long a process may take until it is ready.
const START: Duration = Duration::from_mins(1);

/// The folder to write into, in the process to be killed.
pub(super) fn folder() -> Option<PathBuf> {
    std::env::var_os(FOLDER).map(PathBuf::from)
}

fn say(line: &str) {
    // In one write, so that lines are whole. Nobody listens any more when whoever kills was killed.
    let mut out = std::io::stdout().lock();
    let said = out
        .write_all(format!("{line}\n").as_bytes())
        .and_then(|()| out.flush());
    if said.is_err() {
        std::process::exit(1);
    }
}

pub(super) fn write_until_killed(
    folder: &Path,
    open: impl Fn(&Path) -> Result<Box<dyn Subject>, String>,
) -> ! {
    let subject = open(folder).unwrap_or_else(|why| {
        say(&why);
        std::process::exit(1)
    });
    say(READY);
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let subject = &*subject;
            scope.spawn(move || {
                let why = write(client, &Calls::of(subject)).err().unwrap_or_default();
                say(&why);
                std::process::exit(1);
            });
        }
    });
    unreachable!("the clients write until the process is killed");
}

/// A journal's entry, a batch of two documents and a blob in each round.
fn write(client: u64, calls: &Calls<'_>) -> Verdict {
    let name = format!("client-{client}");
    let mut n = calls.numbers(&name)?.len() as u64;
    loop {
        n += 1;
        calls.ok("append", calls.append(&name, n, &[n]))?;
        let twins = vec![put("left", &name, n, ANY), put("right", &name, n, ANY)];
        calls.ok("write", calls.write(twins))?;
        let blob = blobs::content(usize::try_from(n).unwrap_or_default());
        calls.ok("put_blobs", calls.put_blobs(&name, vec![blob]))?;
        say(&format!("{DONE} {client} {n}"));
    }
}

pub(super) fn rounds(
    test: &str,
    folder: &Path,
    rounds: u32,
    open: impl Fn(&Path) -> Result<Box<dyn Subject>, String>,
) -> Verdict {
    let seed = place::number_from(SEED).unwrap_or_else(|| RandomState::new().hash_one(0));
    println!("seed of the kills: {seed} ({SEED} to use it again)");
    let mut random = seed;
    let mut acknowledged: BTreeMap<u64, u64> = BTreeMap::new();
    for round in 1..=rounds {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let wait = Duration::from_millis(5 + (random >> 33) % 200);
        acknowledged.extend(one_life(test, folder, wait)?);
        let subject = open(folder).map_err(|why| format!("after kill {round}: {why}"))?;
        let calls = Calls::of(&*subject);
        for client in 0..CLIENTS {
            let n = acknowledged.get(&client).copied().unwrap_or_default();
            whole(client, n, &calls).map_err(|why| format!("after kill {round} (seed {seed}): {why}"))?;
        }
    }
    // A store that never answers would keep its promises.
    if rounds > 0 && acknowledged.is_empty() {
        return Err(format!("nothing was acknowledged in {rounds} rounds"));
    }
    Ok(())
}

/// Starts a process, kills it, and returns the last round that each client was told is done.
fn one_life(test: &str, folder: &Path, wait: Duration) -> Result<BTreeMap<u64, u64>, String> {
    /// However this ends, the process does not outlive it.
    struct Killed(Child);
    impl Drop for Killed {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
    let failed = |error: std::io::Error| format!("the test's program cannot be started again: {error}");
    let program = std::env::current_exe().map_err(failed)?;
    let child = Command::new(program)
        .args(["--exact", test, "--nocapture"])
        .env(FOLDER, folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut child = Killed(child.map_err(failed)?);
    let output = child.0.stdout.take().ok_or("the process has no output")?;
    let (ready, is_ready) = std::sync::mpsc::channel();
    let listener = std::thread::spawn(move || listen(output, &ready));
    let begin = Instant::now();
    let started = is_ready.recv_timeout(START).is_ok();
    if started {
        std::thread::sleep(wait);
    }
    drop(child);
    let (done, other) = listener.join().unwrap_or_default();
    if started {
        return Ok(done);
    }
    Err(format!(
        "after {:?} the process to be killed was not ready; is \"{test}\" the test's full name? It said: {}",
        begin.elapsed(),
        other.trim()
    ))
}

/// Reads until the process is dead; the other side of its pipe may be held open by a process of its own.
fn listen(output: impl Read, ready: &std::sync::mpsc::Sender<()>) -> (BTreeMap<u64, u64>, String) {
    let (mut done, mut other) = (BTreeMap::new(), String::new());
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        // The test program may have begun the line with words of its own.
        if line.ends_with(READY) {
            let _ = ready.send(());
        } else if let Some((_, numbers)) = line.split_once(DONE) {
            let mut numbers = numbers.split_whitespace().map(str::parse);
            if let (Some(Ok(client)), Some(Ok(n))) = (numbers.next(), numbers.next()) {
                done.insert(client, n);
            }
        } else if other.len() < 2000 {
            other.push_str(&line);
            other.push('\n');
        }
    }
    (done, other)
}

fn whole(client: u64, n: u64, calls: &Calls<'_>) -> Verdict {
    let name = format!("client-{client}");
    let journal = calls.numbers(&name)?;
    let expected: Vec<u64> = (1..=journal.len() as u64).collect();
    same(&format!("the journal of {name}"), &journal, &expected)?;
    if (journal.len() as u64) < n {
        return Err(format!(
            "{n} entries of {name} were acknowledged, {} are there",
            journal.len()
        ));
    }
    let side = |kind| -> Result<u64, String> {
        let document = calls.ok("get", calls.get(kind, &name))?;
        Ok(document.map_or(0, |document| document.body["n"].as_u64().unwrap_or_default()))
    };
    let (left, right) = (side("left")?, side("right")?);
    same(&format!("the second document of {name}'s batch"), &right, &left)?;
    if left < n {
        return Err(format!(
            "round {n} of {name}'s document was acknowledged, round {left} is there"
        ));
    }
    for blob in (1..=n).rev().take(4) {
        let blob = blobs::content(usize::try_from(blob).unwrap_or_default());
        let found = calls.ok("get_blobs", calls.get_blobs(vec![blob.sha256.clone()]))?;
        same("a blob that was acknowledged", &found, &vec![blob])?;
    }
    Ok(())
}
