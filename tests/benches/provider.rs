//! Durable document writes per second: 32 clients through the store and the plugin boundary, against SQLite's own
//! batch limit on the same disk.
//!
//! The limit is what a bare program reaches that does nothing else: one thread, prepared statements, the provider's
//! own tables with their indexes and its own settings (`WAL`, `synchronous = FULL`), the same documents, made and
//! written as JSON on the way. Two sizes of its transactions are sensible, and both are shown:
//!
//! - **32**: as many as 32 clients can have waiting, each of whom waits for the disk before the next write. Nothing
//!   that answers them only when their write is durable can put more into a transaction. This is the limit that the
//!   ratio is held against.
//! - **512**: what SQLite does with a caller who hands over everything at once. No server of 32 such clients can
//!   come near it, because it waits for the disk 16 times as often.
//!
//! Every store begins with all documents in it, so that all writes are replacements. Disks of virtual machines and
//! machines with other work change their speed from second to second: turns are short, all take turns, and the median
//! of the rounds' ratios counts. `cargo bench --bench provider`; the disk is that of the temporary folder (`TMPDIR`).

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use meshery_core::plugin::{Isolation, PluginSettings, Plugins, child_main};
use meshery_core::provider::Store;
use meshery_plugin_api::message::document::{Document, Expect, Write};
use meshery_tests::reach::Reach;
use serde_json::{Value, json};
use tempfile::TempDir;

const CLIENTS: u32 = 32;
const LARGE: u32 = 512;
const DOCUMENTS: u32 = 10_000;
const ROUNDS: usize = 21;
const TURN: Duration = Duration::from_millis(400);
/// What the project asks of itself.
const REACH: f64 = 0.8;
/// The provider's own tables.
const TABLES: &str = include_str!("../../plugins/local-provider/src/schema/1.sql");

fn main() -> ExitCode {
    // A plugin's process is this program itself, as the host's own is in the field.
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == "plugin-child") {
        return child_main(arguments);
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    runtime.block_on(bench()).exit_code()
}

async fn bench() -> Reach {
    let library = provider_library();
    let mut batches = ByHand::open(CLIENTS);
    let mut large = ByHand::open(LARGE);
    let mut inside = Provided::open(&library, Isolation::InProcess).await;
    let mut child = Provided::open(&library, Isolation::Child).await;
    println!(
        "durable document writes per second, bodies of 1 KiB, {ROUNDS} rounds, median (least to most)\n"
    );
    let mut turns: [Vec<f64>; 6] = std::array::from_fn(|_| Vec::new());
    for _ in 0..ROUNDS {
        let rates = [
            batches.turn(),
            inside.turn(CLIENTS).await,
            child.turn(CLIENTS).await,
            large.turn(),
            inside.turn(1).await,
            child.turn(1).await,
        ];
        for (turns, rate) in turns.iter_mut().zip(rates) {
            turns.push(rate);
        }
    }
    inside.close().await;
    child.close().await;
    let [batches, inside, child, large, inside_alone, child_alone] = turns;
    show("by hand, transactions of 32", &batches);
    show("by hand, transactions of 512", &large);
    show("32 clients, in process", &inside);
    show("32 clients, in a child", &child);
    show("one client, in process", &inside_alone);
    show("one client, in a child", &child_alone);
    println!("\nratios");
    let mut reach = Reach::default();
    for (name, clients) in [("in process", &inside), ("in a child", &child)] {
        for (size, limit) in [(CLIENTS, &batches), (LARGE, &large)] {
            let ratios: Vec<f64> = clients
                .iter()
                .zip(limit)
                .map(|(ours, limit)| ours / limit)
                .collect();
            let (least, median, most) = spread(&ratios);
            let what = format!("{name} / transactions of {size} ({least:.2} to {most:.2})");
            if size == CLIENTS {
                reach.at_least(&what, median, REACH);
            } else {
                println!("{what} {median:.2}");
            }
        }
    }
    reach
}

fn show(name: &str, rates: &[f64]) {
    let (least, median, most) = spread(rates);
    println!("{name:<30} {median:>9.0} ({least:.0} to {most:.0})");
}

fn spread(values: &[f64]) -> (f64, f64, f64) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    (sorted[0], sorted[sorted.len() / 2], sorted[sorted.len() - 1])
}

fn body(n: u32) -> Value {
    json!({"n": n, "text": "x".repeat(1000)})
}

fn id(n: u32) -> String {
    format!("{:06}", n % DOCUMENTS)
}

/// A bare program with a database of its own.
struct ByHand {
    conn: rusqlite::Connection,
    batch: u32,
    n: u32,
    _folder: TempDir,
}

impl ByHand {
    fn open(batch: u32) -> Self {
        let folder = TempDir::new().expect("a temporary folder can be made");
        let open = || -> Result<rusqlite::Connection, rusqlite::Error> {
            let conn = rusqlite::Connection::open(folder.path().join("limit.db"))?;
            conn.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
            conn.pragma_update(None, "synchronous", "FULL")?;
            conn.pragma_update(None, "cache_size", -8000)?;
            conn.execute_batch(TABLES)?;
            Ok(conn)
        };
        let conn = open().expect("SQLite works on this disk");
        let mut by_hand = Self {
            conn,
            batch: DOCUMENTS,
            n: 0,
            _folder: folder,
        };
        by_hand.transaction().expect("SQLite works on this disk");
        by_hand.batch = batch;
        by_hand
    }

    fn transaction(&mut self) -> Result<(), rusqlite::Error> {
        let transaction = self.conn.transaction()?;
        for _ in 0..self.batch {
            transaction
                .prepare_cached(
                    "INSERT INTO document VALUES ('bench', ?1, '', 1, ?2, ?2, '{}', ?3)
                     ON CONFLICT (kind, id) DO UPDATE SET revision = revision + 1,
                     updated = excluded.updated, body = excluded.body",
                )?
                .execute((id(self.n), "2026-01-01T00:00:00.000Z", body(self.n).to_string()))?;
            self.n += 1;
        }
        transaction.commit()
    }

    fn turn(&mut self) -> f64 {
        let (begin, first) = (Instant::now(), self.n);
        while begin.elapsed() < TURN {
            self.transaction().expect("SQLite works on this disk");
        }
        f64::from(self.n - first) / begin.elapsed().as_secs_f64()
    }
}

/// The provider as a host has it.
struct Provided {
    plugins: Plugins,
    store: Store,
    n: u32,
    _folder: TempDir,
}

impl Provided {
    async fn open(library: &Path, isolation: Isolation) -> Self {
        let folder = TempDir::new().expect("a temporary folder can be made");
        let mut settings = PluginSettings::new(folder.path());
        settings.folders = vec![library.to_owned()];
        settings.isolation = isolation;
        let plugins = Plugins::load(settings).await;
        let provider = plugins
            .provider()
            .unwrap_or_else(|| panic!("no provider: {:?}", plugins.list()));
        let store = Store::new(provider);
        for first in (0..DOCUMENTS).step_by(500) {
            let batch = (first..first + 500).map(|n| Write::Put {
                document: document(n),
                expect: Expect::Absent,
            });
            store
                .write(batch.collect())
                .await
                .expect("the documents are written");
        }
        Self {
            plugins,
            store,
            n: 0,
            _folder: folder,
        }
    }

    async fn turn(&mut self, clients: u32) -> f64 {
        let begin = Instant::now();
        let tasks: Vec<_> = (0..clients)
            .map(|client| {
                let (store, first) = (self.store.clone(), self.n + client);
                tokio::spawn(async move {
                    let mut written = 0;
                    while begin.elapsed() < TURN {
                        store
                            .put(document(first + written * clients), Expect::Any)
                            .await
                            .expect("the write is acknowledged");
                        written += 1;
                    }
                    written
                })
            })
            .collect();
        let mut written = 0;
        for task in tasks {
            written += task.await.expect("the client did not panic");
        }
        self.n += written;
        f64::from(written) / begin.elapsed().as_secs_f64()
    }

    async fn close(self) {
        drop(self.store);
        self.plugins.shutdown().await;
    }
}

fn document(n: u32) -> Document {
    Document {
        kind: "bench".into(),
        id: id(n),
        body: body(n),
        ..Document::default()
    }
}
/// Builds the provider as this bench was built, and returns a folder that holds nothing else.
fn provider_library() -> PathBuf {
    let output = Command::new(env!("CARGO"))
        .args([
            "build",
            "--release",
            "--package",
            "meshery-local-provider",
            "--message-format=json",
        ])
        .output()
        .expect("cargo can be started");
    let text = String::from_utf8_lossy(&output.stdout);
    let built = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == "meshery_local_provider")
        .find_map(|message| message["filenames"][0].as_str().map(PathBuf::from))
        .unwrap_or_else(|| {
            panic!(
                "no library was built: {}",
                String::from_utf8_lossy(&output.stderr)
            )
        });
    let folder = built.with_file_name("bench-provider");
    std::fs::create_dir_all(&folder).expect("the folder can be made");
    std::fs::copy(&built, folder.join(built.file_name().unwrap_or_default()))
        .expect("the library can be copied");
    folder
}
