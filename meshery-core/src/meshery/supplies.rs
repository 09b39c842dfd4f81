//! What installing a mesh takes, found without a cluster: the adapter plans its installation for a cluster that has
//! nothing, the plan names the charts, and the charts, rendered, name the images.

use meshery_plugin_api::message::descriptor::{Category, MeshVersion, Operation};
use meshery_plugin_api::message::facts::{ClusterFacts, Facts, KindFacts, Readability};
use meshery_plugin_api::message::plan::{Action, Images, PlanRequest};
use meshery_plugin_api::plan_check;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Meshery;
use crate::cluster::chart::{Chart, RenderRequest};
use crate::confidential::Known;
use crate::images::{NamedImage, named};
use crate::operation::plan::parameters;
use crate::operation::secret::reference::References;
use crate::operation::{clock, filled};
use crate::plugin::Adapter;
use crate::problem::{Problem, ProblemKind};
use crate::versions;

/// Which installation.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Wanted {
    /// Name of the adapter.
    pub adapter: String,
    /// Version of the mesh; the one that the adapter takes by itself when empty.
    pub version: String,
    /// Further parameters of the installation.
    pub parameters: Map<String, Value>,
}

/// What it takes.
#[derive(Debug, Clone)]
pub struct Supplies {
    /// Name of the adapter.
    pub adapter: String,
    /// Version of the adapter.
    pub adapter_version: String,
    /// Name of the mesh.
    pub mesh: String,
    /// The versions that the adapter knows.
    pub versions: Vec<MeshVersion>,
    /// One sentence on what is installed.
    pub summary: String,
    /// The parameters, defaults filled in.
    pub parameters: Map<String, Value>,
    /// The charts, in the order of the plan.
    pub charts: Vec<Chart>,
    /// The images that they name.
    pub images: Vec<NamedImage>,
}

impl Meshery {
    /// What installing a mesh takes. Charts are fetched as for a plan; no cluster is asked.
    pub async fn supplies(&self, wanted: &Wanted) -> Result<Supplies, Problem> {
        let adapter = self.adapter(&wanted.adapter)?;
        let operation = installation(&adapter)?;
        let mut given = wanted.parameters.clone();
        if !wanted.version.is_empty() {
            if operation.parameters["properties"].get("version").is_none() {
                return Err(Problem::new(
                    ProblemKind::Invalid,
                    "no-versions",
                    format!("adapter {} does not let choose a version", adapter.name()),
                )
                .remedy("ask without a version"));
            }
            given.insert("version".into(), wanted.version.as_str().into());
        }
        // No cluster is asked: what stands for a secret is as good as the secret.
        let references = References::take(&operation.parameters, &mut given)?;
        let parameters = parameters::check(adapter.name(), &operation.name, &operation.parameters, given)?;
        let charts = self.charts();
        let request = PlanRequest {
            operation: operation.name.clone(),
            facts: Facts {
                now: clock::now(),
                cluster: ClusterFacts::default(),
                kinds: filled(operation, &parameters)
                    .into_iter()
                    .map(|need| KindFacts {
                        need,
                        state: Readability::Absent,
                        ..KindFacts::default()
                    })
                    .collect(),
                charts: charts.facts().await?,
                listed: self.listed(&adapter).await?,
            },
            parameters,
            images: Images::default(),
            files: Vec::new(),
        };
        let known = Known::new(parameters::confidential(
            &operation.parameters,
            &request.parameters,
        ));
        let planned = adapter.plan(&request).await;
        let plan = planned.map_err(|error| known.texts().hide_in(error))?;
        plan_check::check(&plan, &adapter.descriptor().rights)?;
        let (mut taken, mut objects) = (Vec::<Chart>::new(), Vec::new());
        for step in &plan.steps {
            match &step.action {
                Action::Apply(apply) => objects.extend(apply.objects.iter().cloned()),
                Action::Release(release) => {
                    let chart = charts.fetch(&release.chart).await?;
                    let asked = RenderRequest {
                        release: release.name.clone(),
                        namespace: release.namespace.clone(),
                        values: release.values.clone(),
                        ..RenderRequest::default()
                    };
                    let rendered = charts.render_confidential(&chart, &asked, known.texts()).await?;
                    objects.extend(rendered.objects.into_iter().map(|object| object.value));
                    objects.extend(
                        rendered
                            .hooks
                            .into_iter()
                            .chain(rendered.tests)
                            .map(|hook| hook.value),
                    );
                    if taken.iter().all(|there| there.sha256 != chart.sha256) {
                        taken.push(chart);
                    }
                }
                _ => {}
            }
        }
        Ok(Supplies {
            adapter: adapter.name().to_owned(),
            adapter_version: adapter.handle().manifest().version.clone(),
            mesh: adapter.descriptor().mesh.clone(),
            versions: versions::carried(adapter.descriptor(), &request.facts.listed),
            summary: plan.summary,
            parameters: parameters::shown(&operation.parameters, &request.parameters, &references),
            charts: taken,
            images: named(objects.iter()),
        })
    }
}

/// The operation that installs the mesh: the only one of its category, or the one called so.
fn installation(adapter: &Adapter) -> Result<&Operation, Problem> {
    let mut all = adapter
        .descriptor()
        .operations
        .iter()
        .filter(|operation| operation.category == Category::Install);
    let found = match (all.next(), all.next()) {
        (only, None) => only,
        _ => adapter.operation("install"),
    };
    found.ok_or_else(|| {
        let message = format!(
            "adapter {} has no operation that installs its mesh",
            adapter.name()
        );
        Problem::new(ProblemKind::NotFound, "no-installation", message)
    })
}
