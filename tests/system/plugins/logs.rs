//! What a plugin logs is part of the host's log, inside the span of the call, in both modes.

use std::io;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use libtest_mimic::Trial;
use meshery_core::plugin::{Isolation, Plugins};
use serde_json::Value;
use tracing::instrument::WithSubscriber as _;

use super::{Place, until};
use crate::trial;

pub fn trials() -> Vec<Trial> {
    vec![
        trial(
            "plugins::what_an_adapter_logs_is_in_the_hosts_log_and_in_its_call",
            calls,
        ),
        trial(
            "plugins::the_last_words_of_a_process_are_in_the_hosts_log",
            last_words,
        ),
    ]
}

/// Lines of JSON.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .map_err(|_| io::ErrorKind::Other)?
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn find(&self, text: &str) -> Option<Value> {
        let bytes = self.0.lock().ok()?.clone();
        let mut lines = bytes
            .split(|byte| *byte == b'\n')
            .filter_map(|line| serde_json::from_slice(line).ok());
        lines.find(|line: &Value| {
            line["fields"]["message"]
                .as_str()
                .is_some_and(|m| m.contains(text))
        })
    }
}

/// Runs with a log of its own.
fn logged(
    isolation: Isolation,
    test: impl AsyncFn(&Lines, Plugins) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let place = Place::with(&["misbehaving"])?;
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .with_max_level(tracing::Level::INFO)
        .with_writer(move || writer.clone())
        .finish();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let work = async {
        let plugins = Plugins::load(place.settings(isolation)).await;
        test(&lines, plugins).await
    };
    runtime
        .block_on(work.with_subscriber(subscriber))
        .with_context(|| format!("{isolation:?}"))
}

fn calls() -> anyhow::Result<()> {
    for isolation in [Isolation::InProcess, Isolation::Child] {
        logged(isolation, async |lines, plugins| {
            let adapter = plugins.adapter("misbehaving")?;
            adapter.plan(&super::adapters::request("log")).await?;
            let event = lines.find("from inside").context("the event is missing")?;
            ensure!(event["level"] == "INFO" && event["target"] == "plugin", "{event}");
            let fields = &event["fields"];
            ensure!(
                fields["plugin"] == "misbehaving" && fields["spans"] == "deep",
                "{event}"
            );
            ensure!(
                fields["fields"]
                    .as_str()
                    .is_some_and(|f| f.contains("\"answer\":42")),
                "{event}"
            );
            let span = &event["span"];
            ensure!(
                span["name"] == "misbehaving" || span["method"] == "adapter.plan",
                "{event}"
            );
            ensure!(
                span["method"] == "adapter.plan",
                "the event is not in its call: {event}"
            );

            let panicked = adapter.plan(&super::adapters::request("panic")).await;
            ensure!(panicked.is_err());
            let event = lines
                .find("this adapter panics")
                .context("the panic is missing")?;
            ensure!(
                event["level"] == "ERROR" && event["span"]["method"] == "adapter.plan",
                "{event}"
            );
            plugins.shutdown().await;
            Ok(())
        })?;
    }
    Ok(())
}

fn last_words() -> anyhow::Result<()> {
    logged(Isolation::Child, async |lines, plugins| {
        let adapter = plugins.adapter("misbehaving")?;
        let request = super::adapters::request("overflow-stack");
        let died = tokio::time::timeout(Duration::from_secs(15), adapter.plan(&request)).await?;
        ensure!(died.is_err());
        until("its last words are logged", || {
            lines.find("overflowed its stack").is_some()
        })
        .await;
        plugins.shutdown().await;
        Ok(())
    })
}
