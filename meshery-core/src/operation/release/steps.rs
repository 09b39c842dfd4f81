//! What a Helm release becomes: a record that it is being worked on, hooks, objects, what falls away, hooks, and the
//! record that it is deployed.
//!
//! Rendered once, from an archive or from the record of an earlier revision; what the cluster has of the release
//! decides whether it is an installation or an upgrade, and what an upgrade leaves behind is found by the records of
//! what may be there: the revision deployed last, and those on which somebody failed since.

use std::collections::{BTreeMap, HashMap, HashSet};

use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_plugin_api::message::plan::{Release, RollbackRelease, Step};
use serde_json::Value;

use super::existing::{Existing, outdated, superseded};
use super::moment::Moment;
use super::removal::deletion;
use crate::cluster::chart::{Hook, RenderRequest, Rendered, recorded};
use crate::cluster::release::marks::{is_kept, mark_release, release_of};
use crate::cluster::release::{MANAGER, NewRecord, Record, Status, hook_of, record_reference};
use crate::images::Mover;
use crate::operation::clock;
use crate::operation::consent::{Consent, NeededConsent};
use crate::operation::journal::stopped;
use crate::operation::object::mark::{is_only_made, mark_adoption, mark_definition, text};
use crate::operation::plan::resolve::{Resolved, Resolver, kind_of, reference_of};
use crate::operation::plan::rights;
use crate::operation::plan::stored::{
    NewSecret, ReleaseName, StatusChange, StoredStep, Work, seal_bytes, unreadable,
};
use crate::operation::step::hooks::HookPlan;
use crate::problem::{Problem, ProblemKind};
use crate::provider::BlobRef;

/// How many revisions Helm keeps.
const HISTORY: u32 = 10;

/// A release as it is to become.
pub(in crate::operation) struct Rendering {
    pub objects: Vec<Value>,
    hooks: Vec<Hook>,
    moment: Moment,
    name: ReleaseName,
    revision: u32,
    record: Record,
    existing: Existing,
    history: u32,
}

fn rendering(
    name: ReleaseName,
    rendered: Rendered,
    record: Record,
    existing: Existing,
    moment: Moment,
    (history, adopted_from): (u32, &str),
) -> Rendering {
    let objects = rendered
        .objects
        .into_iter()
        .map(|object| {
            let mut value = object.value;
            // Helm does not put its marks on what comes from the folder `crds`, nor ever removes it.
            if object.crd {
                mark_definition(&mut value, &name.namespace, &name.name);
            } else {
                mark_release(&mut value, &name.name, &name.namespace);
                if !adopted_from.is_empty() {
                    mark_adoption(&mut value, adopted_from);
                }
            }
            value
        })
        .collect();
    Rendering {
        objects,
        hooks: rendered.hooks,
        moment,
        revision: existing.next(),
        name,
        record,
        existing,
        history: if history == 0 { HISTORY } else { history },
    }
}

impl Resolver<'_> {
    /// Renders the release of a step.
    pub(in crate::operation) async fn render(
        &self,
        release: &Release,
        mover: &mut Mover<'_>,
        resolved: &mut Resolved,
    ) -> Result<Rendering, Problem> {
        let name = ReleaseName {
            name: release.name.clone(),
            namespace: release.namespace.clone(),
        };
        let chart = self.charts.fetch(&release.chart).await?;
        let existing = self.existing(&name, resolved).await?;
        let values = Box::pin(self.values(release, &existing)).await?;
        let mut request = RenderRequest {
            release: release.name.clone(),
            namespace: release.namespace.clone(),
            values: values.clone(),
            kube_version: self.cluster.version().to_owned(),
            api_versions: self.cluster.apis(),
            is_upgrade: existing.is_installed(),
        };
        let asked = request.clone();
        let (mut rendered, mut exposures) = self.rendered(&chart, &mut request).await?;
        if !request.is_upgrade && !release.adopted_from.is_empty() && self.goes_on(&name, &rendered).await? {
            request = RenderRequest {
                is_upgrade: true,
                ..asked
            };
            (rendered, exposures) = self.rendered(&chart, &mut request).await?;
        }
        self.expose(exposures, &format!("chart {}", chart.name), resolved);
        if !mover.is_idle() {
            rendered.rewrite(|object| mover.change(object));
        }
        if chart.templates_use_lookup {
            resolved.needs_consent.push(NeededConsent {
                consent: Consent::Lookup,
                why: format!(
                    "chart {} {} asks the cluster while it is rendered; rendered here, it sees nothing, and may come \
                     out otherwise than with Helm",
                    chart.name, chart.version
                ),
            });
        }
        let unknown = chart.unknown_values(&values);
        resolved
            .notes
            .extend(unknown.iter().map(|note| self.references.name_references(note)));
        let kept = {
            let chart = chart.clone();
            tokio::task::spawn_blocking(move || chart.kept())
                .await
                .map_err(|_| stopped())??
        };
        let now = clock::now();
        let record = Record::new(NewRecord {
            release: &release.name,
            namespace: &release.namespace,
            revision: existing.next(),
            chart: kept,
            config: &request.values,
            manifest: &rendered.manifest,
            hooks: rendered
                .hooks
                .iter()
                .chain(&rendered.tests)
                .map(hook_of)
                .collect(),
            notes: &rendered.notes,
            first_deployed: existing.first_deployed(),
            now: &now,
        });
        let moment = if existing.is_installed() {
            Moment::Upgrade
        } else {
            Moment::Install
        };
        Ok(rendering(
            name,
            rendered,
            record,
            existing,
            moment,
            (release.history, &release.adopted_from),
        ))
    }

    /// The release of a step as the record of an earlier revision has it.
    pub(in crate::operation) async fn rollback(
        &self,
        release: &RollbackRelease,
        resolved: &mut Resolved,
    ) -> Result<Rendering, Problem> {
        let name = ReleaseName {
            name: release.name.clone(),
            namespace: release.namespace.clone(),
        };
        let existing = self.existing(&name, resolved).await?;
        let (number, old) = existing.earlier(self, &name, release).await?;
        resolved.notes.push(goes_back(&name, &existing, (number, &old)));
        let hooks = old.hooks();
        let rendered = recorded(&name.name, old.manifest(), &hooks)?;
        let now = clock::now();
        let record = Record::new(NewRecord {
            release: &name.name,
            namespace: &name.namespace,
            revision: existing.next(),
            chart: old.chart(),
            config: &old.config(),
            manifest: old.manifest(),
            hooks,
            notes: old.notes(),
            first_deployed: existing.first_deployed(),
            now: &now,
        });
        let moment = Moment::Rollback(number);
        Ok(rendering(name, rendered, record, existing, moment, (0, "")))
    }

    /// The steps of a release. The last of them has the id of the plan's step: what comes after that waits for all.
    pub(in crate::operation) async fn release_steps(
        &self,
        step: &Step,
        rendering: Rendering,
        defined: &HashMap<(String, String), bool>,
        resolved: &mut Resolved,
    ) -> Result<Vec<StoredStep>, Problem> {
        let Rendering {
            objects,
            hooks,
            moment,
            name,
            revision,
            record,
            existing,
            history,
        } = rendering;
        let mut chain = Chain::new(step);
        let secret = record_reference(&name.namespace, &name.name, revision);
        let packed = record.pack_to_fit().map_err(|fault| too_large(&name, &fault.0))?;
        let content = seal_bytes(self.key, self.operation, packed.as_bytes())?;
        let pending = moment.pending();
        let makes = NewSecret {
            release: name.clone(),
            revision,
            secret: secret.clone(),
            content: BlobRef::of(&content),
            status: pending.to_string(),
            description: moment.underway(),
            labels: existing.labels(moment),
        };
        resolved.contents.push(content);
        chain.add(
            "record",
            format!("Record that release {} is {pending}", name.name),
            Work::Record {
                makes: Some(makes),
                changes: Vec::new(),
            },
        );
        let before = self
            .hooks(
                &step.id,
                &name,
                &format!("pre-{}", moment.word()),
                &hooks,
                resolved,
            )
            .await?;
        let (definitions, objects) = if before.is_some() {
            objects.into_iter().partition(is_only_made)
        } else {
            (Vec::new(), objects)
        };
        // Helm makes those first of all; hooks may need them.
        if !definitions.is_empty() {
            let work = self
                .release_objects(step, &name, definitions, defined, resolved)
                .await?;
            chain.add("definitions", format!("Definitions of {}", name.name), work);
        }
        if let Some(work) = before {
            chain.add(
                "before",
                format!("Hooks before the {} of {}", moment.word(), name.name),
                work,
            );
        }
        let pruned = self.pruned(&name, &objects, &existing, defined).await?;
        let work = self
            .release_objects(step, &name, objects, defined, resolved)
            .await?;
        chain.add("objects", chain.title.clone(), work);
        if let Some(work) = pruned {
            chain.add("prune", format!("What release {} has no more", name.name), work);
        }
        if let Some(work) = self
            .hooks(
                &step.id,
                &name,
                &format!("post-{}", moment.word()),
                &hooks,
                resolved,
            )
            .await?
        {
            chain.add(
                "after",
                format!("Hooks after the {} of {}", moment.word(), name.name),
                work,
            );
        }
        if let Some(work) = outdated(&existing, history) {
            chain.add("history", format!("Old records of release {}", name.name), work);
        }
        let mut changes = vec![StatusChange {
            secret,
            status: Status::Deployed.to_string(),
            description: moment.complete(),
            hooks: chain.hooks(),
        }];
        changes.extend(superseded(&existing));
        chain.end(
            format!("Record that release {} is deployed", name.name),
            Work::Record { makes: None, changes },
        );
        Ok(chain.steps)
    }

    async fn release_objects(
        &self,
        step: &Step,
        name: &ReleaseName,
        objects: Vec<Value>,
        defined: &HashMap<(String, String), bool>,
        resolved: &mut Resolved,
    ) -> Result<Work, Problem> {
        self.apply(&step.id, MANAGER.into(), Some(name), objects, defined, resolved)
            .await
    }

    /// The hooks of one moment as a step, the lightest first; nothing when there is none.
    pub(in crate::operation) async fn hooks(
        &self,
        step: &str,
        name: &ReleaseName,
        event: &str,
        hooks: &[Hook],
        resolved: &mut Resolved,
    ) -> Result<Option<Work>, Problem> {
        let mut chosen: Vec<&Hook> = hooks
            .iter()
            .filter(|hook| hook.events.iter().any(|given| given == event))
            .collect();
        if chosen.is_empty() {
            return Ok(None);
        }
        // As Helm does: by name where they weigh the same.
        chosen.sort_by_key(|hook| (hook.weight, hook.name().to_owned()));
        let (mut plans, mut objects) = (Vec::new(), Vec::new());
        for hook in chosen {
            let mut object = hook.value.clone();
            self.place(step, &mut object, Some(name), &HashMap::new()).await?;
            let reference = reference_of(step, &object)?;
            rights::check(self.adapter, step, &reference, &object, &self.bounds)?;
            objects.push(self.kept(resolved, &reference, object)?);
            plans.push(HookPlan {
                object: reference,
                source: hook.source.clone(),
                delete_policies: hook.delete_policies.clone(),
            });
        }
        let content = serde_json::to_vec(&[objects]).map_err(|error| unreadable(&error))?;
        let kept = BlobRef::of(&content);
        resolved.contents.push(content);
        Ok(Some(Work::Hooks {
            event: event.to_owned(),
            content: kept,
            hooks: plans,
            release: Some(name.clone()),
        }))
    }

    /// The hooks of one moment of a release that is there, as its record has them.
    pub(super) async fn recorded_hooks(
        &self,
        step: &str,
        name: &ReleaseName,
        event: &str,
        record: &Record,
        resolved: &mut Resolved,
    ) -> Result<Option<Work>, Problem> {
        let recorded = recorded(&name.name, "", &record.hooks())?;
        self.hooks(step, name, event, &recorded.hooks, resolved).await
    }

    /// What earlier revisions had and this one has no more.
    async fn pruned(
        &self,
        name: &ReleaseName,
        objects: &[Value],
        existing: &Existing,
        defined: &HashMap<(String, String), bool>,
    ) -> Result<Option<Work>, Problem> {
        type Key = (String, String, String, String);
        let key = |object: ObjectRef| -> Key { (object.group, object.kind, object.namespace, object.name) };
        let mut seen: HashSet<Key> = HashSet::new();
        for object in objects {
            let mut object = object.clone();
            self.place("", &mut object, Some(name), defined).await?;
            seen.extend(ObjectRef::of(&object).map(key));
        }
        let (mut targets, mut kept) = (Vec::new(), Vec::new());
        for record in &existing.records {
            for reference in self.named_in(name, record, defined).await? {
                if !seen.insert(key(reference.clone())) {
                    continue;
                }
                let Some(now) = self.cluster.get_if_served(&reference).await? else {
                    continue;
                };
                let metadata = &now["metadata"];
                let owner = release_of(&metadata["labels"], &metadata["annotations"]);
                if owner != Some((name.name.clone(), name.namespace.clone())) {
                    continue;
                }
                if is_kept(&metadata["annotations"]) {
                    kept.push(super::removal::kept_by_policy(reference));
                    continue;
                }
                rights::check(self.adapter, "", &reference, &Value::Null, &self.bounds)?;
                let uid = text(&now, "/metadata/uid").to_owned();
                targets.push((reference, uid));
            }
        }
        Ok((!targets.is_empty() || !kept.is_empty()).then(|| deletion(targets, kept, None)))
    }

    /// The objects that the manifest of a revision names.
    pub(super) async fn named_in(
        &self,
        name: &ReleaseName,
        record: &Record,
        defined: &HashMap<(String, String), bool>,
    ) -> Result<Vec<ObjectRef>, Problem> {
        let mut named = Vec::new();
        for object in recorded(&name.name, record.manifest(), &[])?.objects {
            let mut object = object.value;
            // A kind that is not served any more has no objects either.
            if self.place("", &mut object, Some(name), defined).await.is_ok() {
                named.extend(ObjectRef::of(&object));
            }
        }
        Ok(named)
    }
}

/// From which chart a release goes back to which: the numbers of revisions do not tell.
fn goes_back(name: &ReleaseName, existing: &Existing, (number, old): (u32, &Record)) -> String {
    let now = match existing.deployed() {
        Some(record) => format!("is of {}", chart_of(record)),
        None => "is not there now".to_owned(),
    };
    format!(
        "Release {} {now} and goes back to {}, as revision {number} has it, with the values of then.",
        name.name,
        chart_of(old)
    )
}

/// A record's chart, for people.
fn chart_of(record: &Record) -> String {
    let text = |key: &str| record.text(&format!("/chart/metadata/{key}"));
    let chart = format!("chart {} {}", text("name"), text("version"));
    match text("appVersion") {
        "" => chart,
        version if version == text("version") => chart,
        version => format!("{chart} ({version})"),
    }
}

/// The steps of one step of the plan, one after the other.
pub(in crate::operation) struct Chain<'a> {
    step: &'a Step,
    pub title: String,
    after: Vec<String>,
    pub steps: Vec<StoredStep>,
}

impl<'a> Chain<'a> {
    pub fn new(step: &'a Step) -> Self {
        Self {
            step,
            title: if step.title.is_empty() {
                step.id.clone()
            } else {
                step.title.clone()
            },
            after: step.after.clone(),
            steps: Vec::new(),
        }
    }

    pub fn id(&self) -> &str {
        &self.step.id
    }

    /// Adds a step before the last. Its id has a dot, which no id of a plan's own has.
    pub fn add(&mut self, part: &str, title: String, work: Work) {
        let id = format!("{}.{part}", self.step.id);
        self.push(id, title, work, false);
    }

    /// The steps so far that run hooks.
    pub fn hooks(&self) -> Vec<String> {
        let of_hooks = self
            .steps
            .iter()
            .filter(|step| matches!(step.work, Work::Hooks { .. }));
        of_hooks.map(|step| step.id.clone()).collect()
    }

    pub fn end(&mut self, title: String, work: Work) {
        self.push(self.step.id.clone(), title, work, true);
    }

    fn push(&mut self, id: String, title: String, work: Work, ends: bool) {
        let after = std::mem::replace(&mut self.after, vec![id.clone()]);
        self.steps.push(StoredStep {
            id,
            title,
            kind: kind_of(&self.step.action),
            after,
            deadline_s: self.step.deadline_s,
            verify: false,
            // What it leaves is read at its end.
            outputs: if ends {
                self.step.outputs.clone()
            } else {
                BTreeMap::new()
            },
            holds_back: self.step.holds_back,
            work,
        });
    }
}

fn too_large(name: &ReleaseName, fault: &str) -> Problem {
    Problem::new(
        ProblemKind::TooLarge,
        "release-record-too-large",
        format!(
            "Helm's record of release {} in namespace {} cannot be kept: {fault}",
            name.name, name.namespace
        ),
    )
    .cause("the chart with its values is too large for Helm as well")
    .remedy("use a smaller chart, or fewer values; nothing was changed")
}
