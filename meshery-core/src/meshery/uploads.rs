//! Kubeconfigs that came from outside: kept by the provider, sealed with the host's key.
//!
//! What the provider keeps comes first, what is in memory follows it: whatever fails in between, the same request
//! can be made again, and a restart finds what was answered.

use std::sync::Arc;

use meshery_plugin_api::message::document::{Document, Expect, Query};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::key_watch::{KeyId, Opened};
use crate::cluster::Clusters;
use crate::cluster::clusters::Uploaded;
use crate::operation::secret::seal::HostKey;
use crate::problem::{Problem, ProblemKind};
use crate::provider::Store;

/// Kind of the documents.
const KIND: &str = "cluster";

/// What to do when a cluster of the same name is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IfThere {
    Refuse,
    Replace,
}

pub(super) struct Uploads {
    store: Store,
    key: Arc<HostKey>,
    key_id: KeyId,
    clusters: Clusters,
    /// Store and memory change together.
    changing: Mutex<()>,
}

impl Uploads {
    pub fn new(store: Store, key: Arc<HostKey>, clusters: Clusters) -> Self {
        Self {
            store,
            key_id: KeyId::of(&key),
            key,
            clusters,
            changing: Mutex::default(),
        }
    }

    pub async fn add(&self, name: &str, kubeconfig: &str, if_there: IfThere) -> Result<Uploaded, Problem> {
        check_name(name)?;
        let checked = self.clusters.check_upload(name, kubeconfig).await?;
        let _changing = self.changing.lock().await;
        let sealed = self.key.seal(&purpose(name), kubeconfig.as_bytes())?;
        let document = self.document(name, &sealed).await?;
        let expect = match if_there {
            IfThere::Refuse => Expect::Absent,
            IfThere::Replace => Expect::Any,
        };
        match self.store.put(document, expect).await {
            Ok(_) => {}
            Err(problem) if problem.code == "revision-conflict" => return Err(exists(name)),
            // Whether it was stored is not known then; no two sealings are alike.
            Err(problem) => match self.store.get(KIND, name).await {
                Ok(Some(document)) if document.body["sealed"] == *sealed => {}
                _ => return Err(problem),
            },
        }
        Ok(self.clusters.take_upload(checked))
    }

    pub async fn remove(&self, name: &str) -> Result<(), Problem> {
        // The store would call it a bad request.
        if check_name(name).is_err() {
            return Err(unknown(name));
        }
        let _changing = self.changing.lock().await;
        let kept = self.store.get(KIND, name).await?.is_some();
        if kept {
            self.store.delete(KIND, name).await?;
        }
        if self.clusters.remove_uploaded(name) || kept {
            return Ok(());
        }
        Err(unknown(name))
    }

    /// What seals them.
    pub fn key(&self) -> &HostKey {
        &self.key
    }

    /// The names of all that are kept.
    pub async fn names(&self) -> Result<Vec<String>, Problem> {
        let query = Query {
            kind: KIND.into(),
            ..Query::default()
        };
        let documents = self.store.list_all(query).await?;
        Ok(documents.into_iter().map(|document| document.id).collect())
    }

    /// Adds again what was uploaded in the past. What does not work any more is listed with the reason.
    pub async fn restore(&self) -> Result<Opened, Problem> {
        let query = Query {
            kind: KIND.into(),
            ..Query::default()
        };
        let mut count = Opened::default();
        for document in self.store.list_all(query).await? {
            let name = document.id;
            let opened = self.open(&name, &document.body);
            match &opened {
                Ok(text) => {
                    count.opened += 1;
                    self.seal_anew(&name, text, &document.body).await;
                }
                Err(_) => count.closed += 1,
            }
            let checked = opened.and_then(|text| Ok(self.clusters.read_upload(&name, &text)?));
            match checked {
                Ok(checked) => {
                    self.clusters.take_upload(checked);
                }
                Err(problem) => {
                    tracing::warn!(cluster = %name, code = %problem.code, "an uploaded cluster cannot be used: {problem}");
                    self.clusters.take_unusable(&name, problem);
                }
            }
        }
        Ok(count)
    }

    /// Seals with the present key what a retired one has sealed. If that fails, the retired one still opens it.
    async fn seal_anew(&self, name: &str, kubeconfig: &str, body: &Value) {
        if body["key"] == *self.key_id.to_string() {
            return;
        }
        let sealed = async {
            let sealed = self.key.seal(&purpose(name), kubeconfig.as_bytes())?;
            self.store
                .put(self.document(name, &sealed).await?, Expect::Any)
                .await
        };
        if let Err(problem) = sealed.await {
            tracing::warn!(cluster = %name, code = %problem.code, "it stays sealed with a retired key: {problem}");
        }
    }

    async fn document(&self, name: &str, sealed: &str) -> Result<Document, Problem> {
        Ok(Document {
            kind: KIND.into(),
            id: name.into(),
            owner: self.store.user().await?.name,
            body: json!({"sealed": sealed, "key": self.key_id.to_string()}),
            ..Document::default()
        })
    }

    fn open(&self, name: &str, body: &Value) -> Result<String, Problem> {
        let sealed = body["sealed"].as_str().unwrap_or_default();
        let closed = |_| {
            let present = &self.key_id;
            let by = KeyId::stored(body["key"].as_str().unwrap_or_default());
            let (message, cause) = match by.filter(|by| by != present) {
                Some(by) => (
                    format!("it is sealed with another key (id {by}) than the host's (id {present})"),
                    "host.key was lost or replaced",
                ),
                None => (
                    format!("the host's key (id {present}) does not open it"),
                    "host.key was lost or replaced, or what the provider keeps was changed",
                ),
            };
            Problem::new(ProblemKind::Conflict, "cluster-sealed", message)
                .cause(cause)
                .remedy(format!(
                    "put the host.key that sealed it back into the data folder and start the host again; or upload \
                     it again: mesheryctl cluster add FILE --name {name} --replace; or remove it"
                ))
        };
        let bytes = self.key.open(&purpose(name), sealed).map_err(closed)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

fn purpose(name: &str) -> String {
    format!("cluster {name}")
}

fn unknown(name: &str) -> Problem {
    let shown: String = name.chars().take(80).collect();
    Problem::new(
        ProblemKind::NotFound,
        "unknown-cluster",
        format!("no uploaded cluster is named \"{}\"", shown.escape_debug()),
    )
    .cause("contexts of the host owner's own kubeconfig are not kept by Meshery")
    .remedy("remove those with kubectl config delete-context; of an upload with several contexts, name the upload")
}

fn exists(name: &str) -> Problem {
    Problem::new(
        ProblemKind::Conflict,
        "cluster-exists",
        format!("there is an uploaded cluster \"{name}\" already"),
    )
    .remedy("give another name; or say that it is to be replaced: \"replace\": true, or --replace with mesheryctl")
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
    let shown: String = name.chars().take(80).collect();
    Err(Problem::new(
        ProblemKind::Invalid,
        "bad-name",
        format!("\"{}\" cannot be the name of a cluster", shown.escape_debug()),
    )
    .remedy("use letters, digits, dots, dashes and underscores, at most 63 of them, and no dot first"))
}

#[cfg(test)]
mod tests;
