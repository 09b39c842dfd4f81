//! A plugin in a process of its own: the host's own binary, which speaks the frame protocol over its standard input.
//!
//! A process that died is started again, after a long pause if it keeps dying. Calls that were on their way fail with
//! the signal or exit code in their error, because nobody knows whether they were carried out.

mod connection;
mod outbox;
mod process;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use meshery_plugin_api::PluginError;
use meshery_plugin_api::export::CreateConfig;
use meshery_plugin_api::message::descriptor::{Manifest, PluginKind};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout_at};
use tracing::instrument::WithSubscriber as _;
use tracing::{info_span, warn};

use super::backend::{Backend, Now, took_too_long, unavailable};
use super::fault::LoadFault;
use super::settings::{ChildProgram, PluginLimits};
use connection::Connection;
use process::Process;

/// Deaths within [`WINDOW`] after which it is left alone for as long.
const MOST_DEATHS: usize = 5;
const WINDOW: Duration = Duration::from_mins(1);
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// What a process is made from.
#[derive(Debug, Clone)]
pub(super) struct Start {
    pub program: ChildProgram,
    /// The copy of the plugin's file.
    pub file: PathBuf,
    pub manifest: Manifest,
    pub config: CreateConfig,
    pub limits: PluginLimits,
}

/// Loads a plugin in a process once and ends it, to see whether that survives; an adapter's instance is made as well.
pub(super) async fn probe(start: &Start) -> Result<(), LoadFault> {
    let until = Instant::now() + start.limits.start;
    let process = Process::spawn(start)?;
    let loaded = process
        .load(start, until, start.manifest.kind == PluginKind::Adapter)
        .await;
    process.end(start.limits.grace).await;
    loaded
}

pub(super) struct Child {
    shared: Arc<Shared>,
    calls: Semaphore,
    most_calls: u32,
    grace: Duration,
}

struct Shared {
    name: String,
    state: Mutex<State>,
    alive: watch::Sender<bool>,
    closing: watch::Sender<bool>,
    ended: watch::Sender<bool>,
}

struct State {
    /// None while there is no process.
    connection: Option<Arc<Connection>>,
    generation: u32,
    pid: Option<u32>,
    /// Why there is no process.
    stopped: Option<PluginError>,
}

impl Child {
    /// Starts the first process. What goes wrong here refuses the plugin; later it is a death like any other.
    pub async fn start(start: Start) -> Result<Self, LoadFault> {
        let until = Instant::now() + start.limits.start;
        let process = ready(&start, until).await?;
        let shared = Arc::new(Shared {
            name: start.manifest.name.clone(),
            state: Mutex::new(State {
                connection: Some(process.connection()),
                generation: 1,
                pid: process.pid(),
                stopped: None,
            }),
            alive: watch::Sender::new(true),
            closing: watch::Sender::new(false),
            ended: watch::Sender::new(false),
        });
        let child = Self {
            shared: shared.clone(),
            calls: Semaphore::new(start.limits.calls),
            most_calls: u32::try_from(start.limits.calls).unwrap_or(u32::MAX),
            grace: start.limits.grace,
        };
        tokio::spawn(supervise(shared, start, process).with_current_subscriber());
        Ok(child)
    }

    async fn run(&self, method: &str, payload: Vec<u8>, deadline: Duration) -> Result<Vec<u8>, PluginError> {
        let until = Instant::now() + deadline;
        let name = &self.shared.name;
        let late = || took_too_long(name, method, deadline);
        let _permit = timeout_at(until, self.calls.acquire())
            .await
            .map_err(|_| late().cause("too many calls of the plugin were running"))?
            .map_err(|_| unavailable(name, "the host is shutting down"))?;
        let connection = {
            let state = self.shared.state.lock();
            match (&state.connection, &state.stopped) {
                (Some(connection), _) => connection.clone(),
                (None, Some(error)) => return Err(error.clone()),
                (None, None) => return Err(unavailable(name, "it is being started").retryable()),
            }
        };
        let span = info_span!("plugin", name, method, pid = connection.pid());
        // Dropping the call, at the deadline or because the caller has gone, cancels it.
        let call = connection.call(method, &payload, span)?;
        timeout_at(until, call).await.unwrap_or_else(|_| Err(late()))
    }
}

async fn ready(start: &Start, until: Instant) -> Result<Process, LoadFault> {
    let process = Process::spawn(start)?;
    match process.load(start, until, true).await {
        Ok(()) => Ok(process),
        Err(fault) => {
            process.kill().await;
            Err(fault)
        }
    }
}

/// Waits for deaths and starts anew, until the host shuts down or it is of no use.
async fn supervise(shared: Arc<Shared>, start: Start, mut process: Process) {
    let mut closing = shared.closing.subscribe();
    let mut deaths: VecDeque<Instant> = VecDeque::new();
    loop {
        let how = tokio::select! {
            biased;
            () = closed(&mut closing) => {
                shared.stop(unavailable(&shared.name, "the host is shutting down"));
                process.end(start.limits.grace).await;
                break;
            }
            how = process.died() => how,
        };
        let mut why = format!("its process {how}");
        process = loop {
            warn!(plugin = shared.name, "{why}");
            deaths.push_back(Instant::now());
            while deaths.front().is_some_and(|first| first.elapsed() > WINDOW) {
                deaths.pop_front();
            }
            let error = unavailable(&shared.name, &why);
            let pause = if deaths.len() < MOST_DEATHS {
                shared.stop(error.cause("it is being started again").retryable());
                FIRST_PAUSE * (1 << deaths.len())
            } else {
                let cause = format!(
                    "it ended {} times within {} s and is left alone for as long",
                    deaths.len(),
                    WINDOW.as_secs()
                );
                shared.stop(error.cause(cause).remedy("report it to the plugin's author"));
                WINDOW
            };
            let again = async {
                tokio::time::sleep(pause).await;
                ready(&start, Instant::now() + start.limits.start).await
            };
            let again = tokio::select! {
                biased;
                // What is being started is killed by being dropped.
                () = closed(&mut closing) => {
                    shared.ended.send_replace(true);
                    return;
                }
                again = again => again,
            };
            match again {
                Ok(process) => break process,
                Err(fault) => why = format!("it could not be started again: {fault}"),
            }
        };
        shared.serve(&process);
    }
    shared.ended.send_replace(true);
}

async fn closed(closing: &mut watch::Receiver<bool>) {
    let _ = closing.wait_for(|closing| *closing).await;
}

impl Shared {
    fn serve(&self, process: &Process) {
        let mut state = self.state.lock();
        state.connection = Some(process.connection());
        state.generation += 1;
        state.pid = process.pid();
        state.stopped = None;
        drop(state);
        self.alive.send_replace(true);
    }

    fn stop(&self, why: PluginError) {
        let mut state = self.state.lock();
        state.connection = None;
        state.pid = None;
        state.stopped = Some(why);
        drop(state);
        self.alive.send_replace(false);
    }
}

impl Backend for Child {
    fn call<'a>(
        &'a self,
        method: &'a str,
        payload: Vec<u8>,
        deadline: Duration,
    ) -> BoxFuture<'a, Result<Vec<u8>, PluginError>> {
        self.run(method, payload, deadline).boxed()
    }

    fn alive(&self) -> watch::Receiver<bool> {
        self.shared.alive.subscribe()
    }

    fn now(&self) -> Now {
        let state = self.shared.state.lock();
        Now {
            generation: state.generation,
            pid: state.pid,
            stopped: state.stopped.clone(),
        }
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        async {
            let idle = tokio::time::timeout(self.grace, self.calls.acquire_many(self.most_calls)).await;
            self.calls.close();
            drop(idle);
            self.shared.closing.send_replace(true);
            let _ = self.shared.ended.subscribe().wait_for(|ended| *ended).await;
        }
        .boxed()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.shared.closing.send_replace(true);
    }
}
