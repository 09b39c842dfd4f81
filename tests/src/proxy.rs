//! A reverse proxy between a client under test and the API server, which fails exactly where a test wants it
//! to: before a request, after it, or with something of the test's own in between.
//!
//! HTTP/1.1 in, plain or in TLS under an identity of its own, HTTPS out; bodies stream in both directions, so
//! watches work. The client's `Authorization` goes through as it is. A request without one is sent on as the
//! administrator's: kubectl and helm leave the token out where there is no TLS, and who has a certificate has none.
//! A connection to the API server is made for each request, so nothing of one request's fate, nor of a restarted
//! API server, reaches the next.

pub mod identity;
pub mod refusal;
mod relay;
pub mod strike;

use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, Method, StatusCode};
use rustls::pki_types::CertificateDer;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::cluster::Cluster;
use identity::Identity;

/// What a rule sees of a request.
#[derive(Debug, Clone)]
pub struct RequestInfo {
    pub method: Method,
    pub path: String,
    /// As sent, without the question mark.
    pub query: String,
    pub headers: HeaderMap,
    /// The client's certificate, if it has shown one.
    pub certificate: Option<CertificateDer<'static>>,
    /// Whether it changes something: PATCH, POST, PUT or DELETE, neither a dry run nor one of the questions
    /// that Kubernetes asks by POST (access and token reviews), nor about a Lease.
    pub mutating: bool,
    /// How many mutating requests have come so far, this one included.
    pub mutations: usize,
}

impl RequestInfo {
    /// Whether it opens a watch.
    pub fn is_watch(&self) -> bool {
        self.query
            .split('&')
            .any(|pair| pair == "watch=1" || pair == "watch=true")
    }
}

/// What is to become of a request.
pub enum Action {
    Forward,
    /// Answered here; the API server never hears of it.
    Reply(StatusCode, Vec<(String, String)>, Vec<u8>),
    /// The connection closes without an answer, and the API server never hears of the request.
    DropBefore,
    /// The API server carries the request out, and then the connection closes without an answer.
    DropAfter,
    /// The API server carries the request out, and what the client hears is another answer.
    ReplyAfter(StatusCode, Vec<(String, String)>, Vec<u8>),
    /// The API server carries the request out, and the connection closes in the middle of the answer.
    CutAnswer,
    /// The API server carries the request out, and the answer comes bit by bit, in the end all of it.
    Slow(Duration),
    /// Forward; what the answer bears as its date is by so many seconds ahead of now, as from a machine whose clock is off.
    Dated(i64),
    /// Nothing ever answers, and the API server never hears of the request.
    Stall,
    /// Run, then forward.
    Run(Box<dyn FnOnce() + Send>),
    /// Forward, run when the API server has answered, and close the connection without an answer.
    RunAfter(Box<dyn FnOnce() + Send>),
}

impl Action {
    pub fn run(f: impl FnOnce() + Send + 'static) -> Self {
        Self::Run(Box::new(f))
    }

    pub fn run_after(f: impl FnOnce() + Send + 'static) -> Self {
        Self::RunAfter(Box::new(f))
    }

    /// A refusal in the form in which the API server writes them.
    pub fn refuse(status: StatusCode, reason: &str, message: &str) -> Self {
        let body = serde_json::json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "code": status.as_u16(), "reason": reason, "message": message,
        });
        Self::reply(status, "application/json", body.to_string())
    }

    /// An answer of the test's own.
    pub fn reply(status: StatusCode, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![("content-type".to_owned(), content_type.to_owned())];
        Self::Reply(status, headers, body.into())
    }

    /// The same answer, given after the API server has carried the request out; nothing else changes.
    #[must_use]
    pub fn after_all(self) -> Self {
        match self {
            Self::Reply(status, headers, body) => Self::ReplyAfter(status, headers, body),
            other => other,
        }
    }

    /// The same answer with a header more; nothing else has one.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        if let Self::Reply(_, headers, _) = &mut self {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Forward => "Forward",
            Self::Reply(..) => "Reply",
            Self::DropBefore => "DropBefore",
            Self::DropAfter => "DropAfter",
            Self::ReplyAfter(..) => "ReplyAfter",
            Self::CutAnswer => "CutAnswer",
            Self::Slow(_) => "Slow",
            Self::Dated(_) => "Dated",
            Self::Stall => "Stall",
            Self::Run(_) => "Run",
            Self::RunAfter(_) => "RunAfter",
        })
    }
}

/// A mutating request that has come by.
#[derive(Debug, Clone)]
pub struct Mutation {
    pub method: Method,
    pub path: String,
    pub query: String,
    pub at: Instant,
    /// What the API server answered; `None` if it never heard of the request or has not answered.
    pub status: Option<StatusCode>,
    /// The uid and the version of the object in that answer.
    pub object: Option<(String, String)>,
}

type Rule = dyn Fn(&RequestInfo) -> Action + Send + Sync;

/// What the proxy's tasks share with its handle.
struct State {
    rule: Mutex<Arc<Rule>>,
    mutations: Mutex<Vec<Mutation>>,
    /// As whom the proxy shows itself; nothing for plain HTTP.
    identity: Mutex<Option<Identity>>,
}

impl State {
    fn mutations(&self) -> MutexGuard<'_, Vec<Mutation>> {
        self.mutations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn identity(&self) -> MutexGuard<'_, Option<Identity>> {
        self.identity.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rule(&self) -> MutexGuard<'_, Arc<Rule>> {
        self.rule.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The proxy, on a free port of the loopback until it is dropped. It forwards everything until told otherwise.
pub struct FaultProxy {
    address: SocketAddr,
    token: String,
    state: Arc<State>,
    cut: watch::Sender<()>,
    // Its own, so that tests without an async runtime can use the proxy, and a test's runtime that is blocked
    // does not block it.
    runtime: Option<Runtime>,
}

impl FaultProxy {
    /// One that speaks plain HTTP.
    pub fn start(cluster: &Cluster) -> anyhow::Result<Self> {
        Self::start_as(cluster, None)
    }

    /// One that speaks TLS as somebody.
    pub fn start_tls(cluster: &Cluster, identity: Identity) -> anyhow::Result<Self> {
        Self::start_as(cluster, Some(identity))
    }

    fn start_as(cluster: &Cluster, identity: Option<Identity>) -> anyhow::Result<Self> {
        let upstream = relay::Upstream::new(cluster.server(), cluster.ca_file(), cluster.token())?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("fault-proxy")
            .enable_all()
            .build()
            .context("starting the proxy's runtime")?;
        let state = Arc::new(State {
            rule: Mutex::new(Arc::new(|_: &RequestInfo| Action::Forward)),
            mutations: Mutex::default(),
            identity: Mutex::new(identity),
        });
        let (cut, _) = watch::channel(());
        let address =
            relay::serve(&runtime, upstream, state.clone(), cut.clone()).context("starting the proxy")?;
        Ok(Self {
            address,
            token: cluster.token().to_owned(),
            state,
            cut,
            runtime: Some(runtime),
        })
    }

    /// Decides from now on; a rule before it is forgotten.
    pub fn on(&self, rule: impl Fn(&RequestInfo) -> Action + Send + Sync + 'static) {
        *self.state.rule() = Arc::new(rule);
    }

    /// Forwards everything again.
    pub fn clear(&self) {
        self.on(|_| Action::Forward);
    }

    /// Cuts every connection that is open now, watches among them, as a network that goes away would.
    pub fn drop_connections(&self) {
        self.cut.send_replace(());
    }

    /// The mutating requests so far, in the order in which they came.
    pub fn mutations(&self) -> Vec<Mutation> {
        self.state.mutations().clone()
    }

    /// Begins the list, and with it the count that rules see, anew.
    pub fn forget_mutations(&self) {
        self.state.mutations().clear();
    }

    /// Shows itself as somebody else from now on, and cuts what was connected to who it was before.
    pub fn turn_into(&self, identity: Identity) {
        *self.state.identity() = Some(identity);
        self.drop_connections();
    }

    /// `http://127.0.0.1:PORT`, or `https`
    pub fn url(&self) -> String {
        let scheme = if self.state.identity().is_some() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{}", self.address)
    }

    /// Writes a kubeconfig into `dir` that leads the administrator through this proxy.
    pub fn kubeconfig(&self, dir: &Path) -> PathBuf {
        self.kubeconfig_of(dir, &serde_json::json!({"token": self.token}))
    }

    /// The same with another user's credentials, as a kubeconfig has them. The one before is replaced.
    pub fn kubeconfig_of(&self, dir: &Path, user: &serde_json::Value) -> PathBuf {
        let mut cluster = serde_json::json!({"server": self.url()});
        if let Some(identity) = &*self.state.identity() {
            cluster["certificate-authority-data"] = STANDARD.encode(identity.authority()).into();
        }
        let config = serde_json::json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "proxy", "cluster": cluster}],
            "users": [{"name": "admin", "user": user}],
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "admin"}}],
            "current-context": "proxy",
        });
        let path = dir.join(format!("proxy-{}.kubeconfig", self.address.port()));
        // JSON is YAML.
        fs::write(&path, format!("{config:#}\n"))
            .unwrap_or_else(|e| panic!("writing {} failed: {e}", path.display()));
        path
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Dropping it in an async test would panic.
            runtime.shutdown_background();
        }
    }
}
