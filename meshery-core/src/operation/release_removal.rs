//! What a Helm release has made, found by Helm's marks on the objects, in the order in which it goes.

use meshery_plugin_api::message::facts::Detail;
use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_plugin_api::message::plan::{Condition, RemoveRelease};

use super::mark::is_definition_of;
use super::record::Left;
use super::resolve::wave_of;
use super::stored_plan::{DeleteTarget, Work};
use crate::cluster::release_marks::{MANAGED_BY, is_kept, release_of};
use crate::cluster::{Cluster, ClusterError};
use crate::problem::Problem;

/// How many records of one release are looked for; Helm keeps ten.
const RECORDS: usize = 500;
/// How many definitions are looked through.
const DEFINITIONS: usize = 5_000;

/// What is to be deleted, what stays and why, and what could not be looked at.
pub(super) async fn find(cluster: &Cluster, release: &RemoveRelease) -> Result<(Work, Vec<String>), Problem> {
    let found = cluster.marked(&format!("{MANAGED_BY}=Helm")).await?;
    let mut notes: Vec<String> = found
        .unreadable
        .iter()
        .map(|kind| {
            format!(
                "release {}: {} of {} could not be looked at ({}); if the release has some, they stay",
                release.name, kind.kind, kind.api_version, kind.reason
            )
        })
        .collect();
    let (mut targets, mut kept) = (Vec::new(), Vec::new());
    for object in found.objects {
        let owner = release_of(&object.labels, &object.annotations);
        let ours =
            owner.is_some_and(|(name, namespace)| name == release.name && namespace == release.namespace);
        if !ours || object.deleting {
            continue;
        }
        if is_kept(&object.annotations) {
            kept.push(Left {
                object: object.object,
                why: "the chart asks to keep it when its release is removed (helm.sh/resource-policy)".into(),
            });
        } else {
            targets.push((object.object, object.uid));
        }
    }
    kept.extend(definitions(cluster, release).await?);
    let mut waves: Vec<Vec<DeleteTarget>> = Vec::new();
    // What can refuse others first, then from the last wave to the first.
    targets.sort_by_key(|(object, _)| std::cmp::Reverse(wave_of(object)));
    let mut last = None;
    for (object, uid) in targets {
        let wave = wave_of(&object);
        if last != Some(wave) {
            waves.push(Vec::new());
            last = Some(wave);
        }
        if let Some(current) = waves.last_mut() {
            current.push(DeleteTarget {
                when: condition(&object),
                object,
                uid: Some(uid),
            });
        }
    }
    match records(cluster, release).await {
        Ok(records) if records.is_empty() => {}
        Ok(records) => waves.push(records),
        Err(error @ (ClusterError::Forbidden { .. } | ClusterError::NotFound { .. })) => notes.push(format!(
            "release {}: Helm's own records could not be looked at ({error}); `helm list` may go on showing it",
            release.name
        )),
        Err(error) => return Err(error.into()),
    }
    Ok((Work::Delete { waves, kept }, notes))
}

/// Definitions that came with the release from its chart's folder `crds`.
async fn definitions(cluster: &Cluster, release: &RemoveRelease) -> Result<Vec<Left>, ClusterError> {
    let kind = cluster
        .resolve("apiextensions.k8s.io", "v1", "CustomResourceDefinition")
        .await?;
    let listed = match cluster.list(&kind, None, "", Detail::Metadata, DEFINITIONS).await {
        Err(ClusterError::Forbidden { .. }) => return Ok(Vec::new()),
        other => other?,
    };
    Ok(listed
        .items
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
        .collect())
}

/// Helm's own records of the release, if `helm` itself installed it.
async fn records(cluster: &Cluster, release: &RemoveRelease) -> Result<Vec<DeleteTarget>, ClusterError> {
    let secrets = cluster.resolve("", "v1", "Secret").await?;
    let listed = cluster
        .list(
            &secrets,
            Some(&release.namespace),
            &format!("owner=helm,name={}", release.name),
            Detail::Metadata,
            RECORDS,
        )
        .await?;
    Ok(listed
        .items
        .iter()
        .filter_map(|secret| {
            let name = secret.pointer("/metadata/name")?.as_str()?;
            let uid = secret.pointer("/metadata/uid")?.as_str()?;
            name.starts_with("sh.helm.release.v1.").then(|| DeleteTarget {
                object: ObjectRef::new("v1", "Secret", &release.namespace, name),
                when: Condition::Always,
                uid: Some(uid.to_owned()),
            })
        })
        .collect())
}

/// What holds others' objects goes only when they are gone, unlike with `helm uninstall`: a chart that brings a
/// namespace or a definition does not own what people have put inside.
fn condition(object: &ObjectRef) -> Condition {
    match (object.group.as_str(), object.kind.as_str()) {
        ("", "Namespace") | ("apiextensions.k8s.io", "CustomResourceDefinition") => Condition::Empty,
        _ => Condition::Always,
    }
}
