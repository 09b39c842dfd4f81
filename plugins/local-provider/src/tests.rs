//! Tests of the provider through its trait, as the host uses it.

mod backup;
mod blobs;
mod documents;
mod full_disk;
mod journals;
mod killed;
mod opening;
mod throughput;

use std::path::Path;

use futures::executor::block_on;
use meshery_plugin_api::message::document::{Document, Expect, Write};
use meshery_plugin_api::message::journal::{Append, Entry, Read};
use meshery_plugin_api::serde_json::{Value, json};
use meshery_plugin_api::{PluginError, Provider as _, ProviderConfig};
use tempfile::TempDir;

use crate::LocalProvider;

fn open(folder: &Path) -> Result<LocalProvider, PluginError> {
    LocalProvider::open(ProviderConfig {
        data: folder.to_owned(),
        ..ProviderConfig::default()
    })
}

/// A store of its own, and the folder that must outlive it.
fn fresh() -> (LocalProvider, TempDir) {
    let folder = TempDir::new().unwrap();
    (open(folder.path()).unwrap(), folder)
}

fn put(id: &str, body: Value, expect: Expect) -> Write {
    let document = Document {
        kind: "test".into(),
        id: id.into(),
        body,
        ..Document::default()
    };
    Write::Put { document, expect }
}

fn append(store: &LocalProvider, stream: &str, first: u64, entries: &[Value]) -> Result<u64, PluginError> {
    block_on(store.append(Append {
        stream: stream.into(),
        first,
        entries: entries.to_vec(),
    }))
}

fn read(store: &LocalProvider, stream: &str, after: u64) -> Vec<Entry> {
    block_on(store.read(Read {
        stream: stream.into(),
        after,
        limit: 0,
    }))
    .unwrap()
}

fn number(n: u64) -> Value {
    json!({ "n": n })
}
