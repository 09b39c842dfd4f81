//! The part of Linkerd's control plane.
//!
//! The chart has made a certificate for each of the three webhooks and written its authority into their configurations; so
//! this serves with the certificates that lie in the cluster. As soon as a Deployment is available, it listens on the address
//! of its Service: pods that ask for it get a proxy, policies and profiles are let pass.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::{Arc, Mutex};

use anyhow::Context as _;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::{Api, Client, ResourceExt as _};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio_rustls::TlsAcceptor;

use crate::admission::{self, patched};
use crate::cluster::Cluster;
use crate::played::{self, Played, Seen, locked};

const INJECT: &str = "linkerd.io/inject";
const IMAGE: &str = "cr.l5d.io/linkerd/proxy";

/// A webhook's Service, and the Deployment whose pods serve it.
const WEBHOOKS: [(&str, &str); 3] = [
    ("linkerd-proxy-injector", "linkerd-proxy-injector"),
    ("linkerd-sp-validator", "linkerd-destination"),
    ("linkerd-policy-validator", "linkerd-destination"),
];

/// Whoever plays Linkerd's control plane, until it is dropped.
pub struct Linkerd(Played);

impl Linkerd {
    /// Waits for the control plane in this namespace, and plays its part from then on.
    pub fn start(cluster: &Cluster, namespace: &str) -> anyhow::Result<Self> {
        Played::start(cluster, "Linkerd", |client, seen| Part {
            client,
            namespace: namespace.to_owned(),
            seen,
            version: Arc::default(),
            listening: BTreeMap::new(),
        })
        .map(Self)
    }
}

impl Deref for Linkerd {
    type Target = Played;

    fn deref(&self) -> &Played {
        &self.0
    }
}

struct Part {
    client: Client,
    namespace: String,
    seen: Arc<Seen>,
    /// The version that its Deployments say, for the proxies.
    version: Arc<Mutex<String>>,
    listening: BTreeMap<&'static str, Listening>,
}

/// A server and the certificate it serves with.
struct Listening {
    server: admission::Server,
    certificate: Vec<u8>,
}

impl played::Part for Part {
    async fn look(&mut self) -> anyhow::Result<()> {
        for (service, deployment) in WEBHOOKS {
            let Some(address) = self.address(service, deployment).await? else {
                if let Some(before) = self.listening.remove(service) {
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
            let same = self
                .listening
                .get(service)
                .is_some_and(|now| now.server.address() == address && now.certificate == certificate);
            if !same {
                if let Some(before) = self.listening.remove(service) {
                    before.server.stop().await;
                }
                let acceptor = acceptor(&certificate, &data.get("tls.key").context("a key")?.0)?;
                let server = self.serve(address, acceptor).await?;
                self.listening.insert(service, Listening { server, certificate });
            }
        }
        Ok(())
    }
}

impl Part {
    /// The address of the Service, once a pod is behind it.
    async fn address(&self, service: &str, deployment: &str) -> anyhow::Result<Option<IpAddr>> {
        let Some((found, is_available)) =
            played::deployment(&self.client, &self.namespace, deployment).await?
        else {
            return Ok(None);
        };
        if let Some(version) = found.labels().get("app.kubernetes.io/version") {
            locked(&self.version).clone_from(version);
        }
        if !is_available {
            return Ok(None);
        }
        played::address(&self.client, &self.namespace, service).await
    }

    async fn serve(&self, address: IpAddr, acceptor: TlsAcceptor) -> anyhow::Result<admission::Server> {
        let (seen, version) = (self.seen.clone(), self.version.clone());
        let namespaces = Api::<Namespace>::all(self.client.clone());
        let decide = Arc::new(move |_: &str, request: &Value| {
            let (namespaces, request) = (namespaces.clone(), request.clone());
            let (seen, version) = (seen.clone(), locked(&version).clone());
            let decided = async move {
                let of_namespace = request["namespace"].as_str().unwrap_or_default();
                let namespace = namespaces.get_opt(of_namespace).await.ok().flatten();
                let said = namespace.and_then(|namespace| namespace.annotations().get(INJECT).cloned());
                Some(decide(&request, said, &version, &seen))
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

fn decide(request: &Value, of_namespace: Option<String>, version: &str, seen: &Seen) -> Value {
    let mut response = json!({"uid": request["uid"], "allowed": true});
    match request["kind"]["kind"].as_str().unwrap_or_default() {
        "Pod" => {
            let object = &request["object"];
            let of_pod = object["metadata"]["annotations"][INJECT].as_str();
            let wish = of_pod.map(str::to_owned).or(of_namespace).unwrap_or_default();
            if ["enabled", "ingress"].contains(&wish.as_str()) {
                patched(&mut response, proxy(object, &wish, version));
                seen.injected(request);
            }
        }
        // The injector gives Services their opaque ports, when their namespace has some.
        "Service" => {}
        _ => seen.validated(request),
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
