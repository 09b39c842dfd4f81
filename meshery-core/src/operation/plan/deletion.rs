//! What a step deletes: its objects in waves, and the custom resources of definitions that go with theirs.

use std::time::Instant;

use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_plugin_api::message::plan::{Condition, Delete};
use serde_json::Value;

use super::resolve::{Resolved, Resolver, wave_of};
use super::rights;
use super::stored::{DeleteTarget, Work};
use crate::cluster::ClusterError;
use crate::cluster::discovery::SOON;
use crate::operation::consent::{Consent, NeededConsent};
use crate::operation::object::ownership::minded_by_tool;
use crate::operation::release::removal::in_waves;
use crate::problem::{Problem, ProblemKind};

/// How many custom resources go with their definitions: each is written down before.
const MOST: usize = 2_000;
/// How many are named to whoever reads the plan.
const NAMED: usize = 5;

impl Resolver<'_> {
    pub(in crate::operation) async fn delete(
        &self,
        step: &str,
        delete: Delete,
        resolved: &mut Resolved,
    ) -> Result<Work, Problem> {
        let mut waves = Vec::new();
        let definitions = delete
            .targets
            .iter()
            .filter(|target| target.when == Condition::WithInstances)
            .map(|target| &target.object);
        let instances = self.instances(step, definitions, resolved).await?;
        if !instances.is_empty() {
            waves.push(instances);
        }
        let mut last = None;
        let deadline = Instant::now() + SOON;
        for mut target in delete.targets {
            self.place_target(&mut target.object, deadline).await?;
            rights::check(self.adapter, step, &target.object, &Value::Null, &self.bounds)?;
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
                    set: None,
                });
            }
        }
        let mut kept = Vec::new();
        if !delete.set.is_empty() {
            let of_set = self.fallen(step, &delete.set, &[], resolved).await?;
            if of_set.targets.is_empty() && of_set.kept.is_empty() {
                resolved.notes.push(self.no_such_set(&delete.set).await?);
            }
            waves.extend(in_waves(of_set.targets));
            kept = of_set.kept;
        }
        Ok(Work::Delete {
            waves,
            kept,
            removes: None,
        })
    }

    /// A cluster-wide object is in no namespace, whatever the plan says: as with objects that are applied. A kind that
    /// is not listed is waited for, as its scope decides which right its deletion takes; one that stays unlisted has
    /// nothing to delete, and what comes up of it before the run is held against this namespace once more.
    async fn place_target(&self, object: &mut ObjectRef, deadline: Instant) -> Result<(), Problem> {
        if object.namespace.is_empty() {
            return Ok(());
        }
        let (group, version, kind) = (&object.group, &object.version, &object.kind);
        match self.cluster.resolve_until(group, version, kind, deadline).await {
            Ok(kind) if !kind.namespaced => object.namespace.clear(),
            Ok(_) | Err(ClusterError::NotServed { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// The custom resources of these definitions.
    async fn instances(
        &self,
        step: &str,
        definitions: impl Iterator<Item = &ObjectRef>,
        resolved: &mut Resolved,
    ) -> Result<Vec<DeleteTarget>, Problem> {
        let (mut instances, mut minded) = (Vec::new(), Vec::new());
        for definition in definitions {
            for found in self.cluster.custom_resources_of(definition).await? {
                rights::check(self.adapter, step, &found.object, &Value::Null, &self.bounds)?;
                minded.extend(minded_by_tool(&found));
                instances.push(DeleteTarget {
                    object: found.object,
                    when: Condition::Always,
                    uid: Some(found.uid),
                    set: None,
                });
            }
        }
        if instances.len() > MOST {
            return Err(Problem::new(
                ProblemKind::TooLarge,
                "too-many-instances",
                format!(
                    "step {step} would delete {} custom resources with their definitions; {MOST} is the limit",
                    instances.len()
                ),
            )
            .remedy("delete some of them before, or keep the definitions"));
        }
        if !instances.is_empty() {
            let mut named: Vec<String> = instances
                .iter()
                .take(NAMED)
                .map(|target| target.object.to_string())
                .collect();
            if instances.len() > NAMED {
                named.push(format!("and {} more", instances.len() - NAMED));
            }
            resolved.notes.push(format!(
                "{} custom resources go with their definitions, and come back with an undo: {}",
                instances.len(),
                named.join(", ")
            ));
        }
        resolved
            .needs_consent
            .extend(NeededConsent::of_many(Consent::Foreign, minded));
        Ok(instances)
    }
}
