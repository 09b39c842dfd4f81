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

use std::mem;
use std::sync::Arc;

use meshery_plugin_api::message::descriptor::Operation;
use meshery_plugin_api::message::document::Write;
use meshery_plugin_api::message::facts::Need;
use meshery_plugin_api::message::finding::{Finding, Severity};
use meshery_plugin_api::message::plan::{Plan, PlanRequest};
use meshery_plugin_api::{PluginError, plan_check};
use serde_json::{Map, Value};

use self::resolve::{Resolved, Resolver};
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
use crate::cluster::Cluster;
use crate::confidential::{Confidential, Known};
use crate::images::ImageSource;
use crate::meshery::read_facts;
use crate::plugin::Adapter;
use crate::problem::{Problem, ProblemKind};
use crate::provider::BlobRef;
use crate::versions;

/// An operation that is being planned: of which adapter, and with what.
struct Planning<'a> {
    engine: &'a Engine,
    adapter: &'a Adapter,
    operation: &'a Operation,
    references: &'a References,
    images: &'a ImageSource,
}

/// What the adapter has answered, in words for people.
struct Answer {
    plan: Plan,
    findings: Vec<Finding>,
}

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
        let images = new.images.unwrap_or_else(|| self.images.clone());
        images.check()?;
        let planning = Planning {
            engine: self,
            adapter: &adapter,
            operation,
            references: &references,
            images: &images,
        };

        let (cluster, parameters) = planning.connect_and_check(new.context.as_deref(), given).await?;
        let request = planning.request(&cluster, parameters).await?;
        let known = Known::new(parameters::confidential(
            &operation.parameters,
            &request.parameters,
        ));
        let Answer { mut plan, findings } = planning.ask(&request, known.texts()).await?;

        let id = ulid::Ulid::generate().to_string();
        let shown = parameters::shown(&operation.parameters, &request.parameters, &references);
        let summary = mem::take(&mut plan.summary);
        let mut notes = mem::take(&mut plan.notes);
        let mut resolved = planning.resolve(&id, &cluster, &shown, plan).await?;
        notes.append(&mut resolved.notes);

        let time = clock::now();
        let record = OperationRecord {
            id,
            adapter: planning.adapter_used(),
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
            needs_consent: mem::take(&mut resolved.needs_consent),
            approved_by: None,
            steps: resolved.plan.steps.iter().map(StoredStep::record).collect(),
            findings,
            error: None,
            left: Vec::new(),
            outputs: Vec::new(),
            host: None,
            held_up: None,
            parent: parent.map(str::to_owned),
            created: time.clone(),
            updated: time,
            seq: 1,
        };
        self.keep_to_the_end(record.clone(), resolved, request_key)
            .await?;
        tracing::info!(operation = %record.id, adapter = %record.adapter.name, what = %record.summary, "planned");
        Ok(record)
    }

    /// Stores a new operation with its content and its first entry; to the end, whether who asked for it still waits
    /// or not.
    async fn keep_to_the_end(
        self: &Arc<Self>,
        record: OperationRecord,
        resolved: Resolved,
        request_key: Option<&Request>,
    ) -> Result<(), Problem> {
        let mut contents = resolved.contents;
        let plan = serde_json::to_vec(&resolved.plan).map_err(|error| unreadable(&error))?;
        let planned = Timed {
            time: record.created.clone(),
            entry: Entry::State {
                state: OperationState::Planned,
                error: None,
                message: None,
            },
        };
        let entry = serde_json::to_value(&planned).map_err(|error| unreadable(&error))?;
        let beside = request_key
            .map(|request| request.write(&record.owner, &record.id))
            .transpose()?;
        let stored = Stored {
            plan: BlobRef::of(&plan),
            preview: None,
            baseline: None,
            record,
        };
        contents.push(plan);
        let engine = self.clone();
        let kept = self
            .tasks
            .spawn(async move { engine.keep(stored, contents, entry, beside).await });
        kept.await.unwrap_or_else(|_| Err(stopped()))
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

impl Planning<'_> {
    /// Connects to the cluster and holds the parameters against their schema; fills in defaults.
    async fn connect_and_check(
        &self,
        context: Option<&str>,
        given: Map<String, Value>,
    ) -> Result<(Arc<Cluster>, Map<String, Value>), Problem> {
        let schema = &self.operation.parameters;
        let check = |given| parameters::check(self.adapter.name(), &self.operation.name, schema, given);
        if self.references.is_empty() {
            let checked = check(given)?;
            return Ok((self.engine.clusters.connect(context).await?, checked));
        }
        let cluster = self.engine.clusters.connect(context).await?;
        // Whether a secret fits is seen only with the secret.
        let mut whole = given.clone();
        let values = self.references.read(&cluster, |_| true).await?;
        values.put_into_map(&mut whole);
        check(whole)?;
        Ok((cluster, parameters::filled(schema, given)))
    }

    /// What the adapter is asked: with the facts and the files that the operation needs.
    async fn request(
        &self,
        cluster: &Cluster,
        parameters: Map<String, Value>,
    ) -> Result<PlanRequest, Problem> {
        let files = match applications::named(&self.operation.parameters, &parameters) {
            Some(application) => self.engine.applications.files(application).await?,
            None => Vec::new(),
        };
        let needs = filled(self.operation, &parameters);
        let mut facts = read_facts(cluster, &self.engine.charts, &needs).await?;
        facts.listed = versions::listed(&self.engine.store, self.adapter).await?;
        Ok(PlanRequest {
            operation: self.operation.name.clone(),
            facts,
            parameters,
            images: self.images.into(),
            files,
        })
    }

    /// Asks the adapter for its check and its plan, and holds the plan against what the adapter has declared.
    async fn ask(&self, request: &PlanRequest, confidential: &Confidential) -> Result<Answer, Problem> {
        let shown = |text: &str| self.references.name_references(&confidential.hide(text));
        let refused = |error: PluginError| {
            self.references
                .name_references_in(confidential.hide_in(error).into())
        };
        let mut findings = self.adapter.check(request).await.map_err(refused)?;
        for finding in &mut findings {
            finding.message = shown(&finding.message);
            finding.remedy = shown(&finding.remedy);
        }
        refuse(&findings)?;
        let mut plan = self.adapter.plan(request).await.map_err(refused)?;
        plan_check::check(&plan, &self.adapter.descriptor().rights).map_err(refused)?;
        for step in plan.steps.iter_mut().chain(&mut plan.verify) {
            step.title = shown(&step.title);
        }
        plan.summary = shown(&plan.summary);
        for note in &mut plan.notes {
            *note = shown(note);
        }
        Ok(Answer { plan, findings })
    }

    /// What the adapter's plan becomes on this cluster.
    async fn resolve(
        &self,
        id: &str,
        cluster: &Cluster,
        shown: &Map<String, Value>,
        plan: Plan,
    ) -> Result<Resolved, Problem> {
        let resolver = Resolver {
            operation: id,
            adapter: self.adapter.name(),
            cluster,
            charts: &self.engine.charts,
            key: &self.engine.key,
            bounds: Bounds {
                declared: &self.adapter.descriptor().rights,
                within: None,
            },
            images: self.images,
            references: self.references,
            open: shown,
            of_helm: OfHelm::default(),
        };
        resolver.resolve(plan).await
    }

    fn adapter_used(&self) -> AdapterUsed {
        let handle = self.adapter.handle();
        AdapterUsed {
            name: self.adapter.name().to_owned(),
            version: handle.manifest().version.clone(),
            sha256: handle.sha256().to_owned(),
        }
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
