//! Who owns which field of an object, and giving fields back to their owners.
//!
//! The server keeps for each manager the set of fields that it owns (`metadata.managedFields`, FieldsV1). What was taken
//! from a manager by force, or left owned by a run that was taken back, is no different value of any field; it shows
//! when somebody applies next. The sets can be written like any other field, which is how kubectl and Helm migrate them.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

/// A field: the keys on the way to it, as FieldsV1 has them.
pub(super) type Path = Vec<String>;
pub(super) type Fields = BTreeSet<Path>;

/// The patch after which every field of `now` that is as it was in `before` is owned as it was there; nothing when that
/// is so already, or when it is not known how it was.
///
/// `managers` are the names under which the run, and whoever takes it back, have written: what they own beyond what they
/// owned before is not theirs any more. What others have come to own since, they keep.
pub(crate) fn give_back(before: &Value, now: &Value, managers: &[&str]) -> Option<Value> {
    let owned_before = owners(before)?;
    let owned_now = owners(now)?;
    let is_ours = |owner: &Owner<'_>| managers.iter().any(|manager| owner.entry["manager"] == *manager);
    let mut wanted: Vec<Value> = Vec::new();
    for old in owned_before.iter().filter(|old| !old.of_subresource) {
        let current = owned_now.iter().find(|owner| owner.is(old));
        let kept = current.filter(|_| !is_ours(old));
        let mut set = kept.map(|owner| owner.fields.clone()).unwrap_or_default();
        for path in old.fields.difference(&set.clone()) {
            if unchanged(path, before, now) && !is_taken(path, old, &owned_before, &owned_now, &is_ours) {
                set.insert(path.clone());
            }
        }
        if set.is_empty() {
            continue;
        }
        let mut entry = match kept {
            Some(kept) if kept.fields == set => kept.entry.clone(),
            _ => old.entry.clone(),
        };
        entry["fieldsV1"] = tree(&set);
        wanted.push(entry);
    }
    let others = owned_now.iter().filter(|owner| {
        owner.of_subresource || !is_ours(owner) && !owned_before.iter().any(|old| old.is(owner))
    });
    wanted.extend(others.map(|owner| owner.entry.clone()));
    let current: Vec<Value> = owned_now.iter().map(|owner| owner.entry.clone()).collect();
    if wanted.is_empty() || sorted(&wanted) == sorted(&current) {
        return None;
    }
    Some(json!([
        {"op": "test", "path": "/metadata/resourceVersion", "value": now.pointer("/metadata/resourceVersion")},
        {"op": "replace", "path": "/metadata/managedFields", "value": wanted},
    ]))
}

/// A manager, writing in one way, and what it owns by that.
pub(super) struct Owner<'a> {
    pub entry: &'a Value,
    pub fields: Fields,
    /// What is written by way of a subresource is another matter.
    pub of_subresource: bool,
}

impl Owner<'_> {
    fn is(&self, other: &Self) -> bool {
        ["manager", "operation", "apiVersion", "subresource"]
            .iter()
            .all(|key| self.entry.get(key) == other.entry.get(key))
    }
}

impl<'a> Owner<'a> {
    fn of(entry: &'a Value) -> Self {
        let mut fields = Fields::new();
        collect(&entry["fieldsV1"], &mut Vec::new(), &mut fields);
        Self {
            entry,
            fields,
            of_subresource: entry.get("subresource").is_some(),
        }
    }
}

pub(super) fn owners(object: &Value) -> Option<Vec<Owner<'_>>> {
    let entries = object.pointer("/metadata/managedFields")?.as_array()?;
    Some(entries.iter().map(Owner::of).collect())
}

/// Whether somebody else has come to own a field since, and its owner of before owns it no more.
fn is_taken(
    path: &Path,
    owner: &Owner<'_>,
    before: &[Owner<'_>],
    now: &[Owner<'_>],
    is_ours: &impl Fn(&Owner<'_>) -> bool,
) -> bool {
    let mut of_now = now.iter().filter(|owner| owner.fields.contains(path));
    if of_now.clone().any(|now| now.is(owner) || is_ours(now)) {
        return false;
    }
    of_now.any(|now| !before.iter().any(|old| old.is(now) && old.fields.contains(path)))
}

fn collect(tree: &Value, path: &mut Path, found: &mut Fields) {
    let Some(branches) = tree.as_object() else { return };
    if branches.is_empty() && !path.is_empty() {
        found.insert(path.clone());
    }
    for (key, below) in branches {
        path.push(key.clone());
        collect(below, path, found);
        path.pop();
    }
}

fn tree(fields: &Fields) -> Value {
    let mut root = Map::new();
    for path in fields {
        let mut at = &mut root;
        for key in path {
            let below = at.entry(key.clone()).or_insert_with(|| Value::Object(Map::new()));
            let Value::Object(map) = below else { break };
            at = map;
        }
    }
    Value::Object(root)
}

/// Whether a field is as it was. One that is given without a value is owned, and the server leaves it out.
fn unchanged(path: &Path, before: &Value, now: &Value) -> bool {
    match (at(path, before), at(path, now)) {
        (Some(old), Some(new)) => {
            path.last()
                .is_some_and(|last| last == "." || last.starts_with("k:"))
                || old == new
        }
        (None, None) => true,
        _ => false,
    }
}

/// What is at a field: `f:` names a key, `k:` an element of a list by its keys, `v:` one by its value, `i:` one by its
/// place; `.` is the thing itself.
pub(super) fn at<'a>(path: &[String], object: &'a Value) -> Option<&'a Value> {
    path.iter().try_fold(object, |value, key| {
        if key == "." {
            return Some(value);
        }
        let (kind, rest) = key.split_once(':')?;
        match kind {
            "f" => value.get(rest),
            "k" => {
                let keys: Map<String, Value> = serde_json::from_str(rest).ok()?;
                let has = |item: &&Value| keys.iter().all(|(key, value)| item.get(key) == Some(value));
                value.as_array()?.iter().find(has)
            }
            "v" => {
                let wanted: Value = serde_json::from_str(rest).ok()?;
                value.as_array()?.iter().find(|item| **item == wanted)
            }
            "i" => value.get(rest.parse::<usize>().ok()?),
            _ => None,
        }
    })
}

/// Entries in an order of their own, without the moments, which the server sets as it likes.
fn sorted(entries: &[Value]) -> Vec<String> {
    let mut texts: Vec<String> = entries
        .iter()
        .map(|entry| {
            let mut entry = entry.clone();
            if let Some(fields) = entry.as_object_mut() {
                fields.remove("time");
            }
            entry.to_string()
        })
        .collect();
    texts.sort_unstable();
    texts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(manager: &str, operation: &str, fields: Value) -> Value {
        json!({"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsType": "FieldsV1",
            "fieldsV1": fields})
    }

    fn object(data: Value, managers: Vec<Value>) -> Value {
        json!({"metadata": {"resourceVersion": "7", "managedFields": managers}, "data": data})
    }

    fn wanted(patch: &Value) -> Vec<String> {
        sorted(patch[1]["value"].as_array().unwrap())
    }

    #[test]
    fn what_was_taken_by_force_goes_back_to_its_owner_and_what_was_ours_before_stays_ours() {
        let theirs = entry("kubectl", "Apply", json!({"f:data": {"f:a": {}, "f:b": {}}}));
        let ours = entry("meshery", "Apply", json!({"f:data": {"f:c": {}}}));
        let before = object(
            json!({"a": "1", "b": "2", "c": "3"}),
            vec![theirs.clone(), ours.clone()],
        );
        let now = object(
            json!({"a": "1", "b": "2", "c": "3"}),
            vec![
                entry("kubectl", "Apply", json!({"f:data": {"f:b": {}}})),
                entry("meshery", "Apply", json!({"f:data": {"f:c": {}}})),
                entry("meshery", "Update", json!({"f:data": {"f:a": {}}})),
            ],
        );
        let patch = give_back(&before, &now, &["meshery"]).unwrap();
        assert_eq!(patch[0]["value"], "7");
        assert_eq!(wanted(&patch), sorted(&[theirs, ours]));
        assert_eq!(give_back(&before, &before, &["meshery"]), None);
    }

    #[test]
    fn what_others_changed_or_came_to_own_since_is_theirs() {
        let before = object(
            json!({"a": "1", "b": "2"}),
            vec![entry(
                "kubectl",
                "Update",
                json!({"f:data": {"f:a": {}, "f:b": {}}}),
            )],
        );
        let editor = entry("editor", "Update", json!({"f:data": {"f:a": {}, "f:new": {}}}));
        let now = object(
            json!({"a": "9", "b": "2", "new": "x"}),
            vec![
                editor.clone(),
                entry("meshery", "Update", json!({"f:data": {"f:b": {}}})),
            ],
        );
        let patch = give_back(&before, &now, &["meshery"]).unwrap();
        let back = entry("kubectl", "Update", json!({"f:data": {"f:b": {}}}));
        assert_eq!(wanted(&patch), sorted(&[back, editor]));
    }

    #[test]
    fn what_was_owned_without_a_value_is_so_again() {
        let theirs = entry("kubectl", "Apply", json!({"f:data": {"f:a": {}, "f:empty": {}}}));
        let before = object(json!({"a": "1"}), vec![theirs.clone()]);
        let ours = entry("helm", "Apply", json!({"f:data": {"f:a": {}}}));
        let now = object(json!({"a": "1"}), vec![ours]);
        let patch = give_back(&before, &now, &["helm"]).unwrap();
        assert_eq!(wanted(&patch), sorted(&[theirs]));
    }

    #[test]
    fn a_set_of_status_stays_and_elements_of_lists_are_found_by_their_keys() {
        let mut status = entry("controller", "Update", json!({"f:status": {"f:x": {}}}));
        status["subresource"] = "status".into();
        let list = json!({"f:spec": {"f:ports": {"k:{\"port\":80}": {".": {}, "f:name": {}}}}});
        let theirs = entry("kubectl", "Apply", list);
        let spec = json!([{"port": 81}, {"port": 80, "name": "http"}]);
        let mut before = object(json!({}), vec![theirs.clone()]);
        before["spec"] = json!({"ports": spec});
        let mut now = object(json!({}), vec![status.clone()]);
        now["spec"] = before["spec"].clone();
        let patch = give_back(&before, &now, &["meshery"]).unwrap();
        assert_eq!(wanted(&patch), sorted(&[theirs, status]));
    }
}
