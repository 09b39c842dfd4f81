//! Kubernetes objects from YAML.

use serde_json::Value;

use crate::error::PluginError;
use crate::message::object_ref::ObjectRef;

/// The objects of a text: of a list, of a `List`, of several documents.
pub(super) fn parse(text: &str) -> Result<Vec<Value>, PluginError> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text)
        .map_err(|error| PluginError::new("bad-yaml", format!("the objects cannot be read: {error}")))?;
    let mut objects = Vec::new();
    for document in documents {
        match document {
            Value::Null => {}
            Value::Array(list) => objects.extend(list),
            Value::Object(mut list) if list.get("items").is_some_and(Value::is_array) => {
                if let Some(Value::Array(items)) = list.remove("items") {
                    objects.extend(items);
                }
            }
            object => objects.push(object),
        }
    }
    for (at, object) in objects.iter().enumerate() {
        if ObjectRef::of(object).is_none() {
            return Err(PluginError::new(
                "bad-yaml",
                format!(
                    "object {} has no apiVersion, kind or metadata.name: {object}",
                    at + 1
                ),
            ));
        }
    }
    Ok(objects)
}

/// The object's kind as the server lists it: `apps/v1/Deployment`.
pub(super) fn api(object: &Value) -> Option<String> {
    ObjectRef::of(object).map(|object| format!("{}/{}", object.api_version(), object.kind))
}
