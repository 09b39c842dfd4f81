//! Settings of the engine, and its start.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::key_watch;
use super::uploads::Uploads;
use super::{Inner, Meshery};
use crate::applications::Applications;
use crate::cluster::chart::{ChartSettings, Charts, Downloads};
use crate::cluster::lease::{LeaseSettings, TERMS};
use crate::cluster::{Clusters, KubeconfigSource};
use crate::host_identity::HostIdentity;
use crate::images::ImageSource;
use crate::operation::secret::seal::HostKey;
use crate::operation::{EngineSettings, Operations, Retention, Then};
use crate::plugin::{Isolation, PluginSettings, Plugins};
use crate::problem::{Problem, ProblemKind};
use crate::provider::Store;

/// Folder of applications in the data folder.
const APPLICATIONS: &str = "applications";

/// Settings of the engine. Everything but the data folder has a default.
#[derive(Debug, Clone)]
#[must_use]
pub struct MesheryBuilder {
    plugins: PluginSettings,
    kubeconfig: KubeconfigSource,
    charts: ChartSettings,
    accept_key: bool,
    rotate_key: bool,
    engine: EngineSettings,
}

impl MesheryBuilder {
    pub(super) fn new(data: PathBuf) -> Self {
        let plugins = PluginSettings::new(data);
        Self {
            charts: ChartSettings {
                cache: plugins.cache.clone(),
                kept: Some(plugins.data.clone()),
                ..ChartSettings::default()
            },
            kubeconfig: KubeconfigSource::Default,
            accept_key: false,
            rotate_key: false,
            engine: EngineSettings {
                applications: Applications::new(plugins.data.join(APPLICATIONS)),
                images: ImageSource::default(),
                lease: LeaseSettings::default(),
                retention: Retention::default(),
            },
            plugins,
        }
    }

    /// Adds a folder in which every `*.so` is a plugin.
    pub fn plugin_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.plugins.folders.push(folder.into());
        self
    }

    /// The folder of the program's own binary: `libmeshery_*.so` in it are plugins, trusted like the binary.
    pub fn own_plugin_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.plugins.own_folder = Some(folder.into());
        self
    }

    /// Where plugins run.
    pub fn isolation(mut self, isolation: Isolation) -> Self {
        self.plugins.isolation = isolation;
        self
    }

    /// Where single plugins run, by name.
    pub fn isolation_of(mut self, isolation: BTreeMap<String, Isolation>) -> Self {
        self.plugins.isolation_of = isolation;
        self
    }

    /// Which provider keeps what has to be kept, and its part of the settings.
    pub fn provider(mut self, name: impl Into<String>, config: Value) -> Self {
        self.plugins.provider_name = name.into();
        self.plugins.provider_config = config;
        self
    }

    /// Where contexts come from.
    pub fn kubeconfig(mut self, source: KubeconfigSource) -> Self {
        self.kubeconfig = source;
        self
    }

    /// A folder of chart archives, searched with its subfolders.
    pub fn mirror(mut self, folder: impl Into<PathBuf>) -> Self {
        self.charts.mirror = Some(folder.into());
        self
    }

    /// The helm program; searched on PATH when not given.
    pub fn helm(mut self, program: impl Into<PathBuf>) -> Self {
        self.charts.helm = Some(program.into());
        self
    }

    /// Never ask a chart repository.
    pub fn offline(mut self, offline: bool) -> Self {
        self.charts.offline = offline;
        self
    }

    /// Addresses that a chart repository's address must begin with; any public https address when there is none.
    pub fn repositories(mut self, addresses: Vec<String>) -> Self {
        self.charts.repositories = addresses;
        self
    }

    /// How chart repositories are reached.
    pub fn downloads(mut self, downloads: Downloads) -> Self {
        self.charts.downloads = downloads;
        self
    }

    /// Where images come from, and what they are pulled with, unless an operation says otherwise.
    pub fn images(mut self, images: ImageSource) -> Self {
        self.engine.images = images;
        self
    }

    /// Where applications are, a folder of YAML files for each: `applications` in the data folder, unless this says
    /// otherwise.
    pub fn applications(mut self, folder: impl Into<PathBuf>) -> Self {
        self.engine.applications = Applications::new(folder.into());
        self
    }

    /// How hosts take turns at a cluster. A term outside of [`TERMS`] is taken as the nearest within.
    pub fn lease(mut self, lease: LeaseSettings) -> Self {
        let term = lease.term.as_secs().clamp(*TERMS.start(), *TERMS.end());
        self.engine.lease = LeaseSettings {
            term: Duration::from_secs(term),
            ..lease
        };
        self
    }

    /// How long operations are kept.
    pub fn retention(mut self, retention: Retention) -> Self {
        self.engine.retention = retention;
        self
    }

    /// Takes the key in `host.key` for the right one, although the provider's content was sealed with another that
    /// is lost: what was sealed stays closed, and is not spoken of any more in [`Meshery::notices`].
    pub fn accept_key(mut self, accept: bool) -> Self {
        self.accept_key = accept;
        self
    }

    /// Makes a new host key at the start. Kubeconfigs are sealed anew; the old key is kept beside the new one, to open
    /// what operations have sealed with it.
    pub fn rotate_key(mut self, rotate: bool) -> Self {
        self.rotate_key = rotate;
        self
    }

    /// Starts: makes the data folder, loads plugins, and takes up what was interrupted. Plugins that cannot be
    /// loaded are no reason to fail; see [`Plugins::list`].
    pub async fn build(self) -> Result<Meshery, Problem> {
        let data = self.plugins.data.clone();
        self.engine.images.check()?;
        make_folder(&data)?;
        let applications = self.engine.applications.clone();
        if applications.folder() == data.join(APPLICATIONS) {
            // So that it is there to put something into.
            if let Err(problem) = make_folder(applications.folder()) {
                tracing::warn!(code = %problem.code, "{problem}");
            }
        }
        let key_file = data.join("host.key");
        if self.rotate_key {
            HostKey::retire(&key_file)?;
        }
        let key = Arc::new(HostKey::load_or_create(&key_file)?);
        let charts = Charts::new(self.charts);
        let clusters = Clusters::new(self.kubeconfig);
        let plugins = Arc::new(Plugins::load(self.plugins).await);
        let store = plugins.provider().map(|provider| Store::new(provider));
        let mut notices = Vec::new();
        let (uploads, operations) = match &store {
            None => (None, None),
            Some(store) => {
                let uploads = Uploads::new(store.clone(), key.clone(), clusters.clone());
                match uploads.restore().await {
                    Ok(opened) => {
                        let compared = key_watch::compare(store, &key, opened, self.accept_key).await;
                        notices.extend(compared.unwrap_or_else(|problem| Some(not_compared(problem))));
                    }
                    Err(problem) => notices.push(not_restored(problem)),
                }
                let operations = Operations::new(
                    store.clone(),
                    plugins.clone(),
                    clusters.clone(),
                    charts.clone(),
                    key,
                    HostIdentity::open(&data),
                    self.engine,
                );
                operations.recover(Then::ByPolicy).await;
                operations.keep_pruning();
                (Some(Arc::new(uploads)), Some(operations))
            }
        };
        for notice in &notices {
            tracing::warn!(code = %notice.code, "{notice}");
        }
        Ok(Meshery {
            inner: Arc::new(Inner {
                plugins,
                clusters,
                charts,
                applications,
                store,
                uploads,
                operations,
                notices,
                refreshing: tokio::sync::Mutex::default(),
            }),
        })
    }
}

fn not_restored(problem: Problem) -> Problem {
    let message = format!("uploaded clusters could not be read: {}", problem.message);
    Problem::new(problem.kind, "clusters-unread", message)
        .cause(problem.cause)
        .remedy("make the provider work and start the host again; nothing is lost")
}

fn not_compared(problem: Problem) -> Problem {
    let message = format!(
        "whether the host's key is the right one could not be found out: {}",
        problem.message
    );
    Problem::new(problem.kind, "host-key-unknown", message)
        .cause(problem.cause)
        .remedy("make the provider work and start the host again")
}

fn make_folder(path: &std::path::Path) -> Result<(), Problem> {
    use std::os::unix::fs::DirBuilderExt as _;
    if path.is_dir() {
        return Ok(());
    }
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| {
            Problem::new(
                ProblemKind::Internal,
                "data-folder",
                format!("the folder {} cannot be made: {error}", path.display()),
            )
            .remedy("choose a folder that can be written to")
        })
}
