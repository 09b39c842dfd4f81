//! What a Helm release has made, in the order in which it goes, with the hooks that its record has for the moment.
//!
//! It is what the manifests of the release name and Helm's marks confirm. A copy of such an object has the marks, and what a
//! controller has made of one may have them too: without a manifest that names it, it stays. Only where there is no record
//! to read, the marks alone say what goes.

use std::collections::{HashMap, HashSet};

use meshery_plugin_api::message::facts::Detail;
use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_plugin_api::message::plan::{Condition, RemoveRelease};
use serde_json::Value;
use tokio::sync::OnceCell;

use super::steps::Chain;
use crate::cluster::contents::Found;
use crate::cluster::release::marks::{MANAGED_BY, is_kept, release_of};
use crate::cluster::release::{Record, Status};
use crate::cluster::{Cluster, ClusterError};
use crate::operation::consent::{Consent, NeededConsent};
use crate::operation::object::mark::is_definition_of;
use crate::operation::object::ownership::minded_by_tool;
use crate::operation::plan::resolve::{Resolved, Resolver, wave_of};
use crate::operation::plan::rights;
use crate::operation::plan::stored::{DeleteTarget, ReleaseName, StatusChange, Work};
use crate::operation::record::Left;
use crate::problem::{Problem, ProblemKind};

/// How many definitions are looked through.
const DEFINITIONS: usize = 5_000;

impl Resolver<'_> {
    /// Adds what comes before the last step of a removal, and returns that.
    pub(in crate::operation) async fn removal(
        &self,
        chain: &mut Chain<'_>,
        release: &RemoveRelease,
        resolved: &mut Resolved,
    ) -> Result<Work, Problem> {
        let name = ReleaseName {
            name: release.name.clone(),
            namespace: release.namespace.clone(),
        };
        let step = chain.id().to_owned();
        let existing = match self.existing(&name, resolved).await {
            Ok(existing) => Some(existing),
            // Objects go by their marks; whoever may not see the records leaves them.
            Err(problem) if matches!(problem.kind, ProblemKind::Forbidden | ProblemKind::NotFound) => {
                resolved.notes.push(format!(
                    "release {}: Helm's own records could not be looked at ({problem}); `helm list` may go on \
                     showing it",
                    name.name
                ));
                None
            }
            Err(problem) => return Err(problem),
        };
        let records = existing.as_ref().map_or(&[][..], |existing| &existing.records);
        let objects = self.objects_of(&step, &name, records, resolved).await?;
        let Some(existing) = existing else {
            return Ok(objects);
        };
        let Some(latest) = existing.latest() else {
            return Ok(objects);
        };
        let change = StatusChange {
            secret: latest.secret.clone(),
            status: Status::Uninstalling.to_string(),
            description: "Deletion in progress (or silently failed)".into(),
            hooks: Vec::new(),
        };
        chain.add(
            "record",
            format!("Record that release {} is being removed", name.name),
            Work::Record {
                makes: None,
                changes: vec![change],
            },
        );
        let (mut before, mut after) = (None, None);
        if let Some(record) = existing.record() {
            before = self
                .recorded_hooks(&step, &name, "pre-delete", record, resolved)
                .await?;
            after = self
                .recorded_hooks(&step, &name, "post-delete", record, resolved)
                .await?;
        }
        if let Some(work) = before {
            chain.add(
                "before",
                format!("Hooks before the removal of {}", name.name),
                work,
            );
        }
        chain.add("objects", chain.title.clone(), objects);
        if let Some(work) = after {
            chain.add("after", format!("Hooks after the removal of {}", name.name), work);
        }
        let records = existing
            .secrets()
            .map(|(secret, uid)| target(secret, uid))
            .collect();
        Ok(Work::Delete {
            waves: vec![records],
            kept: Vec::new(),
            removes: None,
        })
    }

    /// What the release has made: what is to be deleted, what stays and why.
    async fn objects_of(
        &self,
        step: &str,
        release: &ReleaseName,
        records: &[Record],
        resolved: &mut Resolved,
    ) -> Result<Work, Problem> {
        let (found, definitions) = futures::try_join!(
            self.of_helm.marked(self.cluster),
            self.of_helm.definitions(self.cluster)
        )?;
        resolved.notes.extend(found.unreadable.iter().map(|kind| {
            format!(
                "release {}: {} of {} could not be looked at ({}); if the release has some, they stay",
                release.name, kind.kind, kind.api_version, kind.reason
            )
        }));
        let of_no_version = |object: &ObjectRef| ObjectRef {
            version: String::new(),
            ..object.clone()
        };
        let mut named: HashSet<ObjectRef> = HashSet::new();
        for record in records {
            let of_record = self.named_in(release, record, &HashMap::new()).await?;
            named.extend(of_record.iter().map(of_no_version));
        }
        let (mut targets, mut kept, mut minded) = (Vec::new(), Vec::new(), Vec::new());
        for object in &found.objects {
            let owner = release_of(&object.labels, &object.annotations);
            let ours =
                owner.is_some_and(|(name, namespace)| name == release.name && namespace == release.namespace);
            let made_of_another = object.owners.iter().any(|owner| owner.controller);
            if !ours || object.deleting || made_of_another {
                continue;
            }
            if !records.is_empty() && !named.contains(&of_no_version(&object.object)) {
                kept.push(not_in_a_manifest(object.object.clone(), release));
            } else if is_kept(&object.annotations) {
                kept.push(kept_by_policy(object.object.clone()));
            } else {
                rights::check(self.adapter, step, &object.object, &Value::Null, &self.bounds)?;
                minded.extend(minded_by_tool(object));
                targets.push((object.object.clone(), object.uid.clone()));
            }
        }
        resolved
            .needs_consent
            .extend(NeededConsent::of_many(Consent::Foreign, minded));
        kept.extend(kept_definitions(definitions, release));
        Ok(deletion(targets, kept, Some(release.clone())))
    }
}

/// Objects to delete, by their uids, in waves: what can refuse others first, then from the last wave to the first.
pub(in crate::operation) fn deletion(
    targets: Vec<(ObjectRef, String)>,
    kept: Vec<Left>,
    removes: Option<ReleaseName>,
) -> Work {
    let targets = targets.into_iter().map(|(object, uid)| target(object, uid));
    Work::Delete {
        waves: in_waves(targets.collect()),
        kept,
        removes,
    }
}

/// Objects in the waves in which they are deleted.
pub(in crate::operation) fn in_waves(mut targets: Vec<DeleteTarget>) -> Vec<Vec<DeleteTarget>> {
    targets.sort_by_key(|target| std::cmp::Reverse(wave_of(&target.object)));
    let mut waves: Vec<Vec<DeleteTarget>> = Vec::new();
    let mut last = None;
    for target in targets {
        let wave = wave_of(&target.object);
        if last != Some(wave) {
            waves.push(Vec::new());
            last = Some(wave);
        }
        if let Some(current) = waves.last_mut() {
            current.push(target);
        }
    }
    waves
}

/// One object of a release that goes. What holds others' objects goes only when they are gone, unlike with `helm
/// uninstall`: a chart that brings a namespace or a definition does not own what people have put inside.
pub(in crate::operation) fn target(object: ObjectRef, uid: String) -> DeleteTarget {
    let holds = matches!(
        (object.group.as_str(), object.kind.as_str()),
        ("", "Namespace") | ("apiextensions.k8s.io", "CustomResourceDefinition")
    );
    DeleteTarget {
        object,
        when: if holds {
            Condition::Empty
        } else {
            Condition::Always
        },
        uid: Some(uid),
        set: None,
    }
}

/// An object that looks as if it was of the release.
fn not_in_a_manifest(object: ObjectRef, release: &ReleaseName) -> Left {
    Left {
        object,
        why: format!(
            "it has the marks of release {}, but no manifest of the release names it: it is somebody's copy",
            release.name
        ),
    }
}

/// An object that the chart does not let go.
pub(super) fn kept_by_policy(object: ObjectRef) -> Left {
    Left {
        object,
        why: "the chart asks to keep it when its release is removed (helm.sh/resource-policy)".into(),
    }
}

/// What carries Helm's marks, of whichever release: looked for once, however many releases a plan removes.
#[derive(Default)]
pub(in crate::operation) struct OfHelm {
    marked: OnceCell<Found>,
    definitions: OnceCell<Vec<Value>>,
}

impl OfHelm {
    async fn marked(&self, cluster: &Cluster) -> Result<&Found, ClusterError> {
        let look = || async { cluster.marked(&format!("{MANAGED_BY}=Helm")).await };
        self.marked.get_or_try_init(look).await
    }

    /// All definitions; none when they may not be seen.
    async fn definitions(&self, cluster: &Cluster) -> Result<&Vec<Value>, ClusterError> {
        let look = || async {
            let kind = cluster
                .resolve("apiextensions.k8s.io", "v1", "CustomResourceDefinition")
                .await?;
            match cluster.list(&kind, None, "", Detail::Metadata, DEFINITIONS).await {
                Err(ClusterError::Forbidden { .. }) => Ok(Vec::new()),
                other => Ok(other?.items),
            }
        };
        self.definitions.get_or_try_init(look).await
    }
}

/// Definitions that came with the release from its chart's folder `crds`.
fn kept_definitions(definitions: &[Value], release: &ReleaseName) -> impl Iterator<Item = Left> {
    definitions
        .iter()
        .filter(|crd| {
            let annotations = serde_json::from_value(crd["metadata"]["annotations"].clone());
            is_definition_of(&annotations.unwrap_or_default(), &release.namespace, &release.name)
        })
        .filter_map(ObjectRef::of)
        .map(|object| Left {
            object,
            why: "it comes from the chart's folder crds, which Helm never removes: its objects would go with it"
                .into(),
        })
}
