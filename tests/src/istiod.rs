//! istiod's part, played by a test: no container runs here, so nobody else would serve Istio's webhooks.
//!
//! As soon as the Deployment istiod is available, this listens on the address of its Service, and does what the real
//! one does then: writes its CA into the webhook configurations that call it, turns `failurePolicy` of the validators
//! to `Fail`, gives pods a sidecar and lets configuration pass. When the Service goes, it stops listening.

mod admission;
mod household;
mod identity;
mod webhooks;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::anyhow;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use kube::{Api, Client};
use tokio::sync::watch;

use crate::admission::Server;
use crate::cluster::Cluster;
pub(crate) use identity::Identity;

/// How often the cluster is looked at.
const PAUSE: Duration = Duration::from_millis(100);
/// Name of the Service and the Deployment.
const NAME: &str = "istiod";

/// Whoever plays istiod, until it is dropped.
pub struct Istiod {
    seen: Arc<Seen>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

/// What it has done so far, and which one it is.
#[derive(Default)]
struct Seen {
    /// The revision that it puts into the mark of a sidecar.
    revision: String,
    injected: Mutex<Vec<String>>,
    validated: Mutex<Vec<String>>,
    failure: Mutex<Option<String>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Istiod {
    /// Waits for istiod's Deployment in this namespace, and plays its part from then on.
    pub fn start(cluster: &Cluster, namespace: &str) -> anyhow::Result<Self> {
        Self::play(cluster, namespace, "", false)
    }

    /// The same for the control plane of a revision.
    pub fn start_revision(cluster: &Cluster, namespace: &str, revision: &str) -> anyhow::Result<Self> {
        Self::play(cluster, namespace, revision, false)
    }

    /// The same, and makes besides what the real one makes without being asked.
    pub fn start_with_household(cluster: &Cluster, namespace: &str) -> anyhow::Result<Self> {
        Self::play(cluster, namespace, "", true)
    }

    fn play(cluster: &Cluster, namespace: &str, revision: &str, household: bool) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let client = runtime.block_on(cluster.client())?;
        let name = match revision {
            "" => NAME.to_owned(),
            revision => format!("{NAME}-{revision}"),
        };
        let identity = Identity::new(&format!("{name}.{namespace}.svc"))?;
        let seen = Arc::new(Seen {
            revision: if revision.is_empty() { "default" } else { revision }.to_owned(),
            ..Seen::default()
        });
        let (stop, stopped) = watch::channel(false);
        let part = Part {
            client,
            namespace: namespace.to_owned(),
            name,
            household,
            identity,
            seen: seen.clone(),
        };
        let thread = std::thread::Builder::new()
            .name(NAME.into())
            .spawn(move || runtime.block_on(part.play(stopped)))?;
        Ok(Self {
            seen,
            stop,
            thread: Some(thread),
        })
    }

    /// Pods that were given a sidecar, each as `namespace/name`; dry runs too.
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
            Some(failure) => Err(anyhow!("istiod's part: {failure}")),
        }
    }
}

impl Drop for Istiod {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // It looks at the channel all the time; a panic there has been printed.
            let _ = thread.join();
        }
    }
}

struct Part {
    client: Client,
    namespace: String,
    name: String,
    household: bool,
    identity: Identity,
    seen: Arc<Seen>,
}

impl Part {
    async fn play(self, mut stopped: watch::Receiver<bool>) {
        let mut listening = None;
        loop {
            let failure = self.look(&mut listening).await.err();
            // The API server may be gone for a moment; what matters is what is wrong at the end.
            *locked(&self.seen.failure) = failure.map(|failure| format!("{failure:#}"));
            if tokio::time::timeout(PAUSE, stopped.changed()).await.is_ok() {
                return;
            }
        }
    }

    async fn look(&self, listening: &mut Option<Server>) -> anyhow::Result<()> {
        let wanted = self.address().await?;
        if listening.as_ref().map(Server::address) != wanted {
            if let Some(before) = listening.take() {
                before.stop().await;
            }
            if let Some(address) = wanted {
                *listening = Some(self.serve(address).await?);
            }
        }
        if listening.is_some() {
            webhooks::take_over(
                &self.client,
                &self.namespace,
                &self.name,
                &self.identity.ca_bundle,
            )
            .await?;
            if self.household {
                household::keep(&self.client, &self.namespace).await?;
            }
        }
        Ok(())
    }

    /// The address of the Service, once a pod is behind it.
    async fn address(&self) -> anyhow::Result<Option<IpAddr>> {
        let deployments = Api::<Deployment>::namespaced(self.client.clone(), &self.namespace);
        let available = deployments
            .get_opt(&self.name)
            .await?
            .and_then(|deployment| deployment.status?.available_replicas);
        if available.unwrap_or(0) == 0 {
            return Ok(None);
        }
        let services = Api::<Service>::namespaced(self.client.clone(), &self.namespace);
        let address = services
            .get_opt(&self.name)
            .await?
            .and_then(|service| service.spec?.cluster_ip);
        Ok(address.map(|address| address.parse()).transpose()?)
    }

    async fn serve(&self, address: IpAddr) -> anyhow::Result<Server> {
        let seen = self.seen.clone();
        let decide = Arc::new(move |path: &str, request: &serde_json::Value| {
            let decided = admission::decide(path, request, &seen);
            Box::pin(async { decided }) as crate::admission::Decision
        });
        Server::start(address, self.identity.acceptor.clone(), decide).await
    }
}
