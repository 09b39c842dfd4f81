//! Whose an object is, by what other tools write on theirs: a run keeps its hands off unless it is told otherwise.

use serde_json::Value;

use super::consent::Consent;
use super::stored_plan::{ReleaseName, StoredPlan};
use crate::cluster::release::marks::{MANAGED_BY, RELEASE_NAME, RELEASE_NAMESPACE, TextMap as _, release_of};

/// Why an object that is there must not be changed without a word, and which word that is. `release` is the one whose
/// chart holds the object; what stands beside releases in a plan may change the objects of all of them.
pub(super) fn objection(
    now: &Value,
    release: Option<&ReleaseName>,
    plan: &StoredPlan,
) -> Option<(Consent, String)> {
    let metadata = &now["metadata"];
    let (labels, annotations) = (&metadata["labels"], &metadata["annotations"]);
    if let Some(tool) = gitops(labels, annotations) {
        return Some((
            Consent::Foreign,
            format!("{tool} minds it and would change it back"),
        ));
    }
    let owner = release_of(labels, annotations);
    match (owner, release) {
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
    }
}

/// The tool that keeps an object as some repository says.
pub(super) fn gitops(labels: &Value, annotations: &Value) -> Option<&'static str> {
    if annotations.text("argocd.argoproj.io/tracking-id").is_some()
        || labels.text("argocd.argoproj.io/instance").is_some()
    {
        return Some("Argo CD");
    }
    (labels.text("kustomize.toolkit.fluxcd.io/name").is_some()
        || labels.text("helm.toolkit.fluxcd.io/name").is_some())
    .then_some("Flux")
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
        let plan = StoredPlan { steps: Vec::new() };
        let consent = |now: &Value, release| objection(now, release, &plan).map(|(consent, _)| consent);
        assert_eq!(consent(&bare, None), None);
        assert_eq!(consent(&marked("ours"), Some(&ours)), None);
        assert_eq!(consent(&bare, Some(&ours)), Some(Consent::Adopt));
        for (now, release) in [
            (marked("ours"), None),
            (marked("theirs"), Some(&ours)),
            (argo, None),
            (flux, Some(&ours)),
        ] {
            assert_eq!(consent(&now, release), Some(Consent::Foreign), "{now}");
        }
    }
}
