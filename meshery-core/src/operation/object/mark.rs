//! The mark on what an operation creates: after a crash it says whose the object is, and later it says that it is
//! ours to remove. And the mark on what a release has taken over, with whom it was taken from.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::cluster::maker::makers;
use crate::cluster::release;
use crate::cluster::release::marks::release_of;

/// Annotation with the id of the operation that created the object.
pub(crate) const OPERATION: &str = "meshery.io/operation";

/// Annotation on what was there before a release of ours took it over: who had made it. In the words of the plan, where
/// that says it of the release, else the field manager's name.
const ADOPTED_FROM: &str = "meshery.io/adopted-from";
/// Of an object that nobody says to have made.
const UNKNOWN: &str = "unknown";

/// Annotation on a definition that comes from the folder `crds` of a chart: which release it came with. Helm marks
/// those in no way, and so could not say afterwards whose they were.
const DEFINITION_OF: &str = "meshery.io/definition-of-release";

/// Annotation on a hook that we have made: which release it is of. Helm marks hooks in no way that would tell.
const HOOK_OF: &str = "meshery.io/hook-of-release";

/// Marks a hook as one of a release.
pub(in crate::operation) fn mark_hook(manifest: &mut Value, namespace: &str, release: &str) {
    annotate(manifest, HOOK_OF, &format!("{namespace}/{release}"));
}

/// Whether an object was made as a hook of a release, by us.
pub(in crate::operation) fn is_hook_of(object: &Value, namespace: &str, release: &str) -> bool {
    annotation(object, HOOK_OF) == Some(format!("{namespace}/{release}").as_str())
}

/// Marks a definition as come with a release.
pub(in crate::operation) fn mark_definition(manifest: &mut Value, namespace: &str, release: &str) {
    annotate(manifest, DEFINITION_OF, &format!("{namespace}/{release}"));
}

/// Whether a manifest is a definition that comes from a chart's folder `crds`: like Helm, we make those and never
/// change one that is there.
pub(in crate::operation) fn is_only_made(manifest: &Value) -> bool {
    manifest
        .get("metadata")
        .and_then(|metadata| metadata.get("annotations"))
        .is_some_and(|annotations| annotations.get(DEFINITION_OF).is_some())
}

/// Whether a definition came with a release.
pub(in crate::operation) fn is_definition_of(
    annotations: &BTreeMap<String, String>,
    namespace: &str,
    release: &str,
) -> bool {
    annotations
        .get(DEFINITION_OF)
        .is_some_and(|of| *of == format!("{namespace}/{release}"))
}

/// The operation that created an object, if one of ours did.
pub(in crate::operation) fn operation_of(object: &Value) -> Option<&str> {
    annotation(object, OPERATION)
}

/// Marks a manifest as created by an operation.
pub(in crate::operation) fn mark(manifest: &mut Value, operation: &str) {
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

/// Says of an object of a release who has made what it takes over; it is not applied to what is not there yet.
pub(in crate::operation) fn mark_adoption(manifest: &mut Value, from: &str) {
    annotate(manifest, ADOPTED_FROM, from);
}

/// The manifest as it is applied: what is not there yet gets the mark of this operation; what is there keeps the marks it
/// has, because applying without a field that we own would take it away; and what a release takes over gets the mark of
/// that.
pub(in crate::operation) fn marked(mut manifest: Value, before: Option<&Value>, operation: &str) -> Value {
    let said = annotation(&manifest, ADOPTED_FROM).map(str::to_owned);
    if let Some(annotations) = manifest
        .pointer_mut("/metadata/annotations")
        .and_then(Value::as_object_mut)
    {
        annotations.remove(ADOPTED_FROM);
    }
    let Some(before) = before else {
        mark(&mut manifest, operation);
        return manifest;
    };
    if let Some(creator) = operation_of(before) {
        mark(&mut manifest, creator);
    }
    if let Some(from) = adopted_from(&manifest, before, said) {
        mark_adoption(&mut manifest, &from);
    }
    manifest
}

/// From whom an object was taken over, or is now.
fn adopted_from(manifest: &Value, before: &Value, said: Option<String>) -> Option<String> {
    if let Some(known) = annotation(before, ADOPTED_FROM) {
        return Some(known.to_owned());
    }
    if operation_of(before).is_some() {
        return None;
    }
    let release = |object: &Value| {
        let metadata = object.get("metadata")?;
        release_of(metadata.get("labels")?, metadata.get("annotations")?)
    };
    let changes_hands = release(manifest).is_some() && release(manifest) != release(before);
    said.or_else(|| {
        changes_hands.then(|| {
            let makers = makers(before, manifest, release::MANAGER);
            makers.into_iter().next().unwrap_or_else(|| UNKNOWN.into())
        })
    })
}

fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.get("metadata")?.get("annotations")?.get(key)?.as_str()
}

/// The text under a pointer into an object; empty when there is none.
pub(in crate::operation) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
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

    #[test]
    fn a_hook_is_of_the_release_that_made_it_and_of_no_other() {
        let mut manifest = json!({"metadata": {"name": "a", "annotations": {"helm.sh/hook": "pre-install"}}});
        assert!(!is_hook_of(&manifest, "space", "demo"));
        mark_hook(&mut manifest, "space", "demo");
        assert!(is_hook_of(&manifest, "space", "demo"));
        assert!(!is_hook_of(&manifest, "space", "other") && !is_hook_of(&manifest, "other", "demo"));
    }

    #[test]
    fn what_a_release_takes_over_says_from_whom_and_goes_on_saying_it() {
        let from = |manifest: &Value, before: Option<&Value>| {
            let marked = marked(manifest.clone(), before, "new");
            annotation(&marked, ADOPTED_FROM).map(str::to_owned)
        };
        let mut manifest = json!({"metadata": {"name": "a"}, "data": {"a": "1"}});
        let bare = json!({"metadata": {"managedFields": [{"manager": "tool", "operation": "Apply",
            "fieldsV1": {"f:data": {"f:a": {}}}}]}, "data": {"a": "1"}});
        assert_eq!(from(&manifest, Some(&bare)), None, "it is of no release");
        release::marks::mark_release(&mut manifest, "demo", "space");
        assert_eq!(from(&manifest, Some(&bare)).as_deref(), Some("tool"));
        assert_eq!(
            from(&manifest, Some(&json!({"metadata": {}}))).as_deref(),
            Some(UNKNOWN)
        );
        assert_eq!(
            from(&manifest, Some(&manifest)),
            None,
            "it is of this release already"
        );
        let ours = json!({"metadata": {"annotations": {OPERATION: "old"}}});
        assert_eq!(from(&manifest, Some(&ours)), None, "we have made it");

        let mut said = manifest.clone();
        mark_adoption(&mut said, "its installer");
        assert_eq!(from(&said, None), None, "nothing is taken over");
        for before in [&bare, &manifest] {
            assert_eq!(from(&said, Some(before)).as_deref(), Some("its installer"));
        }
        let taken = marked(said, Some(&bare), "new");
        assert_eq!(from(&manifest, Some(&taken)).as_deref(), Some("its installer"));
    }
}
