//! Platforms, played by what gives them away: a node of k3s or of GKE, kinds that only OpenShift serves. The charts' objects are
//! the ones that such nodes need. On one of plain nodes, k3s and GKE by seed, on all in a long run; on OpenShift always.

use std::path::Path;

use anyhow::{Context as _, ensure};
use meshery_tests::istiod::Istiod;
use meshery_tests::snapshot::Snapshot;
use serde_json::{Value, json};

use super::{Bench, LIMIT, SYSTEM, VERSION, text};
use crate::kills::{SEED, Seeded, is_long, setting};

const NODE: &str = "played";
const KINDS: [(&str, &str, &str); 2] = [
    (
        "security.openshift.io",
        "securitycontextconstraints",
        "SecurityContextConstraints",
    ),
    // What the plugin is announced by where Multus runs, as it does there.
    (
        "k8s.cni.cncf.io",
        "network-attachment-definitions",
        "NetworkAttachmentDefinition",
    ),
];

/// What plays a platform, taken away in the end, whatever the end.
struct Played<'a>(&'a Bench);

impl<'a> Played<'a> {
    fn node(bench: &'a Bench, kubelet: &str) -> anyhow::Result<Self> {
        let played = Self(bench);
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}});
        played.create(&node)?;
        let ready = format!("node/{NODE}");
        bench.kubectl(&["wait", "--for=condition=Ready", &ready, "--timeout=60s"])?;
        let status = json!({"status": {"nodeInfo": {"kubeletVersion": kubelet}}});
        let patch = format!("--patch={status}");
        bench.kubectl(&[
            "patch",
            "node",
            NODE,
            "--subresource=status",
            "--type=merge",
            &patch,
        ])?;
        Ok(played)
    }

    fn openshift(bench: &'a Bench) -> anyhow::Result<Self> {
        let played = Self(bench);
        for (group, plural, kind) in KINDS {
            let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
            played.create(&json!({
                "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                "metadata": {"name": format!("{plural}.{group}"),
                    "annotations": {"api-approved.kubernetes.io": "unapproved, played"}},
                "spec": {"group": group, "scope": "Namespaced",
                    "names": {"plural": plural, "singular": kind.to_lowercase(), "kind": kind},
                    "versions": [{"name": "v1", "served": true, "storage": true,
                        "schema": {"openAPIV3Schema": schema}}]},
            }))?;
            let definition = format!("crd/{plural}.{group}");
            bench.kubectl(&[
                "wait",
                "--for=condition=Established",
                &definition,
                "--timeout=60s",
            ])?;
        }
        Ok(played)
    }

    fn create(&self, object: &Value) -> anyhow::Result<()> {
        let file = tempfile::NamedTempFile::with_suffix(".json")?;
        std::fs::write(file.path(), object.to_string())?;
        self.0
            .kubectl(&["create", "--filename", &file.path().to_string_lossy()])?;
        Ok(())
    }
}

impl Drop for Played<'_> {
    fn drop(&mut self) {
        let delete = |what: &str| {
            let all = ["delete", "--ignore-not-found", what];
            if let Err(error) = self.0.kubectl(&all) {
                eprintln!("{}: {error:#}", all.join(" "));
            }
        };
        delete(&format!("node/{NODE}"));
        for (group, plural, _) in KINDS {
            delete(&format!("crd/{plural}.{group}"));
        }
    }
}

/// What is installed on a platform, as far as platforms differ.
struct Nodes {
    /// Where the plugin's program and its configuration go on a node.
    places: [String; 2],
    quotas: usize,
    /// Service accounts that may use the constraints that let a pod reach into its node.
    privileged: Vec<String>,
    /// Whose proxies on nodes istiod believes.
    trusted: String,
}

impl Nodes {
    fn seen(bench: &Bench) -> anyhow::Result<Self> {
        let plugin = bench.get(&["daemonset", "istio-cni-node", "--namespace", SYSTEM])?;
        let volumes = plugin
            .pointer("/spec/template/spec/volumes")
            .and_then(Value::as_array);
        let place = |name: &str| {
            let mut volumes = volumes.into_iter().flatten();
            let volume = volumes.find(|volume| volume["name"] == name);
            volume
                .map_or("", |volume| text(&volume["hostPath"]["path"]))
                .to_owned()
        };
        let quotas = bench.get(&["resourcequotas", "--namespace", SYSTEM])?;
        let roles = bench.get(&["clusterroles", "--selector", "app.kubernetes.io/part-of=istio"])?;
        let privileged = roles["items"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|role| role["rules"].to_string().contains("securitycontextconstraints"))
            .map(|role| text(&role["metadata"]["name"]).to_owned())
            .collect();
        let istiod = bench.get(&["deployment", "istiod", "--namespace", SYSTEM])?;
        let environment = istiod.pointer("/spec/template/spec/containers/0/env");
        let mut environment = environment.and_then(Value::as_array).into_iter().flatten();
        let trusted = environment.find(|entry| entry["name"] == "CA_TRUSTED_NODE_ACCOUNTS");
        Ok(Self {
            places: [place("cni-bin-dir"), place("cni-net-dir")],
            quotas: quotas["items"].as_array().map_or(0, Vec::len),
            privileged,
            trusted: trusted.map_or("", |entry| text(&entry["value"])).to_owned(),
        })
    }
}

pub fn get_what_their_nodes_need(charts: &Path) -> anyhow::Result<()> {
    let bench = Bench::new(charts)?;
    let istiod = Istiod::start(&bench.cluster, SYSTEM)?;
    let untouched = Snapshot::take(&bench.cluster)?;
    let on = |played: Option<Played<'_>>, profile: &str, told: &str| -> anyhow::Result<Nodes> {
        let before = Snapshot::take(&bench.cluster)?;
        let record = bench.perform("install", &json!({"version": VERSION, "profile": profile}))?;
        istiod.trouble()?;
        let notes = record["notes"].to_string();
        ensure!(
            told.is_empty() != notes.contains(&format!("told that this is {told}")),
            "{notes}"
        );
        let nodes = Nodes::seen(&bench)?;
        bench.host.take_back(text(&record["id"]), "undone", LIMIT)?;
        before.await_same(&bench.cluster)?;
        drop(played);
        Ok(nodes)
    };
    let none: &[String] = &[];
    let ambient = |played, told| on(played, "ambient", told).with_context(|| told.to_owned());

    told_of_linkerd(&bench, false)?;
    let chosen = match Seeded::new(setting("MESHERY_TEST_SEED", SEED)).below(3) {
        _ if is_long() => vec!["", "k3s", "gke"],
        0 => vec![""],
        1 => vec!["k3s"],
        _ => vec!["gke"],
    };
    let mut seen = Vec::new();
    if chosen.contains(&"") {
        let plain = ambient(None, "")?;
        ensure!(
            plain.places == ["/opt/cni/bin", "/etc/cni/net.d"],
            "{:?}",
            plain.places
        );
        ensure!(plain.quotas == 0 && plain.privileged == none);
        seen.push(plain);
    }
    if chosen.contains(&"k3s") {
        let k3s = ambient(Some(Played::node(&bench, "v1.36.3+k3s1")?), "k3s")?;
        let of_k3s = [
            "/var/lib/rancher/k3s/data/cni",
            "/var/lib/rancher/k3s/agent/etc/cni/net.d",
        ];
        ensure!(k3s.places == of_k3s, "{:?}", k3s.places);
        ensure!(k3s.quotas == 0 && k3s.privileged == none);
        seen.push(k3s);
    }
    if chosen.contains(&"gke") {
        // Critical pods outside of kube-system are let in by a quota only.
        let gke = ambient(Some(Played::node(&bench, "v1.36.3-gke.1080000")?), "gke")?;
        ensure!(gke.quotas == 2, "{}", gke.quotas);
        seen.push(gke);
    }

    let openshift = ambient(Some(Played::openshift(&bench)?), "openshift")?;
    let multus = ["/var/lib/cni/bin", "/etc/cni/multus/net.d"];
    ensure!(openshift.places == multus, "{:?}", openshift.places);
    ensure!(
        openshift.privileged == ["istio-cni", "ztunnel"],
        "{:?}",
        openshift.privileged
    );
    seen.push(openshift);
    for nodes in &seen {
        ensure!(
            nodes.trusted == format!("{SYSTEM}/ztunnel"),
            "istiod believes the proxies that were installed: {}",
            nodes.trusted
        );
    }

    // With sidecars too no pod may redirect its traffic by itself there.
    let sidecars = on(Some(Played::openshift(&bench)?), "minimal", "openshift")?;
    ensure!(sidecars.places == multus && sidecars.privileged == ["istio-cni"]);
    let played = Played::openshift(&bench)?;
    told_of_linkerd(&bench, true)?;
    drop(played);
    untouched.await_same(&bench.cluster)
}

/// Linkerd's charts know nothing of `OpenShift`: what has to be done by hand is said, and only there.
fn told_of_linkerd(bench: &Bench, wanted: bool) -> anyhow::Result<()> {
    let request = json!({"adapter": "linkerd", "operation": "make-trust", "parameters": {}});
    let trust = bench.host.perform(&request, "succeeded", LIMIT)?;
    let id = bench
        .host
        .plan(&json!({"adapter": "linkerd", "operation": "install"}))?;
    let record = bench.host.get(&format!("/api/v1/operations/{id}"))?.expect(200)?;
    let findings = record["findings"].to_string();
    ensure!(findings.contains("linkerd-openshift") == wanted, "{findings}");
    bench.host.take_back(text(&trust["id"]), "undone", LIMIT)?;
    Ok(())
}
