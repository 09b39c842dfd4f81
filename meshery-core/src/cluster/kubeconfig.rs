//! Kubeconfigs: where they come from, how several become one, and what a client is made of.
//!
//! The owner of the host may use everything in them, as with kubectl: lists of files, relative paths, exec plugins, a
//! pod's service account. What may be in one that comes from outside is `upload`'s to say.

pub(super) mod upload;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use hyper_util::client::proxy::matcher::Matcher;
use kube::client::ClientBuilder;
use kube::config::{
    AuthInfo, ExecInteractiveMode, InClusterError, Kubeconfig, KubeconfigError, NamedContext,
};
use ring::digest::{SHA256, digest};

use super::connection::reason_of;
use super::error::ClusterError;
use super::gate::Gate;
use crate::confidential::Confidential;

/// Where contexts come from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum KubeconfigSource {
    /// As kubectl does it: the files of `KUBECONFIG`, else `~/.kube/config`, else the service account of the pod we
    /// run in.
    #[default]
    Default,
    /// This file.
    Path(PathBuf),
}

/// The context of the pod we run in.
pub(super) const IN_CLUSTER: &str = "in-cluster";

/// What was read, and of what.
#[derive(Debug, Clone)]
pub(super) struct Loaded {
    pub(super) config: Kubeconfig,
    /// The file that each context is from, in the order of the contexts.
    pub(super) sources: Vec<String>,
    files: Vec<Stamp>,
}

/// A file as it was when it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    path: PathBuf,
    state: Option<(SystemTime, u64)>,
}

impl Stamp {
    fn of(path: &Path) -> Self {
        let state = fs::metadata(path)
            .ok()
            .and_then(|file| Some((file.modified().ok()?, file.len())));
        Self {
            path: path.to_owned(),
            state,
        }
    }
}

impl Loaded {
    pub(super) fn is_stale(&self) -> bool {
        self.files.iter().any(|stamp| Stamp::of(&stamp.path) != *stamp)
    }

    pub(super) fn current(&self) -> Option<&str> {
        self.config.current_context.as_deref()
    }
}

/// Reads the kubeconfig, or the list of them, that the source stands for.
pub(super) fn load(source: &KubeconfigSource) -> Result<Loaded, ClusterError> {
    let paths = match source {
        KubeconfigSource::Path(path) => {
            return merge(std::slice::from_ref(path), false);
        }
        KubeconfigSource::Default => default_paths(),
    };
    if paths.iter().any(|path| path.exists()) {
        return merge(&paths, true);
    }
    if env::var_os("KUBERNETES_SERVICE_HOST").is_some() {
        return Ok(in_cluster(&paths));
    }
    let mut looked: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    looked.push("the service account of a pod".into());
    Err(ClusterError::NoKubeconfig { looked })
}

fn default_paths() -> Vec<PathBuf> {
    let listed = env::var_os("KUBECONFIG").filter(|list| !list.is_empty());
    match (listed, env::home_dir()) {
        (Some(list), _) => env::split_paths(&list)
            .filter(|path| !path.as_os_str().is_empty())
            .collect(),
        (None, Some(home)) => vec![home.join(".kube/config")],
        (None, None) => Vec::new(),
    }
}

/// The first file wins, entry by entry, and so does the first that names a current context.
fn merge(paths: &[PathBuf], skip_missing: bool) -> Result<Loaded, ClusterError> {
    let mut loaded = Loaded {
        config: Kubeconfig::default(),
        sources: Vec::new(),
        files: paths.iter().map(|path| Stamp::of(path)).collect(),
    };
    for path in paths {
        if skip_missing && !path.exists() {
            continue;
        }
        let source_name = path.display().to_string();
        let mut next = Kubeconfig::read_from(path).map_err(|error| bad(&source_name, &error))?;
        // To kubectl an empty name is no name.
        next.current_context.take_if(|context| context.is_empty());
        loaded.config = loaded
            .config
            .merge(next)
            .map_err(|error| bad(&source_name, &error))?;
        loaded.sources.resize(loaded.config.contexts.len(), source_name);
    }
    Ok(loaded)
}

fn in_cluster(looked: &[PathBuf]) -> Loaded {
    let context = NamedContext {
        name: IN_CLUSTER.into(),
        ..NamedContext::default()
    };
    Loaded {
        config: Kubeconfig {
            contexts: vec![context],
            current_context: Some(IN_CLUSTER.into()),
            ..Kubeconfig::default()
        },
        sources: vec![IN_CLUSTER.into()],
        files: looked.iter().map(|path| Stamp::of(path)).collect(),
    }
}

/// One context of a kubeconfig, with its cluster's and its user's entries.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) config: &'a Kubeconfig,
    pub(super) context: &'a NamedContext,
}

impl<'a> Entry<'a> {
    pub(super) fn find(config: &'a Kubeconfig, context: &str) -> Option<Self> {
        let context = config.contexts.iter().find(|entry| entry.name == context)?;
        Some(Self { config, context })
    }

    fn cluster(&self) -> Option<&'a kube::config::Cluster> {
        let name = &self.context.context.as_ref()?.cluster;
        let entry = self.config.clusters.iter().find(|entry| entry.name == *name)?;
        entry.cluster.as_ref()
    }

    fn user(&self) -> Option<&'a AuthInfo> {
        let name = self.context.context.as_ref()?.user.as_ref()?;
        let entry = self.config.auth_infos.iter().find(|entry| entry.name == *name)?;
        entry.auth_info.as_ref()
    }

    pub(super) fn is_in_cluster(&self) -> bool {
        self.context.name == IN_CLUSTER && self.context.context.is_none()
    }

    /// Address of the API server, as it is shown; empty when the entries do not fit together.
    pub(super) fn server(&self) -> String {
        without_password(&self.address())
    }

    /// Address of the API server as it stands there.
    fn address(&self) -> String {
        if self.is_in_cluster() {
            return kube::Config::incluster().map_or_else(|_| String::new(), |c| c.cluster_url.to_string());
        }
        self.cluster()
            .and_then(|cluster| cluster.server.clone())
            .unwrap_or_default()
    }

    /// What of it no error repeats: all that is in the user's entry but names and paths, and passwords in addresses.
    pub(super) fn confidential(&self) -> Confidential {
        let mut texts = Confidential::default();
        let user = serde_json::to_value(self.user()).unwrap_or_default();
        for field in ["token", "password", "client-key-data", "auth-provider"] {
            texts.add(&user[field]);
        }
        texts.add(&user["exec"]["args"]);
        for variable in user["exec"]["env"].as_array().into_iter().flatten() {
            texts.add(&variable["value"]);
        }
        if let Some(cluster) = self.cluster() {
            for address in [&cluster.server, &cluster.proxy_url].into_iter().flatten() {
                if let Some((_, password)) = userinfo(address).and_then(|info| info.split_once(':')) {
                    texts.add(&password.into());
                }
            }
        }
        texts
    }

    /// Tells two states of the same context apart, without keeping what is secret in them.
    pub(super) fn fingerprint(&self) -> [u8; 32] {
        let text = serde_json::to_vec(&(&self.context.context, self.cluster(), self.user()));
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, &text.unwrap_or_default()).as_ref());
        hash
    }
}

/// The part of an address that says who asks.
fn userinfo(address: &str) -> Option<&str> {
    let (_, rest) = address.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    authority.rsplit_once('@').map(|(info, _)| info)
}

/// An address as it is shown.
fn without_password(address: &str) -> String {
    match userinfo(address) {
        Some(info) => address.replacen(&format!("{info}@"), "", 1),
        None => address.to_owned(),
    }
}

/// What a client is made of, for one context. Runs exec plugins: not for an async thread.
pub(super) fn client_config(
    config: &Kubeconfig,
    context: &str,
    source_name: &str,
    connect: Duration,
) -> Result<kube::Config, ClusterError> {
    let fault = |reason: String| ClusterError::BadKubeconfig {
        source_name: source_name.to_owned(),
        line: None,
        column: None,
        reason,
    };
    let entry = Entry::find(config, context)
        .ok_or_else(|| fault(format!("it has no context \"{context}\" any more")))?;
    let mut made = if entry.is_in_cluster() {
        kube::Config::incluster().map_err(|error: InClusterError| ClusterError::Credentials {
            context: context.to_owned(),
            reason: error.to_string(),
        })?
    } else {
        settled(entry)
            .map_err(fault)
            .and_then(|config| kube::Config::try_from(config).map_err(|error| bad(source_name, &error)))?
    };
    // Nothing sends it, and the library's log has the address of each request.
    if let Ok(address) = without_password(&made.cluster_url.to_string()).parse() {
        made.cluster_url = address;
    }
    made.connect_timeout = Some(connect);
    // Ours knows which requests may be repeated.
    made.default_retry = false;
    let named = entry
        .cluster()
        .and_then(|cluster| cluster.proxy_url.as_deref())
        .is_some_and(|url| !url.is_empty());
    if !named && !behind_proxy(&made.cluster_url) {
        made.proxy_url = None;
    }
    Ok(made)
}

/// The kubeconfig with the context as its current one, and with kubectl's reading of what is said twice.
fn settled(entry: Entry<'_>) -> Result<Kubeconfig, String> {
    let name = &entry.context.name;
    let cluster = entry
        .cluster()
        .ok_or_else(|| format!("context \"{name}\" names a cluster that is not in it"))?;
    if cluster.insecure_skip_tls_verify == Some(true)
        && (cluster.certificate_authority.is_some() || cluster.certificate_authority_data.is_some())
    {
        return Err(format!(
            "the cluster of context \"{name}\" has both a certificate authority and insecure-skip-tls-verify"
        ));
    }
    let mut user = entry.user().cloned().unwrap_or_default();
    if user.token_file.is_some() {
        user.token = None;
    }
    if (user.token.is_some() || user.token_file.is_some()) && user.username.is_some() {
        return Err(format!(
            "the user of context \"{name}\" has both a token and a user name"
        ));
    }
    if let Some(exec) = &mut user.exec {
        if exec.interactive_mode == Some(ExecInteractiveMode::Always) {
            return Err(format!(
                "the exec plugin of context \"{name}\" wants to ask questions, and there is nobody to answer"
            ));
        }
        exec.interactive_mode = Some(ExecInteractiveMode::Never);
    }
    let mut config = entry.config.clone();
    config.current_context = Some(name.clone());
    let user_name = entry.context.context.as_ref().and_then(|c| c.user.as_ref());
    for named in &mut config.auth_infos {
        if Some(&named.name) == user_name {
            named.auth_info = Some(user.clone());
        }
    }
    Ok(config)
}

/// Whether the environment wants a proxy between us and that address. Never for this machine itself.
fn behind_proxy(url: &http::Uri) -> bool {
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    let local = host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    !local && Matcher::from_env().intercept(url).is_some()
}

/// Makes the client. Not for an async thread, but in reach of the runtime.
pub(super) fn client(
    config: kube::Config,
    gate: Gate,
    context: &str,
    source_name: &str,
) -> Result<kube::Client, ClusterError> {
    let made = ClientBuilder::try_from((config, gate)).map(ClientBuilder::build);
    made.map_err(|error| match error {
        kube::Error::Auth(auth) => ClusterError::Credentials {
            context: context.to_owned(),
            reason: reason_of(&auth),
        },
        kube::Error::InferKubeconfig(error) => bad(source_name, &error),
        other => ClusterError::BadKubeconfig {
            source_name: source_name.to_owned(),
            line: None,
            column: None,
            reason: other.to_string(),
        },
    })
}

fn bad(source_name: &str, error: &KubeconfigError) -> ClusterError {
    let mut fault = match error {
        KubeconfigError::Parse(error) => return upload::unreadable(source_name, error),
        KubeconfigError::ReadConfig(io, _) => format!("it cannot be read: {io}"),
        other => other.to_string(),
    };
    fault.truncate(fault.find('\n').unwrap_or(fault.len()));
    ClusterError::BadKubeconfig {
        source_name: source_name.to_owned(),
        line: None,
        column: None,
        reason: fault,
    }
}

#[cfg(test)]
mod tests;
