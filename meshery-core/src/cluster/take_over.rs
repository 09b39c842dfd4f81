//! Making what a manager wrote by updates its own by apply.
//!
//! Helm 3 writes objects by updates. Applying over those conflicts with oneself, and leaves behind the fields that a
//! new version has no more. So the record of who owns what is rewritten first, as kubectl and Helm 4 do it: the
//! fields that the manager owns by updating become fields that it owns by applying.

use serde_json::{Map, Value, json};

/// The patch that does so; nothing when the manager owns nothing by updates.
pub(crate) fn take_over(object: &Value, manager: &str) -> Option<Value> {
    let entries = object.pointer("/metadata/managedFields")?.as_array()?;
    let is = |entry: &Value, operation: &str| {
        entry["manager"] == manager && entry["operation"] == operation && entry.get("subresource").is_none()
    };
    let updated = entries.iter().find(|entry| is(entry, "Update"))?;
    let mut applied = entries
        .iter()
        .find(|entry| is(entry, "Apply"))
        .unwrap_or(updated)
        .clone();
    applied["operation"] = "Apply".into();
    for entry in entries.iter().filter(|entry| is(entry, "Update")) {
        if let (Some(fields), Some(more)) = (
            applied.get_mut("fieldsV1").and_then(Value::as_object_mut),
            entry["fieldsV1"].as_object(),
        ) {
            unite(fields, more);
        }
    }
    let mut kept: Vec<Value> = entries
        .iter()
        .filter(|entry| !is(entry, "Update") && !is(entry, "Apply"))
        .cloned()
        .collect();
    kept.push(applied);
    Some(json!([
        {"op": "test", "path": "/metadata/resourceVersion", "value": object.pointer("/metadata/resourceVersion")},
        {"op": "replace", "path": "/metadata/managedFields", "value": kept},
    ]))
}

/// Sets of fields are trees; their union is that of the trees.
fn unite(fields: &mut Map<String, Value>, more: &Map<String, Value>) {
    for (key, value) in more {
        match (
            fields.get_mut(key).and_then(Value::as_object_mut),
            value.as_object(),
        ) {
            (Some(fields), Some(more)) => unite(fields, more),
            _ => {
                fields.insert(key.clone(), value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(manager: &str, operation: &str, fields: Value) -> Value {
        json!({"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsV1": fields})
    }

    #[test]
    fn updated_fields_become_applied_ones_and_those_of_others_stay() {
        let object = json!({"metadata": {"resourceVersion": "7", "managedFields": [
            entry("helm", "Update", json!({"f:data": {"f:a": {}}})),
            entry("helm", "Apply", json!({"f:data": {"f:b": {}}})),
            entry("kubectl", "Update", json!({"f:data": {"f:c": {}}})),
        ]}});
        let patch = take_over(&object, "helm").unwrap();
        assert_eq!(patch[0]["value"], "7");
        assert_eq!(
            patch[1]["value"],
            json!([
                entry("kubectl", "Update", json!({"f:data": {"f:c": {}}})),
                entry("helm", "Apply", json!({"f:data": {"f:a": {}, "f:b": {}}})),
            ])
        );
        assert_eq!(take_over(&object, "meshery"), None);
    }
}
