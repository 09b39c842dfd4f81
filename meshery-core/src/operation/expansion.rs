//! Expansion: the adapter is asked for the steps of a part of its plan when the operation has come to it.
//!
//! What the adapter says is checked, resolved and stored as a plan is, and is in the journal before any of it runs:
//! from then on it is part of the plan, for a resume and for an undo too. Only an adapter that is still the one that
//! has made the plan is asked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use meshery_plugin_api::message::expansion::{Expand, ExpandRequest, Expansion};
use meshery_plugin_api::message::plan::Plan;
use meshery_plugin_api::plan_check;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::conduct::Conduct;
use super::journal::entry::Entry;
use super::journal::history::History;
use super::journal::room::Room;
use super::plan::resolve::Resolver;
use super::plan::rights::Bounds;
use super::plan::stored::{StoredPlan, StoredStep, Work, unreadable};
use super::record::StepState;
use super::release::removal::OfHelm;
use super::run::halted;
use super::staleness::stale;
use super::step::outputs::Outputs;
use crate::cluster::Cluster;
use crate::confidential::{Confidential, Known};
use crate::meshery::read_facts;
use crate::plugin::Adapter;
use crate::problem::{Problem, ProblemKind};
use crate::provider::BlobRef;
use crate::versions;

/// How long everything that belongs to one expansion may take: facts, the adapter, charts.
const DEADLINE: Duration = Duration::from_mins(10);

const EXPANSION: &str = "expansion";

/// Nothing can go on before the adapter was asked.
pub(super) fn to_expand() -> Problem {
    Problem::new(ProblemKind::Unavailable, EXPANSION, "a step is to be expanded")
}

/// Whether a problem says only that a step is to be expanded.
pub(super) fn is_to_expand(problem: &Problem) -> bool {
    problem.code == EXPANSION
}

impl Conduct {
    /// Expands every step that the run has come to and that waits for it.
    pub async fn expand(&self, cluster: &Arc<Cluster>, halt: &CancellationToken) -> Result<(), Problem> {
        let history = History::read(&self.engine.store, self.live.id()).await?;
        let plan = self.plan();
        for step in &plan.steps {
            let Work::Expand(expand) = &step.work else {
                continue;
            };
            let state = history.step(&step.id).and_then(|history| history.state);
            if state != Some(StepState::Running) {
                continue;
            }
            let outputs = Outputs::of(&history, &self.engine.key, self.live.id())?;
            let expanded = tokio::select! {
                expanded = tokio::time::timeout(DEADLINE, self.expanded(cluster, step, expand, &outputs)) => {
                    expanded.unwrap_or_else(|_| Err(late(&step.id)))
                }
                () = halt.cancelled() => return Err(halted()),
            };
            if let Err(problem) = expanded {
                let failed = Entry::Step {
                    step: step.id.clone(),
                    state: StepState::Failed,
                    error: Some(problem.clone()),
                };
                self.journal.note(failed).await?;
                return Err(problem);
            }
        }
        Ok(())
    }

    async fn expanded(
        &self,
        cluster: &Arc<Cluster>,
        step: &StoredStep,
        expand: &Expand,
        outputs: &Outputs,
    ) -> Result<(), Problem> {
        let adapter = self.same_adapter(&step.id)?;
        let known = self.known_outputs(outputs);
        let mut told = outputs.all();
        // The data of Secrets is handed to no adapter.
        told.retain(|name, _| known.get(name) == Some(&false));
        let mut expansion = self.ask(&adapter, cluster, expand, told).await?;
        let declared = &adapter.descriptor().rights;
        plan_check::check_expansion(expand, &expansion, declared, &known)?;
        let plan = self.plan();
        for step in &mut expansion.steps {
            step.title = plan.references.name_references(&step.title);
        }
        let notes: Vec<String> = expansion
            .notes
            .iter()
            .map(|note| plan.references.name_references(note))
            .collect();
        let resolver = Resolver {
            operation: self.live.id(),
            adapter: adapter.name(),
            cluster,
            charts: &self.engine.charts,
            key: &self.engine.key,
            bounds: Bounds {
                declared,
                within: Some(&expand.within),
            },
            images: &self.record.images,
            references: &plan.references,
            open: &self.record.parameters,
            of_helm: OfHelm::default(),
        };
        let resolved = Box::pin(resolver.resolve(within_the_plan(&step.id, expansion))).await?;
        if let Some(needed) = resolved
            .needs_consent
            .iter()
            .find(|needed| !self.record.policy.accept.has(needed.consent))
        {
            return Err(needed.consent.required(&needed.why));
        }
        let mut contents = resolved.contents;
        contents.push(serde_json::to_vec(&resolved.plan).map_err(|error| unreadable(&error))?);
        let content = contents.last().map(|plan| BlobRef::of(plan)).unwrap_or_default();
        self.engine.store.put_content(self.live.id(), contents).await?;
        let steps: Vec<_> = resolved.plan.steps.iter().map(StoredStep::record).collect();
        let whole = StoredPlan::clone(&self.plan()).with_expansion(&step.id, resolved.plan)?;
        let history = History::read(&self.engine.store, self.live.id()).await?;
        Room::of(&whole, &history)
            .set_aside(&self.engine.store, self.live.id())
            .await?;
        // In one breath: what is expanded is never expanded again.
        let entries = vec![
            Entry::Expanded {
                step: step.id.clone(),
                plan: content,
                steps,
                notes: notes.into_iter().chain(resolved.notes).collect(),
            },
            Entry::Step {
                step: step.id.clone(),
                state: StepState::Done,
                error: None,
            },
        ];
        self.journal.write(entries).await?;
        self.set_plan(whole);
        Ok(())
    }

    async fn ask(
        &self,
        adapter: &Adapter,
        cluster: &Arc<Cluster>,
        expand: &Expand,
        outputs: BTreeMap<String, Value>,
    ) -> Result<Expansion, Problem> {
        let mut facts = read_facts(cluster, &self.engine.charts, &expand.needs).await?;
        facts.listed = versions::listed(&self.engine.store, adapter).await?;
        let request = ExpandRequest {
            operation: self.record.operation.clone(),
            what: expand.what.clone(),
            with: expand.with.clone(),
            facts,
            outputs,
            images: (&self.record.images).into(),
        };
        // What of it is secret only the adapter knows, which has put it there.
        let mut texts = Confidential::default();
        request.with.values().for_each(|value| texts.add(value));
        self.record
            .parameters
            .values()
            .for_each(|value| texts.leave_out(value));
        let known = Known::new(texts);
        let expansion = adapter.expand(&request).await;
        Ok(expansion.map_err(|error| known.texts().hide_in(error))?)
    }

    /// The adapter that has made the plan, if it is still that.
    fn same_adapter(&self, step: &str) -> Result<Arc<Adapter>, Problem> {
        let used = &self.record.adapter;
        let adapter =
            self.engine.plugins.adapter(&used.name).map_err(|_| {
                other_adapter(step, &format!("the adapter {} is not there any more", used.name))
            })?;
        if adapter.handle().sha256() == used.sha256 {
            return Ok(adapter);
        }
        let now = &adapter.handle().manifest().version;
        let what = format!(
            "the adapter {} is another one now ({now} instead of {}, or built anew)",
            used.name, used.version
        );
        Err(other_adapter(step, &what))
    }

    /// Which outputs there are by now, and which of them are secrets.
    fn known_outputs(&self, outputs: &Outputs) -> plan_check::KnownOutputs {
        let (plan, left) = (self.plan(), outputs.all());
        let of_step = |step: &StoredStep| -> Vec<(String, bool)> {
            step.outputs
                .iter()
                .map(|(name, output)| (format!("{}.{name}", step.id), output.is_secret()))
                .collect()
        };
        let known = plan.steps.iter().flat_map(of_step);
        known.filter(|(name, _)| left.contains_key(name)).collect()
    }
}

/// An expansion as a plan whose ids are unique in the whole one.
fn within_the_plan(expand: &str, expansion: Expansion) -> Plan {
    let inside = |id: &str| format!("{expand}-{id}");
    let own: Vec<String> = expansion.steps.iter().map(|step| step.id.clone()).collect();
    let mut steps = expansion.steps;
    for step in &mut steps {
        step.id = inside(&step.id);
        for other in &mut step.after {
            *other = inside(other);
        }
        step.after.push(expand.to_owned());
        if let meshery_plugin_api::message::plan::Action::Apply(apply) = &mut step.action {
            for used in &mut apply.uses {
                let of_this = used
                    .split_once('.')
                    .filter(|(id, _)| own.iter().any(|own| own == id));
                if let Some((id, name)) = of_this {
                    let renamed = format!("{}.{name}", inside(id));
                    let (old, new) = (format!("${{{used}}}"), format!("${{{renamed}}}"));
                    apply
                        .objects
                        .iter_mut()
                        .for_each(|object| rename(object, &old, &new));
                    *used = renamed;
                }
            }
        }
    }
    Plan {
        steps,
        ..Plan::default()
    }
}

fn rename(value: &mut Value, old: &str, new: &str) {
    match value {
        Value::String(text) if text.contains(old) => *text = text.replace(old, new),
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, old, new)),
        Value::Object(fields) => fields.values_mut().for_each(|field| rename(field, old, new)),
        _ => {}
    }
}

/// The rest of the plan is not anybody's any more.
fn other_adapter(step: &str, what: &str) -> Problem {
    stale(&format!("step {step} cannot be expanded: {what}"))
        .cause("the plugin was exchanged since the operation was planned")
        .remedy("plan the operation again, or put the plugin back that has planned it and resume")
}

fn late(step: &str) -> Problem {
    Problem::new(
        ProblemKind::Timeout,
        "step-deadline",
        format!("step {step} was not expanded within {} s", DEADLINE.as_secs()),
    )
    .cause("the cluster or the adapter answers slowly")
    .remedy("resume the operation when both answer, or plan it again")
    .retryable(true)
}
