//! The mark on what an operation creates: after a crash it says whose the object is, and later it says that it is
//! ours to remove.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Annotation with the id of the operation that created the object.
pub(crate) const OPERATION: &str = "meshery.io/operation";

/// Annotation on a definition that comes from the folder `crds` of a chart: which release it came with. Helm marks
/// those in no way, and so could not say afterwards whose they were.
const DEFINITION_OF: &str = "meshery.io/definition-of-release";

/// Marks a definition as come with a release.
pub(super) fn mark_definition(manifest: &mut Value, namespace: &str, release: &str) {
    annotate(manifest, DEFINITION_OF, &format!("{namespace}/{release}"));
}

/// Whether a manifest is a definition that comes from a chart's folder `crds`: like Helm, we make those and never
/// change one that is there.
pub(super) fn is_only_made(manifest: &Value) -> bool {
    manifest
        .get("metadata")
        .and_then(|metadata| metadata.get("annotations"))
        .is_some_and(|annotations| annotations.get(DEFINITION_OF).is_some())
}

/// Whether a definition came with a release.
pub(super) fn is_definition_of(
    annotations: &BTreeMap<String, String>,
    namespace: &str,
    release: &str,
) -> bool {
    annotations
        .get(DEFINITION_OF)
        .is_some_and(|of| *of == format!("{namespace}/{release}"))
}

/// The operation that created an object, if one of ours did.
pub(super) fn operation_of(object: &Value) -> Option<&str> {
    object
        .get("metadata")?
        .get("annotations")?
        .get(OPERATION)?
        .as_str()
}

/// Marks a manifest as created by an operation.
pub(super) fn mark(manifest: &mut Value, operation: &str) {
    annotate(manifest, OPERATION, operation);
}

fn annotate(manifest: &mut Value, key: &str, value: &str) {
    let Some(metadata) = manifest.get_mut("metadata").and_then(Value::as_object_mut) else {
        return;
    };
    let annotations = metadata.entry("annotations").or_insert(Value::Null);
    if annotations.is_null() {
        *annotations = Value::Object(Map::new());
    }
    if let Some(annotations) = annotations.as_object_mut() {
        annotations.insert(key.to_owned(), Value::from(value));
    }
}

/// The manifest as it is applied: what is not there yet gets the mark of this operation; what is there keeps the
/// mark it has, because applying without a field that we own would take it away.
pub(super) fn marked(mut manifest: Value, before: Option<&Value>, operation: &str) -> Value {
    match before {
        None => mark(&mut manifest, operation),
        Some(before) => {
            if let Some(creator) = operation_of(before) {
                let creator = creator.to_owned();
                mark(&mut manifest, &creator);
            }
        }
    }
    manifest
}

/// The text under a pointer into an object; empty when there is none.
pub(super) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_new_gets_our_mark_and_what_was_there_keeps_its_own() {
        let manifest = json!({"metadata": {"name": "a", "annotations": null}});
        assert_eq!(operation_of(&marked(manifest.clone(), None, "new")), Some("new"));
        let before = json!({"metadata": {"annotations": {OPERATION: "old"}}});
        assert_eq!(
            operation_of(&marked(manifest.clone(), Some(&before), "new")),
            Some("old")
        );
        let foreign = json!({"metadata": {}});
        assert_eq!(operation_of(&marked(manifest, Some(&foreign), "new")), None);
    }
}
