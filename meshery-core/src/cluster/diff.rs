//! What differs between two states of an object, field by field.
//!
//! Both states come from the same server, so defaults are on both sides and need no table. Lists whose items have
//! names are compared by name, not by place.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A field that differs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FieldChange {
    /// Path: `spec.template.spec.containers[name=app].image`.
    pub path: String,
    /// What becomes of it.
    pub change: Change,
    /// Value before; never given for the data of a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// Value after; never given for the data of a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// What becomes of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// It was not there.
    Added,
    /// It is not there any more.
    Removed,
    /// It has another value.
    Changed,
}

const METADATA: &[&str] = &[
    "creationTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "selfLink",
    "uid",
];
/// A copy of the object itself, and a counter of its controller.
const ANNOTATIONS: &[&str] = &[LAST_APPLIED, "deployment.kubernetes.io/revision"];
pub(crate) const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Fields by which items of lists are known, the first that all items have and that tells them apart.
const KEYS: &[&str] = &[
    "name",
    "containerPort",
    "port",
    "mountPath",
    "devicePath",
    "type",
    "key",
    "ip",
    "uid",
];

/// An object without what the server writes: identity, bookkeeping and status.
pub fn strip(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
        if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.retain(|key, _| !METADATA.contains(&key.as_str()));
            if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
                annotations.retain(|key, _| !ANNOTATIONS.contains(&key.as_str()));
                if annotations.is_empty() {
                    metadata.remove("annotations");
                }
            }
        }
    }
    object
}

/// What differs between two states of one object, both stripped first. `Null` stands for an object that is absent.
pub fn diff(before: &Value, after: &Value) -> Vec<FieldChange> {
    let secret = [before, after]
        .iter()
        .any(|object| object["kind"] == "Secret" && object["apiVersion"] == "v1");
    let mut found = Found {
        changes: Vec::new(),
        secret,
    };
    found.compare(&mut String::new(), Some(&strip(before)), Some(&strip(after)));
    found.changes
}

struct Found {
    changes: Vec<FieldChange>,
    secret: bool,
}

impl Found {
    fn compare(&mut self, path: &mut String, before: Option<&Value>, after: Option<&Value>) {
        if before == after {
            return;
        }
        let nothing = Map::new();
        match (before, after) {
            (Some(Value::Object(before)), Some(Value::Object(after))) => self.objects(path, before, after),
            // An object that is absent, or a Secret's data that is: field by field, so that paths are always those of
            // fields, and nothing secret hides in a larger value.
            (None | Some(Value::Null), Some(Value::Object(after))) if self.opens(path) => {
                self.objects(path, &nothing, after);
            }
            (Some(Value::Object(before)), None | Some(Value::Null)) if self.opens(path) => {
                self.objects(path, before, &nothing);
            }
            (Some(Value::Array(before)), Some(Value::Array(after))) => self.lists(path, before, after),
            _ => self.differs(path, before, after),
        }
    }

    fn opens(&self, path: &str) -> bool {
        matches!(path, "" | "metadata" | "spec") || self.secret && is_data(path)
    }

    fn objects(&mut self, path: &mut String, before: &Map<String, Value>, after: &Map<String, Value>) {
        let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        let length = path.len();
        for key in keys {
            if key.contains('.') || key.contains('/') {
                let _ = write!(path, "[{key}]");
            } else {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(key);
            }
            self.compare(path, before.get(key), after.get(key));
            path.truncate(length);
        }
    }

    fn lists(&mut self, path: &mut String, before: &[Value], after: &[Value]) {
        let length = path.len();
        let Some(key) = key_of(before, after) else {
            for place in 0..before.len().max(after.len()) {
                let _ = write!(path, "[{place}]");
                self.compare(path, before.get(place), after.get(place));
                path.truncate(length);
            }
            return;
        };
        let find = |items: &'_ [Value], wanted: &Value| items.iter().position(|item| item[key] == *wanted);
        let gone = before.iter().filter(|item| find(after, &item[key]).is_none());
        let changes = self.changes.len();
        for item in gone.chain(after) {
            let name = &item[key];
            let shown = name.as_str().map_or_else(|| name.to_string(), str::to_owned);
            let _ = write!(path, "[{key}={shown}]");
            let at = |items: &[Value]| find(items, name);
            let (old, new) = (at(before).map(|n| &before[n]), at(after).map(|n| &after[n]));
            self.compare(path, old, new);
            path.truncate(length);
        }
        if self.changes.len() == changes {
            // The same items in another order, which for some lists means something.
            self.differs(
                path,
                Some(&Value::Array(before.to_vec())),
                Some(&Value::Array(after.to_vec())),
            );
        }
    }

    fn differs(&mut self, path: &str, before: Option<&Value>, after: Option<&Value>) {
        let there = |value: Option<&Value>| value.filter(|value| !value.is_null()).cloned();
        let (before, after) = (there(before), there(after));
        let change = match (&before, &after) {
            (None, None) => return,
            (None, Some(_)) => Change::Added,
            (Some(_), None) => Change::Removed,
            (Some(_), Some(_)) => Change::Changed,
        };
        let hidden = self.secret && is_data(path);
        self.changes.push(FieldChange {
            path: path.to_owned(),
            change,
            before: before.filter(|_| !hidden),
            after: after.filter(|_| !hidden),
        });
    }
}

fn is_data(path: &str) -> bool {
    ["data", "stringData"].iter().any(|field| {
        path.strip_prefix(field)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    })
}

/// The field that tells the items of both lists apart.
fn key_of(before: &[Value], after: &[Value]) -> Option<&'static str> {
    let distinct = |items: &[Value], key: &str| {
        let mut seen: Vec<&Value> = Vec::with_capacity(items.len());
        items.iter().all(|item| match item.get(key) {
            Some(value @ (Value::String(_) | Value::Number(_))) if !seen.contains(&value) => {
                seen.push(value);
                true
            }
            _ => false,
        })
    };
    KEYS.iter()
        .copied()
        .find(|key| distinct(before, key) && distinct(after, key))
        .filter(|_| !(before.is_empty() && after.is_empty()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn paths(before: &Value, after: &Value) -> Vec<String> {
        diff(before, after)
            .into_iter()
            .map(|change| change.path)
            .collect()
    }

    #[test]
    fn an_image_that_changes_is_one_line_by_the_containers_name() {
        let deployment = |images: &[(&str, &str)], version: &str| {
            let containers: Vec<Value> = images
                .iter()
                .map(|(name, image)| json!({"name": name, "image": image}))
                .collect();
            json!({"kind": "Deployment", "metadata": {"name": "a", "resourceVersion": version, "generation": version},
                "spec": {"template": {"spec": {"containers": containers}}}, "status": {"x": version}})
        };
        let before = deployment(&[("side", "s:1"), ("app", "a:1")], "1");
        let after = deployment(&[("side", "s:1"), ("app", "a:2")], "2");
        assert_eq!(
            diff(&before, &after),
            [FieldChange {
                path: "spec.template.spec.containers[name=app].image".into(),
                change: Change::Changed,
                before: Some(json!("a:1")),
                after: Some(json!("a:2")),
            }]
        );
        assert_eq!(
            paths(&before, &deployment(&[("app", "a:1")], "2")),
            ["spec.template.spec.containers[name=side]"]
        );
        assert_eq!(
            paths(&before, &deployment(&[("app", "a:1"), ("side", "s:1")], "2")),
            ["spec.template.spec.containers"],
            "the order of containers"
        );
    }

    #[test]
    fn what_the_server_writes_is_no_difference() {
        let before = json!({"metadata": {"name": "a", "uid": "1", "annotations": {"deployment.kubernetes.io/revision": "1"}}});
        let after = json!({"metadata": {"name": "a", "uid": "2", "managedFields": []}, "status": {}});
        assert_eq!(diff(&before, &after), []);
    }

    #[test]
    fn keys_with_dots_and_lists_without_names() {
        let object = |value: &str, args: Value| json!({"metadata": {"labels": {"app.kubernetes.io/name": value}}, "args": args});
        assert_eq!(
            paths(
                &object("a", json!(["x", "y"])),
                &object("b", json!(["x", "z", "w"]))
            ),
            ["args[1]", "args[2]", "metadata.labels[app.kubernetes.io/name]"]
        );
    }

    #[test]
    fn an_absent_object_is_added_and_removed_by_its_fields() {
        let object = json!({"kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": "1"}});
        let added = diff(&Value::Null, &object);
        assert_eq!(added.len(), 3);
        assert!(added.iter().all(|change| change.change == Change::Added));
        assert!(
            diff(&object, &Value::Null)
                .iter()
                .all(|change| change.change == Change::Removed)
        );
    }

    #[test]
    fn a_secrets_data_is_never_shown() {
        let secret = |data: Value| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "data": data});
        for (before, after) in [
            (Value::Null, secret(json!({"x": "aHVudGVyMg=="}))),
            (
                secret(json!({"x": "aHVudGVyMg=="})),
                secret(json!({"x": "b3RoZXI="})),
            ),
            (secret(json!({"x": "aHVudGVyMg=="})), secret(Value::Null)),
            (secret(json!({"x": "aHVudGVyMg=="})), Value::Null),
        ] {
            let changes = diff(&before, &after);
            assert!(
                changes.iter().any(|change| change.path == "data.x"),
                "{changes:?}"
            );
            let text = serde_json::to_string(&changes).unwrap();
            assert!(
                !text.contains("aHVudGVyMg") && !text.contains("b3RoZXI"),
                "{text}"
            );
        }
    }
}
