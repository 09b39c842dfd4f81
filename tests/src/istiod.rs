//! istiod's part.
//!
//! As soon as the Deployment istiod is available, this listens on the address of its Service, and does what the real
//! one does then: writes its CA into the webhook configurations that call it, turns `failurePolicy` of the validators
//! to `Fail`, gives pods a sidecar and lets configuration pass. When the Service goes, it stops listening.

mod admission;
mod household;
mod identity;
mod webhooks;

use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;

use kube::Client;

use crate::admission::Server;
use crate::cluster::Cluster;
use crate::played::{self, Played, Seen};

pub(crate) use identity::Identity;

/// Name of the Service and the Deployment.
const NAME: &str = "istiod";

/// Whoever plays istiod, until it is dropped.
pub struct Istiod(Played);

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
        let name = match revision {
            "" => NAME.to_owned(),
            revision => format!("{NAME}-{revision}"),
        };
        let identity = Identity::new(&format!("{name}.{namespace}.svc"))?;
        let revision = if revision.is_empty() { "default" } else { revision };
        Played::start(cluster, NAME, |client, seen| Part {
            client,
            namespace: namespace.to_owned(),
            name,
            revision: revision.into(),
            household,
            identity,
            seen,
            listening: None,
        })
        .map(Self)
    }
}

impl Deref for Istiod {
    type Target = Played;

    fn deref(&self) -> &Played {
        &self.0
    }
}

struct Part {
    client: Client,
    namespace: String,
    name: String,
    /// The revision that it puts into the mark of a sidecar.
    revision: Arc<str>,
    household: bool,
    identity: Identity,
    seen: Arc<Seen>,
    listening: Option<Server>,
}

impl played::Part for Part {
    async fn look(&mut self) -> anyhow::Result<()> {
        let wanted = self.address().await?;
        if self.listening.as_ref().map(Server::address) != wanted {
            if let Some(before) = self.listening.take() {
                before.stop().await;
            }
            if let Some(address) = wanted {
                self.listening = Some(self.serve(address).await?);
            }
        }
        if self.listening.is_some() {
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
}

impl Part {
    /// The address of the Service, once a pod is behind it.
    async fn address(&self) -> anyhow::Result<Option<IpAddr>> {
        match played::deployment(&self.client, &self.namespace, &self.name).await? {
            Some((_, true)) => played::address(&self.client, &self.namespace, &self.name).await,
            _ => Ok(None),
        }
    }

    async fn serve(&self, address: IpAddr) -> anyhow::Result<Server> {
        let (seen, revision) = (self.seen.clone(), self.revision.clone());
        let decide = Arc::new(move |path: &str, request: &serde_json::Value| {
            let decided = admission::decide(path, request, &revision, &seen);
            Box::pin(async { decided }) as crate::admission::Decision
        });
        Server::start(address, self.identity.acceptor.clone(), decide).await
    }
}
