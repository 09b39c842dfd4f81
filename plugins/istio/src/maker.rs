//! Who made an object of Istio: istioctl, one of the two operators, or whoever leaves no mark of its own.

use meshery_mesh_kit::object::{label, text};
use meshery_mesh_kit::ownership::{installed_by, is_ours};
use meshery_plugin_api::message::finding::{Finding, Installation};
use serde_json::Value;

use crate::MESH;

/// The operator that came with Istio until 1.24; its resource is an `IstioOperator` of `install.istio.io`.
pub const OLD_OPERATOR: &str = "istio-operator";
/// The one that came after it; its resources are `Istio` and `IstioRevision` of `sailoperator.io`.
pub const SAIL_OPERATOR: &str = "sail-operator";
/// Label that istioctl and the old operator write: the resource that an object is made from.
const OWNING_RESOURCE: &str = "install.operator.istio.io/owning-resource";
/// What istioctl writes there, which makes objects from no resource, or from one that it has put there as a note.
const OF_ISTIOCTL: [&str; 2] = ["unknown", "installed-state"];
/// Label that both write.
const MANAGED: &str = "operator.istio.io/managed";
/// Group of the newer operator's resources, which own what it makes.
const SAIL_GROUP: &str = "sailoperator.io/";

/// Who made it. The newer operator installs by charts, and its objects bear the marks of Helm too.
pub fn maker(object: &Value) -> &'static str {
    if is_ours(object) {
        return "meshery";
    }
    let owners = object
        .pointer("/metadata/ownerReferences")
        .and_then(Value::as_array);
    let by_sail = owners
        .into_iter()
        .flatten()
        .any(|owner| text(owner, "/apiVersion").starts_with(SAIL_GROUP));
    if by_sail {
        return SAIL_OPERATOR;
    }
    match (installed_by(object), label(object, OWNING_RESOURCE)) {
        ("unknown", Some(resource)) if !is_istioctls(resource) => OLD_OPERATOR,
        ("unknown", Some(_)) => "istioctl",
        ("unknown", None) if label(object, MANAGED).is_some() => "istioctl",
        (maker, _) => maker,
    }
}

/// One for each revision: `installed-state-1-20`.
fn is_istioctls(resource: &str) -> bool {
    resource.is_empty()
        || OF_ISTIOCTL.iter().any(|own| {
            resource
                .strip_prefix(own)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        })
}

/// An operator puts back whatever is changed beside it, and what is removed.
pub fn of_operator(found: &Installation) -> Option<Finding> {
    let resource = match found.installed_by.as_str() {
        SAIL_OPERATOR => "resource Istio (sailoperator.io)",
        OLD_OPERATOR => "resource IstioOperator (install.istio.io)",
        _ => return None,
    };
    Some(
        Finding::warning(
            "istio-of-operator",
            format!(
                "{MESH} in namespace \"{}\" is kept by {} as its {resource} says: what is changed here \
                 is put back",
                found.namespace, found.installed_by
            ),
        )
        .remedy(
            "change that resource instead, or stop the operator and delete it without what it owns \
             (--cascade=orphan) first",
        ),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_maker_is_told_by_its_own_mark() {
        let object = |labels: Value, more: Value| {
            let mut object = json!({"metadata": {"name": "istiod", "labels": labels}});
            for (key, value) in more.as_object().into_iter().flatten() {
                object["metadata"][key] = value.clone();
            }
            object
        };
        let resource = |name: &str| object(json!({OWNING_RESOURCE: name, MANAGED: "Reconcile"}), json!({}));
        let helm = json!({"app.kubernetes.io/managed-by": "Helm"});
        let release = json!({"meta.helm.sh/release-name": "a", "meta.helm.sh/release-namespace": "b"});
        let mut ours = release.clone();
        ours["meshery.io/operation"] = "01J".into();
        let owner = json!([{"apiVersion": "sailoperator.io/v1", "kind": "IstioRevision", "name": "default"}]);
        for (object, maker_of_it) in [
            (resource("unknown"), "istioctl"),
            (resource("installed-state"), "istioctl"),
            (resource("installed-state-1-20"), "istioctl"),
            (resource("example-istiocontrolplane"), OLD_OPERATOR),
            (object(json!({MANAGED: "Reconcile"}), json!({})), "istioctl"),
            (object(helm.clone(), json!({"annotations": release})), "helm"),
            (
                object(
                    helm.clone(),
                    json!({"annotations": release, "ownerReferences": owner}),
                ),
                SAIL_OPERATOR,
            ),
            (object(helm, json!({"annotations": ours})), "meshery"),
            (object(json!({}), json!({})), "unknown"),
        ] {
            assert_eq!(maker(&object), maker_of_it, "{object:#}");
        }
    }
}
