//! What most trials begin with: a namespace of their own, and kubectl in it.

use std::fs;
use std::process::Output;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use meshery_tests::cluster::Cluster;
use meshery_tests::proxy::FaultProxy;

use crate::cluster;

/// A namespace of a test's own, deleted (without waiting) at its end.
pub struct Namespace {
    pub cluster: Arc<Cluster>,
    pub name: String,
}

impl Namespace {
    pub fn new(name: &str) -> anyhow::Result<Self> {
        let cluster = cluster()?;
        let name = format!("control-plane-{name}");
        succeeded(cluster.kubectl(&["create", "namespace", &name]))?;
        let space = Self { cluster, name };
        // Pods are refused until it is there; Deployments would try again, a bare pod not.
        eventually(|| space.kubectl(&["get", "serviceaccount", "default"]))?;
        Ok(space)
    }

    pub fn kubectl(&self, args: &[&str]) -> anyhow::Result<String> {
        let args = [args, &["--namespace", &self.name]].concat();
        succeeded(self.cluster.kubectl(&args)).with_context(|| format!("kubectl {}", args.join(" ")))
    }

    pub fn apply(&self, manifest: &str) -> anyhow::Result<String> {
        let file = self.cluster.dir().join(format!("{}.json", self.name));
        fs::write(&file, manifest)?;
        self.kubectl(&["apply", "--server-side", "-f", &file.to_string_lossy()])
    }

    /// kubectl, going through the proxy.
    pub fn through(&self, proxy: &FaultProxy) -> impl Fn(&[&str]) -> anyhow::Result<String> {
        let kubeconfig = proxy
            .kubeconfig(self.cluster.dir())
            .to_string_lossy()
            .into_owned();
        move |args| self.kubectl(&[args, &["--kubeconfig", &kubeconfig]].concat())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.cluster.kubectl(&[
            "delete",
            "namespace",
            &self.name,
            "--wait=false",
            "--ignore-not-found",
        ]);
    }
}

pub fn succeeded(output: Output) -> anyhow::Result<String> {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        output.status.success(),
        "{}\n{}{said}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(said)
}

/// Tries for 10 seconds and hands back the last failure.
pub fn eventually<T>(mut attempt: impl FnMut() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match attempt() {
            Err(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(50)),
            done => return done,
        }
    }
}

/// A Deployment of pods made after `template`, whose labels it adds its selector's to.
pub fn deployment(name: &str, replicas: u32, template: &str) -> String {
    let mut template: serde_json::Value = serde_json::from_str(template).expect("a test's own JSON is valid");
    template["metadata"]["labels"]["app"] = name.into();
    serde_json::json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template},
    })
    .to_string()
}
