//! What each trial of Linkerd begins with, and what it leaves for those that follow.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use meshery_tests::cluster::Cluster;
use meshery_tests::host::{Host, HostBuilder};
use meshery_tests::snapshot::Snapshot;
use meshery_tests::trust::Trust;
use serde_json::{Value, json};

use super::{LIMIT, SYSTEM, text};
use crate::cluster;
use crate::namespace::{eventually, succeeded};

/// A host before a cluster, the charts as its mirror.
pub struct Bench {
    pub cluster: Arc<Cluster>,
    pub host: Host,
    /// Where Linkerd's control plane is, or will be.
    pub system: &'static str,
}

impl Bench {
    pub fn new(charts: &Path) -> anyhow::Result<Self> {
        Self::with(charts, |host| host)
    }

    /// For a control plane in another namespace than it usually has.
    pub fn of_namespace(charts: &Path, system: &'static str) -> anyhow::Result<Self> {
        let mut bench = Self::new(charts)?;
        bench.system = system;
        Ok(bench)
    }

    pub fn with(charts: &Path, more: impl FnOnce(HostBuilder) -> HostBuilder) -> anyhow::Result<Self> {
        let cluster = cluster()?;
        let host = Host::builder()
            .kubeconfig(cluster.kubeconfig())
            .mirror(charts)
            .helm(cluster.helm())
            .settings("offline = true\n");
        let host = more(host).start()?;
        Ok(Self {
            cluster,
            host,
            system: SYSTEM,
        })
    }

    /// Performs an operation of Linkerd's and takes it back.
    pub fn and_back(&self, operation: &str, parameters: &Value) -> anyhow::Result<()> {
        self.host
            .and_back(&self.cluster, &request(operation, parameters), LIMIT)
            .with_context(|| operation.to_owned())
    }

    /// Performs an operation of Linkerd's and the one that removes what it has made, and takes both back.
    pub fn there_and_back(
        &self,
        (there, given): (&str, &Value),
        (back, wish): (&str, &Value),
    ) -> anyhow::Result<()> {
        let (there, back) = (request(there, given), request(back, wish));
        self.host
            .there_and_back(&self.cluster, &there, &back, LIMIT)
            .with_context(|| format!("{there}, {back}"))
    }

    pub fn perform(&self, adapter: &str, operation: &str, parameters: &Value) -> anyhow::Result<Value> {
        let request = json!({"adapter": adapter, "operation": operation, "parameters": parameters});
        self.host
            .perform(&request, "succeeded", LIMIT)
            .with_context(|| operation.to_owned())
    }

    pub fn installation(&self) -> anyhow::Result<Option<Value>> {
        let contexts = self.host.get("/api/v1/clusters")?.expect(200)?;
        let context = contexts["items"][0]["context"].as_str().context("a context")?;
        let found = self
            .host
            .get(&format!("/api/v1/clusters/{context}/detect?adapter=linkerd"))?
            .expect(200)?;
        let found = found["items"].as_array().cloned().unwrap_or_default();
        ensure!(found.len() < 2, "{found:#?}");
        Ok(found.into_iter().next())
    }

    pub fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        succeeded(self.cluster.kubectl(arguments)).with_context(|| arguments.join(" "))
    }

    pub fn get(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let text = self.kubectl(&[&["get", "--output=json"], arguments].concat())?;
        Ok(serde_json::from_str(&text)?)
    }

    /// The pods of a namespace that are not going, by uid.
    pub fn uids(&self, namespace: &str) -> anyhow::Result<Vec<String>> {
        let pods = self.get(&["pods", "--namespace", namespace])?;
        let pods = pods["items"].as_array().context("pods")?.iter();
        Ok(pods
            .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null())
            .map(|pod| text(&pod["metadata"]["uid"]).to_owned())
            .collect())
    }

    /// Each pod of a namespace, once none is going any more, with the proxies it has.
    pub fn proxies(&self, namespace: &str) -> anyhow::Result<Vec<Vec<String>>> {
        let pods = self.get(&["pods", "--namespace", namespace])?;
        let pods = pods["items"].as_array().cloned().unwrap_or_default();
        let names = |pod: &Value| -> Vec<String> {
            ["initContainers", "containers"]
                .iter()
                .flat_map(|list| pod["spec"][list].as_array().cloned().unwrap_or_default())
                .map(|container| text(&container["name"]).to_owned())
                .filter(|name| name.ends_with("-proxy"))
                .collect()
        };
        Ok(pods.iter().map(names).collect())
    }

    pub fn all_have(&self, namespace: &str, proxies: &[&str]) -> anyhow::Result<()> {
        eventually(|| {
            let pods = self.proxies(namespace)?;
            ensure!(
                !pods.is_empty() && pods.iter().all(|pod| pod == proxies),
                "{namespace}: {pods:?}"
            );
            Ok(())
        })
    }

    /// The trust anchors and the issuer, made as the plugin's README says that a person makes them.
    pub fn give_trust(&self) -> anyhow::Result<()> {
        let trust = Trust::new()?;
        self.kubectl(&["create", "namespace", SYSTEM])?;
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), trust.manifests(SYSTEM).to_string())?;
        let path = file.path().to_string_lossy();
        self.kubectl(&["apply", "--server-side", "--filename", &path])?;
        Ok(())
    }

    /// The cluster with the anchors and the issuer, and with what Kubernetes puts into their namespace a moment later.
    pub fn with_trust(&self) -> anyhow::Result<Snapshot> {
        self.give_trust()?;
        eventually(|| {
            let before = Snapshot::take(&self.cluster)?;
            ensure!(
                before
                    .names()
                    .any(|known| known == "v1/ConfigMap/linkerd/kube-root-ca.crt")
            );
            Ok(before)
        })
    }

    /// Not Linkerd's alone, so that a removal leaves them.
    pub fn without_gateway_api(&self) -> anyhow::Result<()> {
        for kind in ["grpc", "http", "tcp", "tls"] {
            let definition = format!("{kind}routes.gateway.networking.k8s.io");
            self.kubectl(&["delete", "customresourcedefinition", &definition])?;
        }
        Ok(())
    }

    pub fn webhook_calls(&self, name: &str) -> anyhow::Result<String> {
        let found = self.get(&["mutatingwebhookconfigurations", name])?;
        Ok(text(&found["webhooks"][0]["clientConfig"]["caBundle"]).to_owned())
    }
}

/// What a trial may leave behind, taken away for those that follow.
impl Drop for Bench {
    fn drop(&mut self) {
        let delete = |arguments: &[&str]| {
            let all = [&["delete", "--ignore-not-found"], arguments].concat();
            if let Err(error) = succeeded(self.cluster.kubectl(&all)) {
                eprintln!("{}: {error:#}", all.join(" "));
            }
        };
        for part_of in ["linkerd.io/control-plane-ns", "app.kubernetes.io/part-of=istio"] {
            delete(&[
                "mutatingwebhookconfigurations,validatingwebhookconfigurations",
                "--selector",
                part_of,
            ]);
            delete(&["clusterroles,clusterrolebindings", "--selector", part_of]);
            delete(&["customresourcedefinitions", "--selector", part_of]);
        }
        delete(&["namespaces", self.system, "istio-system", "shop", "bazaar"]);
    }
}

fn request(operation: &str, parameters: &Value) -> Value {
    json!({"adapter": "linkerd", "operation": operation, "parameters": parameters})
}
