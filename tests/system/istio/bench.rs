//! What each trial of Istio begins with, and what it leaves for those that follow.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use meshery_tests::cluster::Cluster;
use meshery_tests::host::Host;
use serde_json::{Value, json};

use super::{LIMIT, SYSTEM};
use crate::cluster;
use crate::namespace::succeeded;

/// A host before a cluster, the charts as its mirror.
pub struct Bench {
    pub cluster: Arc<Cluster>,
    pub host: Host,
}

impl Bench {
    pub fn new(charts: &Path) -> anyhow::Result<Self> {
        let cluster = cluster()?;
        let host = Host::builder()
            .kubeconfig(cluster.kubeconfig())
            .mirror(charts)
            .helm(cluster.helm())
            .settings("offline = true\n")
            .start()?;
        Ok(Self { cluster, host })
    }

    pub fn perform(&self, operation: &str, parameters: &Value) -> anyhow::Result<Value> {
        self.host
            .perform(&request(operation, parameters), "succeeded", LIMIT)
            .with_context(|| operation.to_owned())
    }

    /// Performs an operation and takes it back.
    pub fn and_back(&self, operation: &str, parameters: &Value) -> anyhow::Result<()> {
        self.host
            .and_back(&self.cluster, &request(operation, parameters), LIMIT)
            .with_context(|| operation.to_owned())
    }

    /// Performs an operation and the one that removes what it has made, and takes both back.
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

    pub fn preview(&self, id: &str) -> anyhow::Result<Value> {
        self.host
            .post(&format!("/api/v1/operations/{id}/preview"), &json!({}))?
            .expect(200)
    }

    pub fn installations(&self) -> anyhow::Result<Vec<Value>> {
        let contexts = self.host.get("/api/v1/clusters")?.expect(200)?;
        let context = contexts["items"][0]["context"].as_str().context("a context")?;
        let found = self
            .host
            .get(&format!("/api/v1/clusters/{context}/detect?adapter=istio"))?
            .expect(200)?;
        Ok(found["items"].as_array().cloned().unwrap_or_default())
    }

    pub fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        succeeded(self.cluster.kubectl(arguments)).with_context(|| arguments.join(" "))
    }

    pub fn get(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let text = self.kubectl(&[&["get", "--output=json"], arguments].concat())?;
        Ok(serde_json::from_str(&text)?)
    }

    /// Of which revisions the proxies in a namespace are.
    pub fn revisions(&self, namespace: &str) -> anyhow::Result<Vec<String>> {
        let pods = self.get(&["pods", "--namespace", namespace])?;
        let mut revisions = Vec::new();
        for pod in pods["items"].as_array().into_iter().flatten() {
            let status = text(&pod["metadata"]["annotations"]["sidecar.istio.io/status"]);
            let status: Value = serde_json::from_str(status).unwrap_or_default();
            revisions.push(text(&status["revision"]).to_owned());
        }
        revisions.sort();
        revisions.dedup();
        Ok(revisions)
    }

    /// The containers of each pod in a namespace.
    pub fn containers(&self, namespace: &str) -> anyhow::Result<BTreeMap<String, Vec<String>>> {
        let pods = self.get(&["pods", "--namespace", namespace])?;
        let names = |pod: &Value| {
            let containers = pod["spec"]["containers"].as_array().cloned().unwrap_or_default();
            containers
                .iter()
                .map(|container| format!("{}={}", text(&container["name"]), text(&container["image"])))
                .collect()
        };
        let pods = pods["items"].as_array().cloned().unwrap_or_default();
        Ok(pods
            .iter()
            .map(|pod| (text(&pod["metadata"]["name"]).to_owned(), names(pod)))
            .collect())
    }
}

/// What a trial may leave behind, the definitions that Istio keeps above all, taken away for those that follow.
impl Drop for Bench {
    fn drop(&mut self) {
        let delete = |arguments: &[&str]| {
            let all = [&["delete", "--ignore-not-found"], arguments].concat();
            if let Err(error) = succeeded(self.cluster.kubectl(&all)) {
                eprintln!("{}: {error:#}", all.join(" "));
            }
        };
        let webhooks = "mutatingwebhookconfigurations,validatingwebhookconfigurations";
        let part_of = "app.kubernetes.io/part-of=istio";
        delete(&[webhooks, "--selector", part_of]);
        delete(&["clusterroles,clusterrolebindings", "--selector", part_of]);
        delete(&["customresourcedefinitions", "--selector", part_of]);
        delete(&[
            "namespaces",
            SYSTEM,
            "istio-ingress",
            "istio-egress",
            "edge",
            "shop",
            "store",
        ]);
    }
}

pub fn request(operation: &str, parameters: &Value) -> Value {
    json!({"adapter": "istio", "operation": operation, "parameters": parameters})
}

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
