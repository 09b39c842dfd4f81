//! Whose an object is that stands in the place of a hook. Helm deletes whatever it finds there; we delete an earlier run of
//! the release's hook, and anything else on explicit word only.
//!
//! A hook of Helm's carries no marks of its release. So one that other releases have in their records is theirs, and one
//! that none has is left of an earlier revision, or of a release that is gone.

use futures::{StreamExt as _, TryStreamExt as _};
use meshery_plugin_api::message::object_ref::ObjectRef;
use serde_json::Value;

use crate::cluster::chart::recorded;
use crate::cluster::release::marks::{TextMap as _, release_of};
use crate::cluster::release::{LatestRevision, Status};
use crate::cluster::{Cluster, ClusterError};
use crate::operation::consent::{Consent, Consents};
use crate::operation::object::mark::is_hook_of;
use crate::operation::object::ownership::{gitops_of, is_same, would_make_it_again};
use crate::operation::plan::stored::ReleaseName;
use crate::problem::Problem;

/// Annotation of a chart that makes an object a hook.
const HOOK: &str = "helm.sh/hook";
/// Records read at a time; the cluster's own limit is the one that counts.
const AT_A_TIME: usize = 4;

/// Why an object must not make room for a hook of a release without a word that was not given, and which word that is.
pub(in crate::operation) async fn objection_to_hook(
    cluster: &Cluster,
    object: &ObjectRef,
    now: &Value,
    release: Option<&ReleaseName>,
    given: Consents,
) -> Result<Option<(Consent, String)>, Problem> {
    if let Some(tool) = gitops_of(now).filter(|_| !given.has(Consent::Foreign)) {
        return Ok(Some((Consent::Foreign, would_make_it_again(&tool))));
    }
    let Some(release) = release.filter(|release| !is_hook_of(now, &release.namespace, &release.name)) else {
        return Ok(None);
    };
    let (labels, annotations) = (&now["metadata"]["labels"], &now["metadata"]["annotations"]);
    let owner = match release_of(labels, annotations) {
        Some((name, namespace)) => Some(ReleaseName { name, namespace }),
        None if annotations.text(HOOK).is_none() => {
            let why = format!(
                "it is there already and is no hook of release {}, whose hook would take its place: it would be deleted",
                release.name
            );
            return Ok(Some((Consent::Adopt, why)).filter(|_| !given.has(Consent::Adopt)));
        }
        None if given.has(Consent::Foreign) => None,
        None => hook_of_another(cluster, object, release).await?,
    };
    let other = owner.filter(|owner| owner != release && !given.has(Consent::Foreign));
    Ok(other.map(|ReleaseName { name, namespace }| {
        let why = format!("it belongs to the Helm release {name} in namespace {namespace}");
        (Consent::Foreign, why)
    }))
}

/// The release other than this one that has such a hook, if there is one.
async fn hook_of_another(
    cluster: &Cluster,
    object: &ObjectRef,
    release: &ReleaseName,
) -> Result<Option<ReleaseName>, Problem> {
    let latest = match cluster.latest_revisions(&object.namespace).await {
        // Whoever may not look everywhere looks where the release is.
        Err(ClusterError::Forbidden { .. }) => cluster.latest_revisions(&release.namespace).await?,
        latest => latest?,
    };
    let others = latest.into_iter().filter(|latest| {
        let is_this = (&latest.release, &latest.namespace) == (&release.name, &release.namespace);
        !is_this && latest.revision.status != Status::Uninstalled
    });
    let looks: Vec<_> = others
        .map(|other| async move {
            let has_it = has_hook(cluster, &other, object).await?;
            let LatestRevision {
                release, namespace, ..
            } = other;
            Ok::<_, Problem>(has_it.then_some(ReleaseName {
                name: release,
                namespace,
            }))
        })
        .collect();
    let found: Vec<Option<ReleaseName>> = futures::stream::iter(looks)
        .buffered(AT_A_TIME)
        .try_collect()
        .await?;
    Ok(found.into_iter().flatten().next())
}

/// Whether the record of a revision has a hook.
async fn has_hook(cluster: &Cluster, latest: &LatestRevision, object: &ObjectRef) -> Result<bool, Problem> {
    let Some((record, _)) = cluster.record_of(&latest.revision.secret).await? else {
        return Ok(false);
    };
    let recorded = recorded(&latest.release, "", &record.hooks())?;
    let mut hooks = recorded.hooks.iter().chain(&recorded.tests);
    Ok(hooks
        .any(|hook| ObjectRef::of(&hook.value).is_some_and(|hook| is_same(&hook, object, &latest.namespace))))
}
