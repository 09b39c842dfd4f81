//! Clusters over REST, with a real one.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use libtest_mimic::Trial;
use meshery_tests::host::Host;
use serde_json::{Value, json};

use crate::{cluster, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("host::contexts_of_the_owners_file_are_listed", owners_contexts),
        trial(
            "host::an_uploaded_cluster_stays_and_is_never_echoed",
            uploaded_cluster,
        ),
        trial("host::a_dead_cluster_is_named_quickly", dead_cluster),
    ]
}

fn owners_contexts() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let host = Host::builder().kubeconfig(cluster.kubeconfig()).start()?;
    let clusters = host.get("/api/v1/clusters")?.expect(200)?;
    let only = &clusters["items"][0];
    ensure!(
        only["server"] == cluster.server() && only["current"] == true,
        "{clusters:#}"
    );
    let name = only["context"].as_str().context("a name")?;
    for path in ["-", name] {
        let shown = host.get(&format!("/api/v1/clusters/{path}"))?.expect(200)?;
        ensure!(shown["uid"] == uid(&cluster)?, "{shown:#}");
        ensure!(
            shown["version"].as_str().is_some_and(|v| v.starts_with("v1.")),
            "{shown:#}"
        );
    }
    let adapters = host.get("/api/v1/adapters")?.expect(200)?;
    let adapter = adapters["items"][0]["name"].as_str().context("an adapter")?;
    let facts = host
        .get(&format!("/api/v1/clusters/-/facts?adapter={adapter}"))?
        .expect(200)?;
    ensure!(facts["cluster"]["uid"] == uid(&cluster)?, "{facts:#}");
    let found = host
        .get(&format!("/api/v1/clusters/-/detect?adapter={adapter}"))?
        .expect(200)?;
    ensure!(found["items"].is_array(), "{found:#}");
    let problem = host
        .get("/api/v1/clusters/elsewhere")?
        .problem(404, "unknown-context")?;
    ensure!(problem.to_string().contains(name), "{problem}");
    host.delete(&format!("/api/v1/clusters/{name}"))?
        .problem(404, "unknown-cluster")?;
    Ok(())
}

fn uid(cluster: &meshery_tests::cluster::Cluster) -> anyhow::Result<Value> {
    let output = cluster.kubectl(&[
        "get",
        "namespace",
        "kube-system",
        "-o",
        "jsonpath={.metadata.uid}",
    ]);
    Ok(String::from_utf8(output.stdout)?.into())
}

fn uploaded_cluster() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let kubeconfig = fs::read_to_string(cluster.kubeconfig())?;
    let mut host = Host::builder().start()?;
    let mut answers = Vec::new();
    let upload = json!({"name": "up", "kubeconfig": kubeconfig});
    let added = host.post("/api/v1/clusters", &upload)?;
    added.expect(201)?;
    answers.push(added.text());
    for _ in 0..2 {
        let listed = host.get("/api/v1/clusters")?;
        let items = listed.expect(200)?;
        ensure!(
            items["items"][0]["context"] == "up" && items["items"][0]["source"] == "uploaded",
            "{items:#}"
        );
        let shown = host.get("/api/v1/clusters/up")?;
        ensure!(shown.expect(200)?["uid"] == uid(&cluster)?, "{shown:?}");
        answers.extend([listed.text(), shown.text()]);
        // The second round asks a host that has read it back.
        host.kill()?;
        host.restart()?;
    }
    let token = cluster.token();
    ensure!(kubeconfig.contains(token), "the kubeconfig holds the token");
    for answer in answers {
        ensure!(!answer.contains(token), "the token came back in {answer}");
    }
    ensure!(!host.log().contains(token), "the token is in the log");
    let files = files(host.data())?;
    ensure!(files.len() > 3, "{files:?}");
    for file in files {
        let bytes = fs::read(&file)?;
        let found = bytes.windows(token.len()).any(|part| part == token.as_bytes());
        ensure!(!found, "the token is in {}", file.display());
    }
    ensure!(host.delete("/api/v1/clusters/up")?.status == 204);
    ensure!(host.get("/api/v1/clusters")?.expect(200)?["items"] == json!([]));
    host.kill()?;
    host.restart()?;
    ensure!(host.get("/api/v1/clusters")?.expect(200)?["items"] == json!([]));
    Ok(())
}

fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(self::files(&path)?);
        } else if path.is_file() {
            files.push(path);
        }
    }
    Ok(files)
}

fn dead_cluster() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let kubeconfig = folder.path().join("config");
    fs::write(
        &kubeconfig,
        "apiVersion: v1\nkind: Config\ncurrent-context: dead\ncontexts: [{name: dead, context: {cluster: k, user: u}}]\n\
         clusters: [{name: k, cluster: {server: \"https://127.0.0.1:1\"}}]\nusers: [{name: u, user: {token: x}}]\n",
    )?;
    let host = Host::builder().kubeconfig(&kubeconfig).start()?;
    host.get("/readyz")?.expect(200)?;
    let problem = host
        .get("/api/v1/clusters/dead")?
        .problem(503, "cluster-unreachable")?;
    ensure!(problem["detail"].to_string().contains("127.0.0.1:1"), "{problem}");
    ensure!(
        problem["remedy"].as_str().is_some_and(|s| !s.is_empty()),
        "{problem}"
    );
    Ok(())
}
