//! What an object loses when fields become a manager's own by apply (`take_over`), and it applies less than that: the fields
//! that nobody wants any more.
//!
//! The server says so only once the ownership has been rewritten, which a dry run cannot do first. So it is worked out here
//! by the same rule: a field goes when this manager owns it by updates, or one of those who give way to it owns it, it does
//! not apply it now, and nobody else owns it.

use serde_json::{Map, Value};

/// The object as it comes out of an apply of `wanted`, without the fields that fall away; nothing when none does. `now` is
/// the object as it is, with its owners; `applied` what the server made of it without taking over.
pub(crate) fn without_fallen(
    now: &Value,
    (manager, makers): (&str, &[String]),
    wanted: &Value,
    applied: &Value,
) -> Option<Value> {
    let entries = now.pointer("/metadata/managedFields")?.as_array()?;
    let is_ours = |entry: &&Value| {
        let gives_way = makers.iter().any(|maker| entry["manager"] == maker.as_str());
        let is_updated = entry["manager"] == manager && entry["operation"] == "Update";
        (gives_way || is_updated) && entry.get("subresource").is_none()
    };
    let sets = |ours: bool| -> Vec<&Map<String, Value>> {
        entries
            .iter()
            .filter(|entry| is_ours(entry) == ours)
            // What it has applied before and applies no more is gone already.
            .filter(|entry| ours || entry["manager"] != manager || entry.get("subresource").is_some())
            .filter_map(|entry| entry["fieldsV1"].as_object())
            .collect()
    };
    let others = sets(false);
    let mut left = applied.clone();
    for ours in sets(true) {
        drop_fallen(&mut left, Some(wanted), ours, &others);
    }
    (left != *applied).then_some(left)
}

/// Drops from a value what is in the set, not wanted, and in no set of others. The keys are those of `fieldsV1`.
fn drop_fallen(
    value: &mut Value,
    wanted: Option<&Value>,
    set: &Map<String, Value>,
    others: &[&Map<String, Value>],
) {
    for (key, inner) in set {
        let nothing = Map::new();
        let inner = inner.as_object().unwrap_or(&nothing);
        // Whoever owns it, or something inside it.
        let of_others: Vec<&Map<String, Value>> = others
            .iter()
            .filter_map(|set| set.get(key)?.as_object())
            .collect();
        let still = wanted.and_then(|wanted| element(wanted, key, false));
        let whole = inner.is_empty() || inner.contains_key(".");
        if still.is_none() && whole && of_others.is_empty() {
            remove(value, key);
        } else if let Some(child) = element_mut(value, key) {
            drop_fallen(child, still, inner, &of_others);
        }
    }
}

/// What a key of a set says it stands for.
enum Key<'a> {
    /// A field by its name.
    Field(&'a str),
    /// An element of a list by some of its fields.
    Keys(Map<String, Value>),
    /// An element that is this value.
    Is(Value),
}

fn read(key: &str) -> Option<Key<'_>> {
    let (kind, rest) = key.split_once(':')?;
    match kind {
        "f" => Some(Key::Field(rest)),
        "k" => serde_json::from_str(rest).ok().map(Key::Keys),
        "v" => serde_json::from_str(rest).ok().map(Key::Is),
        // By its place: lists of which the set is owned as a whole.
        _ => None,
    }
}

/// Whether an element of a list is the one; what is applied may leave out what the server fills in.
fn matches(element: &Value, key: &Key<'_>, exactly: bool) -> bool {
    match key {
        Key::Field(_) => false,
        Key::Is(value) => element == value,
        Key::Keys(keys) => keys.iter().all(|(name, value)| match element.get(name) {
            Some(found) => found == value,
            None => !exactly,
        }),
    }
}

fn element<'a>(value: &'a Value, key: &str, exactly: bool) -> Option<&'a Value> {
    let key = read(key)?;
    if let Key::Field(name) = key {
        return value.get(name);
    }
    let mut elements = value.as_array()?.iter();
    elements.find(|element| matches(element, &key, exactly))
}

fn element_mut<'a>(value: &'a mut Value, key: &str) -> Option<&'a mut Value> {
    let key = read(key)?;
    if let Key::Field(name) = key {
        return value.get_mut(name);
    }
    let mut elements = value.as_array_mut()?.iter_mut();
    elements.find(|element| matches(element, &key, true))
}

fn remove(value: &mut Value, key: &str) {
    match read(key) {
        Some(Key::Field(name)) => {
            if let Some(object) = value.as_object_mut() {
                object.remove(name);
            }
        }
        Some(key) => {
            if let Some(list) = value.as_array_mut() {
                list.retain(|element| !matches(element, &key, true));
            }
        }
        None => {}
    }
}

/// A merge patch that makes one object of another, leaving out what the server keeps for itself.
pub(crate) fn merge_patch(from: &Value, to: &Value) -> Value {
    let mut patch = difference(from, to);
    if let Some(fields) = patch.as_object_mut() {
        fields.remove("status");
        if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.retain(|key, _| ["labels", "annotations"].contains(&key.as_str()));
        }
    }
    patch
}

fn difference(from: &Value, to: &Value) -> Value {
    let (Some(old), Some(new)) = (from.as_object(), to.as_object()) else {
        return to.clone();
    };
    let gone = old.keys().filter(|key| !new.contains_key(*key));
    let mut patch: Map<String, Value> = gone.map(|key| (key.clone(), Value::Null)).collect();
    for (key, value) in new {
        match old.get(key) {
            Some(before) if before == value => {}
            Some(before) => drop(patch.insert(key.clone(), difference(before, value))),
            None => drop(patch.insert(key.clone(), value.clone())),
        }
    }
    Value::Object(patch)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(manager: &str, operation: &str, fields: &Value) -> Value {
        json!({"manager": manager, "operation": operation, "fieldsV1": fields})
    }

    fn object(spec: &Value, entries: &[Value]) -> Value {
        json!({"metadata": {"name": "x", "managedFields": entries}, "spec": spec})
    }

    #[test]
    fn what_was_updated_and_is_applied_no_more_falls_away_unless_others_own_it() {
        let spec = json!({"stays": 1, "falls": 2, "shared": 3, "theirs": 4, "map": {"a": 1, "b": 2}});
        let ours = json!({"f:spec": {"f:stays": {}, "f:falls": {}, "f:shared": {},
            "f:map": {".": {}, "f:a": {}, "f:b": {}}}});
        let theirs = json!({"f:spec": {"f:shared": {}, "f:theirs": {}, "f:map": {"f:b": {}}}});
        let entries = [
            entry("helm", "Update", &ours),
            entry("kubectl", "Update", &theirs),
        ];
        let now = object(&spec, &entries);
        let wanted = json!({"spec": {"stays": 1}});
        let left = without_fallen(&now, ("helm", &[]), &wanted, &now).unwrap();
        assert_eq!(
            left["spec"],
            json!({"stays": 1, "shared": 3, "theirs": 4, "map": {"b": 2}})
        );
        let all = json!({"spec": spec});
        assert_eq!(without_fallen(&now, ("helm", &[]), &all, &now), None);
        assert_eq!(without_fallen(&now, ("meshery", &[]), &wanted, &now), None);
        let left = without_fallen(&now, ("helm", &["kubectl".to_owned()]), &wanted, &now).unwrap();
        assert_eq!(
            left["spec"],
            json!({"stays": 1}),
            "who gives way owns nothing any more"
        );
    }

    #[test]
    fn elements_of_lists_fall_away_by_their_keys() {
        let spec = json!({
            "containers": [{"name": "stays", "image": "a", "tty": true, "defaulted": 1}, {"name": "falls", "image": "b"}],
            "ports": [{"port": 80, "protocol": "TCP"}, {"port": 81, "protocol": "TCP"}],
            "finalizers": ["one", "two"],
        });
        let ours = json!({"f:spec": {
            "f:containers": {
                "k:{\"name\":\"stays\"}": {".": {}, "f:name": {}, "f:image": {}, "f:tty": {}},
                "k:{\"name\":\"falls\"}": {".": {}, "f:name": {}, "f:image": {}}},
            "f:ports": {
                "k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}},
                "k:{\"port\":81,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}}},
            "f:finalizers": {"v:\"one\"": {}, "v:\"two\"": {}},
        }});
        let now = object(&spec, &[entry("helm", "Update", &ours)]);
        let wanted = json!({"spec": {"containers": [{"name": "stays", "image": "a"}], "ports": [{"port": 81}],
            "finalizers": ["two"]}});
        let left = without_fallen(&now, ("helm", &[]), &wanted, &now).unwrap();
        assert_eq!(
            left["spec"],
            json!({
                "containers": [{"name": "stays", "image": "a", "defaulted": 1}],
                "ports": [{"port": 81, "protocol": "TCP"}],
                "finalizers": ["two"],
            })
        );
    }

    #[test]
    fn a_patch_takes_away_and_changes_what_differs_but_for_what_is_the_servers() {
        let from = json!({"metadata": {"uid": "u", "labels": {"a": "1", "b": "2"}}, "spec": {"a": 1, "l": [1, 2]},
            "status": {"x": 1}});
        let to = json!({"metadata": {"uid": "v", "labels": {"a": "1"}}, "spec": {"l": [1], "n": {"m": 1}}});
        assert_eq!(
            merge_patch(&from, &to),
            json!({"metadata": {"labels": {"b": null}}, "spec": {"a": null, "l": [1], "n": {"m": 1}}})
        );
    }
}
