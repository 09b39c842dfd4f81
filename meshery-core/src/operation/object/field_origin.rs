//! Which differences in an object a run has made, when the host was killed before it could say: others may have changed it
//! as well since. What is as it was applied is taken for the run's; of a map whose keys are people's, key by key.

use serde_json::Value;

use super::field::{Field, at, changed};

/// Maps in which each key is of whoever has set it, and to which the server adds nothing.
const FREE_MAPS: [&[&str]; 4] = [
    &["metadata", "labels"],
    &["metadata", "annotations"],
    &["data"],
    &["binaryData"],
];

/// What applying a manifest has changed in an object: what is now as it was applied, and was not before.
pub(in crate::operation) fn as_applied(before: &Value, now: &Value, applied: &Value) -> Vec<Field> {
    changes(before, now, |field| is_as_applied(applied, field))
}

/// The same of one that was `found` after an interruption and applied again: what that has changed is the run's as well.
pub(in crate::operation) fn as_applied_again(
    before: &Value,
    found: &Value,
    now: &Value,
    applied: &Value,
) -> Vec<Field> {
    changes(before, now, |field| {
        is_as_applied(applied, field) || at(found, &field.path) != at(now, &field.path)
    })
}

fn changes(before: &Value, now: &Value, is_ours: impl Fn(&Field) -> bool) -> Vec<Field> {
    let mut ours = Vec::new();
    for field in changed(before, now) {
        let keys = keys_of(&field);
        if keys.is_empty() || keys.iter().all(&is_ours) {
            ours.extend(Some(field).filter(&is_ours));
        } else {
            ours.extend(keys.into_iter().filter(&is_ours));
        }
    }
    ours
}

/// The keys of a free map that was not there before, each as a field.
fn keys_of(field: &Field) -> Vec<Field> {
    let is_free = FREE_MAPS.iter().any(|path| field.path == *path);
    let (true, None, Some(Value::Object(map))) = (is_free, &field.before, &field.after) else {
        return Vec::new();
    };
    let key = |(key, value): (&String, &Value)| Field {
        path: field.path.iter().chain([key]).cloned().collect(),
        before: None,
        after: Some(value.clone()),
    };
    map.iter().map(key).collect()
}

/// Whether a field is now as a manifest says.
fn is_as_applied(manifest: &Value, field: &Field) -> bool {
    match (at(manifest, &field.path), &field.after) {
        (Some(applied), Some(now)) => covers(now, applied),
        // The manifest does not have it and it is gone: applying without it took it away, perhaps.
        (None, None) => true,
        _ => false,
    }
}

/// Whether a value is what was applied, with whatever the server has filled in beside it.
pub(in crate::operation) fn covers(now: &Value, applied: &Value) -> bool {
    match (now, applied) {
        (Value::Object(now), Value::Object(applied)) => applied
            .iter()
            .all(|(key, value)| now.get(key).is_some_and(|now| covers(now, value))),
        (Value::Array(now), Value::Array(applied)) => {
            now.len() == applied.len() && now.iter().zip(applied).all(|(now, applied)| covers(now, applied))
        }
        _ => now == applied,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::field::restore;
    use super::*;

    fn paths(fields: &[Field]) -> Vec<String> {
        fields.iter().map(|field| field.path.join(".")).collect()
    }

    #[test]
    fn what_others_have_changed_beside_what_was_applied_is_theirs() {
        let before = json!({"data": {"a": "old", "b": "1"}});
        let applied = json!({"data": {"a": "new"}});
        let now = json!({"data": {"a": "new", "b": "theirs", "c": "theirs"}});
        assert_eq!(paths(&as_applied(&before, &now, &applied)), ["data.a"]);
        let found = json!({"data": {"a": "old", "b": "theirs", "c": "theirs"}});
        for found in [&found, &now] {
            assert_eq!(
                paths(&as_applied_again(&before, found, &now, &applied)),
                ["data.a"]
            );
        }
    }

    #[test]
    fn of_a_map_that_was_not_there_before_the_keys_that_others_have_added_are_theirs() {
        let before = json!({"metadata": {"name": "x"}});
        let applied = json!({"metadata": {"name": "x", "labels": {"ours": "1"}}});
        let now = json!({"metadata": {"name": "x", "labels": {"ours": "1", "theirs": "2"}}});
        let fields = as_applied(&before, &now, &applied);
        assert_eq!(paths(&fields), ["metadata.labels.ours"]);
        assert_eq!(
            restore(&fields, &now).patch,
            [json!({"op": "remove", "path": "/metadata/labels/ours"})]
        );
        let alone = as_applied(&before, &applied, &applied);
        assert_eq!(
            paths(&alone),
            ["metadata.labels"],
            "the map goes with its last key"
        );
    }

    #[test]
    fn what_the_server_fills_in_beside_what_was_applied_goes_with_it() {
        let before = json!({"spec": {}});
        let applied = json!({"spec": {"probe": {"path": "/"}}});
        let now = json!({"spec": {"probe": {"path": "/", "period": 10}}});
        assert_eq!(paths(&as_applied(&before, &now, &applied)), ["spec.probe"]);
    }

    #[test]
    fn what_the_second_apply_has_changed_is_the_runs_whatever_its_manifest_says() {
        let before = json!({"data": {"a": "old", "gone": "1"}});
        let applied = json!({"data": {"a": "new"}});
        let now = json!({"data": {"a": "new"}, "by-webhook": true});
        let fields = as_applied_again(&before, &before, &now, &applied);
        assert_eq!(paths(&fields), ["data.a", "data.gone", "by-webhook"]);
        assert_eq!(
            paths(&as_applied_again(&before, &now, &now, &applied)),
            ["data.a", "data.gone"]
        );
    }
}
