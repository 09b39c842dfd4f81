//! How an object was when a preview saw it, in a form that says later which of its fields have changed, and that
//! holds none of their values.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::field::own_fields;
use crate::provider::sha256;

/// How deep fields are told apart; what lies deeper counts as one field.
const DEPTH: usize = 4;
/// How many fields are told apart; an object with more is told apart less deeply.
const FIELDS: usize = 200;
/// How many changed fields an explanation names.
const NAMED: usize = 4;
/// Characters of a digest of a field: it has to tell values apart, not to withstand anybody.
const SHORT: usize = 12;

/// What is kept of an object as it was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(in crate::operation) enum Fingerprint {
    /// Field by field, by JSON pointer.
    Fields {
        digest: String,
        fields: BTreeMap<String, String>,
    },
    /// As a whole.
    Digest(String),
}

impl Fingerprint {
    /// Of what holds a secret only the whole is kept: a digest of one short value could be guessed.
    pub fn of(object: &Value, is_hidden: bool) -> Self {
        let own = own_fields(object);
        if is_hidden {
            return Self::Digest(digest(&own));
        }
        Self::Fields {
            digest: digest(&own),
            fields: fields(&own),
        }
    }

    /// What has changed since, for people; nothing when nothing has but what Kubernetes itself sees to, as an autoscaler
    /// does to the number of replicas.
    pub fn changes(&self, now: &Value) -> Option<String> {
        let own = own_fields(now);
        let (Self::Fields { digest: seen, .. } | Self::Digest(seen)) = self;
        if *seen == digest(&own) {
            return None;
        }
        let Self::Fields { fields: before, .. } = self else {
            return Some("was changed".to_owned());
        };
        let after = fields(&own);
        let changed: Vec<&String> = before
            .keys()
            .chain(after.keys().filter(|path| !before.contains_key(*path)))
            .filter(|path| before.get(*path) != after.get(*path))
            .filter(|path| !writer(now, path).is_some_and(is_kubernetes_own))
            .collect();
        if changed.is_empty() {
            return None;
        }
        let mut told: Vec<String> = changed
            .iter()
            .take(NAMED)
            .map(|path| {
                let what = match own.pointer(path) {
                    // Nobody can tell who took it away.
                    None => return format!("{path} is gone"),
                    Some(value @ (Value::String(_) | Value::Number(_) | Value::Bool(_))) => {
                        let text: String = value.to_string().chars().take(60).collect();
                        format!("{path} is {text}")
                    }
                    Some(_) => format!("{path} is another"),
                };
                match author(now, path) {
                    Some(author) => format!("{what} (by {author})"),
                    None => what,
                }
            })
            .collect();
        if changed.len() > NAMED {
            told.push(format!("{} more", changed.len() - NAMED));
        }
        Some(format!("was changed: {}", told.join(", ")))
    }
}

fn digest(own: &Value) -> String {
    sha256(own.to_string().as_bytes())
}

fn fields(own: &Value) -> BTreeMap<String, String> {
    let mut depth = DEPTH;
    loop {
        let mut found = BTreeMap::new();
        collect(own, &mut String::new(), depth, &mut found);
        if found.len() <= FIELDS || depth == 1 {
            found.retain(|path, _| !path.is_empty());
            return found;
        }
        depth -= 1;
    }
}

fn collect(value: &Value, path: &mut String, depth: usize, found: &mut BTreeMap<String, String>) {
    if let Some(object) = value.as_object().filter(|object| depth > 0 && !object.is_empty()) {
        for (key, value) in object {
            let length = path.len();
            path.push('/');
            path.push_str(&key.replace('~', "~0").replace('/', "~1"));
            collect(value, path, depth - 1, found);
            path.truncate(length);
        }
        return;
    }
    let digest = sha256(value.to_string().as_bytes());
    found.insert(path.clone(), digest.chars().take(SHORT).collect());
}

/// Who has written a field last, as far as the server knows: an entry of the managed fields.
fn writer<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    let entries = object.pointer("/metadata/managedFields")?.as_array()?;
    let of_field = entries.iter().filter(|entry| {
        let mut fields = &entry["fieldsV1"];
        for key in path.split('/').skip(1) {
            let key = key.replace("~1", "/").replace("~0", "~");
            match fields.get(format!("f:{key}")) {
                Some(deeper) => fields = deeper,
                None => return fields.as_object().is_some_and(serde_json::Map::is_empty),
            }
        }
        true
    });
    of_field.max_by_key(|entry| entry["time"].as_str().map(str::to_owned))
}

fn author(object: &Value, path: &str) -> Option<String> {
    let entry = writer(object, path)?;
    let manager = entry["manager"].as_str()?;
    Some(match entry["time"].as_str() {
        Some(time) => format!("{manager} at {time}"),
        None => manager.to_owned(),
    })
}

/// Kubernetes' own controllers, its autoscaler among them, do what somebody's wish demands: that is no change of the wish.
fn is_kubernetes_own(entry: &Value) -> bool {
    entry["manager"] == "kube-controller-manager"
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_people_set_counts_and_a_change_names_field_value_and_author() {
        let before = json!({"metadata": {"resourceVersion": "1"}, "data": {"k": "1", "a/b": "x"}});
        let seen = Fingerprint::of(&before, false);
        let touched =
            json!({"metadata": {"resourceVersion": "2"}, "data": {"k": "1", "a/b": "x"}, "status": {}});
        assert_eq!(seen.changes(&touched), None);
        let changed = json!({
            "metadata": {"managedFields": [
                {"manager": "first", "time": "2026-01-01T00:00:00Z", "fieldsV1": {"f:data": {"f:k": {}}}},
                {"manager": "kubectl-edit", "time": "2026-02-01T00:00:00Z", "fieldsV1": {"f:data": {"f:k": {}}}},
            ]},
            "data": {"k": "2"},
        });
        assert_eq!(
            seen.changes(&changed).unwrap(),
            "was changed: /data/a~1b is gone, /data/k is \"2\" (by kubectl-edit at 2026-02-01T00:00:00Z)"
        );
    }

    #[test]
    fn what_kubernetes_itself_has_written_is_no_change() {
        let before = json!({"metadata": {"annotations": {"deployment.kubernetes.io/revision": "1"}}, "spec": {"replicas": 1, "paused": false}});
        let seen = Fingerprint::of(&before, false);
        let mut now = json!({
            "metadata": {
                "annotations": {"deployment.kubernetes.io/revision": "2"},
                "managedFields": [
                    {"manager": "helm", "time": "2026-01-01T00:00:00Z", "fieldsV1": {"f:spec": {"f:replicas": {}, "f:paused": {}}}},
                    {"manager": "kube-controller-manager", "time": "2026-01-02T00:00:00Z", "subresource": "scale",
                        "fieldsV1": {"f:spec": {"f:replicas": {}}}},
                    {"manager": "kube-controller-manager", "time": "2026-01-02T00:00:00Z",
                        "fieldsV1": {"f:metadata": {"f:annotations": {"f:deployment.kubernetes.io/revision": {}}}}},
                ],
            },
            "spec": {"replicas": 3, "paused": false},
        });
        assert_eq!(seen.changes(&now), None);
        // Somebody's own hand after that is one, and so is a field that is gone.
        now["metadata"]["managedFields"][0]["time"] = "2026-01-03T00:00:00Z".into();
        assert!(
            seen.changes(&now)
                .unwrap()
                .contains("/spec/replicas is 3 (by helm")
        );
        now["spec"].as_object_mut().unwrap().remove("replicas");
        now["metadata"]["managedFields"] = json!([]);
        assert!(seen.changes(&now).unwrap().contains("/spec/replicas is gone"));
    }

    #[test]
    fn of_a_secret_nothing_is_kept_of_a_single_value() {
        let seen = Fingerprint::of(&json!({"data": {"password": "b2xk"}}), true);
        assert!(matches!(seen, Fingerprint::Digest(_)));
        let told = seen.changes(&json!({"data": {"password": "bmV3"}})).unwrap();
        assert_eq!(told, "was changed");
    }

    #[test]
    fn large_objects_are_told_apart_less_deeply() {
        let many: serde_json::Map<String, Value> =
            (0..1000).map(|n| (format!("k{n}"), json!({"x": n}))).collect();
        let Fingerprint::Fields { fields, .. } = Fingerprint::of(&json!({"data": many}), false) else {
            panic!()
        };
        assert_eq!(fields.keys().collect::<Vec<_>>(), ["/data"]);
    }

    #[test]
    fn what_an_older_host_has_seen_is_read() {
        let seen: Fingerprint = serde_json::from_value(json!("abc")).unwrap();
        let told = seen.changes(&json!({}));
        assert_eq!(told.unwrap(), "was changed");
    }
}
