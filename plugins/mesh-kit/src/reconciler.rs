//! The controller that keeps an object as it wants it, by the marks that it leaves: what somebody else writes there, it puts back.

use serde_json::Value;

use crate::object::{annotation, label};

/// Where a mark is.
type Read = for<'a> fn(&'a Value, &str) -> Option<&'a str>;

/// Marks that name what an object comes from: the controller, the kind of that, the mark and where it is.
const MARKS: [(&str, &str, &str, Read); 6] = [
    (
        "cert-manager",
        "Certificate",
        "cert-manager.io/certificate-name",
        annotation,
    ),
    ("trust-manager", "Bundle", "trust.cert-manager.io/bundle", label),
    ("Flux", "Kustomization", "kustomize.toolkit.fluxcd.io/name", label),
    ("Flux", "HelmRelease", "helm.toolkit.fluxcd.io/name", label),
    (
        "Argo CD",
        "Application",
        "argocd.argoproj.io/tracking-id",
        annotation,
    ),
    ("Argo CD", "Application", "argocd.argoproj.io/instance", label),
];

/// The controller with what it goes by, as in `trust-manager (Bundle roots)`; nothing where none is known.
pub fn of(object: &Value) -> Option<String> {
    let marked = MARKS.iter().find_map(|(controller, kind, mark, read)| {
        // Argo CD writes the kind and name of the object behind its own.
        let name = read(object, mark)?.split(':').next()?;
        Some(format!("{controller} ({kind} {name})"))
    });
    marked.or_else(|| {
        let owners = object.pointer("/metadata/ownerReferences")?.as_array()?;
        let owner = owners.iter().find(|owner| owner["controller"] == true)?;
        let text = |key: &str| owner[key].as_str().unwrap_or_default();
        Some(format!("the controller of {} {}", text("kind"), text("name")))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_controller_is_told_by_its_mark() {
        for (metadata, wanted) in [
            (
                json!({"annotations": {"cert-manager.io/certificate-name": "issuer"}}),
                Some("cert-manager (Certificate issuer)"),
            ),
            (
                json!({"labels": {"trust.cert-manager.io/bundle": "roots"},
                    "ownerReferences": [{"kind": "Bundle", "name": "roots", "controller": true}]}),
                Some("trust-manager (Bundle roots)"),
            ),
            (
                json!({"labels": {"kustomize.toolkit.fluxcd.io/name": "mesh"}}),
                Some("Flux (Kustomization mesh)"),
            ),
            (
                json!({"annotations": {"argocd.argoproj.io/tracking-id": "mesh:/ConfigMap:linkerd/roots"}}),
                Some("Argo CD (Application mesh)"),
            ),
            (
                json!({"ownerReferences": [{"kind": "ExternalSecret", "name": "issuer", "controller": true}]}),
                Some("the controller of ExternalSecret issuer"),
            ),
            (
                json!({"ownerReferences": [{"kind": "Namespace", "name": "x"}]}),
                None,
            ),
            (json!({"labels": {"app.kubernetes.io/managed-by": "Helm"}}), None),
        ] {
            assert_eq!(of(&json!({"metadata": metadata})).as_deref(), wanted);
        }
    }
}
