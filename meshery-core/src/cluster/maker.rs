//! Who has made an object.
//!
//! Any tool may have made it, under any name. What tells the maker from controllers and people who have changed a field
//! or two is that it owns most of what a manifest of the object says.

use std::collections::BTreeSet;

use serde_json::Value;

use super::ownership::{Owner, Path, at, owners};

/// The managers, beside `manager` itself, that own more than half of the fields that the manifest has and the object as well.
pub(crate) fn makers(object: &Value, manifest: &Value, manager: &str) -> Vec<String> {
    let owners = whole(object);
    let is_named = |path: &&Path| path.last().is_some_and(|key| key != ".") && at(path, manifest).is_some();
    let named: BTreeSet<&Path> = owners
        .iter()
        .flat_map(|owner| &owner.fields)
        .filter(is_named)
        .collect();
    let mut names: Vec<&str> = owners.iter().map(name).collect();
    names.sort_unstable();
    names.dedup();
    let owns_most = |of: &&str| {
        let owned = named.iter().filter(|path| {
            owners
                .iter()
                .any(|owner| name(owner) == *of && owner.fields.contains(**path))
        });
        owned.count() * 2 > named.len()
    };
    let others = names
        .into_iter()
        .filter(|name| !name.is_empty() && *name != manager);
    others.filter(owns_most).map(str::to_owned).collect()
}

fn whole(object: &Value) -> Vec<Owner<'_>> {
    let owners = owners(object).unwrap_or_default();
    owners.into_iter().filter(|owner| !owner.of_subresource).collect()
}

fn name<'a>(owner: &Owner<'a>) -> &'a str {
    owner.entry["manager"].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object() -> Value {
        let entry = |manager: &str, operation: &str, fields: Value| json!({"manager": manager, "operation": operation, "fieldsV1": fields});
        let mut status = entry(
            "controller",
            "Update",
            json!({"f:status": {"f:a": {}, "f:b": {}}}),
        );
        status["subresource"] = "status".into();
        json!({"metadata": {"labels": {"app": "web", "old": "yes"}, "managedFields": [
            entry("tool", "Update", json!({"f:metadata": {"f:labels": {".": {}, "f:app": {}, "f:old": {}}},
                "f:spec": {"f:kind": {}, "f:ports": {
                    "k:{\"port\":80}": {".": {}, "f:port": {}, "f:name": {}},
                    "k:{\"port\":90}": {".": {}, "f:port": {}}}, "f:gone": {".": {}, "f:x": {}}}})),
            entry("person", "Update", json!({"f:spec": {"f:kind": {}, "f:own": {}}})),
            entry("helm", "Apply", json!({"f:metadata": {"f:labels": {"f:app": {}}}})),
            status,
        ]}, "spec": {"kind": "x", "own": 1, "gone": {"x": 1}, "ports": [{"port": 80, "name": "http"}, {"port": 90}]},
            "status": {"a": 1, "b": 2}})
    }

    fn manifest() -> Value {
        let spec = json!({"kind": "y", "ports": [{"port": 80, "name": "web"}]});
        json!({"metadata": {"labels": {"app": "web"}}, "spec": spec, "status": {"a": 0, "b": 0}})
    }

    #[test]
    fn who_owns_most_has_made_it_and_who_has_changed_a_field_has_not() {
        assert_eq!(makers(&object(), &manifest(), "helm"), ["tool"]);
        assert_eq!(makers(&object(), &manifest(), "tool"), Vec::<String>::new());
        assert_eq!(
            makers(&json!({"metadata": {}}), &manifest(), "helm"),
            Vec::<String>::new()
        );
        let halves = json!({"data": {"a": "1", "b": "2"}, "metadata": {"managedFields": [
            {"manager": "one", "operation": "Apply", "fieldsV1": {"f:data": {"f:a": {}}}},
            {"manager": "two", "operation": "Apply", "fieldsV1": {"f:data": {"f:b": {}}}}]}});
        assert_eq!(makers(&halves, &halves, "helm"), Vec::<String>::new());
    }
}
