//! `kill -9` at random instants: whatever was acknowledged is there, and journals have no gaps.
//!
//! The test starts itself again as the process to kill, which says on its standard output what was acknowledged.

use super::*;
use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

const FOLDER: &str = "LOCAL_PROVIDER_TEST_FOLDER";
const NAME: &str = "tests::killed::what_was_acknowledged_survives_kill_nine";
const CLIENTS: u64 = 8;

#[test]
fn what_was_acknowledged_survives_kill_nine() {
    if let Ok(folder) = std::env::var(FOLDER) {
        write_until_killed(Path::new(&folder));
    }
    let folder = TempDir::new().unwrap();
    let seed = RandomState::new().hash_one(0);
    println!("seed {seed}");
    let mut random = seed;
    let mut acknowledged: BTreeMap<String, u64> = BTreeMap::new();
    let mut total = 0;
    for round in 0..10 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", NAME, "--nocapture"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let wait = Duration::from_millis(20 + (random >> 33) % 150);
        let reader = std::thread::spawn(move || {
            let mut last = BTreeMap::new();
            for line in output.lines().map_while(Result::ok) {
                // "ack client-3 17", and possibly the test harness's own words before it.
                let Some((_, ack)) = line.split_once("ack ") else {
                    continue;
                };
                let Some((name, n)) = ack.split_once(' ') else {
                    continue;
                };
                if let Ok(n) = n.parse::<u64>() {
                    last.insert(name.to_owned(), n);
                }
            }
            last
        });
        std::thread::sleep(wait);
        child.kill().unwrap();
        child.wait().unwrap();
        for (name, n) in reader.join().unwrap() {
            total += 1;
            acknowledged.insert(name, n);
        }

        let store = open(folder.path()).unwrap();
        for (name, &n) in &acknowledged {
            let entries = read_all(&store, name);
            assert!(
                entries.len() as u64 >= n,
                "round {round}: {name} has {}, {n} were acknowledged",
                entries.len()
            );
            for (expected, entry) in (1..).zip(&entries) {
                assert_eq!(
                    (entry.seq, &entry.entry),
                    (expected, &number(expected)),
                    "round {round}, {name}"
                );
            }
            let document = block_on(store.get("test", name)).unwrap().unwrap();
            let written = document.body["n"].as_u64().unwrap();
            assert!(
                written >= n,
                "round {round}: document {name} is at {written}, {n} was acknowledged"
            );
            // One batch holds two documents: both or none.
            let twin = block_on(store.get("twin", name)).unwrap().unwrap();
            assert_eq!(twin.body, document.body, "round {round}, {name}");
        }
    }
    assert!(
        total >= 10,
        "only {total} acknowledgements were seen: nothing was tested"
    );
}

fn write_until_killed(folder: &Path) -> ! {
    let store = open(folder).unwrap();
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let store = &store;
            scope.spawn(move || {
                let name = format!("client-{client}");
                let mut n = read_all(store, &name).len() as u64;
                loop {
                    n += 1;
                    append(store, &name, n, &[number(n)]).unwrap();
                    let twins = ["test", "twin"].map(|kind| {
                        let (kind, id) = (kind.into(), name.clone());
                        let document = Document {
                            kind,
                            id,
                            body: number(n),
                            ..Document::default()
                        };
                        Write::Put {
                            document,
                            expect: Expect::Any,
                        }
                    });
                    block_on(store.write(twins.to_vec())).unwrap();
                    // In one write, so that lines are whole.
                    std::io::stdout()
                        .lock()
                        .write_all(format!("ack {name} {n}\n").as_bytes())
                        .unwrap();
                }
            });
        }
    });
    unreachable!("the clients write until the process is killed");
}

fn read_all(store: &LocalProvider, name: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    loop {
        let page = read(store, name, entries.len() as u64);
        if page.is_empty() {
            return entries;
        }
        entries.extend(page);
    }
}
