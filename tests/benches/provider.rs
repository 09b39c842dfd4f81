//! Durable document writes per second: 32 clients through the store and the plugin boundary, against SQLite's own
//! batch limit on the same disk (transactions of 32 of the same rows, by one thread that does nothing else).
//!
//! Disks of virtual machines change their speed from second to second, so the two take turns and the median of the
//! rounds' ratios counts. `cargo bench --bench provider`; the disk is that of the temporary folder (`TMPDIR`).

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use meshery_core::plugin::{Isolation, PluginSettings, Plugins, child_main};
use meshery_core::provider::Store;
use meshery_plugin_api::message::document::{Document, Expect};
use serde_json::{Value, json};
use tempfile::TempDir;

const CLIENTS: u32 = 32;
const DOCUMENTS: u32 = 10_000;
const ROUNDS: usize = 5;
const TIME: Duration = Duration::from_secs(3);
/// What the project asks of itself.
const REACH: f64 = 0.8;

fn main() -> ExitCode {
    // A plugin's process is this program itself, as the host's own is in the field.
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == "plugin-child") {
        return child_main(arguments);
    }
    bench();
    ExitCode::SUCCESS
}

fn bench() {
    let library = provider_library();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    println!("durable document writes per second, bodies of 1 KiB, {CLIENTS} clients\n");
    println!(
        "{:>5} {:>12} {:>12} {:>12} {:>6}",
        "round", "by hand", "one client", "32 clients", "ratio"
    );
    let mut ratios: Vec<f64> = (1..=ROUNDS)
        .map(|round| {
            let limit = by_hand();
            let alone = runtime.block_on(through_the_store(&library, 1));
            let clients = runtime.block_on(through_the_store(&library, CLIENTS));
            println!(
                "{round:>5} {limit:>12.0} {alone:>12.0} {clients:>12.0} {:>6.2}",
                clients / limit
            );
            clients / limit
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    println!("\nmedian ratio {:.2}, to reach {REACH}", ratios[ROUNDS / 2]);
}

fn body(n: u32) -> Value {
    json!({"n": n, "text": "x".repeat(1000)})
}

fn id(n: u32) -> String {
    format!("{:06}", n % DOCUMENTS)
}

fn by_hand() -> f64 {
    let folder = TempDir::new().expect("a temporary folder can be made");
    let run = || -> Result<f64, rusqlite::Error> {
        let mut conn = rusqlite::Connection::open(folder.path().join("limit.db"))?;
        conn.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
        conn.pragma_update(None, "synchronous", "FULL")?;
        conn.execute_batch(
            "CREATE TABLE document (kind TEXT NOT NULL, id TEXT NOT NULL, owner TEXT NOT NULL,
             revision INTEGER NOT NULL, created TEXT NOT NULL, updated TEXT NOT NULL, labels TEXT NOT NULL,
             body TEXT NOT NULL, PRIMARY KEY (kind, id)) STRICT",
        )?;
        let (begin, mut n) = (Instant::now(), 0);
        while begin.elapsed() < TIME {
            let transaction = conn.transaction()?;
            for _ in 0..CLIENTS {
                transaction
                    .prepare_cached(
                        "INSERT INTO document VALUES ('bench', ?1, '', 1, ?2, ?2, '{}', ?3)
                         ON CONFLICT (kind, id) DO UPDATE SET revision = revision + 1,
                         updated = excluded.updated, body = excluded.body",
                    )?
                    .execute((id(n), "2026-01-01T00:00:00.000Z", body(n).to_string()))?;
                n += 1;
            }
            transaction.commit()?;
        }
        Ok(f64::from(n) / begin.elapsed().as_secs_f64())
    };
    run().expect("SQLite works on this disk")
}

async fn through_the_store(library: &Path, clients: u32) -> f64 {
    let folder = TempDir::new().expect("a temporary folder can be made");
    let mut settings = PluginSettings::new(folder.path());
    settings.folders = vec![library.to_owned()];
    settings.isolation = Isolation::InProcess;
    let plugins = Plugins::load(settings).await;
    let provider = plugins
        .provider()
        .unwrap_or_else(|| panic!("no provider: {:?}", plugins.list()));
    let store = Store::new(provider);
    let begin = Instant::now();
    let tasks: Vec<_> = (0..clients)
        .map(|client| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut written = 0;
                while begin.elapsed() < TIME {
                    let n = client + written * clients;
                    let document = Document {
                        kind: "bench".into(),
                        id: id(n),
                        body: body(n),
                        ..Document::default()
                    };
                    store
                        .put(document, Expect::Any)
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
    let rate = f64::from(written) / begin.elapsed().as_secs_f64();
    drop(store);
    plugins.shutdown().await;
    rate
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
