//! How close group commit comes to SQLite's own limit on the same disk. Run by hand, in a release build:
//! `cargo test --release -p meshery-local-provider -- --ignored --nocapture durable_writes`.

use super::*;
use std::time::{Duration, Instant};

const CLIENTS: u32 = 32;
const TIME: Duration = Duration::from_secs(4);

#[test]
#[ignore = "a measurement: run it by hand in a release build"]
fn durable_writes_of_32_clients_reach_most_of_the_batch_limit() {
    for _ in 0..3 {
        let (by_hand, through) = (batches_by_hand(), clients());
        println!(
            "by hand {by_hand:.0}/s, 32 clients {through:.0}/s, ratio {:.2}",
            through / by_hand
        );
    }
}

fn body(n: u32) -> Value {
    json!({"n": n, "text": "x".repeat(1000)})
}

/// Transactions of 32 writes each, by one thread that does nothing else.
fn batches_by_hand() -> f64 {
    let folder = TempDir::new().unwrap();
    let mut conn = rusqlite::Connection::open(folder.path().join("limit.db")).unwrap();
    conn.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))
        .unwrap();
    conn.pragma_update(None, "synchronous", "FULL").unwrap();
    crate::schema::migrate(&mut conn, crate::schema::MIGRATIONS).unwrap();
    let (begin, mut n) = (Instant::now(), 0);
    while begin.elapsed() < TIME {
        let transaction = conn.transaction().unwrap();
        for _ in 0..CLIENTS {
            let mut put = transaction
                .prepare_cached(
                    "INSERT INTO document VALUES ('test', ?1, '', 1, ?2, ?2, '{}', ?3)
                     ON CONFLICT (kind, id) DO UPDATE SET revision = revision + 1, updated = excluded.updated,
                     body = excluded.body",
                )
                .unwrap();
            put.execute((
                format!("{:06}", n % 10_000),
                "2026-01-01T00:00:00.000Z",
                body(n).to_string(),
            ))
            .unwrap();
            n += 1;
        }
        transaction.commit().unwrap();
    }
    f64::from(n) / begin.elapsed().as_secs_f64()
}

fn clients() -> f64 {
    let (store, _folder) = fresh();
    let begin = Instant::now();
    let clients = (0..CLIENTS).map(|client| {
        let store = &store;
        async move {
            let mut n = client;
            while begin.elapsed() < TIME {
                store
                    .write(vec![put(&format!("{:06}", n % 10_000), body(n), Expect::Any)])
                    .await
                    .unwrap();
                n += CLIENTS;
            }
            n / CLIENTS
        }
    });
    let done: u32 = block_on(futures::future::join_all(clients)).into_iter().sum();
    f64::from(done) / begin.elapsed().as_secs_f64()
}
