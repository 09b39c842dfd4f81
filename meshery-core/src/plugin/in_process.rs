//! A plugin in the host's own process.
//!
//! A method that computes runs on a thread of its own, so that the host can give up at the deadline. If it has not
//! returned a while after that, the thread counts as stuck and the plugin gets no more calls until it comes back. A
//! method that waits is polled where the caller is, and dropped at the deadline.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use meshery_plugin_api::PluginError;
use meshery_plugin_api::export::CreateConfig;
use meshery_plugin_api::guard::PANICKED;
use meshery_plugin_api::message::descriptor::{Manifest, PluginKind};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::time::{Instant, timeout_at};
use tracing::dispatcher::{self, Dispatch};
use tracing::{Instrument as _, Span, info_span};

use super::backend::{Backend, Now, took_too_long, unavailable};
use super::fault::LoadFault;
use super::instance::{Instance, result};
use super::library;
use super::services::InProcessHost;
use super::settings::PluginLimits;
use super::workers::Workers;

type Answer = Result<Vec<u8>, PluginError>;

/// Calls that nobody waits for any more.
#[derive(Default)]
pub(super) struct Cancelled(Mutex<HashSet<u64>>);

impl Cancelled {
    pub fn contains(&self, op: u64) -> bool {
        self.0.lock().contains(&op)
    }
}

pub(super) struct InProcess {
    name: String,
    instance: Arc<Instance>,
    cancelled: Arc<Cancelled>,
    calls: Arc<Semaphore>,
    most_calls: u32,
    next: AtomicU64,
    workers: Workers,
    grace: Duration,
    stuck: Arc<Stuck>,
}

/// Threads that did not come back.
struct Stuck {
    threads: AtomicUsize,
    alive: watch::Sender<bool>,
}

impl Stuck {
    fn add(&self) {
        self.threads.fetch_add(1, Ordering::SeqCst);
        self.alive.send_replace(false);
    }

    fn remove(&self) {
        if self.threads.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.alive.send_replace(true);
        }
    }
}

impl InProcess {
    /// Loads a file and makes the instance, on a thread that is given up after the deadline for starting.
    pub async fn start(
        file: std::path::PathBuf,
        manifest: &Manifest,
        config: CreateConfig,
        limits: &PluginLimits,
    ) -> Result<Self, LoadFault> {
        let workers = Workers::default();
        let cancelled = Arc::new(Cancelled::default());
        let host = InProcessHost::new(&manifest.name, cancelled.clone());
        let (done, started) = oneshot::channel();
        let expected = manifest.clone();
        let span = info_span!("plugin", name = manifest.name, method = "start");
        let start = move || {
            let _ = done.send(span.in_scope(|| {
                let module = library::open(&file, &expected)?;
                Instance::create(module, expected.kind, Box::new(move || host.handle()), &config)
                    .map_err(start_fault)
            }));
        };
        workers.run(start).map_err(|error| LoadFault::NotLoadable {
            why: format!("no thread can be made: {error}"),
        })?;
        let instance = match tokio::time::timeout(limits.start, started).await {
            Ok(Ok(instance)) => instance?,
            Ok(Err(_)) => {
                return Err(LoadFault::PanickedAtStart {
                    why: "outside of its own guard".into(),
                });
            }
            Err(_) => {
                return Err(LoadFault::StartTimedOut {
                    seconds: limits.start.as_secs(),
                });
            }
        };
        Ok(Self {
            name: manifest.name.clone(),
            instance: Arc::new(instance),
            cancelled,
            calls: Arc::new(Semaphore::new(limits.calls)),
            most_calls: u32::try_from(limits.calls).unwrap_or(u32::MAX),
            next: AtomicU64::new(1),
            workers,
            grace: limits.grace,
            stuck: Arc::new(Stuck {
                threads: AtomicUsize::new(0),
                alive: watch::Sender::new(true),
            }),
        })
    }

    fn stopped(&self) -> Option<PluginError> {
        let stuck = self.stuck.threads.load(Ordering::SeqCst);
        (stuck > 0).then(|| {
            unavailable(&self.name, &format!("{stuck} of its calls never returned")).remedy(
                "restart the host, or run the plugin in a child process, where such a call can be ended",
            )
        })
    }

    async fn run(&self, method: &str, payload: Vec<u8>, deadline: Duration) -> Result<Vec<u8>, PluginError> {
        let until = Instant::now() + deadline;
        let late = || took_too_long(&self.name, method, deadline);
        // Mostly there is one at once, and no clock is needed.
        let permit = match self.calls.clone().try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => timeout_at(until, self.calls.clone().acquire_owned())
                .await
                .map_err(|_| late().cause("too many calls of the plugin were running"))?
                .map_err(|_| unavailable(&self.name, "the host is shutting down"))?,
        };
        if let Some(error) = self.stopped() {
            return Err(error);
        }
        let op = self.next.fetch_add(1, Ordering::Relaxed);
        let span = info_span!("plugin", name = self.name, method, op);
        if self.instance.kind() == PluginKind::Provider {
            let future = self.instance.call_async(op, method, payload)?;
            let reply = timeout_at(until, future.instrument(span)).await;
            drop(permit);
            return reply.map_or_else(|_| Err(late()), result);
        }
        let (reply, watched) = self.compute(op, method, payload, span, permit)?;
        match timeout_at(until, reply).await {
            Ok(Ok(result)) => {
                watched.disarm();
                result
            }
            Ok(Err(_)) => Err(PluginError::new(
                "plugin-protocol",
                format!("{method} ended without a result"),
            )),
            Err(_) => Err(late()),
        }
    }

    /// Starts a method that computes.
    fn compute(
        &self,
        op: u64,
        method: &str,
        payload: Vec<u8>,
        span: Span,
        permit: OwnedSemaphorePermit,
    ) -> Result<(oneshot::Receiver<Answer>, Watched), PluginError> {
        let (send, reply) = oneshot::channel();
        let (running, ended) = watch::channel(());
        let (instance, cancelled, method) =
            (self.instance.clone(), self.cancelled.clone(), method.to_owned());
        // A subscriber may be that of the caller's thread only.
        let subscriber = dispatcher::get_default(Dispatch::clone);
        let job = move || {
            let call = || span.in_scope(|| instance.call(op, &method, &payload));
            let result = dispatcher::with_default(&subscriber, call);
            drop(permit);
            let _ = send.send(result);
            // In this order: whoever cancels marks first and looks second, so that one of the two takes the mark away.
            drop(running);
            cancelled.0.lock().remove(&op);
        };
        self.workers.run(job).map_err(|error| {
            unavailable(&self.name, &format!("no thread can be made for it: {error}")).retryable()
        })?;
        let watched = Watched {
            op: Some(op),
            ended,
            cancelled: self.cancelled.clone(),
            stuck: self.stuck.clone(),
            grace: self.grace,
            runtime: Handle::current(),
        };
        Ok((reply, watched))
    }
}

/// A call on a thread. When its caller has gone, the thread has a while to come back before it counts as stuck.
struct Watched {
    op: Option<u64>,
    ended: watch::Receiver<()>,
    cancelled: Arc<Cancelled>,
    stuck: Arc<Stuck>,
    grace: Duration,
    runtime: Handle,
}

impl Watched {
    fn disarm(mut self) {
        self.op = None;
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let Some(op) = self.op else { return };
        self.cancelled.0.lock().insert(op);
        if self.ended.has_changed().is_err() {
            // It ended between the deadline and now.
            self.cancelled.0.lock().remove(&op);
            return;
        }
        let (mut ended, stuck, grace) = (self.ended.clone(), self.stuck.clone(), self.grace);
        self.runtime.spawn(async move {
            if tokio::time::timeout(grace, ended.changed()).await.is_err() {
                stuck.add();
                let _ = ended.changed().await;
                stuck.remove();
            }
        });
    }
}

/// What went wrong while the instance was made.
pub(super) fn start_fault(error: PluginError) -> LoadFault {
    if error.code == PANICKED {
        LoadFault::PanickedAtStart { why: error.message }
    } else {
        LoadFault::StartFailed { error }
    }
}

impl Backend for InProcess {
    fn call<'a>(
        &'a self,
        method: &'a str,
        payload: Vec<u8>,
        deadline: Duration,
    ) -> BoxFuture<'a, Result<Vec<u8>, PluginError>> {
        self.run(method, payload, deadline).boxed()
    }

    fn alive(&self) -> watch::Receiver<bool> {
        self.stuck.alive.subscribe()
    }

    fn now(&self) -> Now {
        Now {
            generation: self.instance.generation(),
            pid: None,
            stopped: self.stopped(),
        }
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        async {
            let idle = tokio::time::timeout(self.grace, self.calls.acquire_many(self.most_calls)).await;
            self.calls.close();
            drop(idle);
            self.stuck.alive.send_replace(false);
            // Its end is the plugin's own code, like its start.
            let (done, ended) = oneshot::channel();
            let instance = self.instance.clone();
            let end = move || {
                instance.end();
                let _ = done.send(());
            };
            if self.workers.run(end).is_ok() {
                let _ = tokio::time::timeout(self.grace, ended).await;
            }
        }
        .boxed()
    }
}
