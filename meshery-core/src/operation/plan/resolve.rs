//! From an adapter's plan to what is stored and run: charts rendered, namespaces filled in, objects put into waves,
//! removals looked up, and all of it held against what the adapter declared.
//!
//! Charts are rendered here, once. Two renderings of one chart may differ, and what is previewed has to be what runs.

use std::collections::{HashMap, HashSet};

use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_plugin_api::message::plan::{Action, Apply, Plan, Step};
use serde_json::{Map, Value};

use super::material::Made;
use super::rights::{self, Bounds};
use super::stored::{ReleaseName, StoredPlan, StoredStep, Work, seal_value, store_value, unreadable};
use crate::cluster::chart::Charts;
use crate::cluster::{Cluster, wave};
use crate::images::{ImageSource, Mover};
use crate::operation::consent::NeededConsent;
use crate::operation::gate::check_moment;
use crate::operation::journal::entry::Stored;
use crate::operation::object::mark::text;
use crate::operation::object::ownership::minded;
use crate::operation::release::chart_tests;
use crate::operation::release::removal::OfHelm;
use crate::operation::release::revision_ready;
use crate::operation::release::steps::{Chain, Rendering};
use crate::operation::secret::reference::References;
use crate::operation::secret::seal::HostKey;
use crate::problem::{Problem, ProblemKind};
use crate::provider::{BlobRef, MAX_CONTENT};

/// Field manager of what is applied outside of releases.
pub(in crate::operation) const MANAGER: &str = "meshery";

/// A plan with everything it needs to run.
pub(in crate::operation) struct Resolved {
    pub plan: StoredPlan,
    /// What the plan's references lead to.
    pub contents: Vec<Vec<u8>>,
    /// What people should know, beside the adapter's own notes.
    pub notes: Vec<String>,
    /// What is done on explicit word only.
    pub needs_consent: Vec<NeededConsent>,
    /// The releases that are to be tested, and whether their charts bring tests.
    pub tested: Vec<(String, bool)>,
}

/// Resolves plans for one operation.
pub(in crate::operation) struct Resolver<'a> {
    pub operation: &'a str,
    pub adapter: &'a str,
    pub cluster: &'a Cluster,
    pub charts: &'a Charts,
    pub key: &'a HostKey,
    pub bounds: Bounds<'a>,
    pub images: &'a ImageSource,
    /// What the placeholders stand for that the adapter was given.
    pub references: &'a References,
    /// The operation's parameters as they are shown: whatever else is in a chart's values may be secret.
    pub open: &'a Map<String, Value>,
    pub of_helm: OfHelm,
}

/// Objects of a step, in waves.
type Waves = Vec<Vec<Value>>;

/// What a step brings that any other may build upon.
enum Brought {
    Objects(Vec<Value>),
    Release(Box<Rendering>),
}

impl Brought {
    fn objects(&self) -> &[Value] {
        match self {
            Self::Objects(objects) => objects,
            Self::Release(rendering) => &rendering.objects,
        }
    }
}

impl Resolver<'_> {
    pub async fn resolve(&self, plan: Plan) -> Result<Resolved, Problem> {
        let mut resolved = Resolved {
            plan: StoredPlan {
                references: self.references.clone(),
                ..StoredPlan::default()
            },
            contents: Vec::new(),
            notes: Vec::new(),
            needs_consent: Vec::new(),
            tested: Vec::new(),
        };
        // First all objects: a kind that one step defines may be used by any other.
        let mut brought: HashMap<String, Brought> = HashMap::new();
        let mut mover = Mover::new(self.images);
        let mut made = Made::default();
        for step in plan.steps.iter().chain(&plan.verify) {
            self.check_placeholders(step)?;
        }
        for step in &plan.steps {
            let of_step = match &step.action {
                Action::Apply(apply) => {
                    let mut objects = apply.objects.clone();
                    for object in &mut objects {
                        mover.change(object);
                    }
                    self.mark_set(&step.id, apply, &mut objects)?;
                    self.look_for_placeholders(&step.id, &objects, &mut resolved);
                    Brought::Objects(objects)
                }
                Action::Material(material) => {
                    let new = self.make(&step.id, material, &mut made).await?;
                    resolved.notes.extend(new.notes);
                    Brought::Objects(new.objects)
                }
                Action::Release(release) => {
                    Brought::Release(Box::new(self.render(release, &mut mover, &mut resolved).await?))
                }
                Action::RollbackRelease(release) => {
                    Brought::Release(Box::new(self.rollback(release, &mut resolved).await?))
                }
                _ => continue,
            };
            brought.insert(step.id.clone(), of_step);
        }
        resolved.notes.extend(mover.notes());
        let defined = scopes_of(brought.values().flat_map(Brought::objects));
        let steps = plan.steps.into_iter().map(|step| (step, false));
        for (step, verify) in steps.chain(plan.verify.into_iter().map(|step| (step, true))) {
            let brought = brought.remove(&step.id);
            let mut stored = self.step(step, brought, &defined, &mut resolved).await?;
            for step in &mut stored {
                step.verify = verify;
            }
            resolved.plan.steps.append(&mut stored);
        }
        chart_tests::demand_some(&resolved.tested)?;
        let size: usize = resolved.contents.iter().map(Vec::len).sum();
        if size > MAX_CONTENT {
            return Err(Problem::new(
                ProblemKind::TooLarge,
                "plan-too-large",
                format!("the plan's objects take {size} bytes; {MAX_CONTENT} is the limit"),
            )
            .remedy("split the operation"));
        }
        let minded = minded(self.cluster, &resolved.plan).await?;
        resolved.needs_consent.extend(minded);
        Ok(resolved)
    }

    /// What a step of the plan becomes: one step, or several for a release.
    async fn step(
        &self,
        step: Step,
        brought: Option<Brought>,
        defined: &HashMap<(String, String), bool>,
        resolved: &mut Resolved,
    ) -> Result<Vec<StoredStep>, Problem> {
        let objects = match brought {
            Some(Brought::Release(rendering)) => {
                return self.release_steps(&step, *rendering, defined, resolved).await;
            }
            Some(Brought::Objects(objects)) => objects,
            None => Vec::new(),
        };
        let mut chain = Chain::new(&step);
        let work = match &step.action {
            Action::Apply(Apply {
                manager,
                uses,
                set,
                prune,
                ..
            }) => {
                let manager = if manager.is_empty() { MANAGER } else { manager };
                let mut work = self
                    .apply(&step.id, manager.into(), None, objects, defined, resolved)
                    .await?;
                if let Work::Apply { uses: used, .. } = &mut work {
                    used.clone_from(uses);
                }
                let fallen = match &work {
                    Work::Apply { waves, .. } if *prune => {
                        self.fallen(&step.id, set, waves, resolved).await?.work()
                    }
                    _ => None,
                };
                match fallen {
                    None => work,
                    Some(fallen) => {
                        chain.add("objects", chain.title.clone(), work);
                        chain.end(format!("What set {set} has no more"), fallen);
                        return Ok(chain.steps);
                    }
                }
            }
            Action::Material(_) => {
                self.apply(&step.id, MANAGER.into(), None, objects, defined, resolved)
                    .await?
            }
            Action::Delete(delete) => self.delete(&step.id, delete.clone(), resolved).await?,
            Action::RemoveRelease(release) => self.removal(&mut chain, release, resolved).await?,
            Action::TestRelease(release) => {
                let tests = self.tests(&mut chain, release, resolved).await?;
                resolved.tested.push((release.name.clone(), tests.is_some()));
                tests.unwrap_or_else(|| {
                    let none = chart_tests::none_of(release);
                    chain.title.clone_from(&none);
                    resolved.notes.push(none);
                    let conditions = Vec::new();
                    Work::Wait { conditions }
                })
            }
            Action::Wait(wait) => Work::Wait {
                conditions: revision_ready::conditions(wait.clone(), &resolved.plan.steps).ok_or_else(
                    || {
                        let what = format!(
                            "\"{}\" is no step before it that takes a release back",
                            wait.of_revision
                        );
                        invalid(&step.id, &what, "it is to wait for what that step brings")
                    },
                )?,
            },
            Action::Probe(probe) => {
                let reference = reference_of(&step.id, &probe.object)?;
                rights::check(self.adapter, &step.id, &reference, &probe.object, &self.bounds)?;
                Work::Probe {
                    object: store_value(self.key, self.operation, &reference, probe.object.clone())?,
                    reference,
                    expect: probe.expect.clone(),
                }
            }
            Action::Restart(restart) => {
                for workload in &restart.workloads {
                    rights::check(self.adapter, &step.id, workload, &Value::Null, &self.bounds)?;
                }
                let workloads = restart.workloads.clone();
                if restart.in_undo {
                    Work::RestartInUndo { workloads }
                } else {
                    Work::Restart { workloads }
                }
            }
            Action::Gate(gate) => {
                check_moment(&step.id, gate)?;
                Work::Gate(gate.clone())
            }
            Action::Expand(expand) => Work::Expand(expand.clone()),
            Action::Release(_) | Action::RollbackRelease(_) | Action::Unknown => {
                return Err(unknown_step(self.adapter, &step.id));
            }
        };
        let title = chain.title.clone();
        chain.end(title, work);
        Ok(chain.steps)
    }

    pub(in crate::operation) async fn apply(
        &self,
        step: &str,
        manager: String,
        release: Option<&ReleaseName>,
        mut objects: Vec<Value>,
        defined: &HashMap<(String, String), bool>,
        resolved: &mut Resolved,
    ) -> Result<Work, Problem> {
        for object in &mut objects {
            self.place(step, object, release, defined).await?;
        }
        let waves: Waves = wave::order(objects, |object| object);
        let mut references = Vec::with_capacity(waves.len());
        let mut stored = Vec::with_capacity(waves.len());
        let mut seen: HashSet<ObjectRef> = HashSet::new();
        for wave in waves {
            let mut of_wave = Vec::with_capacity(wave.len());
            let mut stored_wave = Vec::with_capacity(wave.len());
            for object in wave {
                let reference = reference_of(step, &object)?;
                rights::check(self.adapter, step, &reference, &object, &self.bounds)?;
                if !seen.insert(reference.clone()) {
                    return Err(invalid(
                        step,
                        &format!("{reference} is in it twice"),
                        "which of the two is meant cannot be told",
                    ));
                }
                stored_wave.push(self.kept(resolved, &reference, object)?);
                of_wave.push(reference);
            }
            references.push(of_wave);
            stored.push(stored_wave);
        }
        let content = serde_json::to_vec(&stored).map_err(|error| unreadable(&error))?;
        let name = BlobRef::of(&content);
        resolved.contents.push(content);
        Ok(Work::Apply {
            manager,
            content: name,
            waves: references,
            release: release.cloned(),
            uses: Vec::new(),
        })
    }

    /// An object of the plan as it is stored.
    pub(in crate::operation) fn kept(
        &self,
        resolved: &Resolved,
        reference: &ObjectRef,
        object: Value,
    ) -> Result<Stored<Value>, Problem> {
        if resolved.plan.hides(reference) {
            seal_value(self.key, self.operation, object)
        } else {
            Ok(Stored::Plain(object))
        }
    }

    /// Puts an object into its namespace, and refuses one that is in none or in one that it cannot be in.
    pub(in crate::operation) async fn place(
        &self,
        step: &str,
        object: &mut Value,
        release: Option<&ReleaseName>,
        defined: &HashMap<(String, String), bool>,
    ) -> Result<(), Problem> {
        let reference = reference_of(step, object)?;
        let known = defined
            .get(&(reference.group.clone(), reference.kind.clone()))
            .copied();
        let namespaced = match known {
            Some(namespaced) => namespaced,
            None => {
                self.cluster
                    .resolve(&reference.group, &reference.version, &reference.kind)
                    .await?
                    .namespaced
            }
        };
        let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
            return Err(invalid(step, "an object has no metadata", ""));
        };
        match (namespaced, reference.namespace.is_empty(), release) {
            (true, true, Some(release)) => {
                metadata.insert("namespace".into(), release.namespace.as_str().into());
            }
            (true, true, None) => {
                return Err(invalid(
                    step,
                    &format!("{reference} names no namespace"),
                    "its kind lives in one",
                ));
            }
            // Charts put namespaces onto cluster-wide objects; Helm sends them, and servers ignore them.
            (false, false, _) => {
                metadata.remove("namespace");
            }
            _ => {}
        }
        Ok(())
    }
}

pub(in crate::operation) fn reference_of(step: &str, object: &Value) -> Result<ObjectRef, Problem> {
    ObjectRef::of(object).ok_or_else(|| {
        invalid(
            step,
            &format!(
                "an object of kind \"{}\" has no apiVersion, kind or name",
                text(object, "/kind")
            ),
            "",
        )
    })
}

/// Of each kind that the objects define, whether it lives in namespaces.
pub(in crate::operation) fn scopes_of<'a>(
    objects: impl Iterator<Item = &'a Value>,
) -> HashMap<(String, String), bool> {
    objects
        .filter(|object| object["kind"] == "CustomResourceDefinition")
        .map(|crd| {
            let spec = &crd["spec"];
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            (
                (text(&spec["group"]), text(&spec["names"]["kind"])),
                spec["scope"] == "Namespaced",
            )
        })
        .collect()
}

/// The wave of an object of which only the reference is known.
pub(in crate::operation) fn wave_of(reference: &ObjectRef) -> u8 {
    let object = serde_json::json!({"apiVersion": reference.api_version(), "kind": reference.kind});
    wave::wave(&object, &HashSet::new())
}

/// The word of a step's action, for people.
pub(in crate::operation) fn kind_of(action: &Action) -> String {
    serde_json::to_value(action)
        .ok()
        .and_then(|action| action["kind"].as_str().map(str::to_owned))
        .unwrap_or_default()
}

fn invalid(step: &str, what: &str, cause: &str) -> Problem {
    Problem::new(ProblemKind::Invalid, "bad-plan", format!("step {step}: {what}"))
        .cause(cause)
        .remedy("nothing was changed; report this to the author of the adapter or the chart")
}

fn unknown_step(adapter: &str, step: &str) -> Problem {
    Problem::new(
        ProblemKind::Invalid,
        "bad-plan",
        format!("step {step} of {adapter}'s plan is of a kind that this host does not know"),
    )
    .cause("the adapter is newer than the host")
    .remedy("update the host, or use an older version of the adapter")
}
