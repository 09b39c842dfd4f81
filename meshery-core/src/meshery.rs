//! The engine as a whole: built once, then one handle per concept.

mod builder;
mod key_watch;
mod restoring;
mod supplies;
mod uploads;

pub use builder::MesheryBuilder;
pub use restoring::Restored;
pub use supplies::{Supplies, Wanted};

use std::sync::Arc;

use meshery_plugin_api::message::facts::{Facts, Need};
use meshery_plugin_api::message::finding::{Finding, Installation};

use crate::applications::Applications;
use crate::cluster::chart::Charts;
use crate::cluster::clusters::Uploaded;
use crate::cluster::{Cluster, Clusters, ContextInfo};
use crate::operation::{Operations, clock};
use crate::plugin::{Adapter, Plugins};
use crate::problem::{Problem, ProblemKind};
use crate::provider::Store;
use uploads::{IfThere, Uploads};

/// The engine: plugins, clusters, the store, operations. Cheap to clone.
///
/// ```no_run
/// # async fn example() -> Result<(), meshery_core::problem::Problem> {
/// use meshery_core::Meshery;
/// use meshery_core::operation::NewOperation;
///
/// let meshery = Meshery::builder("/var/lib/meshery").plugin_folder("/usr/lib/meshery").build().await?;
/// let operations = meshery.operations()?;
/// let planned = operations.plan(NewOperation {
///     adapter: "some-mesh".into(),
///     operation: "install".into(),
///     ..NewOperation::default()
/// }).await?;
/// println!("{:#?}", operations.preview(&planned.id).await?);
/// operations.run(&planned.id).await?;
/// let ended = operations.wait_ended(&planned.id).await?;
/// println!("{}", ended.state);
/// meshery.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Meshery {
    inner: Arc<Inner>,
}

struct Inner {
    plugins: Arc<Plugins>,
    clusters: Clusters,
    charts: Charts,
    applications: Applications,
    store: Option<Store>,
    uploads: Option<Arc<Uploads>>,
    operations: Option<Operations>,
    notices: Vec<Problem>,
    /// One refresh of versions at a time.
    refreshing: tokio::sync::Mutex<()>,
}

impl std::fmt::Debug for Meshery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Meshery")
            .field("plugins", &self.inner.plugins)
            .finish_non_exhaustive()
    }
}

impl Meshery {
    /// Settings for an engine with this data folder.
    pub fn builder(data: impl Into<std::path::PathBuf>) -> MesheryBuilder {
        MesheryBuilder::new(data.into())
    }

    /// The plugins, loaded and refused.
    pub fn plugins(&self) -> &Plugins {
        &self.inner.plugins
    }

    /// An adapter by name.
    pub fn adapter(&self, name: &str) -> Result<Arc<Adapter>, Problem> {
        Ok(self.inner.plugins.adapter(name)?)
    }

    /// The clusters that can be reached.
    pub fn clusters(&self) -> &Clusters {
        &self.inner.clusters
    }

    /// The charts that can be had.
    pub fn charts(&self) -> &Charts {
        &self.inner.charts
    }

    pub(crate) fn refreshing(&self) -> &tokio::sync::Mutex<()> {
        &self.inner.refreshing
    }

    /// The applications that the host's owner has put down.
    pub fn applications(&self) -> &Applications {
        &self.inner.applications
    }

    /// Documents, content and journals; a problem when no provider is loaded.
    pub fn store(&self) -> Result<&Store, Problem> {
        self.inner.store.as_ref().ok_or_else(|| self.no_provider())
    }

    /// Operations; a problem when no provider is loaded, because nothing is changed that cannot be recorded.
    pub fn operations(&self) -> Result<&Operations, Problem> {
        self.inner.operations.as_ref().ok_or_else(|| self.no_provider())
    }

    /// What an adapter would be told about a cluster to detect installations.
    pub async fn facts(&self, context: Option<&str>, adapter: &str) -> Result<Facts, Problem> {
        let adapter = self.adapter(adapter)?;
        let cluster = self.inner.clusters.connect(context).await?;
        read_facts(&cluster, &self.inner.charts, &adapter.descriptor().detect_needs).await
    }

    /// The installations of an adapter's mesh in a cluster.
    pub async fn detect(&self, context: Option<&str>, adapter: &str) -> Result<Vec<Installation>, Problem> {
        let facts = self.facts(context, adapter).await?;
        Ok(self.adapter(adapter)?.detect(&facts).await?)
    }

    /// What an adapter finds wrong with the configuration of its mesh in a cluster.
    pub async fn analyze(&self, context: Option<&str>, adapter: &str) -> Result<Vec<Finding>, Problem> {
        let adapter = self.adapter(adapter)?;
        let cluster = self.inner.clusters.connect(context).await?;
        let facts = read_facts(&cluster, &self.inner.charts, &adapter.descriptor().analyze_needs).await?;
        Ok(adapter.analyze(&facts).await?)
    }

    /// Adds a kubeconfig that came from outside; it is kept, sealed, and there again after a restart. The problem
    /// is `cluster-exists` when one has this name already.
    pub async fn add_cluster(&self, name: &str, kubeconfig: &str) -> Result<Uploaded, Problem> {
        self.upload(name, kubeconfig, IfThere::Refuse).await
    }

    /// As [`Meshery::add_cluster`], in the place of the one that has this name, if there is one.
    pub async fn replace_cluster(&self, name: &str, kubeconfig: &str) -> Result<Uploaded, Problem> {
        self.upload(name, kubeconfig, IfThere::Replace).await
    }

    async fn upload(&self, name: &str, kubeconfig: &str, if_there: IfThere) -> Result<Uploaded, Problem> {
        let (name, kubeconfig) = (name.to_owned(), kubeconfig.to_owned());
        let uploads = self.uploads()?;
        to_its_end(async move { uploads.add(&name, &kubeconfig, if_there).await }).await
    }

    /// Forgets such a kubeconfig. Those in the host owner's files are not ours to remove.
    pub async fn remove_cluster(&self, name: &str) -> Result<(), Problem> {
        let name = name.to_owned();
        let uploads = self.uploads()?;
        to_its_end(async move { uploads.remove(&name).await }).await
    }

    fn uploads(&self) -> Result<Arc<Uploads>, Problem> {
        self.inner.uploads.clone().ok_or_else(|| self.no_provider())
    }

    /// What was found at the start that its owner should know, and that was no reason not to start.
    pub fn notices(&self) -> &[Problem] {
        &self.inner.notices
    }

    /// One context by name, or the current one.
    pub fn context(&self, name: Option<&str>) -> Result<ContextInfo, Problem> {
        let contexts = self.inner.clusters.contexts()?;
        let known = contexts.iter().map(|context| context.context.clone()).collect();
        let alone = contexts.len() == 1;
        contexts
            .into_iter()
            .find(|context| name.map_or(context.current || alone, |name| context.context == name))
            .ok_or_else(|| {
                crate::cluster::ClusterError::UnknownContext {
                    context: name.unwrap_or_default().to_owned(),
                    known,
                }
                .into()
            })
    }

    /// Stops: running operations stop at the next safe point and are taken up again after the next start; then the
    /// plugins end.
    pub async fn shutdown(&self) {
        if let Some(operations) = &self.inner.operations {
            operations.shutdown().await;
        }
        self.inner.plugins.shutdown().await;
    }

    fn no_provider(&self) -> Problem {
        let refused = self
            .inner
            .plugins
            .list()
            .into_iter()
            .filter(|plugin| plugin.kind == meshery_plugin_api::message::descriptor::PluginKind::Provider)
            .find_map(|plugin| plugin.error);
        let problem = Problem::new(
            ProblemKind::Unavailable,
            "no-provider",
            "no provider is loaded, so nothing can be kept or changed",
        );
        match refused {
            Some(why) if why.code == "plugin-other-provider" => problem.cause(why.message).remedy(
                "name the provider that is there by `name` under [provider] in the settings, or put the one that is \
                 named there beside the host",
            ),
            Some(why) => problem.cause(why.message).remedy(why.remedy),
            None => {
                problem.remedy("put a provider plugin beside the host, or name its folder with --plugins")
            }
        }
    }
}

/// Works to the end even when whoever waits for it goes away, so that store and memory stay alike.
async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Problem>> + Send + 'static,
) -> Result<T, Problem> {
    tokio::spawn(work).await.unwrap_or_else(|error| {
        let message = format!("the host failed while it worked on this: {error}");
        Err(Problem::new(ProblemKind::Internal, "host-panicked", message))
    })
}

/// Reads what a method of an adapter needs, its braces filled in before.
pub(crate) async fn read_facts(cluster: &Cluster, charts: &Charts, needs: &[Need]) -> Result<Facts, Problem> {
    let (kinds, charts) = futures::join!(cluster.facts(needs), charts.facts());
    Ok(Facts {
        now: clock::now(),
        cluster: cluster.cluster_facts(),
        kinds: kinds?,
        charts: charts?,
        listed: Vec::new(),
    })
}
