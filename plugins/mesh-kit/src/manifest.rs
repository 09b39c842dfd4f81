//! Manifests as text: many documents, any namespace, and an error that says where.

use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::object_ref::ObjectRef;
use serde_json::Value;

/// What stands for the namespace in the texts of a manifest.
const PLACE: &str = "{namespace}";

/// Kinds that have no namespace, of those that people write.
const CLUSTER_WIDE: [&str; 12] = [
    "Namespace",
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "PersistentVolume",
    "StorageClass",
    "IngressClass",
    "GatewayClass",
    "PriorityClass",
    "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration",
    "APIService",
];

/// The objects of a text, empty documents left out and lists taken apart. `what` names the text in errors.
pub fn read(what: &str, text: &str) -> Result<Vec<Value>, PluginError> {
    let bad = |message: String| PluginError::new("bad-manifest", message);
    // The text may hold secrets: errors say where, and not what stands there.
    let options = serde_saphyr::options! { with_snippet: false };
    let documents: Vec<Value> = serde_saphyr::from_multiple_with_options(text, options).map_err(|error| {
        bad(format!("{what} is not YAML: {error}")).remedy("mend it where the message says, and try again")
    })?;
    let mut objects = Vec::new();
    for (at, document) in documents.into_iter().enumerate() {
        match document {
            Value::Null => {}
            Value::Object(mut list) if list.get("kind").and_then(Value::as_str) == Some("List") => {
                match list.remove("items") {
                    Some(Value::Array(items)) => objects.extend(items),
                    _ => return Err(bad(format!("{what}, document {}: a List without items", at + 1))),
                }
            }
            document => objects.push(document),
        }
        if let Some(object) = objects.last().filter(|object| ObjectRef::of(object).is_none()) {
            let is = match object.as_object() {
                Some(fields) => {
                    let fields: Vec<&str> = fields.keys().take(5).map(String::as_str).collect();
                    format!("it has the fields {}", fields.join(", "))
                }
                None => "it has no fields".to_owned(),
            };
            return Err(bad(format!("{what}, document {} is no object: {is}", at + 1))
                .cause("apiVersion, kind or metadata.name is missing")
                .remedy("every document needs the three; a text between dashes is a document too"));
        }
    }
    Ok(objects)
}

/// The object in a namespace: its own, if it names one, or else this one. Cluster-wide kinds have none.
pub fn placed(mut object: Value, namespace: &str) -> Value {
    fill(&mut object, namespace);
    let kind = object["kind"].as_str().unwrap_or_default();
    if !CLUSTER_WIDE.contains(&kind) && object["metadata"]["namespace"].as_str().is_none_or(str::is_empty) {
        object["metadata"]["namespace"] = namespace.into();
    }
    object
}

/// Host names have the namespace in them: each text gets it where it has `{namespace}`.
pub(crate) fn fill(value: &mut Value, namespace: &str) {
    match value {
        Value::String(text) if text.contains(PLACE) => *text = text.replace(PLACE, namespace),
        Value::Array(items) => items.iter_mut().for_each(|item| fill(item, namespace)),
        Value::Object(fields) => fields.values_mut().for_each(|field| fill(field, namespace)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dashes_inside_a_text_separate_nothing() {
        let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  x: |\n    one\n    ---\n    two\n---\n---\n\
                    apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Secret, metadata: {name: b}}\n";
        let objects = read("x", text).unwrap();
        assert_eq!(objects.len(), 2);
        assert_eq!(objects[0]["data"]["x"], "one\n---\ntwo\n");
        assert_eq!(objects[1]["kind"], "Secret");
    }

    #[test]
    fn what_is_no_manifest_is_an_error_with_its_place_and_not_skipped() {
        let error = read("the file", "a: [").unwrap_err();
        assert!(error.message.contains("the file"), "{error:?}");
        let error = read("x", "kind: Pod\n").unwrap_err();
        assert!(
            error.message.contains("document 1") && !error.remedy.is_empty(),
            "{error:?}"
        );
    }

    #[test]
    fn a_namespace_of_its_own_stays_and_cluster_wide_kinds_get_none() {
        let of =
            |text: &str| placed(read("x", text).unwrap().remove(0), "shop")["metadata"]["namespace"].clone();
        assert_eq!(of("{apiVersion: v1, kind: Pod, metadata: {name: a}}"), "shop");
        assert_eq!(
            of("{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: b}}"),
            "b"
        );
        assert_eq!(
            of("{apiVersion: v1, kind: Namespace, metadata: {name: a}}"),
            Value::Null
        );
    }
}
