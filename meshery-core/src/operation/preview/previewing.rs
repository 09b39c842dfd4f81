//! Making a preview: the server is asked about every object by a dry run, and where it cannot answer yet, that is
//! said. Nothing is written.

use std::collections::HashSet;

use futures::StreamExt as _;
use meshery_plugin_api::message::object_ref::ObjectRef;
use serde_json::Value;

use super::field_takeover::FieldTakeover;
use super::introduced::Introduced;
use super::risk;
use super::{Certainty, Change, Counts, Preview, PreviewedObject, Risk};
use crate::cluster::apply::{Applied, ApplyOptions};
use crate::cluster::diff::diff;
use crate::cluster::error::{ESCALATE, FieldConflict};
use crate::cluster::{Cluster, ClusterError};
use crate::operation::clock;
use crate::operation::consent::Consent;
use crate::operation::object::mark::{is_only_made, marked};
use crate::operation::object::ownership::objection_to_change;
use crate::operation::plan::rights::in_words;
use crate::operation::plan::stored::{ReleaseName, StoredPlan, StoredStep, Work, load_waves, nameless};
use crate::operation::record::OperationRecord;
use crate::operation::secret::seal::HostKey;
use crate::operation::staleness::Baseline;
use crate::operation::step::apply::{apply_as_ours, unchangeable};
use crate::operation::step::outputs::is_open;
use crate::operation::step::restart;
use crate::problem::Problem;
use crate::provider::Store;

/// Objects asked about at a time; the cluster's own limit is the one that counts.
pub(in crate::operation) const AT_A_TIME: usize = 16;
/// A namespace that every cluster has: objects whose own namespace comes with the plan have their form checked there.
const STAND_IN: &str = "default";

/// What makes a preview.
pub(in crate::operation) struct Previewing<'a> {
    pub record: &'a OperationRecord,
    pub plan: &'a StoredPlan,
    pub cluster: &'a Cluster,
    pub store: &'a Store,
    pub key: &'a HostKey,
}

/// One object as it was found.
pub(in crate::operation) struct Found {
    pub previewed: PreviewedObject,
    pub wanted: Option<Value>,
    pub now: Option<Value>,
}

impl Previewing<'_> {
    /// Looks at everything that the plan touches.
    pub async fn make(&self) -> Result<(Preview, Baseline), Problem> {
        let mut manifests = Vec::new();
        for step in &self.plan.steps {
            let objects: Vec<Value> = match &step.work {
                Work::Apply { content, .. } | Work::Hooks { content, .. } => {
                    let waves = load_waves(self.store, self.key, &self.record.id, content).await?;
                    let mut objects: Vec<Value> = waves.into_iter().flatten().collect();
                    let mut whole: Vec<&mut Value> = objects.iter_mut().collect();
                    let references = &self.plan.references;
                    references.put_into(self.cluster, &mut whole).await?;
                    objects
                }
                _ => Vec::new(),
            };
            manifests.push(objects);
        }
        let introduced = Introduced::with(self.cluster, manifests.iter().flatten()).await?;
        let mut found = Vec::new();
        for (step, objects) in self.plan.steps.iter().zip(manifests) {
            let of_step = self.step(step, objects, &introduced).await?;
            found.extend(of_step.into_iter().map(|found| Found {
                previewed: self.plan.shown(found.previewed),
                ..found
            }));
        }
        let unasked = self.hold_against_rights(&mut found, &introduced).await?;
        let mut baseline = Baseline::default();
        let mut touched = HashSet::new();
        let mut risks: Vec<Risk> = Vec::new();
        for object in &found {
            risks.extend(risk::of(
                &object.previewed,
                object.wanted.as_ref(),
                object.now.as_ref(),
            ));
            let writes = !matches!(
                object.previewed.change,
                Change::Wait | Change::Probe | Change::Restart
            );
            // What a later step finds is what an earlier one has made.
            if writes && touched.insert(object.previewed.object.clone()) {
                let is_hidden = self.plan.hides(&object.previewed.object);
                baseline.saw(object.previewed.object.clone(), object.now.as_ref(), is_hidden);
            }
        }
        risks.sort_by_key(|risk| risk.severity);
        let objects: Vec<PreviewedObject> = found.into_iter().map(|object| object.previewed).collect();
        let preview = Preview {
            operation: self.record.id.clone(),
            time: clock::now(),
            summary: self.record.summary.clone(),
            counts: count(&objects),
            objects,
            risks,
            findings: self.record.findings.clone(),
            point_of_no_return: self.point_of_no_return(),
            notes: self
                .record
                .notes
                .iter()
                .cloned()
                .chain(self.later())
                .chain(unasked)
                .collect(),
            needs_consent: self
                .record
                .needs_consent
                .iter()
                .filter(|needed| !self.record.policy.accept.has(needed.consent))
                .cloned()
                .collect(),
        };
        Ok((preview, baseline))
    }

    /// Where it will wait, and where it will be decided what is done.
    fn later(&self) -> impl Iterator<Item = String> {
        self.plan.steps.iter().filter_map(|step| match &step.work {
            Work::Gate(gate) => Some(format!("it pauses at gate {}: {}", step.id, gate.reason)),
            Work::Expand(expand) => Some(format!(
                "what step {} ({}) does is decided when it begins; {}",
                step.id,
                step.title,
                in_words(&expand.within)
            )),
            Work::RestartInUndo { workloads } if !workloads.is_empty() => Some(format!(
                "if it is taken back, step {} restarts {}",
                step.id,
                workloads
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join(", ")
            )),
            _ => None,
        })
    }

    /// The first step that does something for good.
    fn point_of_no_return(&self) -> Option<String> {
        self.plan
            .steps
            .iter()
            .find(|step| step.is_final())
            .map(|step| step.id.clone())
    }

    async fn step(
        &self,
        step: &StoredStep,
        manifests: Vec<Value>,
        introduced: &Introduced,
    ) -> Result<Vec<Found>, Problem> {
        let found: Vec<Result<Found, Problem>> = match &step.work {
            Work::Apply {
                manager,
                release,
                uses,
                ..
            } => {
                let release = release.as_ref();
                let looks: Vec<_> = manifests
                    .into_iter()
                    .map(|manifest| async move {
                        if is_open(uses, &manifest) {
                            return self.open(step, manifest).await;
                        }
                        self.apply(step, (manager, release), manifest, introduced).await
                    })
                    .collect();
                futures::stream::iter(looks).buffered(AT_A_TIME).collect().await
            }
            Work::Delete { waves, kept, .. } => {
                let looks: Vec<_> = waves
                    .iter()
                    .flatten()
                    .map(|target| self.delete(step, target))
                    .collect();
                let mut found: Vec<Result<Found, Problem>> =
                    futures::stream::iter(looks).buffered(AT_A_TIME).collect().await;
                found.extend(kept.iter().map(|left| {
                    let why = left.why.clone();
                    Ok(noted(step, &left.object, Change::Keep, Certainty::Verified, why))
                }));
                found
            }
            Work::Record { makes, changes } => {
                let made = makes.iter().map(|new| {
                    let note = format!("Helm's record of revision {}, {}", new.revision, new.status);
                    (&new.secret, Change::Create, note)
                });
                // The last word on the record that this plan makes says nothing new.
                let of_others = changes.iter().filter(|change| !self.plan.makes(&change.secret));
                let changed = of_others.map(|change| {
                    let note = format!("Helm's record says {}", change.status);
                    (&change.secret, Change::Update, note)
                });
                made.chain(changed)
                    .map(|(secret, change, note)| Ok(noted(step, secret, change, Certainty::Local, note)))
                    .collect()
            }
            Work::TestRuns { secret, .. } => {
                let note = "Helm's record says when the tests ran".to_owned();
                vec![Ok(noted(step, secret, Change::Update, Certainty::Local, note))]
            }
            Work::Hooks {
                event,
                hooks,
                release,
                ..
            } => {
                let release = release.as_ref();
                let looks: Vec<_> = hooks
                    .iter()
                    .zip(manifests)
                    .map(|(hook, manifest)| self.hook(step, (event, release), hook, manifest))
                    .collect();
                futures::stream::iter(looks).buffered(AT_A_TIME).collect().await
            }
            Work::Wait { conditions } => conditions
                .iter()
                .map(|condition| {
                    let rule = serde_json::to_value(condition.rule).unwrap_or_default();
                    let rule = rule.as_str().unwrap_or_default().to_owned();
                    let object = &condition.object;
                    Ok(noted(step, object, Change::Wait, Certainty::DecidedLater, rule))
                })
                .collect(),
            Work::Probe { reference, .. } => vec![Ok(Found {
                previewed: blank(step, reference, Change::Probe, Certainty::DecidedLater),
                wanted: None,
                now: None,
            })],
            // They are in the notes: the run does nothing to any object in them.
            Work::Gate(_) | Work::Expand(_) | Work::RestartInUndo { .. } => Vec::new(),
            Work::Restart { workloads } => {
                let looks: Vec<_> = workloads
                    .iter()
                    .map(|workload| self.restart(step, workload))
                    .collect();
                futures::stream::iter(looks).buffered(AT_A_TIME).collect().await
            }
        };
        found.into_iter().collect()
    }

    /// An object that is complete only when earlier steps have left what belongs into it.
    async fn open(&self, step: &StoredStep, manifest: Value) -> Result<Found, Problem> {
        let Some(reference) = ObjectRef::of(&manifest) else {
            return Err(nameless());
        };
        let mut previewed = blank(step, &reference, Change::Create, Certainty::DecidedLater);
        previewed.note =
            Some("it holds what earlier steps leave; the server is asked when that is known".into());
        let now = self.cluster.get_if_served(&reference).await?;
        if now.is_some() {
            previewed.change = Change::Update;
        } else {
            previewed.diff = diff(&Value::Null, &manifest);
        }
        Ok(found(previewed, manifest, now))
    }

    async fn apply(
        &self,
        step: &StoredStep,
        (manager, release): (&str, Option<&ReleaseName>),
        manifest: Value,
        introduced: &Introduced,
    ) -> Result<Found, Problem> {
        let Some(reference) = ObjectRef::of(&manifest) else {
            return Err(nameless());
        };
        let kind = (reference.group.clone(), reference.kind.clone());
        let mut previewed = blank(step, &reference, Change::Create, Certainty::Local);
        let now = match self.cluster.get(&reference).await {
            Ok(now) => now,
            Err(ClusterError::NotServed { .. }) if introduced.kinds.contains_key(&kind) => {
                previewed.note = Some("the definition of its kind comes with this plan".into());
                previewed.diff = diff(&Value::Null, &manifest);
                return Ok(found(previewed, manifest, None));
            }
            Err(error) => return failed(previewed, manifest, None, error),
        };
        if now.is_none() && introduced.namespaces.contains(&reference.namespace) {
            previewed.note = Some(format!(
                "its namespace {} comes with this plan; its form was checked",
                reference.namespace
            ));
            previewed.diff = diff(&Value::Null, &manifest);
            self.check_form(&manifest, manager, &mut previewed).await?;
            return Ok(found(previewed, manifest, None));
        }
        if now.is_some() && is_only_made(&manifest) {
            previewed.change = Change::Unchanged;
            previewed.certainty = Certainty::Verified;
            previewed.note =
                Some("it is there already; what a chart's folder crds holds is made, never changed".into());
            return Ok(found(previewed, manifest, now));
        }
        if let Some(now) = &now
            && let Some((consent, why)) =
                objection_to_change(self.cluster, now, release, self.plan, self.record.policy.accept).await?
        {
            previewed.change = Change::Error;
            previewed.certainty = Certainty::Verified;
            previewed.error = Some(consent.required(format!("{reference}: {why}")));
            return Ok(found(previewed, manifest, Some(now.clone())));
        }
        let wanted = marked(manifest.clone(), now.as_ref(), &self.record.id);
        let takeover = now
            .as_ref()
            .and_then(|now| FieldTakeover::of(now, &manifest, (manager, release), self.record.policy.accept));
        let makers = takeover.as_ref().map_or(&[][..], |takeover| &takeover.makers);
        match self
            .tried(&wanted, (manager, makers), &mut previewed.conflicts)
            .await
        {
            Ok(applied) => {
                previewed.certainty = Certainty::Verified;
                previewed.warnings = applied.warnings;
                let mut after = applied.object;
                if let (Some(takeover), Some(now)) = (&takeover, &now) {
                    let fallen = takeover
                        .fallen(self.cluster, &reference, now, &wanted, after)
                        .await;
                    let refusal = fallen
                        .refused
                        .map(|error| self.refusal_in_words(&reference, error));
                    previewed.note = takeover.note(refusal.as_deref());
                    after = fallen.object;
                }
                previewed.diff = diff(now.as_ref().unwrap_or(&Value::Null), &after);
                if now.is_some() {
                    previewed.change = if previewed.diff.is_empty() {
                        Change::Unchanged
                    } else {
                        Change::Update
                    };
                }
                Ok(found(previewed, manifest, now))
            }
            Err(error) if now.is_some() && error.is_immutable() => {
                previewed.certainty = Certainty::Verified;
                previewed.diff = diff(now.as_ref().unwrap_or(&Value::Null), &manifest);
                let refusal = unchangeable(&reference, error);
                if self.record.policy.accept.has(Consent::Recreate) {
                    previewed.change = Change::Recreate;
                    previewed.note = Some(refusal.message);
                } else {
                    previewed.change = Change::Error;
                    previewed.error = Some(refusal);
                }
                Ok(found(previewed, manifest, now))
            }
            // A field that goes may be in the way of one that comes, and the server cannot be asked without it.
            Err(error @ ClusterError::Invalid { .. }) if takeover.is_some() => {
                previewed.change = Change::Update;
                previewed.certainty = Certainty::DecidedLater;
                previewed.diff = diff(now.as_ref().unwrap_or(&Value::Null), &manifest);
                let refusal = self.refusal_in_words(&reference, error);
                previewed.note = Some(format!("with fields that go first, the server says: {refusal}"));
                Ok(found(previewed, manifest, now))
            }
            Err(error) => failed(previewed, manifest, now, error),
        }
    }

    /// What the server says of an object, where that is no secret.
    fn refusal_in_words(&self, object: &ObjectRef, error: ClusterError) -> String {
        self.plan.veiled(object, error.into()).message
    }

    /// What the server makes of an object in a dry run; where fields are taken from others, which and from whom.
    async fn tried(
        &self,
        wanted: &Value,
        (manager, makers): (&str, &[String]),
        taken: &mut Vec<FieldConflict>,
    ) -> Result<Applied, ClusterError> {
        let mut options = ApplyOptions {
            manager: manager.to_owned(),
            dry_run: true,
            ..ApplyOptions::default()
        };
        match apply_as_ours(self.cluster, wanted, makers, options.clone()).await {
            Err(ClusterError::ApplyConflict { conflicts, .. }) if self.record.policy.force_conflicts => {
                *taken = conflicts;
                options.force = true;
                self.cluster.apply(wanted, &options).await
            }
            tried => tried,
        }
    }

    /// Asks the server about an object's form by a dry run in a namespace that is there. Whatever it says about that
    /// namespace (rights, quotas, policies) means nothing for the object's own, but for rights that a role would grant.
    async fn check_form(
        &self,
        manifest: &Value,
        manager: &str,
        previewed: &mut PreviewedObject,
    ) -> Result<(), Problem> {
        let mut stand_in = manifest.clone();
        if let Some(metadata) = stand_in.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("namespace".into(), STAND_IN.into());
        }
        let options = ApplyOptions {
            manager: manager.to_owned(),
            force: true,
            dry_run: true,
            ..ApplyOptions::default()
        };
        match self.cluster.apply(&stand_in, &options).await {
            Ok(applied) => previewed.warnings = applied.warnings,
            Err(error @ ClusterError::Invalid { .. }) => {
                previewed.change = Change::Error;
                previewed.error = Some(error.into());
            }
            Err(error) if error.is_connection() => return Err(error.into()),
            // Nobody holds more rights in a namespace that is not there yet, and so may grant more in it.
            Err(ClusterError::Forbidden {
                verb,
                resource,
                name,
                message,
                ..
            }) if verb == ESCALATE => {
                previewed.change = Change::Error;
                let namespace = previewed.object.namespace.clone();
                let refused = ClusterError::Forbidden {
                    verb,
                    resource,
                    namespace,
                    name,
                    message,
                };
                previewed.error = Some(refused.into());
            }
            Err(_) => {
                previewed.note = Some(format!(
                    "its namespace {} comes with this plan; its form could not be checked",
                    previewed.object.namespace
                ));
            }
        }
        Ok(())
    }

    async fn restart(&self, step: &StoredStep, workload: &ObjectRef) -> Result<Found, Problem> {
        let mut previewed = blank(step, workload, Change::Restart, Certainty::DecidedLater);
        if let Some(now) = self.cluster.get(workload).await? {
            previewed.certainty = Certainty::Verified;
            let patch = restart::patch_of(&clock::now());
            match self
                .cluster
                .patch(workload, &patch, restart::RESTARTER, true)
                .await
            {
                Ok(after) => previewed.diff = diff(&now, &after),
                Err(error) if error.is_connection() => return Err(error.into()),
                Err(error) => {
                    previewed.change = Change::Error;
                    previewed.error = Some(error.into());
                }
            }
        }
        Ok(Found {
            previewed,
            wanted: None,
            now: None,
        })
    }
}

/// What the server's refusal means for an object; a cluster that is away means nothing for any of them.
fn failed(
    mut previewed: PreviewedObject,
    manifest: Value,
    now: Option<Value>,
    error: ClusterError,
) -> Result<Found, Problem> {
    match error {
        error if error.is_connection() => return Err(error.into()),
        ClusterError::ApplyConflict { ref conflicts, .. } => {
            previewed.change = Change::Conflict;
            previewed.certainty = Certainty::Verified;
            previewed.conflicts.clone_from(conflicts);
            previewed.error = Some(error.into());
        }
        // A webhook that is not served now may be when the run comes to it.
        ClusterError::WebhookFailed { .. } => {
            previewed.certainty = Certainty::DecidedLater;
            previewed.note = Some(error.to_string());
            if now.is_some() {
                previewed.change = Change::Update;
            }
        }
        error => {
            previewed.change = Change::Error;
            previewed.certainty = Certainty::Verified;
            previewed.error = Some(error.into());
        }
    }
    Ok(found(previewed, manifest, now))
}

/// What becomes of an object that the server is not asked about.
pub(in crate::operation) fn noted(
    step: &StoredStep,
    object: &ObjectRef,
    change: Change,
    certainty: Certainty,
    note: String,
) -> Found {
    let mut previewed = blank(step, object, change, certainty);
    previewed.note = Some(note);
    Found {
        previewed,
        wanted: None,
        now: None,
    }
}

pub(in crate::operation) fn blank(
    step: &StoredStep,
    object: &ObjectRef,
    change: Change,
    certainty: Certainty,
) -> PreviewedObject {
    PreviewedObject {
        object: object.clone(),
        step: step.id.clone(),
        change,
        certainty,
        diff: Vec::new(),
        conflicts: Vec::new(),
        error: None,
        warnings: Vec::new(),
        note: None,
    }
}

fn found(previewed: PreviewedObject, wanted: Value, now: Option<Value>) -> Found {
    Found {
        previewed,
        wanted: Some(wanted),
        now,
    }
}

pub(in crate::operation) fn count(objects: &[PreviewedObject]) -> Counts {
    let mut counts = Counts::default();
    for object in objects {
        match object.change {
            Change::Create => counts.create += 1,
            Change::Update => counts.update += 1,
            Change::Unchanged => counts.unchanged += 1,
            Change::Delete => counts.delete += 1,
            Change::Keep => counts.keep += 1,
            Change::Conflict => counts.conflict += 1,
            Change::Error => counts.error += 1,
            Change::Restart => counts.restart += 1,
            Change::Recreate => counts.recreate += 1,
            Change::Wait | Change::Probe => {}
        }
    }
    counts
}
