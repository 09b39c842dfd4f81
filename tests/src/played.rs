//! A part of a mesh that a test plays, on a thread of its own until it is dropped: no container runs here, so nobody else
//! would serve the mesh's webhooks.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::anyhow;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use kube::{Api, Client};
use serde_json::Value;
use tokio::sync::watch;

use crate::admission::named;
use crate::cluster::Cluster;

/// How often the cluster is looked at.
const PAUSE: Duration = Duration::from_millis(100);

/// Whoever plays it.
pub struct Played {
    name: &'static str,
    seen: Arc<Seen>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

/// What it has done so far.
#[derive(Default)]
pub(crate) struct Seen {
    injected: Mutex<Vec<String>>,
    validated: Mutex<Vec<String>>,
    failure: Mutex<Option<String>>,
}

impl Seen {
    /// A pod of this review was given a proxy.
    pub fn injected(&self, request: &Value) {
        locked(&self.injected).push(named(request));
    }

    /// What this review is about was let pass.
    pub fn validated(&self, request: &Value) {
        let kind = request["kind"]["kind"].as_str().unwrap_or_default();
        locked(&self.validated).push(format!("{kind} {}", named(request)));
    }
}

/// What it does.
pub(crate) trait Part: Send + 'static {
    /// Does what the cluster asks for now.
    fn look(&mut self) -> impl Future<Output = anyhow::Result<()>>;
}

impl Played {
    pub(crate) fn start<P: Part>(
        cluster: &Cluster,
        name: &'static str,
        part: impl FnOnce(Client, Arc<Seen>) -> P,
    ) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let client = runtime.block_on(cluster.client())?;
        let seen = Arc::new(Seen::default());
        let (stop, stopped) = watch::channel(false);
        let part = part(client, seen.clone());
        let by = seen.clone();
        let thread = std::thread::Builder::new()
            .name(name.into())
            .spawn(move || runtime.block_on(play(part, &by, stopped)))?;
        Ok(Self {
            name,
            seen,
            stop,
            thread: Some(thread),
        })
    }

    /// Pods that were given a proxy, each as `namespace/name`; dry runs too.
    pub fn injected(&self) -> Vec<String> {
        locked(&self.seen.injected).clone()
    }

    /// Configuration that was let pass, each as `Kind namespace/name`; dry runs too.
    pub fn validated(&self) -> Vec<String> {
        locked(&self.seen.validated).clone()
    }

    /// Why it could not play its part, if so.
    pub fn trouble(&self) -> anyhow::Result<()> {
        match &*locked(&self.seen.failure) {
            None => Ok(()),
            Some(failure) => Err(anyhow!("{}'s part: {failure}", self.name)),
        }
    }
}

impl Drop for Played {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // It looks at the channel all the time; a panic there has been printed.
            let _ = thread.join();
        }
    }
}

async fn play(mut part: impl Part, seen: &Seen, mut stopped: watch::Receiver<bool>) {
    loop {
        let failure = part.look().await.err();
        // The API server may be gone for a moment; what matters is what is wrong at the end.
        *locked(&seen.failure) = failure.map(|failure| format!("{failure:#}"));
        if tokio::time::timeout(PAUSE, stopped.changed()).await.is_ok() {
            return;
        }
    }
}

/// A Deployment, and whether one of its pods is available.
pub(crate) async fn deployment(
    client: &Client,
    namespace: &str,
    name: &str,
) -> anyhow::Result<Option<(Deployment, bool)>> {
    let deployments = Api::<Deployment>::namespaced(client.clone(), namespace);
    let found = deployments.get_opt(name).await?;
    Ok(found.map(|found| {
        let available = found.status.as_ref().and_then(|status| status.available_replicas);
        let is_available = available.unwrap_or(0) > 0;
        (found, is_available)
    }))
}

/// The address of a Service.
pub(crate) async fn address(client: &Client, namespace: &str, name: &str) -> anyhow::Result<Option<IpAddr>> {
    let services = Api::<Service>::namespaced(client.clone(), namespace);
    let found = services.get_opt(name).await?;
    let address = found.and_then(|service| service.spec?.cluster_ip);
    Ok(address.map(|address| address.parse()).transpose()?)
}

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
