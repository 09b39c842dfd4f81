//! The clusters that we can talk to: contexts of kubeconfigs, and a connection for each that is used.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use kube::config::Kubeconfig;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

use super::connection::{Connection, Made, MakeClient};
use super::error::ClusterError;
use super::gate::Gate;
use super::handle::Cluster;
use super::kubeconfig::{self, Entry, KubeconfigSource, Loaded, upload};
use super::settings::ClusterSettings;
use crate::problem::Problem;

/// A context: a cluster, a user and a namespace under one name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContextInfo {
    /// Its name.
    pub context: String,
    /// Address of the API server.
    pub server: String,
    /// Namespace for what names none.
    pub namespace: String,
    /// Name of the user's entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Whether it is used when no context is named.
    pub current: bool,
    /// Where it comes from: a file, `in-cluster`, or `uploaded`.
    pub source: String,
    /// Why it cannot be used: an uploaded kubeconfig that cannot be opened any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}

/// What became of an uploaded kubeconfig.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uploaded {
    /// The contexts it brought, as they are listed from now on.
    pub contexts: Vec<ContextInfo>,
    /// What is dangerous in it.
    pub warnings: Vec<String>,
}

/// The clusters that we can talk to. Cheap to clone.
#[derive(Clone)]
pub struct Clusters {
    inner: Arc<Inner>,
}

struct Inner {
    source: KubeconfigSource,
    settings: ClusterSettings,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    loaded: Option<Arc<Loaded>>,
    uploads: BTreeMap<String, Upload>,
    /// Uploads that are kept and cannot be used, and why.
    unusable: BTreeMap<String, Problem>,
    slots: HashMap<String, Slot>,
}

struct Upload {
    text: String,
    config: Arc<Kubeconfig>,
}

/// A kubeconfig that came from outside and may be taken.
pub(crate) struct Checked {
    name: String,
    upload: Upload,
    warnings: Vec<String>,
}

/// A connection, or the making of one, and what it is made of.
struct Slot {
    fingerprint: [u8; 32],
    cluster: Arc<OnceCell<Arc<Cluster>>>,
}

/// Where a context was found.
struct Place {
    config: Arc<Kubeconfig>,
    /// Its name inside that kubeconfig.
    context: String,
    source: String,
    uploaded: bool,
}

impl Place {
    fn entry(&self) -> Option<Entry<'_>> {
        Entry::find(&self.config, &self.context)
    }
}

const UPLOADED: &str = "uploaded";

impl Clusters {
    /// The clusters of a kubeconfig. Nothing is read yet.
    pub fn new(source: KubeconfigSource) -> Self {
        Self::with_settings(source, ClusterSettings::default())
    }

    /// As [`Clusters::new`], with deadlines and bounds of one's own.
    pub fn with_settings(source: KubeconfigSource, settings: ClusterSettings) -> Self {
        Self {
            inner: Arc::new(Inner {
                source,
                settings,
                state: Mutex::default(),
            }),
        }
    }

    /// All contexts, those of uploads included. Files that have changed are read again.
    pub fn contexts(&self) -> Result<Vec<ContextInfo>, ClusterError> {
        let loaded = self.inner.loaded();
        let state = self.inner.state.lock();
        let mut contexts = Vec::new();
        match loaded {
            Ok(loaded) => {
                for (context, source) in loaded.config.contexts.iter().zip(&loaded.sources) {
                    let entry = Entry {
                        config: &loaded.config,
                        context,
                    };
                    let current = loaded.current() == Some(&context.name);
                    contexts.push(info(entry, context.name.clone(), current, source));
                }
            }
            // A host that lives on uploads needs no file.
            Err(ClusterError::NoKubeconfig { .. })
                if !state.uploads.is_empty() || !state.unusable.is_empty() => {}
            Err(error) => return Err(error),
        }
        // One that cannot be used counts: it must not be by its loss that another becomes the current one.
        let alone = contexts.is_empty() && state.uploads.len() + state.unusable.len() == 1;
        for (name, upload) in &state.uploads {
            contexts.extend(infos_of(name, &upload.config, alone));
        }
        for (name, problem) in &state.unusable {
            contexts.push(ContextInfo {
                context: name.clone(),
                server: String::new(),
                namespace: String::new(),
                user: None,
                current: false,
                source: UPLOADED.to_owned(),
                problem: Some(problem.clone()),
            });
        }
        Ok(contexts)
    }

    /// The cluster of a context, or of the current one. Connections are kept; one whose kubeconfig has changed is
    /// made anew.
    pub async fn connect(&self, context: Option<&str>) -> Result<Arc<Cluster>, ClusterError> {
        let name = self.named(context)?;
        let place = self.inner.place(&name)?;
        let fingerprint = place.entry().map(|entry| entry.fingerprint()).unwrap_or_default();
        let cell = {
            let mut state = self.inner.state.lock();
            match state.slots.get(&name) {
                Some(slot) if slot.fingerprint == fingerprint => slot.cluster.clone(),
                _ => {
                    let cluster = Arc::new(OnceCell::new());
                    let slot = Slot {
                        fingerprint,
                        cluster: cluster.clone(),
                    };
                    state.slots.insert(name.clone(), slot);
                    cluster
                }
            }
        };
        // Of several that want it at once, one makes it; after a failure, the next tries again.
        cell.get_or_try_init(|| self.inner.clone().open(name, place))
            .await
            .cloned()
    }

    /// Adds a kubeconfig that came from outside, under a name: that is the name of its current (or only) context;
    /// further ones are listed as `name/context`. One of the same name is replaced. Checks its server's address.
    pub async fn add_uploaded(&self, name: &str, text: &str) -> Result<Uploaded, ClusterError> {
        let checked = self.check_upload(name, text).await?;
        Ok(self.take_upload(checked))
    }

    /// Whether a kubeconfig may be added under this name; nothing is added yet.
    pub(crate) async fn check_upload(&self, name: &str, text: &str) -> Result<Checked, ClusterError> {
        let checked = self.read_upload(name, text)?;
        let config = &*checked.upload.config;
        for context in &config.contexts {
            upload::check_address(name, Entry { config, context }).await?;
        }
        Ok(checked)
    }

    /// As [`Clusters::check_upload`], without looking for its servers: one that was taken in the past stays, and
    /// their addresses are checked before each connection.
    pub(crate) fn read_upload(&self, name: &str, text: &str) -> Result<Checked, ClusterError> {
        let refuse = |reason: &str| ClusterError::KubeconfigRefused {
            source_name: name.to_owned(),
            what: "the name".to_owned(),
            reason: reason.to_owned(),
        };
        let fit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.len() > 63 || !name.chars().all(fit) {
            return Err(refuse(
                "may have up to 63 letters, digits, dots, dashes and underscores",
            ));
        }
        if let Ok(loaded) = self.inner.loaded()
            && Entry::find(&loaded.config, name).is_some()
        {
            return Err(refuse("is that of a context in the host's own files"));
        }
        let (config, warnings) = upload::read(name, text)?;
        let upload = Upload {
            text: text.to_owned(),
            config: Arc::new(config),
        };
        Ok(Checked {
            name: name.to_owned(),
            upload,
            warnings,
        })
    }

    /// Adds what was checked, in the place of one that has its name.
    pub(crate) fn take_upload(&self, checked: Checked) -> Uploaded {
        let Checked {
            name,
            upload,
            warnings,
        } = checked;
        let contexts = infos_of(&name, &upload.config, false);
        let mut state = self.inner.state.lock();
        state.forget(&name);
        state.uploads.insert(name, upload);
        Uploaded { contexts, warnings }
    }

    /// Lists an upload that is kept somewhere and cannot be used, in the place of one that has its name.
    pub(crate) fn take_unusable(&self, name: &str, problem: Problem) {
        let mut state = self.inner.state.lock();
        state.forget(name);
        state.unusable.insert(name.to_owned(), problem);
    }

    /// Forgets an uploaded kubeconfig and the connections made by it; whether there was one.
    pub fn remove_uploaded(&self, name: &str) -> bool {
        self.inner.state.lock().forget(name)
    }

    /// The text of an uploaded kubeconfig, for who keeps it sealed. It is full of secrets.
    pub fn uploaded(&self, name: &str) -> Option<String> {
        let state = self.inner.state.lock();
        state.uploads.get(name).map(|upload| upload.text.clone())
    }

    fn named(&self, context: Option<&str>) -> Result<String, ClusterError> {
        if let Some(context) = context {
            return Ok(context.to_owned());
        }
        let contexts = self.contexts()?;
        let current = contexts.iter().find(|info| info.current);
        match (current, &contexts[..]) {
            (Some(info), _) | (None, [info]) => Ok(info.context.clone()),
            _ => Err(ClusterError::UnknownContext {
                context: String::new(),
                known: contexts.into_iter().map(|info| info.context).collect(),
            }),
        }
    }
}

impl State {
    /// Whether there was such an upload.
    fn forget(&mut self, name: &str) -> bool {
        let unusable = self.unusable.remove(name).is_some();
        let Some(upload) = self.uploads.remove(name) else {
            return unusable;
        };
        for info in infos_of(name, &upload.config, false) {
            self.slots.remove(&info.context);
        }
        true
    }
}

impl Inner {
    /// The host owner's kubeconfig as it is now.
    fn loaded(&self) -> Result<Arc<Loaded>, ClusterError> {
        if let Some(loaded) = &self.state.lock().loaded
            && !loaded.is_stale()
        {
            return Ok(loaded.clone());
        }
        let loaded = Arc::new(kubeconfig::load(&self.source)?);
        self.state.lock().loaded = Some(loaded.clone());
        Ok(loaded)
    }

    fn place(&self, name: &str) -> Result<Place, ClusterError> {
        let loaded = self.loaded();
        if let Ok(loaded) = &loaded
            && let Some(at) = loaded.config.contexts.iter().position(|c| c.name == name)
        {
            return Ok(Place {
                config: Arc::new(loaded.config.clone()),
                context: name.to_owned(),
                source: loaded.sources[at].clone(),
                uploaded: false,
            });
        }
        let state = self.state.lock();
        let mut known: Vec<String> = Vec::new();
        for (upload_name, upload) in &state.uploads {
            for context in &upload.config.contexts {
                let listed = listed_as(upload_name, &upload.config, &context.name);
                if listed == name {
                    return Ok(Place {
                        config: upload.config.clone(),
                        context: context.name.clone(),
                        source: upload_name.clone(),
                        uploaded: true,
                    });
                }
                known.push(listed);
            }
        }
        let upload = name.split_once('/').map_or(name, |(upload, _)| upload);
        if let Some(problem) = state.unusable.get(upload) {
            return Err(ClusterError::UploadUnusable {
                context: name.to_owned(),
                reason: problem.message.clone(),
                remedy: problem.remedy.clone(),
            });
        }
        match loaded {
            Ok(loaded) => {
                let own = loaded.config.contexts.iter().map(|c| c.name.clone());
                known.splice(0..0, own);
            }
            Err(error) if known.is_empty() => return Err(error),
            Err(_) => {}
        }
        Err(ClusterError::UnknownContext {
            context: name.to_owned(),
            known,
        })
    }

    async fn open(self: Arc<Self>, name: String, place: Place) -> Result<Arc<Cluster>, ClusterError> {
        let server = place.entry().map(|entry| entry.server()).unwrap_or_default();
        let settings = self.settings.clone();
        let gate = Gate::default();
        let make: MakeClient = {
            let (name, gate) = (name.clone(), gate.clone());
            Box::new(move || {
                let (inner, name, gate) = (self.clone(), name.clone(), gate.clone());
                Box::pin(async move { inner.client(&name, gate).await })
            })
        };
        let connection = Connection::new(name, server, settings, gate, make).await?;
        Cluster::new(connection).await.map(Arc::new)
    }

    /// A client of what the kubeconfig says now.
    async fn client(self: Arc<Self>, name: &str, gate: Gate) -> Result<Made, ClusterError> {
        let place = self.place(name)?;
        let pinned = match place.entry() {
            Some(entry) if place.uploaded => Some(upload::check_address(&place.source, entry).await?),
            _ => None,
        };
        let (connect, name) = (self.settings.connect, name.to_owned());
        let failed = {
            let context = name.clone();
            move |reason: String| ClusterError::Credentials { context, reason }
        };
        let hidden = place
            .entry()
            .map(|entry| entry.confidential())
            .unwrap_or_default();
        // Exec plugins run in here, and have half a minute.
        let making = tokio::task::spawn_blocking(move || {
            let mut config =
                kubeconfig::client_config(&place.config, &place.context, &place.source, connect)?;
            if let Some(address) = pinned {
                upload::pin(&mut config, address).ok_or_else(|| ClusterError::KubeconfigRefused {
                    source_name: place.source.clone(),
                    what: "server".into(),
                    reason: "is not an address".into(),
                })?;
            }
            kubeconfig::client(config, gate, &name, &place.source)
        });
        match tokio::time::timeout(self.settings.request, making).await {
            Ok(Ok(Ok(client))) => Ok(Made { client, hidden }),
            Ok(Ok(Err(error))) => Err(error.without(&hidden)),
            // Its message may repeat what it stumbled over.
            Ok(Err(_)) => Err(failed(
                "making a client failed by a fault in this program".to_owned(),
            )),
            Err(_) => Err(failed(format!(
                "its plugin did not end within {} s",
                self.settings.request.as_secs()
            ))),
        }
    }
}

fn info(entry: Entry<'_>, context: String, current: bool, source: &str) -> ContextInfo {
    let inside = entry.context.context.as_ref();
    ContextInfo {
        context,
        server: entry.server(),
        namespace: inside
            .and_then(|context| context.namespace.clone())
            .unwrap_or_else(|| "default".into()),
        user: inside.and_then(|context| context.user.clone()),
        current,
        source: source.to_owned(),
        problem: None,
    }
}

fn infos_of(name: &str, config: &Kubeconfig, alone: bool) -> Vec<ContextInfo> {
    config
        .contexts
        .iter()
        .map(|context| {
            let listed = listed_as(name, config, &context.name);
            let current = alone && listed == name;
            info(Entry { config, context }, listed, current, UPLOADED)
        })
        .collect()
}

/// The name under which a context of an upload is listed.
fn listed_as(upload: &str, config: &Kubeconfig, context: &str) -> String {
    if config.contexts.len() == 1 || config.current_context.as_deref() == Some(context) {
        upload.to_owned()
    } else {
        format!("{upload}/{context}")
    }
}

#[cfg(test)]
mod tests;
