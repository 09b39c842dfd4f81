//! Whose an object is, by what other tools write on theirs: a run keeps its hands off unless it is told otherwise.

use futures::{StreamExt as _, TryStreamExt as _};
use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_plugin_api::message::plan::Condition;
use serde_json::Value;

use super::mark::operation_of;
use crate::cluster::chart::recorded;
use crate::cluster::contents::PartialObject;
use crate::cluster::maker::makers;
use crate::cluster::release::Status;
use crate::cluster::release::marks::{
    MANAGED_BY, RELEASE_NAME, RELEASE_NAMESPACE, TextMap, is_kept, release_of,
};
use crate::cluster::{Cluster, ClusterError};
use crate::operation::consent::{Consent, Consents, NeededConsent};
use crate::operation::plan::resolve::MANAGER;
use crate::operation::plan::stored::{DeleteTarget, ReleaseName, StoredPlan, Work};
use crate::problem::Problem;

/// Objects looked at at a time; the cluster's own limit is the one that counts.
const AT_A_TIME: usize = 16;
/// The field manager of Argo CD.
const ARGO_CD: &str = "argocd-controller";

/// Why an object that is there must not be changed without a word that was not given, and which word that is. `release` is
/// the one whose chart holds the object; what stands beside releases in a plan may change the objects of all of them.
fn objection(
    now: &Value,
    release: Option<&ReleaseName>,
    plan: &StoredPlan,
    given: Consents,
) -> Option<(Consent, String)> {
    let metadata = &now["metadata"];
    let (labels, annotations) = (&metadata["labels"], &metadata["annotations"]);
    if let Some(tool) = gitops_of(now).filter(|_| !given.has(Consent::Foreign)) {
        return Some((
            Consent::Foreign,
            format!("{tool} minds it and would change it back"),
        ));
    }
    let owner = release_of(labels, annotations);
    let objection = match (owner, release) {
        (Some((name, namespace)), None) if !plan.has_release(&name, &namespace) => Some((
            Consent::Foreign,
            format!("it belongs to the Helm release {name} in namespace {namespace}"),
        )),
        (Some((name, namespace)), Some(release))
            if name != release.name || namespace != release.namespace =>
        {
            Some((
                Consent::Foreign,
                format!("it belongs to the Helm release {name} in namespace {namespace}"),
            ))
        }
        (None, Some(release)) => Some((
            Consent::Adopt,
            format!(
                "it is there already and is no part of release {}: Helm would not touch it either, because it lacks \
                 the label {MANAGED_BY}=Helm or the annotations {RELEASE_NAME} and {RELEASE_NAMESPACE}",
                release.name
            ),
        )),
        _ => None,
    };
    objection.filter(|(consent, _)| !given.has(*consent))
}

/// The same, looked at closer where a release may have let the object go.
pub(in crate::operation) async fn objection_to_change(
    cluster: &Cluster,
    now: &Value,
    release: Option<&ReleaseName>,
    plan: &StoredPlan,
    given: Consents,
) -> Result<Option<(Consent, String)>, Problem> {
    let objection = objection(now, release, plan, given);
    let annotations = &now["metadata"]["annotations"];
    if objection.is_none() || release.is_some() || gitops_of(now).is_some() || !is_kept(annotations) {
        return Ok(objection);
    }
    let Some((name, namespace)) = release_of(&now["metadata"]["labels"], annotations) else {
        return Ok(objection);
    };
    let was_let_go = was_let_go(cluster, now, &name, &namespace).await?;
    Ok(objection.filter(|_| !was_let_go))
}

/// Whether an object that was to be kept is left of a release: that was removed, or its chart does not hold the object any more.
/// The marks stay on it either way. What cannot be told goes by the marks: a release without records may be kept by another
/// driver of Helm's, and a record may be out of reach or broken.
async fn was_let_go(cluster: &Cluster, now: &Value, name: &str, namespace: &str) -> Result<bool, Problem> {
    let unknown = |error: ClusterError| {
        if error.is_connection() {
            Err(Problem::from(error))
        } else {
            Ok(false)
        }
    };
    let latest = match cluster.revisions(namespace, name).await {
        Ok(mut revisions) => revisions.pop(),
        Err(error) => return unknown(error),
    };
    let Some(latest) = latest else {
        return Ok(false);
    };
    // Of one that is under way, or has failed, it cannot be told what it will hold.
    if latest.status != Status::Deployed {
        return Ok(latest.status == Status::Uninstalled);
    }
    let record = match cluster.record_of(&latest.secret).await {
        Ok(record) => record,
        Err(error) => return unknown(error),
    };
    let (Some((record, _)), Some(object)) = (record, ObjectRef::of(now)) else {
        return Ok(false);
    };
    let Ok(named) = recorded(name, record.manifest(), &[]) else {
        return Ok(false);
    };
    let mut named = named
        .objects
        .iter()
        .filter_map(|named| ObjectRef::of(&named.value));
    Ok(!named.any(|named| is_same(&named, &object, namespace)))
}

/// Whether a manifest names an object: it need not say the namespace, which is then its release's.
pub(in crate::operation) fn is_same(named: &ObjectRef, object: &ObjectRef, of_release: &str) -> bool {
    let place = if named.namespace.is_empty() {
        of_release
    } else {
        &named.namespace
    };
    (&named.group, &named.kind, &named.name) == (&object.group, &object.kind, &object.name)
        && (object.namespace.is_empty() || object.namespace == place)
}

/// Who has made an object that comes to a release which takes over what is there: their fields go over with it, as it is
/// ours to write from then on.
pub(in crate::operation) fn gives_way(
    now: &Value,
    manifest: &Value,
    release: Option<&ReleaseName>,
    given: Consents,
) -> Vec<String> {
    if release.is_none() || !given.has(Consent::Adopt) {
        return Vec::new();
    }
    let own = |maker: &String| maker != MANAGER;
    let makers = makers(now, manifest, crate::cluster::release::MANAGER);
    makers.into_iter().filter(own).collect()
}

/// Why an object must not be deleted without a word, and which word that is.
pub(in crate::operation) async fn objection_to_deletion(
    cluster: &Cluster,
    now: &Value,
    target: &DeleteTarget,
    plan: &StoredPlan,
) -> Result<Option<(Consent, String)>, Problem> {
    if let Some(tool) = gitops_of(now) {
        return Ok(Some((Consent::Foreign, would_make_it_again(&tool))));
    }
    // With a uid it was found as part of the release that it goes with.
    if target.uid.is_some() && target.set.is_none() {
        return Ok(None);
    }
    let metadata = &now["metadata"];
    let Some((name, namespace)) = release_of(&metadata["labels"], &metadata["annotations"]) else {
        return Ok(None);
    };
    if plan.has_release(&name, &namespace) || plan.removes_release(&name, &namespace) {
        return Ok(None);
    }
    let is_there = match cluster.revisions(&namespace, &name).await {
        Ok(revisions) => revisions
            .last()
            .is_some_and(|revision| revision.status != Status::Uninstalled),
        // Whoever cannot see the records goes by the marks.
        Err(ClusterError::Forbidden { .. } | ClusterError::OtherDriver { .. }) => true,
        Err(error) => return Err(error.into()),
    };
    let why = format!("it belongs to the Helm release {name} in namespace {namespace}");
    Ok(is_there.then_some((Consent::Foreign, why)))
}

/// Whether others mind what the plan names itself for deletion. Said before anything is done: half a removal is worse
/// than none.
pub(in crate::operation) async fn minded(
    cluster: &Cluster,
    plan: &StoredPlan,
) -> Result<Option<NeededConsent>, Problem> {
    let named = plan
        .steps
        .iter()
        .filter_map(|step| match &step.work {
            Work::Delete { waves, .. } => Some(waves.iter().flatten()),
            _ => None,
        })
        .flatten()
        .filter(|target| target.uid.is_none());
    let looks: Vec<_> = named
        .map(|target| async move {
            let Some(now) = cluster.get_if_served(&target.object).await? else {
                return Ok(None);
            };
            let only_ours = matches!(target.when, Condition::Ours | Condition::OursAndEmpty);
            if only_ours && operation_of(&now).is_none() {
                return Ok(None);
            }
            let objection = objection_to_deletion(cluster, &now, target, plan).await?;
            Ok::<_, Problem>(objection.map(|(_, why)| format!("{}: {why}", target.object)))
        })
        .collect();
    let reasons: Vec<Option<String>> = futures::stream::iter(looks)
        .buffered(AT_A_TIME)
        .try_collect()
        .await?;
    let reasons = reasons.into_iter().flatten().collect();
    Ok(NeededConsent::of_many(Consent::Foreign, reasons))
}

/// The tool that keeps an object as some repository says, with what it calls that there.
pub(in crate::operation) fn gitops_of(object: &Value) -> Option<String> {
    let metadata = &object["metadata"];
    let by_argo = metadata["managedFields"]
        .as_array()
        .is_some_and(|entries| entries.iter().any(|entry| entry["manager"] == ARGO_CD));
    gitops(&metadata["labels"], &metadata["annotations"], by_argo)
}

/// Why an object of which only the metadata was read is not deleted without a word; what Argo CD has written cannot be
/// told from that.
pub(in crate::operation) fn minded_by_tool(object: &PartialObject) -> Option<String> {
    let tool = gitops(&object.labels, &object.annotations, false)?;
    Some(format!("{}: {}", object.object, would_make_it_again(&tool)))
}

fn gitops(labels: &impl TextMap, annotations: &impl TextMap, by_argo: bool) -> Option<String> {
    let application = annotations
        .text("argocd.argoproj.io/tracking-id")
        .map(|id| id.split_once(':').map_or(id, |(application, _)| application))
        .or_else(|| labels.text("argocd.argoproj.io/instance"))
        // Its own default label is one that many write; so it counts only where Argo CD has written it.
        .or_else(|| labels.text("app.kubernetes.io/instance").filter(|_| by_argo));
    if let Some(application) = application {
        return Some(format!("Argo CD (Application {application})"));
    }
    // Its label may be any other, as whoever runs it says.
    if by_argo {
        return Some("Argo CD (Application unknown)".to_owned());
    }
    [
        ("Kustomization", "kustomize.toolkit.fluxcd.io"),
        ("HelmRelease", "helm.toolkit.fluxcd.io"),
    ]
    .into_iter()
    .find_map(|(kind, group)| {
        let name = labels.text(&format!("{group}/name"))?;
        let namespace = labels.text(&format!("{group}/namespace"));
        let namespace = namespace.map_or(String::new(), |namespace| format!("{namespace}/"));
        Some(format!("Flux ({kind} {namespace}{name})"))
    })
}

/// Why what a tool keeps is not deleted.
pub(in crate::operation) fn would_make_it_again(tool: &str) -> String {
    format!("{tool} minds it and would make it again")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn marked(name: &str) -> Value {
        json!({"metadata": {"labels": {MANAGED_BY: "Helm"},
            "annotations": {RELEASE_NAME: name, RELEASE_NAMESPACE: "ns"}}})
    }

    #[test]
    fn what_others_mind_is_not_touched_without_a_word() {
        let ours = ReleaseName {
            name: "ours".into(),
            namespace: "ns".into(),
        };
        let bare = json!({"metadata": {"name": "x"}});
        let argo = json!({"metadata": {"labels": {"argocd.argoproj.io/instance": "x"}}});
        let flux = json!({"metadata": {"labels": {"helm.toolkit.fluxcd.io/name": "x"}}});
        let plan = StoredPlan::default();
        let given = |words: &[Consent]| Consents::from(words.to_vec());
        let asked = |now: &Value, release, words: &[Consent]| {
            objection(now, release, &plan, given(words)).map(|(consent, _)| consent)
        };
        let consent = |now: &Value, release| asked(now, release, &[]);
        assert_eq!(consent(&bare, None), None);
        assert_eq!(consent(&marked("ours"), Some(&ours)), None);
        assert_eq!(consent(&bare, Some(&ours)), Some(Consent::Adopt));
        // What a tool minds and no release has takes both words to become part of one.
        let (adopt, foreign) = (Consent::Adopt, Consent::Foreign);
        assert_eq!(asked(&argo, Some(&ours), &[adopt]), Some(foreign));
        assert_eq!(asked(&argo, Some(&ours), &[foreign]), Some(adopt));
        assert_eq!(asked(&argo, Some(&ours), &[adopt, foreign]), None);
        for (now, release) in [
            (marked("ours"), None),
            (marked("theirs"), Some(&ours)),
            (argo, None),
            (flux, Some(&ours)),
        ] {
            assert_eq!(consent(&now, release), Some(Consent::Foreign), "{now}");
        }
    }

    #[test]
    fn what_a_manifest_names_is_known_whether_it_says_the_namespace_or_not() {
        let object = |kind: &str, namespace: &str, name: &str| ObjectRef::new("v1", kind, namespace, name);
        let there = object("ConfigMap", "mesh", "roots");
        for named in [object("ConfigMap", "", "roots"), there.clone()] {
            assert!(is_same(&named, &there, "mesh"), "{named}");
        }
        for other in [
            object("ConfigMap", "other", "roots"),
            object("Secret", "mesh", "roots"),
            object("ConfigMap", "mesh", "others"),
        ] {
            assert!(!is_same(&other, &there, "mesh"), "{other}");
        }
        assert!(!is_same(&object("ConfigMap", "", "roots"), &there, "elsewhere"));
        let cluster_wide = object("Namespace", "", "mesh");
        assert!(is_same(&cluster_wide, &cluster_wide, "mesh"));
    }

    #[test]
    fn tools_are_named_with_what_they_keep_an_object_for() {
        let instance = json!({"app.kubernetes.io/instance": "shop"});
        let by = |manager: &str| json!([{"manager": manager, "operation": "Update"}]);
        for (metadata, wanted) in [
            (
                json!({"annotations": {"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:shop/web"}}),
                Some("Argo CD (Application shop)"),
            ),
            (
                json!({"labels": instance, "managedFields": by("argocd-controller")}),
                Some("Argo CD (Application shop)"),
            ),
            (json!({"labels": instance, "managedFields": by("helm")}), None),
            (
                json!({"labels": {"example.io/app": "shop"}, "managedFields": by("argocd-controller")}),
                Some("Argo CD (Application unknown)"),
            ),
            (
                json!({"labels": {"example.io/app": "shop"}, "managedFields": by("kubectl")}),
                None,
            ),
            (
                json!({"labels": {"kustomize.toolkit.fluxcd.io/name": "apps",
                    "kustomize.toolkit.fluxcd.io/namespace": "flux-system"}}),
                Some("Flux (Kustomization flux-system/apps)"),
            ),
            (
                json!({"labels": {"helm.toolkit.fluxcd.io/name": "web"}}),
                Some("Flux (HelmRelease web)"),
            ),
        ] {
            let found = gitops_of(&json!({"metadata": metadata}));
            assert_eq!(found.as_deref(), wanted, "{metadata}");
        }
    }
}
