//! Charts: had from a mirror, a repository or the cache, read without trust, rendered by the `helm` program.
//!
//! Nothing but Helm renders charts as Helm does, so the program is the renderer; it is only that. It sees one archive
//! whose digest was checked, an empty home, no cluster and no network, and has a deadline. What it prints is split
//! into objects here; the engine writes them. Charts are rendered once, when a plan is made: two renderings of the
//! same input may differ (some charts make certificates), and what was previewed has to be what runs.
//!
//! Left to others: applying, ordering across steps, the release record, asking the server which kinds live in a
//! namespace (helm leaves an object's namespace out, see [`RenderedObject::needs_namespace`]).

mod address;
mod archive;
mod cache;
mod content;
mod digest;
mod documents;
mod error;
mod failure;
mod helm;
mod index;
mod kept;
mod mirror;
mod notes;
#[cfg(test)]
pub(crate) mod packer;
mod process;
mod render;
mod repository;
mod rewritten;
mod source;
mod templates;
mod unknown;
mod version;
mod way;
mod yaml;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use meshery_plugin_api::message::facts::ChartFact;
use meshery_plugin_api::message::plan::ChartRef;
use serde_json::{Map, Value};
use tokio::sync::Semaphore;

use address::Rules;
use helm::Probes;
use mirror::Memory;

use crate::confidential::Confidential;

pub(crate) use archive::{LIMITS, safe_path};
pub(crate) use content::read as read_archive;
pub(crate) use digest::sha256;
pub(crate) use documents::recorded;
pub use error::ChartError;
pub use failure::{Place, Violation};
pub use way::Downloads;

/// Where charts come from and what renders them.
#[derive(Debug, Clone, Default)]
pub struct ChartSettings {
    /// A folder of chart archives, searched with its subfolders.
    pub mirror: Option<PathBuf>,
    /// Folder in whose `charts` those lie that were brought in a bundle; none when nothing can be brought.
    pub kept: Option<PathBuf>,
    /// Folder for what can be had again; it may be deleted at any time.
    pub cache: PathBuf,
    /// The helm program; searched on PATH when not given.
    pub helm: Option<PathBuf>,
    /// Whether repositories must not be asked.
    pub offline: bool,
    /// Addresses that a repository's address must begin with, compared part by part; when there is none, any public
    /// https address will do.
    pub repositories: Vec<String>,
    /// How repositories are reached.
    pub downloads: Downloads,
}

/// A chart: what its archive says, and the archive itself.
#[derive(Debug, Clone)]
pub struct Chart {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// Version of what it installs; empty when it does not say.
    pub app_version: String,
    /// SHA-256 of the archive, in hexadecimal.
    pub sha256: String,
    /// The archive, in the cache or in the mirror.
    pub path: PathBuf,
    /// The bytes of the archive; what is rendered is these, whatever became of the file.
    pub archive: Bytes,
    /// `Chart.yaml` as it stands.
    pub chart_yaml: String,
    /// `values.yaml` as it stands; empty when there is none.
    pub values_yaml: String,
    /// `values.schema.json`.
    pub values_schema: Option<Value>,
    /// Keys of the values that belong to charts inside it, or decide about them.
    pub(crate) inner: BTreeSet<String>,
    /// Whether a template asks the cluster by `lookup`: then a rendering without the cluster may differ from what
    /// Helm itself would install, and a preview has to say so.
    pub templates_use_lookup: bool,
    /// Whether it has something to say to whoever installs it.
    pub has_notes: bool,
    /// Whether the schema of the values refers to something outside the archive; helm would fetch it, so such a
    /// schema is not applied.
    pub schema_refers_out: bool,
    /// Versions of Kubernetes it is made for, as a range.
    pub kube_version: Option<String>,
}

impl Chart {
    /// The chart's own values; null when they cannot be read.
    pub(crate) fn default_values(&self) -> Value {
        yaml::read(&self.values_yaml).unwrap_or(Value::Null)
    }
}

/// What to render a chart with.
#[derive(Debug, Clone, Default)]
pub struct RenderRequest {
    /// Release name.
    pub release: String,
    /// Namespace of the release.
    pub namespace: String,
    /// Values, over the chart's own defaults.
    pub values: Map<String, Value>,
    /// The cluster's version, for example `v1.36.3`; helm's own idea when empty.
    pub kube_version: String,
    /// What the cluster serves, as `group/version` and `group/version/Kind`.
    pub api_versions: Vec<String>,
    /// Whether the release exists already; charts may render differently then.
    pub is_upgrade: bool,
}

/// What a chart rendered.
#[derive(Debug, Clone, Default)]
pub struct Rendered {
    /// The objects, in helm's order.
    pub objects: Vec<RenderedObject>,
    /// The hooks, in helm's order; they are no part of the release.
    pub hooks: Vec<Hook>,
    /// The hooks that `helm test` would run.
    pub tests: Vec<Hook>,
    /// The objects as helm printed them, for the record of the release: without the hooks and without what comes
    /// from the folder `crds`.
    pub manifest: String,
    /// What the chart says to whoever installs it, for the record of the release.
    pub notes: String,
    /// Version of the helm that rendered it.
    pub helm: String,
}

/// One object of a rendered chart.
#[derive(Debug, Clone)]
pub struct RenderedObject {
    /// The object.
    pub value: Value,
    /// The file it comes from, beginning with the chart's name.
    pub source: String,
    /// Whether it comes from the chart's `crds` folder: Helm makes those first and never changes or removes them.
    pub crd: bool,
    /// Whether it names no namespace: when its kind lives in one, it belongs into that of the release.
    pub needs_namespace: bool,
}

/// An object that is made at certain moments of a release's life.
#[derive(Debug, Clone)]
pub struct Hook {
    /// The object.
    pub value: Value,
    /// When: `pre-install`, `post-upgrade`, ...
    pub events: Vec<String>,
    /// Its place among the hooks of one moment, lowest first.
    pub weight: i64,
    /// The object as helm printed it.
    pub manifest: String,
    /// When it goes: `before-hook-creation` unless the chart says otherwise, `hook-succeeded`, `hook-failed`.
    pub delete_policies: Vec<String>,
    /// The file it comes from, beginning with the chart's name.
    pub source: String,
}

/// The charts that this host can have, and what renders them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Charts {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    settings: ChartSettings,
    rules: Rules,
    mirror: Memory,
    /// What is known of the charts that were brought.
    kept: Memory,
    helm: Probes,
    /// Each rendering takes a core and 100 MB.
    renderings: Semaphore,
    swept: AtomicBool,
}

/// How many charts are rendered at a time, and how long one waits for its turn.
const RENDERINGS: usize = 2;
const TURN: Duration = Duration::from_mins(2);
/// A folder of a rendering that is older was left by a host that was killed.
const LEFT_OVER: Duration = Duration::from_mins(10);

impl Charts {
    /// Charts by these settings. Does no input or output.
    pub fn new(settings: ChartSettings) -> Self {
        Self::with_rules(settings, Rules::default())
    }

    /// Charts that may also come from a repository on this machine's loopback, without TLS: for tests.
    pub fn with_loopback(settings: ChartSettings) -> Self {
        Self::with_rules(settings, Rules { loopback: true })
    }

    fn with_rules(settings: ChartSettings, rules: Rules) -> Self {
        let inner = Inner {
            settings,
            rules,
            mirror: Memory::default(),
            kept: Memory::default(),
            helm: Probes::default(),
            renderings: Semaphore::new(RENDERINGS),
            swept: AtomicBool::new(false),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// The charts in the mirror; none when there is no mirror. Archives that cannot be read are left out with a
    /// warning in the log.
    pub async fn facts(&self) -> Result<Vec<ChartFact>, ChartError> {
        let entries = source::in_mirror(&self.inner).await?;
        Ok(entries.into_iter().map(|entry| entry.fact).collect())
    }

    /// A chart: from the cache by its digest, else from the mirror, else from its repository.
    pub async fn fetch(&self, chart: &ChartRef) -> Result<Chart, ChartError> {
        source::fetch(&self.inner, chart).await
    }

    /// What a repository's index lists of these charts, by the rules that their archives are fetched by.
    pub(crate) async fn list(
        &self,
        repository: &str,
        names: &[String],
    ) -> Result<Vec<ChartFact>, ChartError> {
        source::list(&self.inner, repository, names).await
    }

    /// Whether repositories must not be asked.
    pub(crate) fn is_offline(&self) -> bool {
        self.inner.settings.offline
    }

    /// Keeps a chart's archive for good, after it was read as one; whether it is new here.
    pub(crate) async fn keep(&self, archive: Bytes) -> Result<bool, ChartError> {
        source::keep(&self.inner, archive).await
    }

    /// Folder for what can be had again.
    pub(crate) fn cache(&self) -> &Path {
        &self.inner.settings.cache
    }

    /// Renders a chart. Values may hold secrets: they reach helm by its standard input, and no file.
    pub async fn render(&self, chart: &Chart, request: &RenderRequest) -> Result<Rendered, ChartError> {
        self.render_confidential(chart, request, &Confidential::default())
            .await
    }

    /// Renders a chart, with texts that no error repeats.
    pub(crate) async fn render_confidential(
        &self,
        chart: &Chart,
        request: &RenderRequest,
        hidden: &Confidential,
    ) -> Result<Rendered, ChartError> {
        let inner = &self.inner;
        let helm = inner.helm.find(inner.settings.helm.as_deref()).await?;
        let late = |_| ChartError::Timeout {
            chart: format!("{} {}", chart.name, chart.version),
            limit: TURN,
        };
        let _turn = tokio::time::timeout(TURN, inner.renderings.acquire())
            .await
            .map_err(late)?;
        let folder = inner.settings.cache.join("render");
        let sweep = !inner.swept.swap(true, Ordering::Relaxed);
        let home = blocking(move || home_in(&folder, sweep)).await?;
        render::render(&helm, chart, request, hidden, home.path()).await
    }

    /// The version of the helm program, or why there is none that works.
    pub async fn helm(&self) -> Result<String, ChartError> {
        Ok(self
            .inner
            .helm
            .find(self.inner.settings.helm.as_deref())
            .await?
            .version)
    }
}

/// A text of configuration as it would be read from YAML or JSON; none when it is neither.
pub(crate) fn configuration(text: &str) -> Option<Value> {
    yaml::manifest(text).ok()
}

/// An empty folder for one rendering, which goes with it.
fn home_in(folder: &Path, sweep: bool) -> Result<tempfile::TempDir, ChartError> {
    let fault = |source| ChartError::Files {
        what: "cannot write the cache".into(),
        path: folder.into(),
        source,
    };
    std::fs::create_dir_all(folder).map_err(fault)?;
    if sweep {
        for entry in std::fs::read_dir(folder).map_err(fault)?.flatten() {
            let modified = entry.metadata().and_then(|metadata| metadata.modified());
            if modified.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > LEFT_OVER)) {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    }
    tempfile::tempdir_in(folder).map_err(fault)
}

/// Runs what would keep an executor from its other work. A panic there goes on here.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ChartError> + Send + 'static,
) -> Result<T, ChartError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(ChartError::Stopping),
        },
    }
}
