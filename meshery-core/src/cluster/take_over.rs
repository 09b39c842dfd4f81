//! Making fields a manager's own by apply: those that it wrote by updates, and those of whoever made the object.
//!
//! Helm 3 writes objects by updates. Applying over those conflicts with oneself, and leaves behind the fields that a
//! new version has no more. So the record of who owns what is rewritten first, as kubectl and Helm 4 do it: the
//! fields that the manager owns by updating become fields that it owns by applying. An object that is adopted is
//! another's in the same way, and its fields go over likewise.

use serde_json::{Map, Value, json};

/// The patch that does so; nothing when there is nothing to take: the manager owns nothing by updates, and the `makers`
/// nothing at all. What is written by way of a subresource is another matter.
pub(crate) fn take_over(object: &Value, manager: &str, makers: &[String]) -> Option<Value> {
    let entries = object.pointer("/metadata/managedFields")?.as_array()?;
    let is_whole = |entry: &&Value| entry.get("subresource").is_none();
    let is_applied = |entry: &&Value| entry["manager"] == manager && entry["operation"] == "Apply";
    let is_taken = |entry: &&Value| {
        entry["manager"] == manager && entry["operation"] == "Update"
            || makers.iter().any(|maker| entry["manager"] == maker.as_str())
    };
    let first = entries.iter().filter(is_whole).find(is_taken)?;
    let own = entries.iter().filter(is_whole).find(is_applied);
    let mut applied = own.unwrap_or(first).clone();
    applied["manager"] = manager.into();
    applied["operation"] = "Apply".into();
    for entry in entries.iter().filter(is_whole).filter(is_taken) {
        if let (Some(fields), Some(more)) = (
            applied.get_mut("fieldsV1").and_then(Value::as_object_mut),
            entry["fieldsV1"].as_object(),
        ) {
            unite(fields, more);
        }
    }
    let mut kept: Vec<Value> = entries
        .iter()
        .filter(|entry| !is_whole(entry) || !is_taken(entry) && !is_applied(entry))
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
        let patch = take_over(&object, "helm", &[]).unwrap();
        assert_eq!(patch[0]["value"], "7");
        assert_eq!(
            patch[1]["value"],
            json!([
                entry("kubectl", "Update", json!({"f:data": {"f:c": {}}})),
                entry("helm", "Apply", json!({"f:data": {"f:a": {}, "f:b": {}}})),
            ])
        );
        assert_eq!(take_over(&object, "meshery", &[]), None);
    }

    #[test]
    fn fields_of_makers_go_over_but_for_those_of_a_subresource() {
        let mut scaled = entry("kubectl", "Update", json!({"f:spec": {"f:replicas": {}}}));
        scaled["subresource"] = "scale".into();
        let object = json!({"metadata": {"resourceVersion": "7", "managedFields": [
            entry("kubectl", "Update", json!({"f:data": {"f:a": {}}})),
            entry("kubectl", "Apply", json!({"f:data": {"f:b": {}}})),
            scaled.clone(),
            entry("controller", "Update", json!({"f:data": {"f:c": {}}})),
        ]}});
        let patch = take_over(&object, "helm", &["kubectl".to_owned()]).unwrap();
        assert_eq!(
            patch[1]["value"],
            json!([
                scaled,
                entry("controller", "Update", json!({"f:data": {"f:c": {}}})),
                entry("helm", "Apply", json!({"f:data": {"f:a": {}, "f:b": {}}})),
            ])
        );
    }
}
