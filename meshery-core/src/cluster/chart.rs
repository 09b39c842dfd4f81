//! Charts: had from a mirror, a repository or the cache, read without trust, rendered by the `helm` program.
//!
//! Nothing but Helm renders charts as Helm does, so the program is the renderer; it is only that. It sees one archive
//! whose digest was checked, an empty home, no cluster and no network, and has a deadline. What it prints is split
//! into objects here; the engine writes them. Charts are rendered once, when a plan is made: two renderings of the
//! same input may differ (some charts make certificates), and what was previewed has to be what runs.
//!
//! Left to others: applying, ordering across steps, the release record, asking the server which kinds live in a
//! namespace (helm leaves an object's namespace out, see [`RenderedObject::needs_namespace`]).

mod error;
mod failure;

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use meshery_plugin_api::message::facts::ChartFact;
use meshery_plugin_api::message::plan::ChartRef;
use serde_json::{Map, Value};

pub use error::ChartError;
pub use failure::{Place, Violation};

/// Where charts come from and what renders them.
#[derive(Debug, Clone, Default)]
pub struct ChartSettings {
    /// A folder of chart archives, searched with its subfolders.
    pub mirror: Option<PathBuf>,
    /// Folder for what can be had again; it may be deleted at any time.
    pub cache: PathBuf,
    /// The helm program; searched on PATH when not given.
    pub helm: Option<PathBuf>,
    /// Whether repositories must not be asked.
    pub offline: bool,
    /// Addresses that a repository's address must begin with, compared part by part; when there is none, any public
    /// https address will do.
    pub repositories: Vec<String>,
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
    /// The archive in the cache.
    pub path: PathBuf,
    /// The bytes of the archive; what is rendered is these, whatever became of the file.
    pub archive: Bytes,
    /// `Chart.yaml` as it stands.
    pub chart_yaml: String,
    /// `values.yaml` as it stands; empty when there is none.
    pub values_yaml: String,
    /// `values.schema.json`.
    pub values_schema: Option<Value>,
    /// Whether a template asks the cluster by `lookup`: then a rendering without the cluster may differ from what
    /// Helm itself would install, and a preview has to say so.
    pub templates_use_lookup: bool,
    /// Versions of Kubernetes it is made for, as a range.
    pub kube_version: Option<String>,
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
    /// When it goes: `before-hook-creation` unless the chart says otherwise, `hook-succeeded`, `hook-failed`.
    pub delete_policies: Vec<String>,
    /// The file it comes from, beginning with the chart's name.
    pub source: String,
}

/// The charts that this host can have. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Charts {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    settings: ChartSettings,
}

impl Charts {
    /// Charts by these settings. Does no input or output.
    pub fn new(settings: ChartSettings) -> Self {
        Self {
            inner: Arc::new(Inner { settings }),
        }
    }

    /// The charts in the mirror; none when there is no mirror. Archives that cannot be read are left out with a
    /// warning in the log.
    #[expect(clippy::unused_async, reason = "body follows")]
    pub async fn facts(&self) -> Result<Vec<ChartFact>, ChartError> {
        let _ = &self.inner.settings;
        Ok(Vec::new())
    }

    /// A chart: from the cache by its digest, else from the mirror, else from its repository.
    #[expect(clippy::unused_async, reason = "body follows")]
    pub async fn fetch(&self, chart: &ChartRef) -> Result<Chart, ChartError> {
        Err(ChartError::NotFound {
            name: chart.name.clone(),
            version: chart.version.clone(),
            searched: Vec::new(),
            available: Vec::new(),
        })
    }

    /// Renders a chart.
    #[expect(clippy::unused_async, reason = "body follows")]
    pub async fn render(&self, chart: &Chart, request: &RenderRequest) -> Result<Rendered, ChartError> {
        let _ = request;
        Err(failure::classify(&chart.name, ""))
    }
}
