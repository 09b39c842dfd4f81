//! From an adapter's plan to what is stored and run: charts rendered, namespaces filled in, objects put into waves,
//! removals looked up, and all of it held against what the adapter declared.
//!
//! Charts are rendered here, once. Two renderings of one chart may differ, and what is previewed has to be what runs.

use std::collections::{HashMap, HashSet};

use meshery_plugin_api::message::descriptor::Rights;
use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_plugin_api::message::plan::{Action, Apply, Delete, Plan, Release, Step};
use serde_json::Value;

use super::mark::{mark_definition, text};
use super::release_removal;
use super::rights;
use super::seal::HostKey;
use super::stored_plan::{DeleteTarget, StoredPlan, StoredStep, Work, store_value, unreadable};
use crate::cluster::chart::{Charts, RenderRequest};
use crate::cluster::release_marks::mark_release;
use crate::cluster::{Cluster, wave};
use crate::problem::{Problem, ProblemKind};
use crate::provider::{BlobRef, MAX_CONTENT};

/// Field manager of what is applied outside of releases.
pub(super) const MANAGER: &str = "meshery";
/// Field manager of a release's objects: Helm's own.
const RELEASE_MANAGER: &str = "helm";

/// A plan with everything it needs to run.
pub(super) struct Resolved {
    pub plan: StoredPlan,
    /// What the plan's references lead to.
    pub contents: Vec<Vec<u8>>,
    /// What people should know, beside the adapter's own notes.
    pub notes: Vec<String>,
}

/// Resolves plans for one operation.
pub(super) struct Resolver<'a> {
    pub operation: &'a str,
    pub adapter: &'a str,
    pub cluster: &'a Cluster,
    pub charts: &'a Charts,
    pub key: &'a HostKey,
    pub rights: &'a Rights,
}

/// Objects of a step, in waves.
type Waves = Vec<Vec<Value>>;

impl Resolver<'_> {
    pub async fn resolve(&self, plan: Plan) -> Result<Resolved, Problem> {
        let mut resolved = Resolved {
            plan: StoredPlan { steps: Vec::new() },
            contents: Vec::new(),
            notes: Vec::new(),
        };
        // First all objects: a kind that one step defines may be used by any other.
        let mut objects: HashMap<String, Vec<Value>> = HashMap::new();
        for step in &plan.steps {
            let of_step = match &step.action {
                Action::Apply(apply) => apply.objects.clone(),
                Action::Release(release) => self.render(step, release, &mut resolved.notes).await?,
                _ => continue,
            };
            objects.insert(step.id.clone(), of_step);
        }
        let defined = scopes_of(objects.values().flatten());
        let steps = plan.steps.into_iter().map(|step| (step, false));
        for (step, verify) in steps.chain(plan.verify.into_iter().map(|step| (step, true))) {
            let objects = objects.remove(&step.id).unwrap_or_default();
            let stored = self.step(step, verify, objects, &defined, &mut resolved).await?;
            resolved.plan.steps.push(stored);
        }
        let size: usize = resolved.contents.iter().map(Vec::len).sum();
        if size > MAX_CONTENT {
            return Err(Problem::new(
                ProblemKind::TooLarge,
                "plan-too-large",
                format!("the plan's objects take {size} bytes; {MAX_CONTENT} is the limit"),
            )
            .remedy("split the operation"));
        }
        Ok(resolved)
    }

    async fn step(
        &self,
        step: Step,
        verify: bool,
        objects: Vec<Value>,
        defined: &HashMap<(String, String), bool>,
        resolved: &mut Resolved,
    ) -> Result<StoredStep, Problem> {
        let kind = serde_json::to_value(&step.action)
            .ok()
            .and_then(|action| action["kind"].as_str().map(str::to_owned))
            .unwrap_or_default();
        let work = match step.action {
            Action::Apply(Apply { manager, .. }) => {
                let manager = if manager.is_empty() {
                    MANAGER.into()
                } else {
                    manager
                };
                self.apply(&step.id, manager, None, objects, defined, resolved)
                    .await?
            }
            Action::Release(release) => {
                self.apply(
                    &step.id,
                    RELEASE_MANAGER.into(),
                    Some(&release),
                    objects,
                    defined,
                    resolved,
                )
                .await?
            }
            Action::Delete(delete) => self.delete(&step.id, delete)?,
            Action::RemoveRelease(release) => {
                let (work, notes) = release_removal::find(self.cluster, &release).await?;
                if let Work::Delete { waves, .. } = &work {
                    for target in waves.iter().flatten() {
                        rights::check(
                            self.adapter,
                            &step.id,
                            &target.object,
                            &Value::Null,
                            &self.with_release_secrets(),
                        )?;
                    }
                }
                resolved.notes.extend(notes);
                work
            }
            Action::Wait(wait) => Work::Wait {
                conditions: wait.conditions,
            },
            Action::Probe(probe) => {
                let reference = reference_of(&step.id, &probe.object)?;
                rights::check(self.adapter, &step.id, &reference, &probe.object, self.rights)?;
                Work::Probe {
                    object: store_value(self.key, self.operation, &reference, probe.object)?,
                    reference,
                    expect: probe.expect,
                }
            }
            Action::Restart(restart) => {
                for workload in &restart.workloads {
                    rights::check(self.adapter, &step.id, workload, &Value::Null, self.rights)?;
                }
                Work::Restart {
                    workloads: restart.workloads,
                }
            }
            Action::Unknown => return Err(unknown_step(self.adapter, &step.id)),
        };
        Ok(StoredStep {
            title: if step.title.is_empty() {
                step.id.clone()
            } else {
                step.title
            },
            id: step.id,
            kind,
            after: step.after,
            deadline_s: step.deadline_s,
            verify,
            work,
        })
    }

    /// Helm keeps its own records in Secrets; removing those with the release needs no right of the adapter's.
    fn with_release_secrets(&self) -> Rights {
        Rights {
            secrets: true,
            ..self.rights.clone()
        }
    }

    async fn apply(
        &self,
        step: &str,
        manager: String,
        release: Option<&Release>,
        mut objects: Vec<Value>,
        defined: &HashMap<(String, String), bool>,
        resolved: &mut Resolved,
    ) -> Result<Work, Problem> {
        let namespace = release.map(|release| release.namespace.as_str());
        for object in &mut objects {
            self.place(step, object, namespace, defined).await?;
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
                rights::check(self.adapter, step, &reference, &object, self.rights)?;
                if !seen.insert(reference.clone()) {
                    return Err(invalid(
                        step,
                        &format!("{reference} is in it twice"),
                        "which of the two is meant cannot be told",
                    ));
                }
                stored_wave.push(store_value(self.key, self.operation, &reference, object)?);
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
        })
    }

    /// Puts an object into its namespace, and refuses one that is in none or in one that it cannot be in.
    async fn place(
        &self,
        step: &str,
        object: &mut Value,
        release_namespace: Option<&str>,
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
        match (namespaced, reference.namespace.is_empty(), release_namespace) {
            (true, true, Some(namespace)) => {
                metadata.insert("namespace".into(), namespace.into());
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

    fn delete(&self, step: &str, delete: Delete) -> Result<Work, Problem> {
        let mut waves: Vec<Vec<DeleteTarget>> = Vec::new();
        let mut last = None;
        for target in delete.targets {
            rights::check(self.adapter, step, &target.object, &Value::Null, self.rights)?;
            let wave = wave_of(&target.object);
            if last != Some(wave) {
                waves.push(Vec::new());
                last = Some(wave);
            }
            if let Some(current) = waves.last_mut() {
                current.push(DeleteTarget {
                    object: target.object,
                    when: target.when,
                    uid: None,
                });
            }
        }
        Ok(Work::Delete {
            waves,
            kept: Vec::new(),
        })
    }

    async fn render(
        &self,
        step: &Step,
        release: &Release,
        notes: &mut Vec<String>,
    ) -> Result<Vec<Value>, Problem> {
        let chart = self.charts.fetch(&release.chart).await?;
        let request = RenderRequest {
            release: release.name.clone(),
            namespace: release.namespace.clone(),
            values: release.values.clone(),
            kube_version: self.cluster.version().to_owned(),
            api_versions: self.cluster.apis(),
            is_upgrade: false,
        };
        let rendered = self.charts.render(&chart, &request).await?;
        let hooks: Vec<&str> = rendered
            .hooks
            .iter()
            .filter(|hook| hook.events.iter().any(|event| event.ends_with("-install")))
            .map(|hook| hook.source.as_str())
            .collect();
        if !hooks.is_empty() {
            return Err(Problem::new(
                ProblemKind::Invalid,
                "chart-hooks",
                format!(
                    "step {}: chart {} {} has install hooks, which cannot be run yet: {}",
                    step.id,
                    chart.name,
                    chart.version,
                    hooks.join(", ")
                ),
            )
            .remedy("use a chart, or values, without install hooks"));
        }
        if chart.templates_use_lookup {
            notes.push(format!(
                "chart {} {} asks the cluster while it is rendered; rendered here, it sees nothing",
                chart.name, chart.version
            ));
        }
        Ok(rendered
            .objects
            .into_iter()
            .map(|object| {
                let mut value = object.value;
                // Helm does not put its marks on what comes from the folder `crds`, nor ever removes it.
                if object.crd {
                    mark_definition(&mut value, &release.namespace, &release.name);
                } else {
                    mark_release(&mut value, &release.name, &release.namespace);
                }
                value
            })
            .collect())
    }
}

fn reference_of(step: &str, object: &Value) -> Result<ObjectRef, Problem> {
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
fn scopes_of<'a>(objects: impl Iterator<Item = &'a Value>) -> HashMap<(String, String), bool> {
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
pub(super) fn wave_of(reference: &ObjectRef) -> u8 {
    let object = serde_json::json!({"apiVersion": reference.api_version(), "kind": reference.kind});
    wave::wave(&object, &HashSet::new())
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
