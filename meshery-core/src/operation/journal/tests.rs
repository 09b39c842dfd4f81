use std::sync::Arc;

use meshery_plugin_api::PluginError;
use serde_json::Map;

use super::event_stream::TAKEN;
use super::*;
use crate::operation::policy::Policy;
use crate::operation::record::{AdapterUsed, ClusterUsed, OperationRecord};
use crate::provider::memory::MemoryProvider;

fn record(id: &str) -> OperationRecord {
    OperationRecord {
        id: id.into(),
        adapter: AdapterUsed::default(),
        operation: "install".into(),
        parameters: Map::new(),
        cluster: ClusterUsed::default(),
        owner: "meshery".into(),
        state: OperationState::Running,
        summary: String::new(),
        notes: Vec::new(),
        needs_consent: Vec::new(),
        policy: Policy::default(),
        images: crate::images::ImageSource::default(),
        approved_by: None,
        steps: Vec::new(),
        findings: Vec::new(),
        error: None,
        left: Vec::new(),
        outputs: Vec::new(),
        host: None,
        held_up: None,
        parent: None,
        created: String::new(),
        updated: String::new(),
        seq: 0,
    }
}

struct Bench {
    memory: Arc<MemoryProvider>,
    store: Store,
    live: Arc<Live>,
    journal: Journal,
    abandon: CancellationToken,
}

fn bench() -> Bench {
    let memory = Arc::new(MemoryProvider::new());
    let store = Store::new(memory.clone());
    let live = Arc::new(Live::new(record("op")));
    let abandon = CancellationToken::new();
    Bench {
        journal: Journal::open(store.clone(), live.clone(), abandon.clone()),
        memory,
        store,
        live,
        abandon,
    }
}

fn note(text: &str) -> Entry {
    Entry::Note {
        step: None,
        message: text.into(),
    }
}

#[tokio::test]
async fn what_was_written_is_durable_and_heard_in_order() {
    let bench = bench();
    let writes = (0..50).map(|n| bench.journal.note(note(&n.to_string())));
    for result in futures::future::join_all(writes).await {
        result.unwrap();
    }
    let entries = bench.store.read("op", 0).await.unwrap();
    assert_eq!(entries.len(), 50);
    let heard = bench.live.events_after(0, TAKEN).unwrap();
    assert_eq!(heard.len(), 50);
    assert!(heard.windows(2).all(|pair| pair[0].seq + 1 == pair[1].seq));
}

#[tokio::test]
async fn who_is_behind_takes_a_few_events_at_a_time_and_misses_none() {
    const WRITTEN: u64 = 300;
    let bench = bench();
    let entries = (0..WRITTEN).map(|n| note(&n.to_string())).collect();
    bench.journal.write(entries).await.unwrap();
    let first = bench.live.record().seq - WRITTEN + 1;
    let mut heard: Vec<u64> = Vec::new();
    loop {
        let after = heard.last().copied().unwrap_or(first - 1);
        let taken = bench.live.events_after(after, TAKEN).unwrap();
        assert!(taken.len() <= TAKEN);
        if taken.is_empty() {
            break;
        }
        heard.extend(taken.iter().map(|event| event.seq));
    }
    assert!(heard.into_iter().eq(first..first + WRITTEN));
}

#[tokio::test]
async fn nothing_is_heard_of_an_entry_before_it_is_durable() {
    let bench = bench();
    bench.memory.set_alive(false);
    let write = bench.journal.note(note("held back"));
    tokio::pin!(write);
    let waited = tokio::time::timeout(Duration::from_millis(700), &mut write).await;
    assert!(waited.is_err(), "an entry was acknowledged without a provider");
    assert!(bench.live.events_after(0, TAKEN).unwrap().is_empty());
    assert_eq!(bench.live.record().state, OperationState::Paused);
    // What is shown meanwhile is nothing that a set may go by.
    assert_eq!(bench.live.journaled_record().state, OperationState::Running);

    bench.memory.set_alive(true);
    write.await.unwrap();
    assert_eq!(bench.live.record().state, OperationState::Running);
    assert_eq!(bench.live.events_after(0, TAKEN).unwrap().len(), 1);
}

#[tokio::test]
async fn after_a_refusal_nothing_more_is_written() {
    let bench = bench();
    bench
        .memory
        .fail_next(1, PluginError::new("store-full", "the disk is full"));
    let refused = bench.journal.note(note("a")).await.unwrap_err();
    assert_eq!(refused.code, "store-full");
    bench.journal.note(note("b")).await.unwrap_err();
    assert!(bench.store.read("op", 0).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_host_that_stops_does_not_wait_for_the_provider() {
    let bench = bench();
    bench.memory.set_alive(false);
    let write = bench.journal.note(note("held back"));
    bench.abandon.cancel();
    assert_eq!(write.await.unwrap_err().code, "host-stopping");
}
