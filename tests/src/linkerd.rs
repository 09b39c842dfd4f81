//! The part of Linkerd's control plane.
//!
//! The chart has made a certificate for each of the three webhooks and written its authority into their configurations; so
//! this serves with the certificates that lie in the cluster. As soon as a Deployment is available, it listens on the address
//! of its Service: pods that ask for it get a proxy, with the anchors that the injector knows and a certificate under the
//! issuer that is there; policies and profiles are let pass.

mod identity;

pub use identity::Identity;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::{Arc, Mutex};

use anyhow::Context as _;
use k8s_openapi::api::core::v1::{Namespace, Pod, Secret};
use kube::api::ListParams;
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
/// Label of the control plane's own pods.
const COMPONENT: &str = "linkerd.io/control-plane-component";
const IMAGE: &str = "cr.l5d.io/linkerd/proxy";

/// A webhook's Service, and the Deployment whose pods serve it.
const WEBHOOKS: [(&str, &str); 3] = [
    ("linkerd-proxy-injector", "linkerd-proxy-injector"),
    ("linkerd-sp-validator", "linkerd-destination"),
    ("linkerd-policy-validator", "linkerd-destination"),
];

/// Whoever plays Linkerd's control plane, until it is dropped.
pub struct Linkerd {
    played: Played,
    own: Arc<Own>,
}

impl Linkerd {
    /// Waits for the control plane in this namespace, and plays its part from then on.
    pub fn start(cluster: &Cluster, namespace: &str) -> anyhow::Result<Self> {
        let own = Arc::new(Own {
            namespace: namespace.to_owned(),
            pods: Mutex::default(),
        });
        let of_part = own.clone();
        let played = Played::start(cluster, "Linkerd", |client, seen| Part {
            client,
            own: of_part,
            seen,
            version: Arc::default(),
            listening: BTreeMap::new(),
        })?;
        Ok(Self { played, own })
    }

    /// The control plane's own pods by name, each with what its proxy was given when it came.
    pub fn own_identities(&self) -> Vec<(String, Identity)> {
        let pods = locked(&self.own.pods);
        let identity = |pod: &OwnPod| Some((pod.name.clone(), pod.identity.clone()?));
        pods.values().filter_map(identity).collect()
    }
}

impl Deref for Linkerd {
    type Target = Played;

    fn deref(&self) -> &Played {
        &self.played
    }
}

/// The control plane's own pods. No webhook sees them; they have the anchors and the issuer of the moment when they came.
struct Own {
    namespace: String,
    /// By uid.
    pods: Mutex<BTreeMap<String, OwnPod>>,
}

struct OwnPod {
    name: String,
    component: String,
    created: String,
    identity: Option<Identity>,
}

impl Own {
    async fn look(&self, client: &Client) -> anyhow::Result<()> {
        let pods = Api::<Pod>::namespaced(client.clone(), &self.namespace);
        let mut there = pods.list(&ListParams::default().labels(COMPONENT)).await?.items;
        there.retain(|pod| pod.metadata.deletion_timestamp.is_none());
        let uid = |pod: &Pod| pod.uid().unwrap_or_default();
        let is_known = |pod: &Pod| locked(&self.pods).contains_key(&uid(pod));
        let now = if there.iter().all(is_known) {
            None
        } else {
            Identity::now(client, &self.namespace).await?
        };
        let mut known = locked(&self.pods);
        known.retain(|known, _| there.iter().any(|pod| uid(pod) == *known));
        for pod in &there {
            known.entry(uid(pod)).or_insert_with(|| OwnPod {
                name: format!("{}/{}", self.namespace, pod.name_any()),
                component: pod.labels().get(COMPONENT).cloned().unwrap_or_default(),
                created: pod
                    .creation_timestamp()
                    .map_or_else(String::new, |moment| moment.0.to_string()),
                identity: now.clone(),
            });
        }
        Ok(())
    }

    /// What a pod is given that is made now: the injector hands out the anchors that it came with, and identity signs with
    /// the issuer of now.
    async fn handed_out(&self, client: &Client) -> anyhow::Result<Option<Identity>> {
        self.look(client).await?;
        let now = Identity::now(client, &self.namespace).await?;
        let pods = locked(&self.pods);
        let injectors = pods.values().filter(|pod| pod.component == "proxy-injector");
        let newest = injectors.max_by(|one, other| one.created.cmp(&other.created));
        let injector = newest.and_then(|pod| pod.identity.as_ref());
        Ok(now.map(|now| injector.map_or_else(|| now.clone(), |injector| now.with_anchors_of(injector))))
    }
}

struct Part {
    client: Client,
    own: Arc<Own>,
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
        self.own.look(&self.client).await?;
        for (service, deployment) in WEBHOOKS {
            let Some(address) = self.address(service, deployment).await? else {
                if let Some(before) = self.listening.remove(service) {
                    before.server.stop().await;
                }
                continue;
            };
            let secrets = Api::<Secret>::namespaced(self.client.clone(), &self.own.namespace);
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
            played::deployment(&self.client, &self.own.namespace, deployment).await?
        else {
            return Ok(None);
        };
        if let Some(version) = found.labels().get("app.kubernetes.io/version") {
            locked(&self.version).clone_from(version);
        }
        if !is_available {
            return Ok(None);
        }
        played::address(&self.client, &self.own.namespace, service).await
    }

    async fn serve(&self, address: IpAddr, acceptor: TlsAcceptor) -> anyhow::Result<admission::Server> {
        let (seen, version) = (self.seen.clone(), self.version.clone());
        let (client, own) = (self.client.clone(), self.own.clone());
        let decide = Arc::new(move |_: &str, request: &Value| {
            let (client, own, request) = (client.clone(), own.clone(), request.clone());
            let (seen, version) = (seen.clone(), locked(&version).clone());
            let decided = async move {
                let of_namespace = request["namespace"].as_str().unwrap_or_default();
                let namespaces = Api::<Namespace>::all(client.clone());
                let namespace = namespaces.get_opt(of_namespace).await.ok().flatten();
                let said = namespace.and_then(|namespace| namespace.annotations().get(INJECT).cloned());
                // Who cannot be given one is told from the others by having none.
                let identity = if request["kind"]["kind"] == "Pod" {
                    own.handed_out(&client).await.ok().flatten()
                } else {
                    None
                };
                let proxy = Proxy {
                    control_plane: own.namespace.clone(),
                    version,
                    identity,
                };
                Some(decide(&request, said, &proxy, &seen))
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

/// What a proxy is made of.
struct Proxy {
    control_plane: String,
    version: String,
    identity: Option<Identity>,
}

fn decide(request: &Value, of_namespace: Option<String>, proxy: &Proxy, seen: &Seen) -> Value {
    let mut response = json!({"uid": request["uid"], "allowed": true});
    match request["kind"]["kind"].as_str().unwrap_or_default() {
        "Pod" => {
            let object = &request["object"];
            let of_pod = object["metadata"]["annotations"][INJECT].as_str();
            let wish = of_pod.map(str::to_owned).or(of_namespace).unwrap_or_default();
            if ["enabled", "ingress"].contains(&wish.as_str()) {
                patched(&mut response, proxy.patch(object, &wish));
                seen.injected(request);
            }
        }
        // The injector gives Services their opaque ports, when their namespace has some.
        "Service" => {}
        _ => seen.validated(request),
    }
    response
}

impl Proxy {
    /// Adds it as a native sidecar, and the marks by which pods with one are known.
    fn patch(&self, pod: &Value, wish: &str) -> Vec<Value> {
        let mut patch = Vec::new();
        if !pod["spec"]["initContainers"].is_array() {
            patch.push(json!({"op": "add", "path": "/spec/initContainers", "value": []}));
        }
        let ingress =
            json!({"name": "LINKERD2_PROXY_INGRESS_MODE", "value": (wish == "ingress").to_string()});
        let given = self.identity.iter().flat_map(Identity::variables);
        let variables: Vec<Value> = [ingress].into_iter().chain(given).collect();
        patch.push(json!({
            "op": "add", "path": "/spec/initContainers/-", "value": {
                "name": "linkerd-proxy", "image": format!("{IMAGE}:{}", self.version), "restartPolicy": "Always",
                "env": variables,
            },
        }));
        for field in ["annotations", "labels"] {
            if !pod["metadata"][field].is_object() {
                patch.push(json!({"op": "add", "path": format!("/metadata/{field}"), "value": {}}));
            }
        }
        let mut mark = |kind: &str, key: &str, value: &str| {
            let path = format!("/metadata/{kind}/linkerd.io~1{key}");
            patch.push(json!({"op": "add", "path": path, "value": value}));
        };
        mark("labels", "control-plane-ns", &self.control_plane);
        mark("annotations", "proxy-version", &self.version);
        if let Some(identity) = &self.identity {
            mark("annotations", "trust-root-sha256", &identity.digest());
        }
        patch
    }
}
