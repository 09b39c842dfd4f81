//! The marks by which Helm knows the objects of a release.
//!
//! Objects that carry them are taken as its own by Helm: `helm upgrade` and `helm uninstall` accept them, and another
//! release that wants the same object is told whose it is. All three must be there and must match exactly.
//! They are not part of what a chart renders; Helm adds them when it applies, and so do we.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Label that says which tool manages an object.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Annotation with the name of the release.
pub const RELEASE_NAME: &str = "meta.helm.sh/release-name";
/// Annotation with the namespace of the release.
pub const RELEASE_NAMESPACE: &str = "meta.helm.sh/release-namespace";
/// Annotation by which a chart keeps an object when its release is removed.
pub const RESOURCE_POLICY: &str = "helm.sh/resource-policy";

/// Marks an object as part of a release, as Helm does when it applies one. Anything but an object is left alone.
pub fn mark_release(object: &mut Value, release: &str, namespace: &str) {
    let Some(object) = object.as_object_mut() else {
        return;
    };
    let Some(metadata) = map_at(object, "metadata") else {
        return;
    };
    if let Some(labels) = map_at(metadata, "labels") {
        labels.insert(MANAGED_BY.into(), "Helm".into());
    }
    if let Some(annotations) = map_at(metadata, "annotations") {
        annotations.insert(RELEASE_NAME.into(), release.into());
        annotations.insert(RELEASE_NAMESPACE.into(), namespace.into());
    }
}

/// The map under a key, made if it is missing or null (`labels:` with nothing behind it is common in charts).
fn map_at<'a>(parent: &'a mut Map<String, Value>, key: &str) -> Option<&'a mut Map<String, Value>> {
    let value = parent.entry(key).or_insert(Value::Null);
    if value.is_null() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut()
}

/// Name and namespace of the release that an object belongs to, by its labels and annotations; nothing unless all
/// three marks are there.
pub fn release_of<L, A>(labels: &L, annotations: &A) -> Option<(String, String)>
where
    L: TextMap + ?Sized,
    A: TextMap + ?Sized,
{
    if labels.text(MANAGED_BY) != Some("Helm") {
        return None;
    }
    let name = annotations.text(RELEASE_NAME)?;
    let namespace = annotations.text(RELEASE_NAMESPACE)?;
    Some((name.to_owned(), namespace.to_owned()))
}

/// Whether the chart wants the object to stay when its release is removed.
pub fn is_kept<A: TextMap + ?Sized>(annotations: &A) -> bool {
    annotations
        .text(RESOURCE_POLICY)
        .is_some_and(|policy| policy.trim().eq_ignore_ascii_case("keep"))
}

/// Labels or annotations, in either of the two forms that we meet: as Kubernetes' types hold them, or as JSON.
pub trait TextMap {
    /// The text under a key.
    fn text(&self, key: &str) -> Option<&str>;
}

impl TextMap for BTreeMap<String, String> {
    fn text(&self, key: &str) -> Option<&str> {
        self.get(key).map(String::as_str)
    }
}

impl TextMap for Value {
    fn text(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_str()
    }
}

impl<T: TextMap> TextMap for Option<T> {
    fn text(&self, key: &str) -> Option<&str> {
        self.as_ref()?.text(key)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn marks_are_added_beside_what_is_there_and_read_back() {
        let mut object = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "x", "labels": {"app": "demo"}, "annotations": null}});
        mark_release(&mut object, "demo", "demo-system");
        let metadata = &object["metadata"];
        assert_eq!(metadata["labels"], json!({"app": "demo", MANAGED_BY: "Helm"}));
        assert_eq!(
            release_of(&metadata["labels"], &metadata["annotations"]),
            Some(("demo".into(), "demo-system".into()))
        );
    }

    #[test]
    fn an_object_with_two_of_three_marks_belongs_to_no_release() {
        let labels = json!({MANAGED_BY: "Helm"});
        assert_eq!(release_of(&labels, &json!({RELEASE_NAME: "demo"})), None);
        let annotations = json!({RELEASE_NAME: "demo", RELEASE_NAMESPACE: "demo"});
        assert_eq!(release_of(&json!({}), &annotations), None);
        assert_eq!(release_of(&None::<BTreeMap<String, String>>, &annotations), None);
    }

    #[test]
    fn something_that_is_no_object_is_left_alone() {
        for mut value in [json!(3), json!({"metadata": "text"})] {
            let before = value.clone();
            mark_release(&mut value, "demo", "demo");
            assert_eq!(value, before);
        }
    }

    #[test]
    fn only_the_policy_keep_keeps() {
        assert!(is_kept(&json!({RESOURCE_POLICY: "keep"})));
        assert!(!is_kept(&json!({RESOURCE_POLICY: "delete"})));
        assert!(!is_kept(&Value::Null));
    }
}
