//! Linkerd's part, played by a test: no container runs here, so nobody else would serve its webhooks.
//!
//! The chart has made a certificate for each of the three webhooks and written its authority into their configurations; so
//! this serves with the certificates that lie in the cluster. As soon as a Deployment is available, it listens on the address
//! of its Service: pods that ask for it get a proxy, policies and profiles are let pass.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Secret, Service};
use kube::{Api, Client, ResourceExt as _};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::admission::{self, named, patched};
use crate::cluster::Cluster;

/// How often the cluster is looked at.
const PAUSE: Duration = Duration::from_millis(100);
const INJECT: &str = "linkerd.io/inject";
const IMAGE: &str = "cr.l5d.io/linkerd/proxy";

/// A webhook's Service, and the Deployment whose pods serve it.
const WEBHOOKS: [(&str, &str); 3] = [
    ("linkerd-proxy-injector", "linkerd-proxy-injector"),
    ("linkerd-sp-validator", "linkerd-destination"),
    ("linkerd-policy-validator", "linkerd-destination"),
];

/// Whoever plays Linkerd's control plane, until it is dropped.
pub struct Linkerd {
    seen: Arc<Seen>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

/// What it has done so far, and what it knows.
#[derive(Default)]
struct Seen {
    injected: Mutex<Vec<String>>,
    validated: Mutex<Vec<String>>,
    failure: Mutex<Option<String>>,
    version: Mutex<String>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Linkerd {
    /// Waits for the control plane in this namespace, and plays its part from then on.
    pub fn start(cluster: &Cluster, namespace: &str) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let client = runtime.block_on(cluster.client())?;
        let seen = Arc::new(Seen::default());
        let (stop, stopped) = watch::channel(false);
        let part = Part {
            client,
            namespace: namespace.to_owned(),
            seen: seen.clone(),
        };
        let thread = std::thread::Builder::new()
            .name("linkerd".into())
            .spawn(move || runtime.block_on(part.play(stopped)))?;
        Ok(Self {
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
            Some(failure) => Err(anyhow!("Linkerd's part: {failure}")),
        }
    }
}

impl Drop for Linkerd {
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
    seen: Arc<Seen>,
}

/// A server and the certificate it serves with.
struct Listening {
    server: admission::Server,
    certificate: Vec<u8>,
}

impl Part {
    async fn play(self, mut stopped: watch::Receiver<bool>) {
        let mut listening = BTreeMap::new();
        loop {
            let failure = self.look(&mut listening).await.err();
            // The API server may be gone for a moment; what matters is what is wrong at the end.
            *locked(&self.seen.failure) = failure.map(|failure| format!("{failure:#}"));
            if tokio::time::timeout(PAUSE, stopped.changed()).await.is_ok() {
                return;
            }
        }
    }

    async fn look(&self, listening: &mut BTreeMap<&'static str, Listening>) -> anyhow::Result<()> {
        for (service, deployment) in WEBHOOKS {
            let Some(address) = self.address(service, deployment).await? else {
                if let Some(before) = listening.remove(service) {
                    before.server.stop().await;
                }
                continue;
            };
            let secrets = Api::<Secret>::namespaced(self.client.clone(), &self.namespace);
            let Some(data) = secrets
                .get_opt(&format!("{service}-k8s-tls"))
                .await?
                .and_then(|secret| secret.data)
            else {
                continue;
            };
            let certificate = data.get("tls.crt").context("a certificate")?.0.clone();
            let same = listening
                .get(service)
                .is_some_and(|now| now.server.address() == address && now.certificate == certificate);
            if !same {
                if let Some(before) = listening.remove(service) {
                    before.server.stop().await;
                }
                let acceptor = acceptor(&certificate, &data.get("tls.key").context("a key")?.0)?;
                let server = self.serve(address, acceptor).await?;
                listening.insert(service, Listening { server, certificate });
            }
        }
        Ok(())
    }

    /// The address of the Service, once a pod is behind it.
    async fn address(&self, service: &str, deployment: &str) -> anyhow::Result<Option<IpAddr>> {
        let deployments = Api::<Deployment>::namespaced(self.client.clone(), &self.namespace);
        let Some(found) = deployments.get_opt(deployment).await? else {
            return Ok(None);
        };
        if let Some(version) = found.labels().get("app.kubernetes.io/version") {
            locked(&self.seen.version).clone_from(version);
        }
        if found
            .status
            .and_then(|status| status.available_replicas)
            .unwrap_or(0)
            == 0
        {
            return Ok(None);
        }
        let services = Api::<Service>::namespaced(self.client.clone(), &self.namespace);
        let address = services
            .get_opt(service)
            .await?
            .and_then(|service| service.spec?.cluster_ip);
        Ok(address.map(|address| address.parse()).transpose()?)
    }

    async fn serve(&self, address: IpAddr, acceptor: TlsAcceptor) -> anyhow::Result<admission::Server> {
        let seen = self.seen.clone();
        let namespaces = Api::<Namespace>::all(self.client.clone());
        let decide = Arc::new(move |_: &str, request: &Value| {
            let (namespaces, request, seen) = (namespaces.clone(), request.clone(), seen.clone());
            let decided = async move {
                let of_namespace = request["namespace"].as_str().unwrap_or_default();
                let namespace = namespaces.get_opt(of_namespace).await.ok().flatten();
                let said = namespace.and_then(|namespace| namespace.annotations().get(INJECT).cloned());
                Some(decide(&request, said, &seen))
            };
            Box::pin(decided) as admission::Decision
        });
        admission::Server::start(address, acceptor, decide).await
    }
}

fn acceptor(certificate: &[u8], key: &[u8]) -> anyhow::Result<TlsAcceptor> {
    let chain = CertificateDer::pem_slice_iter(certificate).collect::<Result<Vec<_>, _>>()?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_slice(key)?)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn decide(request: &Value, of_namespace: Option<String>, seen: &Seen) -> Value {
    let mut response = json!({"uid": request["uid"], "allowed": true});
    let kind = request["kind"]["kind"].as_str().unwrap_or_default();
    match kind {
        "Pod" => {
            let object = &request["object"];
            let of_pod = object["metadata"]["annotations"][INJECT].as_str();
            let wish = of_pod.map(str::to_owned).or(of_namespace).unwrap_or_default();
            if ["enabled", "ingress"].contains(&wish.as_str()) {
                let version = locked(&seen.version).clone();
                patched(&mut response, proxy(object, &wish, &version));
                locked(&seen.injected).push(named(request));
            }
        }
        // The injector gives Services their opaque ports, when their namespace has some.
        "Service" => {}
        _ => locked(&seen.validated).push(format!("{kind} {}", named(request))),
    }
    response
}

/// Adds the proxy as a native sidecar, and the marks by which pods with one are known.
fn proxy(pod: &Value, wish: &str, version: &str) -> Vec<Value> {
    let mut patch = Vec::new();
    if !pod["spec"]["initContainers"].is_array() {
        patch.push(json!({"op": "add", "path": "/spec/initContainers", "value": []}));
    }
    patch.push(json!({
        "op": "add", "path": "/spec/initContainers/-", "value": {
            "name": "linkerd-proxy", "image": format!("{IMAGE}:{version}"), "restartPolicy": "Always",
            "env": [{"name": "LINKERD2_PROXY_INGRESS_MODE", "value": (wish == "ingress").to_string()}],
        },
    }));
    for field in ["annotations", "labels"] {
        if !pod["metadata"][field].is_object() {
            patch.push(json!({"op": "add", "path": format!("/metadata/{field}"), "value": {}}));
        }
    }
    patch.push(json!({
        "op": "add", "path": "/metadata/annotations/linkerd.io~1proxy-version", "value": version,
    }));
    patch.push(json!({
        "op": "add", "path": "/metadata/labels/linkerd.io~1control-plane-ns", "value": "linkerd",
    }));
    patch
}
