//! Kubeconfigs that came from outside: kept by the provider, sealed with the host's key.

use meshery_plugin_api::message::document::{Document, Expect, Query};
use serde_json::json;

use crate::cluster::Clusters;
use crate::cluster::clusters::Uploaded;
use crate::operation::seal::HostKey;
use crate::problem::{Problem, ProblemKind};
use crate::provider::Store;

/// Kind of the documents.
const KIND: &str = "cluster";

fn purpose(name: &str) -> String {
    format!("cluster {name}")
}

pub(super) async fn add(
    store: &Store,
    key: &HostKey,
    clusters: &Clusters,
    name: &str,
    kubeconfig: &str,
) -> Result<Uploaded, Problem> {
    check_name(name)?;
    let uploaded = clusters.add_uploaded(name, kubeconfig).await?;
    let document = Document {
        kind: KIND.into(),
        id: name.into(),
        owner: store.user().await?.name,
        body: json!({"sealed": key.seal(&purpose(name), kubeconfig.as_bytes())?}),
        ..Document::default()
    };
    if let Err(problem) = store.put(document, Expect::Any).await {
        clusters.remove_uploaded(name);
        return Err(problem);
    }
    Ok(uploaded)
}

pub(super) async fn remove(store: &Store, clusters: &Clusters, name: &str) -> Result<(), Problem> {
    if !clusters.remove_uploaded(name) {
        return Err(Problem::new(
            ProblemKind::NotFound,
            "unknown-cluster",
            format!("no uploaded cluster is named \"{name}\""),
        )
        .cause("contexts of the host owner's own kubeconfig are not kept by Meshery")
        .remedy("remove those with kubectl config delete-context"));
    }
    store.delete(KIND, name).await
}

/// Adds again what was uploaded in the past. One that does not work any more is logged and left where it is.
pub(super) async fn restore(store: &Store, key: &HostKey, clusters: &Clusters) {
    let query = Query {
        kind: KIND.into(),
        ..Query::default()
    };
    let documents = match store.list_all(query).await {
        Ok(documents) => documents,
        Err(problem) => {
            tracing::warn!(code = %problem.code, "uploaded clusters cannot be read: {problem}");
            return;
        }
    };
    for document in documents {
        let name = document.id;
        let sealed = document.body["sealed"].as_str().unwrap_or_default();
        let opened = key.open(&purpose(&name), sealed);
        let text = opened.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let added = match text {
            Ok(text) => clusters
                .add_uploaded(&name, &text)
                .await
                .map(drop)
                .map_err(Problem::from),
            Err(problem) => Err(problem),
        };
        if let Err(problem) = added {
            tracing::warn!(cluster = %name, code = %problem.code, "an uploaded cluster cannot be used: {problem}");
        }
    }
}

/// Names go into addresses and contexts.
fn check_name(name: &str) -> Result<(), Problem> {
    let fits = !name.is_empty()
        && name != "-"
        && name.len() <= 63
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
        && !name.starts_with('.');
    if fits {
        return Ok(());
    }
    Err(Problem::new(
        ProblemKind::Invalid,
        "bad-name",
        format!("\"{}\" cannot be the name of a cluster", name.escape_debug()),
    )
    .remedy("use letters, digits, dots, dashes and underscores, at most 63 of them"))
}
