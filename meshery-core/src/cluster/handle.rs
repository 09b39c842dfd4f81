//! A cluster that we are connected to.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use meshery_plugin_api::message::facts::ClusterFacts;
use parking_lot::RwLock;
use serde_json::Value;

use super::connection::Connection;
use super::discovery::{Kinds, discover};
use super::error::ClusterError;
use super::fence::Fence;
use super::request::{JSON, Request};
use super::retry::Patience;

/// Where a cluster says who it is.
const IDENTITY: &str = "/api/v1/namespaces/kube-system";

/// A cluster that we are connected to, through one context. Made by [`Clusters::connect`](super::Clusters::connect);
/// usable from many tasks at once.
///
/// Every request has a deadline, a bounded number of them is under way at a time, and what may be repeated is
/// repeated when the connection breaks or the server is overloaded. Dropping a call's future gives the request up.
pub struct Cluster {
    pub(super) connection: Connection,
    pub(super) kinds: Arc<RwLock<Arc<Kinds>>>,
    /// When the kinds were last learnt; held while they are.
    pub(super) discovered: Arc<tokio::sync::Mutex<Instant>>,
    uid: String,
    version: String,
}

impl Cluster {
    /// Asks the server who it is and what it offers.
    pub(super) async fn new(connection: Connection) -> Result<Self, ClusterError> {
        // Somebody waits for this one, and nothing has been begun yet that a short outage could spoil.
        let patience = Patience {
            until: Instant::now() + connection.settings.connect,
            webhooks: None,
            new_kind: false,
        };
        let ask = async |path: &str| {
            let request = Request::path(path, JSON);
            let (answer, _) = connection.send_until(&request, patience).await?;
            answer.json(|| path.to_owned())
        };
        let version = ask("/version").await?;
        let (system, kinds) =
            futures::try_join!(ask(IDENTITY), discover(&connection)).map_err(|error| match error {
                ClusterError::Forbidden { verb, message, .. } => ClusterError::Forbidden {
                    verb,
                    resource: "namespaces".into(),
                    namespace: String::new(),
                    name: "kube-system".into(),
                    message,
                },
                other => other,
            })?;
        let text = |value: &Value, pointer: &str| {
            value
                .pointer(pointer)
                .and_then(Value::as_str)
                .map(str::to_owned)
                .ok_or_else(|| ClusterError::Server {
                    what: format!("who it is ({pointer})"),
                    status: 200,
                    message: "the answer is not that of a Kubernetes API server".into(),
                })
        };
        Ok(Self {
            uid: text(&system, "/metadata/uid")?,
            version: text(&version, "/gitVersion")?,
            kinds: Arc::new(RwLock::new(Arc::new(kinds))),
            discovered: Arc::new(tokio::sync::Mutex::new(Instant::now())),
            connection,
        })
    }

    /// The same cluster, to which nothing is written any more once the fence is lost: what is under way then is
    /// dropped, and what comes after is [`ClusterError::LeaseLost`].
    pub fn fenced(&self, fence: Fence) -> Self {
        Self {
            connection: self.connection.fenced(fence),
            kinds: self.kinds.clone(),
            discovered: self.discovered.clone(),
            uid: self.uid.clone(),
            version: self.version.clone(),
        }
    }

    /// Whether the server answers at all: a request that it could not serve may be the only one.
    pub(crate) async fn answers(&self) -> bool {
        let patience = Patience {
            until: Instant::now() + self.connection.settings.connect,
            webhooks: None,
            new_kind: false,
        };
        let request = Request::path(IDENTITY, JSON);
        self.connection.send_until(&request, patience).await.is_ok()
    }

    /// The uid of the namespace kube-system: a cluster's identity, whatever a context calls it.
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// The context we are connected through.
    pub fn context(&self) -> &str {
        &self.connection.context
    }

    /// Address of the API server.
    pub fn server(&self) -> &str {
        &self.connection.server
    }

    /// Kubernetes version as the server said it when we connected: `v1.36.3`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The cluster as adapters see it.
    pub fn cluster_facts(&self) -> ClusterFacts {
        ClusterFacts {
            uid: self.uid.clone(),
            version: self.version.clone(),
            apis: self.apis(),
            ahead_s: self.connection.ahead_s(),
        }
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("context", &self.context())
            .field("server", &self.server())
            .field("uid", &self.uid)
            .finish_non_exhaustive()
    }
}
