//! From what is asked for to a stored plan.

mod deletion;
mod digest;
mod file;
mod images;
mod material;
pub(crate) mod parameters;
pub(super) mod resolve;
pub(super) mod rights;
pub(super) mod stored;

pub use self::file::PlanFile;

use std::sync::Arc;

use meshery_plugin_api::message::descriptor::Operation;
use meshery_plugin_api::message::document::Write;
use meshery_plugin_api::message::facts::Need;
use meshery_plugin_api::message::finding::{Finding, Severity};
use meshery_plugin_api::message::plan::PlanRequest;
use meshery_plugin_api::{PluginError, plan_check};
use serde_json::{Map, Value};

use self::resolve::Resolver;
use self::rights::Bounds;
use self::stored::{StoredStep, unreadable};
use super::clock;
use super::engine::Engine;
use super::idempotency::Request;
use super::journal::entry::{Entry, Timed};
use super::journal::stopped;
use super::record::{AdapterUsed, ClusterUsed, NewOperation, OperationRecord};
use super::release::removal::OfHelm;
use super::secret::reference::References;
use super::state::OperationState;
use super::stored::{KIND, Stored};
use crate::applications;
use crate::confidential::Known;
use crate::meshery::read_facts;
use crate::plugin::Adapter;
use crate::problem::{Problem, ProblemKind};
use crate::provider::BlobRef;
use crate::versions;

impl Engine {
    /// Asks the adapter, resolves what it says, stores it.
    pub async fn plan(
        self: &Arc<Self>,
        new: NewOperation,
        request_key: Option<&Request>,
        parent: Option<&str>,
    ) -> Result<OperationRecord, Problem> {
        let adapter = self.plugins.adapter(&new.adapter)?;
        let operation = adapter
            .operation(&new.operation)
            .ok_or_else(|| unknown_operation(&adapter, &new.operation))?;
        let mut given = new.parameters;
        let references = References::take(&operation.parameters, &mut given)?;
        let check = |given| parameters::check(adapter.name(), &operation.name, &operation.parameters, given);
        let images = new.images.unwrap_or_else(|| self.images.clone());
        images.check()?;
        let (parameters, cluster) = if references.is_empty() {
            let checked = check(given)?;
            (checked, self.clusters.connect(new.context.as_deref()).await?)
        } else {
            let cluster = self.clusters.connect(new.context.as_deref()).await?;
            // Whether a secret fits is seen only with the secret.
            let mut whole = given.clone();
            let values = references.read(&cluster, |_| true).await?;
            values.put_into_map(&mut whole);
            check(whole)?;
            (parameters::filled(&operation.parameters, given), cluster)
        };
        let files = match applications::named(&operation.parameters, &parameters) {
            Some(application) => self.applications.files(application).await?,
            None => Vec::new(),
        };
        let needs = filled(operation, &parameters);
        let mut facts = read_facts(&cluster, &self.charts, &needs).await?;
        facts.listed = versions::listed(&self.store, &adapter).await?;
        let request = PlanRequest {
            operation: new.operation,
            facts,
            parameters,
            images: (&images).into(),
            files,
        };
        let known = Known::new(parameters::confidential(
            &operation.parameters,
            &request.parameters,
        ));
        let told = |text: &str| references.name_references(&known.texts().hide(text));
        let refused = |error: PluginError| references.name_references_in(known.texts().hide_in(error).into());
        let mut findings = adapter.check(&request).await.map_err(refused)?;
        for finding in &mut findings {
            finding.message = told(&finding.message);
            finding.remedy = told(&finding.remedy);
        }
        refuse(&findings)?;
        let mut plan = adapter.plan(&request).await.map_err(refused)?;
        plan_check::check(&plan, &adapter.descriptor().rights).map_err(refused)?;
        for step in plan.steps.iter_mut().chain(&mut plan.verify) {
            step.title = told(&step.title);
        }
        let id = ulid::Ulid::generate().to_string();
        let summary = told(&plan.summary);
        let mut notes: Vec<String> = plan.notes.iter().map(|note| told(note)).collect();
        let shown = parameters::shown(&operation.parameters, &request.parameters, &references);
        let resolver = Resolver {
            operation: &id,
            adapter: adapter.name(),
            cluster: &cluster,
            charts: &self.charts,
            key: &self.key,
            bounds: Bounds {
                declared: &adapter.descriptor().rights,
                within: None,
            },
            images: &images,
            references: &references,
            open: &shown,
            of_helm: OfHelm::default(),
        };
        let resolved = resolver.resolve(plan).await?;
        notes.extend(resolved.notes);

        let mut contents = resolved.contents;
        contents.push(serde_json::to_vec(&resolved.plan).map_err(|error| unreadable(&error))?);
        let plan = contents.last().map(|plan| BlobRef::of(plan)).unwrap_or_default();
        let planned = Timed {
            time: clock::now(),
            entry: Entry::State {
                state: OperationState::Planned,
                error: None,
                message: None,
            },
        };
        let handle = adapter.handle();
        let stored = Stored {
            plan,
            preview: None,
            baseline: None,
            record: OperationRecord {
                id: id.clone(),
                adapter: AdapterUsed {
                    name: adapter.name().to_owned(),
                    version: handle.manifest().version.clone(),
                    sha256: handle.sha256().to_owned(),
                },
                operation: request.operation,
                parameters: shown,
                cluster: ClusterUsed {
                    uid: cluster.uid().to_owned(),
                    context: cluster.context().to_owned(),
                    server: cluster.server().to_owned(),
                },
                owner: self.store.user().await?.name,
                state: OperationState::Planned,
                summary,
                notes,
                policy: new.policy,
                images,
                needs_consent: resolved.needs_consent,
                approved_by: None,
                steps: resolved.plan.steps.iter().map(StoredStep::record).collect(),
                findings,
                error: None,
                left: Vec::new(),
                outputs: Vec::new(),
                host: None,
                held_up: None,
                parent: parent.map(str::to_owned),
                created: planned.time.clone(),
                updated: planned.time.clone(),
                seq: 1,
            },
        };
        let entry = serde_json::to_value(&planned).map_err(|error| unreadable(&error))?;
        let record = stored.record.clone();
        let beside = request_key
            .map(|request| request.write(&record.owner, &id))
            .transpose()?;
        let engine = self.clone();
        let kept = self
            .tasks
            .spawn(async move { engine.keep(stored, contents, entry, beside).await });
        // To its end, whether who asked for it still waits or not.
        kept.await.unwrap_or_else(|_| Err(stopped()))?;
        tracing::info!(operation = %id, adapter = %record.adapter.name, what = %record.summary, "planned");
        Ok(record)
    }

    /// Stores a new operation, or nothing of it.
    async fn keep(
        &self,
        stored: Stored,
        contents: Vec<Vec<u8>>,
        entry: Value,
        beside: Option<Write>,
    ) -> Result<(), Problem> {
        let id = &stored.record.id;
        let kept = async {
            self.store.put_content(id, contents).await?;
            self.store.append(id, 1, vec![entry]).await?;
            stored.create(&self.store, beside).await
        };
        let Err(problem) = kept.await else {
            return Ok(());
        };
        // Nobody would ever find it, and it would never go.
        if let Ok(None) = self.store.get(KIND, id).await
            && let Err(left) = self.store.forget(id).await
        {
            tracing::warn!(operation = %id, code = %left.code, "what was stored of it stays: {left}");
        }
        Err(problem)
    }
}

/// The operation's needs, with the parameters' values in place of their names in braces.
pub(crate) fn filled(operation: &Operation, parameters: &Map<String, Value>) -> Vec<Need> {
    let fill = |text: &str| {
        parameters
            .iter()
            .filter_map(|(name, value)| Some((name, value.as_str()?)))
            .fold(text.to_owned(), |text, (name, value)| {
                text.replace(&format!("{{{name}}}"), value)
            })
    };
    operation
        .needs
        .iter()
        .map(|need| Need {
            namespace: fill(&need.namespace),
            name: fill(&need.name),
            ..need.clone()
        })
        .collect()
}

/// An operation that its own adapter speaks against is not planned.
fn refuse(findings: &[Finding]) -> Result<(), Problem> {
    let errors: Vec<&Finding> = findings
        .iter()
        .filter(|finding| finding.severity == Severity::Error)
        .collect();
    let Some(first) = errors.first() else {
        return Ok(());
    };
    let messages: Vec<&str> = errors.iter().map(|finding| finding.message.as_str()).collect();
    let code = if first.code.is_empty() {
        "check-failed"
    } else {
        &first.code
    };
    Err(Problem::new(ProblemKind::Conflict, code, messages.join("; "))
        .cause("the adapter's check before the operation")
        .remedy(first.remedy.clone()))
}

fn unknown_operation(adapter: &Arc<Adapter>, name: &str) -> Problem {
    let known: Vec<&str> = adapter
        .descriptor()
        .operations
        .iter()
        .map(|operation| operation.name.as_str())
        .collect();
    Problem::new(
        ProblemKind::NotFound,
        "unknown-adapter-operation",
        format!(
            "adapter {} has no operation \"{}\"",
            adapter.name(),
            name.escape_debug()
        ),
    )
    .remedy(format!("use one of: {}", known.join(", ")))
}
