//! Manifests as text: many documents, any namespace, and an error that says where.

use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::object_ref::ObjectRef;
use serde_json::Value;
use serde_saphyr::Spanned;

/// What stands for the namespace in the texts of a manifest.
const PLACE: &str = "{namespace}";

/// Kinds that have no namespace, of those that people write.
const CLUSTER_WIDE: [&str; 19] = [
    "APIService",
    "ClusterRole",
    "ClusterRoleBinding",
    "CSIDriver",
    "CustomResourceDefinition",
    "FlowSchema",
    "GatewayClass",
    "IngressClass",
    "MutatingAdmissionPolicy",
    "MutatingAdmissionPolicyBinding",
    "MutatingWebhookConfiguration",
    "Namespace",
    "PersistentVolume",
    "PriorityClass",
    "RuntimeClass",
    "StorageClass",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "ValidatingWebhookConfiguration",
];

/// An object, and the line on which its document begins.
#[derive(Debug, Clone, PartialEq)]
pub struct Read {
    /// The object.
    pub object: Value,
    /// The line, from 1 on.
    pub line: u64,
}

/// The objects of a text, empty documents left out and lists taken apart. `what` names the text in errors.
pub fn read(what: &str, text: &str) -> Result<Vec<Value>, PluginError> {
    let read = read_with_lines(what, text)?;
    Ok(read.into_iter().map(|read| read.object).collect())
}

/// As [`read`], with the place of each.
pub fn read_with_lines(what: &str, text: &str) -> Result<Vec<Read>, PluginError> {
    let bad = |message: String| PluginError::new("bad-manifest", message);
    // The text may hold secrets: errors say where, and not what stands there.
    let options = serde_saphyr::options! { with_snippet: false };
    let documents: Vec<Spanned<Value>> =
        serde_saphyr::from_multiple_with_options(text, options).map_err(|error| {
            bad(format!("{what} is not YAML: {error}"))
                .cause(
                    "a document ends too early, is indented otherwise than it begins, names a field twice, or is too large",
                )
                .remedy("mend it where the message says, and try again")
        })?;
    let mut objects = Vec::new();
    for document in documents {
        let line = document.referenced.line();
        let found = match document.value {
            Value::Null => continue,
            Value::Object(mut list) if list.get("kind").and_then(Value::as_str) == Some("List") => {
                match list.remove("items") {
                    Some(Value::Array(items)) => items,
                    _ => {
                        return Err(bad(format!("{what}, line {line}: a List without items"))
                            .cause("a List is a document of other objects, in its field items")
                            .remedy("give it items, or take it away"));
                    }
                }
            }
            document => vec![document],
        };
        for object in found {
            if ObjectRef::of(&object).is_none() {
                return Err(no_object(what, line, &object));
            }
            objects.push(Read { object, line });
        }
    }
    Ok(objects)
}

fn no_object(what: &str, line: u64, object: &Value) -> PluginError {
    let is = match object.as_object() {
        Some(fields) => {
            let fields: Vec<&str> = fields.keys().take(5).map(String::as_str).collect();
            format!("it has the fields {}", fields.join(", "))
        }
        None => "it has no fields".to_owned(),
    };
    let message = format!("{what}, line {line}: the document is no object: {is}");
    PluginError::new("bad-manifest", message)
        .cause("apiVersion, kind or metadata.name is missing")
        .remedy("every document needs the three; a text between dashes is a document too")
}

/// The object in a namespace: its own, if it names one, or else this one. Cluster-wide kinds have none.
pub fn placed(mut object: Value, namespace: &str) -> Value {
    fill(&mut object, namespace);
    let kind = object["kind"].as_str().unwrap_or_default();
    if !is_cluster_wide(kind) && object["metadata"]["namespace"].as_str().is_none_or(str::is_empty) {
        object["metadata"]["namespace"] = namespace.into();
    }
    object
}

/// Whether objects of a kind are in no namespace. Of kinds that are not Kubernetes' own it is not known here; the core
/// knows.
pub(crate) fn is_cluster_wide(kind: &str) -> bool {
    CLUSTER_WIDE.contains(&kind)
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
        assert!(error.message.contains("line 1"), "{error:?}");
        let pod = "{apiVersion: v1, kind: Pod, metadata: {name: a}}\n---\n";
        for (text, line) in [
            ("kind: Pod\n", "line 1:"),
            (&*format!("{pod}\n# more\nkind: Pod\n"), "line 5:"),
            (
                "apiVersion: v1\nkind: List\nitems:\n- kind: Pod\n- {apiVersion: v1, kind: Pod, metadata: {name: a}}\n",
                "line 1:",
            ),
        ] {
            let error = read("x", text).unwrap_err();
            assert!(
                error.message.contains(line) && !error.remedy.is_empty(),
                "{error:?}"
            );
        }
        let error = read("x", &format!("{pod}a: [\nb: c\n")).unwrap_err();
        assert!(error.message.contains("line 3"), "{error:?}");
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
