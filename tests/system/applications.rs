//! Applications that are dropped beside a running host as a folder of YAML, with either mesh's adapter.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use libtest_mimic::Trial;
use meshery_tests::cluster::Cluster;
use meshery_tests::host::Host;
use meshery_tests::snapshot::Snapshot;
use serde_json::{Value, json};

use crate::mesheryctl::{ctl, has};
use crate::namespace::succeeded;
use crate::{cluster, trial};

const LIMIT: Duration = Duration::from_mins(4);
/// Stands where a secret would, and must be told to nobody.
const SECRET: &str = "c2VjcmV0LW9mLXRoZS1mb2xkZXI";

const WEB: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: elsewhere}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      serviceAccountName: web
      containers: [{name: web, image: registry.example.com/web:1}]
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: db, image: registry.example.com/db:1}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: elsewhere}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {clusterIP: None, selector: {app: db}, ports: [{port: 5432}]}
---
apiVersion: v1
kind: Service
metadata: {name: outside}
spec: {type: ExternalName, externalName: db.example.com}
";
const RIGHTS: &str = "\
apiVersion: v1
kind: ServiceAccount
metadata: {name: web, namespace: elsewhere}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: dropped-web}
rules: [{apiGroups: [''], resources: [nodes], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: dropped-web}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: dropped-web}
subjects: [{kind: ServiceAccount, name: web, namespace: elsewhere}]
";
const CONFIG: &str = "\
apiVersion: v1
kind: ConfigMap
metadata: {name: config}
data: {database: 'db.{namespace}.svc'}
---
apiVersion: v1
kind: Secret
metadata: {name: login}
data: {password: c2VjcmV0LW9mLXRoZS1mb2xkZXI=}
---
apiVersion: applications.example.com/v1
kind: Toy
metadata: {name: bear}
";
const OLD: &str = "{apiVersion: v1, kind: ConfigMap, metadata: {name: old}}\n";
/// Of a kind that lives in no namespace, which no adapter can know.
const BOX: &str =
    "{apiVersion: applications.example.com/v1, kind: ToyBox, metadata: {name: box, namespace: elsewhere}}\n";

pub fn trials() -> Vec<Trial> {
    vec![
        trial(
            "applications::that_are_dropped_come_and_go_without_a_trace",
            || {
                for adapter in ["istio", "linkerd"] {
                    come_and_go(adapter).context(adapter)?;
                }
                Ok(())
            },
        ),
        trial(
            "applications::that_cannot_be_are_refused_before_anything_is_written",
            rubbish,
        ),
    ]
}

struct Bench {
    cluster: Arc<Cluster>,
    host: Host,
    folder: PathBuf,
}

impl Bench {
    fn put(&self, application: &str, files: &[(&str, &str)]) -> anyhow::Result<()> {
        let folder = self.folder.join(application);
        fs::create_dir_all(&folder)?;
        for (file, content) in files {
            fs::write(folder.join(file), content)?;
        }
        Ok(())
    }

    fn get(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let arguments = [&["get", "--output=json"], arguments].concat();
        let text = succeeded(self.cluster.kubectl(&arguments)).with_context(|| arguments.join(" "))?;
        Ok(serde_json::from_str(&text)?)
    }
}

fn definition(kind: &str, scope: &str) -> String {
    let (singular, plural) = (kind.to_lowercase(), format!("{}s", kind.to_lowercase()));
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.applications.example.com")},
        "spec": {
            "group": "applications.example.com",
            "scope": scope,
            "names": {"kind": kind, "plural": plural, "singular": singular},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object"}}}],
        },
    })
    .to_string()
}

fn come_and_go(adapter: &str) -> anyhow::Result<()> {
    let cluster = cluster()?;
    let host = Host::builder().kubeconfig(cluster.kubeconfig()).start()?;
    // The host has made it.
    let folder = host.data().join("applications");
    ensure!(folder.is_dir(), "{}", folder.display());
    let bench = Bench {
        cluster,
        host,
        folder,
    };
    let host = &bench.host;
    let before = Snapshot::take(&bench.cluster)?;
    let request = |operation: &str, namespace: &str| {
        json!({"adapter": adapter, "operation": operation,
            "parameters": {"application": "toys", "namespace": namespace}})
    };
    let listed = host.get("/api/v1/applications")?.expect(200)?;
    ensure!(listed["items"] == json!([]), "{listed:#}");
    host.post("/api/v1/operations", &request("deploy-application", "shop"))?
        .problem(404, "unknown-application")?;

    // While the host runs.
    let toy = definition("Toy", "Namespaced");
    bench.put(
        "toys",
        &[
            ("a.json.yaml", &toy),
            ("config.yaml", CONFIG),
            ("rights.yml", RIGHTS),
            ("web.yaml", WEB),
            ("old.yaml", OLD),
        ],
    )?;
    let (out, _) = ctl(host, 0, "app list")?;
    has(&out, &["toys", "folder", "bookinfo", "istio, linkerd"])?;

    let id = host.plan(&request("deploy-application", "shop"))?;
    let preview = host
        .post(&format!("/api/v1/operations/{id}/preview"), &json!({}))?
        .expect(200)?;
    let previewed = preview["objects"].as_array().context("objects")?;
    for object in [
        "apps/v1/Deployment/shop/web",
        "rbac.authorization.k8s.io/v1/ClusterRole//dropped-web",
    ] {
        let found = previewed.iter().find(|previewed| previewed["ref"] == object);
        ensure!(
            found.is_some_and(|object| object["change"] == "create"),
            "{object}: {preview:#}"
        );
    }
    ensure!(!preview.to_string().contains(SECRET), "{preview:#}");
    before.await_same(&bench.cluster).context("a preview")?;

    let done = host.perform(&request("deploy-application", "shop"), "succeeded", LIMIT)?;
    let id = done["id"].as_str().context("an id")?;
    let deployment = bench.get(&["deployment", "web", "--namespace", "shop"])?;
    ensure!(deployment["status"]["availableReplicas"] == 2, "{deployment:#}");
    let config = bench.get(&["configmap", "config", "--namespace", "shop"])?;
    ensure!(config["data"]["database"] == "db.shop.svc", "{config:#}");
    let binding = bench.get(&["clusterrolebinding", "dropped-web"])?;
    ensure!(binding["subjects"][0]["namespace"] == "shop", "{binding:#}");
    bench.get(&["toys.applications.example.com", "bear", "--namespace", "shop"])?;
    let told = host.get(&format!("/api/v1/operations/{id}/record"))?.text();
    ensure!(
        !told.contains(SECRET) && !host.log().contains(SECRET),
        "the Secret was told"
    );
    host.take_back(id, "undone", LIMIT)?;
    before.await_same(&bench.cluster).context("an undo")?;

    // By name, into the namespace called like it; what its folder had before goes as well.
    ctl(host, 0, &format!("app deploy toys --mesh {adapter} --yes"))?;
    bench.get(&["statefulset", "db", "--namespace", "toys"])?;
    fs::remove_file(bench.folder.join("toys/old.yaml"))?;
    let again = host.perform(&request("deploy-application", "toys"), "succeeded", LIMIT)?;
    ensure!(
        again["notes"].to_string().contains("v1/ConfigMap/toys/old"),
        "{again:#}"
    );
    ctl(host, 0, &format!("app remove toys --mesh {adapter} --yes"))?;
    before.await_same(&bench.cluster).context("a removal")?;

    // What is cluster-wide is found and goes as such, whatever namespace its file says it is in.
    let boxes = definition("ToyBox", "Cluster");
    bench.put("toys", &[("box.yaml", &boxes), ("in-box.yaml", BOX)])?;
    host.perform(&request("deploy-application", "shop"), "succeeded", LIMIT)?;
    bench.get(&["toyboxs.applications.example.com", "box"])?;
    let whole = Snapshot::take(&bench.cluster)?;
    let removed = host.perform(&request("remove-application", "shop"), "succeeded", LIMIT)?;
    before
        .await_same(&bench.cluster)
        .context("a cluster-wide object")?;
    let removed = removed["id"].as_str().context("an id")?;
    host.take_back(removed, "undone", LIMIT)?;
    whole.await_remade(&bench.cluster).context("given back")?;
    host.perform(&request("remove-application", "shop"), "succeeded", LIMIT)?;
    before.await_same(&bench.cluster).context("removed again")
}

fn rubbish() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let elsewhere = tempfile::tempdir()?;
    let host = Host::builder()
        .kubeconfig(cluster.kubeconfig())
        .env("MESHERY_APPLICATIONS", elsewhere.path())
        .start()?;
    let folder = elsewhere.path().to_owned();
    let bench = Bench {
        cluster,
        host,
        folder,
    };
    let before = Snapshot::take(&bench.cluster)?;
    let map = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}\n";
    let large = format!("# {}\n", "x".repeat(1 << 20));
    let bomb = (0..9).fold("a0: &a0 [x]\n".to_owned(), |text, of| {
        let tenfold = vec![format!("*a{of}"); 10].join(", ");
        format!("{text}a{0}: &a{0} [{tenfold}]\n", of + 1)
    });
    let broken = format!("kind: Secret\ndata:\n  password: {SECRET}\n  oops: [{SECRET}\n");
    let plain = format!("apiVersion: v1\nstringData: {{password: {SECRET}}}\n");
    for (name, files) in [
        ("good", &[("a.yaml", map)][..]),
        ("bare", &[("README.md", "")]),
        ("no-object", &[("a.yaml", "# nothing\n---\n")]),
        ("broken", &[("a.yaml", map), ("b.yaml", &broken)]),
        ("kindless", &[("a.yaml", map), ("b.yaml", &plain)]),
        ("twice", &[("a.yaml", map), ("b.yaml", map)]),
        ("large", &[("a.yaml", &large)]),
        ("bomb", &[("a.yaml", &bomb)]),
        ("pipe", &[]),
        ("link", &[("a.yaml", map)]),
        ("bookinfo", &[("a.yaml", map)]),
        (
            "unknown-kind",
            &[(
                "a.yaml",
                "{apiVersion: example.com/v1, kind: Nothing, metadata: {name: a}}",
            )],
        ),
        ("No Name", &[("a.yaml", map)]),
    ] {
        bench.put(name, files)?;
    }
    symlink(bench.host.data().join("token"), bench.folder.join("link/b.yaml"))?;
    let pipe = bench.folder.join("pipe/a.yaml");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR)?;

    for adapter in ["istio", "linkerd"] {
        for (name, status, code, words) in [
            ("shoop", 404, "unknown-application", &["good", "twice"][..]),
            ("../good", 400, "bad-parameter", &["../good"]),
            ("bare", 400, "application-empty", &["bare"]),
            ("no-object", 400, "application-empty", &["no-object"]),
            ("broken", 400, "bad-manifest", &["b.yaml", "line "]),
            ("kindless", 400, "bad-manifest", &["b.yaml, line 1", "kind"]),
            (
                "twice",
                400,
                "duplicate-object",
                &["a.yaml, line 1", "b.yaml, line 1"],
            ),
            ("large", 413, "application-too-large", &["large/a.yaml"]),
            ("bomb", 400, "bad-manifest", &["a.yaml"]),
            ("pipe", 400, "application-unreadable", &["pipe/a.yaml"]),
            ("link", 403, "application-leads-outside", &["link/b.yaml"]),
            ("bookinfo", 400, "application-name-taken", &["deploy-bookinfo"]),
        ] {
            for operation in ["deploy-application", "remove-application"] {
                let request = json!({"adapter": adapter, "operation": operation,
                    "parameters": {"application": name, "namespace": "shop"}});
                let answer = bench.host.post("/api/v1/operations", &request)?;
                let problem = answer
                    .problem(status, code)
                    .with_context(|| format!("{adapter}: {name}"))?;
                let told = problem.to_string();
                has(&told, words).with_context(|| format!("{adapter}: {name}"))?;
                ensure!(!told.contains(SECRET), "{told}");
                let remedy = problem["remedy"].as_str();
                ensure!(remedy.is_some_and(|remedy| !remedy.is_empty()), "{problem:#}");
            }
        }
        for (name, namespace, code) in [
            ("good", "kube-system", "system-namespace"),
            ("unknown-kind", "shop", "kind-not-served"),
        ] {
            let request = json!({"adapter": adapter, "operation": "deploy-application",
                "parameters": {"application": name, "namespace": namespace}});
            let problem = bench.host.post("/api/v1/operations", &request)?.json();
            ensure!(problem["code"] == code, "{name}: {problem:#}");
        }
    }
    let (out, _) = ctl(&bench.host, 0, "app list")?;
    has(
        &out,
        &[
            "good",
            "error[bad-application-name]",
            "No Name",
            "error[application-empty]",
        ],
    )?;
    ensure!(!bench.host.log().contains(SECRET), "{}", bench.host.log());
    before.await_same(&bench.cluster)
}
